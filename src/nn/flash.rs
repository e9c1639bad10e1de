//! FlashAttention-2 (Dao 2023) of packed texts, in candle's CUDA kernel for sequences of varying length.

use candle_core::{DType, Result, Tensor};
use candle_flash_attn::flash_attn_varlen_windowed;

use crate::kernels;
use crate::nn::Layout;
use crate::nn::sequences::Sequences;

/// Whether the kernel supports heads of this shape, and the type and the device of `qkv`.
pub(super) fn supports(shape: &kernels::AttentionShape, qkv: &Tensor) -> bool {
    let half = matches!(qkv.dtype(), DType::F16 | DType::BF16);
    qkv.device().is_cuda() && half && shape.head_dim.is_multiple_of(8) && shape.head_dim <= 512
}

/// `[tokens, heads * head_dim]` of `qkv [tokens, (heads + 2 * kv_heads) * head_dim]` and `past [tokens, 2 * kv_heads *
/// head_dim]`.
pub(super) fn attend(
    shape: &kernels::AttentionShape,
    qkv: &Tensor,
    layout: &Layout,
    past: Option<&Tensor>,
) -> Result<Tensor> {
    let kernels::AttentionShape { heads, kv_heads, head_dim, scale, mask } = *shape;
    let tokens = qkv.dims()[0];
    if tokens == 0 {
        return Tensor::zeros((0, heads * head_dim), qkv.dtype(), qkv.device());
    }
    let sequences = layout.sequences(past.map_or(0, |past| past.dims()[0]), qkv.device())?;
    let by_head = |x: &Tensor| x.reshape((x.dims()[0], x.dims()[1] / head_dim, head_dim));
    let qkv = by_head(qkv)?;
    let own = qkv.narrow(1, heads, 2 * kv_heads)?;
    let kv = match (past, &sequences.keys) {
        (Some(past), Some(rows)) => Tensor::cat(&[&own.contiguous()?, &by_head(past)?], 0)?.index_select(rows, 0)?,
        _ => own,
    };
    // Windows are counted from the end of the keys, where queries end, too.
    let [left, right] = mask.reach();
    let Sequences { cumulative: [of_queries, of_keys], longest: [queries, keys], .. } = &*sequences;
    let attended = flash_attn_varlen_windowed(
        &qkv.narrow(1, 0, heads)?,
        &kv.narrow(1, 0, kv_heads)?,
        &kv.narrow(1, kv_heads, kv_heads)?,
        of_queries,
        of_keys,
        *queries,
        *keys,
        scale,
        left,
        right,
    )?;
    attended.reshape((tokens, heads * head_dim))
}
