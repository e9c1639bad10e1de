//! Operations on hidden states between the blocks: selecting rows, adding a residual.

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
    // Two are read, one is written.
    let work = || Work::bytes(3 * x.elem_count() * x.dtype().size_in_bytes());
    let run = || match (x.device(), x.dtype()) {
        // candle would wake threads of its own, which are not counted, and are not there after fork().
        (Device::Cpu, DType::F32) => cpu::zip(x, residual, |x, residual, out| {
            out.iter_mut().zip(x.iter().zip(residual)).for_each(|(out, (x, residual))| *out = x + residual);
        }),
        _ => x + residual,
    };
    Ok(stage(Stage::Norms, work, run)?)
}
