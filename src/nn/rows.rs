//! Some of the rows of a tensor.

use candle_core::Tensor;

use crate::Result;

/// The `rows` of `x [tokens, hidden]`, `[rows, hidden]`.
pub fn select(x: &Tensor, rows: &[u32]) -> Result<Tensor> {
    Ok(x.index_select(&Tensor::from_slice(rows, rows.len(), x.device())?, 0)?)
}
