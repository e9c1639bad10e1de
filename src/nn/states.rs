//! Operations on hidden states between the blocks: selecting rows, adding a residual, multiplying.

use candle_core::{DType, Device, Tensor};

use crate::Result;
use crate::nn::cpu;
use crate::profile::{Stage, Work, stage};

/// The `rows` of `x [tokens, hidden]`, `[rows, hidden]`.
pub fn select(x: &Tensor, rows: &[u32]) -> candle_core::Result<Tensor> {
    x.index_select(&Tensor::from_slice(rows, rows.len(), x.device())?, 0)
}

/// `x + residual`, both `[tokens, hidden]`.
pub fn add(x: &Tensor, residual: &Tensor) -> Result<Tensor> {
    by_element(x, residual, |x, residual| x + residual, |x, residual| x + residual)
}

/// `x * y`, both `[tokens, hidden]`.
pub fn multiply(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    by_element(x, y, |x, y| x * y, |x, y| x * y)
}

/// `x * factor`, `x [tokens, hidden]`.
pub fn scale(x: &Tensor, factor: f32) -> Result<Tensor> {
    // One is read, one is written.
    let work = || Work::bytes(2 * x.elem_count() * x.dtype().size_in_bytes());
    let run = || match is_kernels(x) {
        true => cpu::map(x, x.dims()[1], |x, out| out.iter_mut().zip(x).for_each(|(out, x)| *out = x * factor)),
        false => x * f64::from(factor),
    };
    Ok(stage(Stage::Norms, work, run)?)
}

/// Whether `x` is what kernels compute with. candle would wake threads of its own for it, which are not counted, and are
/// not there after fork().
fn is_kernels(x: &Tensor) -> bool {
    matches!((x.device(), x.dtype()), (Device::Cpu, DType::F32))
}

fn by_element(
    x: &Tensor,
    y: &Tensor,
    kernel: impl Fn(f32, f32) -> f32,
    portable: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
) -> Result<Tensor> {
    // Two are read, one is written.
    let work = || Work::bytes(3 * x.elem_count() * x.dtype().size_in_bytes());
    let run = || match is_kernels(x) {
        true => cpu::zip(x, y, |x, y, out| {
            out.iter_mut().zip(x.iter().zip(y)).for_each(|(out, (x, y))| *out = kernel(*x, *y));
        }),
        false => portable(x, y),
    };
    Ok(stage(Stage::Norms, work, run)?)
}
