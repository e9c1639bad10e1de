//! Running kernels as candle operations: tensors in, slices to the kernel, a tensor out.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Storage, Tensor, bail};

use crate::kernels::unset;

/// `kernel(x, out)`, which writes all of out, for a contiguous float32 `x [rows, _]` and a new `out [rows, columns]`.
pub(super) fn map(x: &Tensor, columns: usize, kernel: impl Fn(&[f32], &mut [f32])) -> Result<Tensor> {
    map_to(x, [x.dims()[0], columns], kernel)
}

/// As [`map`], for a new `out` of that shape.
pub(super) fn map_to(x: &Tensor, shape: [usize; 2], kernel: impl Fn(&[f32], &mut [f32])) -> Result<Tensor> {
    x.apply_op1_no_bwd(&UnaryKernel { shape, kernel })
}

/// `kernel(x, y, out)`, which writes all of out, for contiguous float32 `x` and `y [rows, columns]` and a new `out` of
/// that shape.
pub(super) fn zip(x: &Tensor, y: &Tensor, kernel: impl Fn(&[f32], &[f32], &mut [f32])) -> Result<Tensor> {
    x.apply_op2_no_bwd(y, &BinaryKernel { kernel })
}

/// Calls `f` with the values of a contiguous float32 tensor, or with none.
pub(super) fn with_values<R>(x: Option<&Tensor>, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let Some(x) = x else { return f(&[]) };
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(slice(storage, layout)?),
        _ => bail!("kernels take tensors of the CPU"),
    }
}

struct UnaryKernel<F> {
    shape: [usize; 2],
    kernel: F,
}

impl<F: Fn(&[f32], &mut [f32])> CustomOp1 for UnaryKernel<F> {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = unset(self.shape.iter().product());
        (self.kernel)(slice(storage, layout)?, &mut out);
        Ok((CpuStorage::F32(out), Shape::from(&self.shape[..])))
    }
}

struct BinaryKernel<F> {
    kernel: F,
}

impl<F: Fn(&[f32], &[f32], &mut [f32])> CustomOp2 for BinaryKernel<F> {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_at: &Layout, y: &CpuStorage, y_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = unset(x_at.shape().elem_count());
        (self.kernel)(slice(x, x_at)?, slice(y, y_at)?, &mut out);
        Ok((CpuStorage::F32(out), x_at.shape().clone()))
    }
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("kernels take contiguous tensors") };
    Ok(&storage.as_slice::<f32>()?[start..end])
}
