//! Attention of packed texts in CUDA's flash-attention kernel (Dao 2023), which takes cumulative lengths.

use candle_core::{DType, Device, Result, Tensor};
use candle_flash_attn::flash_attn_varlen_windowed;

use crate::kernels::{self, Mask};
use crate::nn::Layout;
use crate::nn::parcel::Parcel;

/// What the kernel is told of a batch.
pub(super) struct Sequences {
    /// `[texts + 1]` each: cumulative lengths of queries and of keys.
    cumulative: [Tensor; 2],
    longest: [usize; 2],
    /// `[keys]`: rows of each text's keys, where a past comes before them: it lies behind the batch's own.
    keys: Option<Tensor>,
}

impl Sequences {
    /// `past`: tokens before those of every text.
    pub(super) fn new(offsets: &[u32], past: usize, device: &Device) -> Result<Self> {
        let texts = || offsets.windows(2).filter(|text| text[0] < text[1]);
        let tokens = offsets.last().copied().unwrap_or(0);
        let longest = texts().map(|text| (text[1] - text[0]) as usize).max().unwrap_or(0);
        let mut parcel = Parcel::new();
        let ends = |past: usize| texts().enumerate().map(move |(i, text)| text[1] + ((i + 1) * past) as u32);
        let queries = parcel.add(std::iter::once(0).chain(ends(0)));
        let keys = parcel.add(std::iter::once(0).chain(ends(past)));
        let rows = (past > 0)
            .then(|| parcel.add(texts().flat_map(|text| (tokens..tokens + past as u32).chain(text[0]..text[1]))));
        let parcel = parcel.send(device)?;
        Ok(Self {
            cumulative: [parcel(queries)?, parcel(keys)?],
            longest: [longest, past + longest],
            keys: rows.map(parcel).transpose()?,
        })
    }
}

/// Whether the kernel is for such heads, of this type, where this is.
pub(super) fn takes(shape: &kernels::AttentionShape, qkv: &Tensor) -> bool {
    let half = matches!(qkv.dtype(), DType::F16 | DType::BF16);
    qkv.device().is_cuda() && half && shape.head_dim.is_multiple_of(8) && shape.head_dim <= 512
}

/// `[tokens, heads * head_dim]` of `qkv [tokens, (heads + 2 * kv_heads) * head_dim]` and `past [tokens, 2 * kv_heads * head_dim]`.
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
    let [left, right] = match mask {
        Mask::Full => [None, None],
        Mask::Causal => [None, Some(0)],
        Mask::Window(reach) => [Some(reach); 2],
    };
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
