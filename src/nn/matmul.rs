//! Products of matrices in candle's operations, of every type on every device.

use candle_core::{DType, Result, Tensor};

/// `x · y`, one for each of the leading dimensions that both have. On the CPU candle has no product of bfloat16: there
/// it is one of float32, rounded.
pub(super) fn matmul(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    match (x.device().is_cpu(), x.dtype()) {
        (true, DType::BF16) => x.to_dtype(DType::F32)?.matmul(&y.to_dtype(DType::F32)?)?.to_dtype(DType::BF16),
        _ => x.matmul(y),
    }
}
