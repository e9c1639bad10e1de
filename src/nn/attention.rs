//! Self-attention over packed texts.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::Result;
use crate::kernels::{self, AttentionInputs, Dtype, Isa, Mask};
#[cfg(feature = "flash-attn")]
use crate::nn::flash;
use crate::nn::plan::{Rectangle, Request};
use crate::nn::product::product;
#[cfg(feature = "flash-attn")]
use crate::nn::select;
use crate::nn::{Body, Layout, cpu};
use crate::profile::{Arithmetic, Stage, Work, stage};

/// Scaled dot-product attention; which token sees which is the layer's property, together with where texts end.
pub struct Attention {
    shape: kernels::AttentionShape,
    kernels: Option<(Isa, Dtype)>,
    bias: Option<Arc<dyn AttentionBias>>,
}

/// What a layer adds to its scores, after they are multiplied by the scale.
pub trait AttentionBias: Send + Sync {
    fn kernel(&self) -> &dyn kernels::Bias;

    /// Which column of its table the portable body takes for the distance of a key from its query, positive where the key comes after
    /// it.
    fn column(&self, distance: isize) -> u32;

    /// `[texts or 1, heads, queries, keys]` in float32 for `q [texts, heads, queries, head_dim]` and `k [texts, heads, keys, head_dim]`.
    /// `columns [2, queries + keys]`: those of distances, in the order that [`by_place`] takes from rows of queries, and from rows of
    /// keys.
    fn portable(&self, q: &Tensor, k: &Tensor, columns: &Tensor) -> candle_core::Result<Tensor>;
}

impl Attention {
    pub fn new(body: &Body, shape: kernels::AttentionShape) -> Self {
        let kernels = match body {
            Body::Cpu { isa, dtype } => Some((*isa, *dtype)),
            Body::Portable { .. } => None,
        };
        Self { shape, kernels, bias: None }
    }

    /// The same layer with a bias.
    pub fn with_bias(self, bias: Arc<dyn AttentionBias>) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// `qkv [tokens, (heads + 2 * kv_heads) * head_dim]` (a token's queries, keys and values one after the other) to
    /// `[tokens, heads * head_dim]`. `past [tokens, 2 * kv_heads * head_dim]`: keys and values of tokens that come before those of
    /// every text. `rows [texts]`: the token of each whose output is wanted, where that is one; then it is
    /// `[texts, heads * head_dim]`, and no text is empty.
    pub fn forward(
        &self,
        qkv: &Tensor,
        layout: &Layout,
        past: Option<&Tensor>,
        rows: Option<&[u32]>,
    ) -> Result<Tensor> {
        let offsets = layout.offsets();
        let run = || match self.kernels {
            Some((isa, dtype)) => cpu::with_values(past, |past| {
                let bias = self.bias.as_deref().map(AttentionBias::kernel);
                let shape = [rows.map_or(qkv.dims()[0], <[u32]>::len), self.shape.heads * self.shape.head_dim];
                cpu::map_to(qkv, shape, |qkv, out| {
                    kernels::attention(
                        isa,
                        dtype,
                        &self.shape,
                        AttentionInputs { qkv, offsets, past, bias, rows },
                        out,
                    );
                })
            }),
            None => self.portable(qkv, layout, past, rows),
        };
        let past_tokens = past.map_or(0, |past| past.dims()[0]);
        Ok(stage(Stage::Attention, || self.work(offsets, past_tokens, rows), run)?)
    }

    /// A score and a weighted value for each pair of tokens that see each other.
    fn work(&self, offsets: &[u32], past: usize, rows: Option<&[u32]>) -> Work {
        let kernels::AttentionShape { heads, head_dim, mask, .. } = self.shape;
        let pairs = |(number, text): (usize, &[u32])| {
            let len = (text[1] - text[0]) as usize;
            let queries = match rows {
                Some(rows) => (rows[number] - text[0]) as usize..(rows[number] - text[0]) as usize + 1,
                None => 0..len,
            };
            queries.map(|query| mask.keys(past + query, past + len).len()).sum::<usize>()
        };
        let pairs: usize = offsets.windows(2).enumerate().map(pairs).sum();
        let tokens = offsets.last().map_or(0, |&tokens| tokens as usize);
        let arithmetic = match self.kernels {
            Some((_, Dtype::Int8)) if mask != Mask::Causal => Arithmetic::Int8,
            _ => Arithmetic::Float32,
        };
        Work::multiply_adds(
            arithmetic,
            2 * pairs * heads * head_dim,
            4 * (tokens * self.shape.width() + rows.map_or(tokens, <[u32]>::len) * heads * head_dim),
        )
    }

    /// Texts side by side in rectangles.
    fn portable(
        &self,
        qkv: &Tensor,
        layout: &Layout,
        past: Option<&Tensor>,
        rows: Option<&[u32]>,
    ) -> candle_core::Result<Tensor> {
        #[cfg(feature = "flash-attn")]
        if self.bias.is_none() && flash::takes(&self.shape, qkv) {
            let attended = flash::attend(&self.shape, qkv, layout, past)?;
            return rows.map_or(Ok(attended.clone()), |rows| select(&attended, rows));
        }
        let kernels::AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        let fused = self.bias.is_none() && fused(qkv, head_dim) && rows.is_none();
        let plan = layout.plan(&Request {
            shape: &self.shape,
            biased: self.bias.is_some(),
            past: past.map_or(0, |past| past.dims()[0]),
            rows,
            // The fused operation takes masks of its inputs' type.
            dtype: if fused { qkv.dtype() } else { DType::F32 },
            device: qkv.device(),
        })?;
        if plan.rectangles.is_empty() {
            return Tensor::zeros((0, heads * head_dim), qkv.dtype(), qkv.device());
        }
        let by_head = |x: &Tensor| x.reshape((x.elem_count() / head_dim, head_dim));
        let all = match past {
            Some(past) => Tensor::cat(&[by_head(qkv)?, by_head(past)?], 0)?,
            None => by_head(qkv)?,
        };
        let mut outputs = Vec::with_capacity(plan.rectangles.len());
        for rectangle in &plan.rectangles {
            let Rectangle { texts, queries, keys, .. } = *rectangle;
            let chosen = all.index_select(&rectangle.rows, 0)?;
            let part = |first: usize, heads: usize, len: usize| {
                chosen.narrow(0, first, texts * heads * len)?.reshape((texts, heads, len, head_dim))
            };
            let (of_queries, of_keys) = (texts * heads * queries, texts * kv_heads * keys);
            let q = part(0, heads, queries)?;
            let k = part(of_queries, kv_heads, keys)?;
            let v = part(of_queries + of_keys, kv_heads, keys)?;
            let attended =
                if fused { self.fused(rectangle, &q, &k, &v)? } else { self.explicit(rectangle, &q, &k, &v)? };
            outputs.push(by_head(&attended)?);
        }
        let queries = plan.back.elem_count() / heads;
        Tensor::cat(&outputs, 0)?.index_select(&plan.back, 0)?.reshape((queries, heads * head_dim))
    }

    /// Attention of `q [texts, heads, queries, head_dim]` to `k` and `v [texts, kv_heads, keys, head_dim]`, of the shape of `q`. The
    /// softmax is in float32.
    fn explicit(&self, rectangle: &Rectangle, q: &Tensor, k: &Tensor, v: &Tensor) -> candle_core::Result<Tensor> {
        let (texts, heads, queries, head_dim) = q.dims4()?;
        let (kv_heads, keys) = (k.dims()[1], k.dims()[2]);
        // The queries of heads that share their keys, as if they were one head's.
        let (batch, together) = (texts * kv_heads, heads / kv_heads * queries);
        let scaled = (q * f64::from(self.shape.scale))?.reshape((batch, together, head_dim))?;
        let scores = scores(&scaled, &k.reshape((batch, keys, head_dim))?)?.reshape((texts, heads, queries, keys))?;
        let scores = match &self.bias {
            Some(bias) => {
                let columns = rectangle.columns(bias.as_ref(), q.device())?;
                scores.broadcast_add(&bias.portable(q, k, columns)?)?
            }
            None => scores,
        };
        let scores = match &rectangle.mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let weights = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(v.dtype())?;
        let weights = weights.reshape((batch, together, keys))?;
        product(&weights, &v.reshape((batch, keys, head_dim))?)?.reshape((texts, heads, queries, head_dim))
    }

    /// As [`Self::explicit`], in one operation, which Metal has.
    fn fused(&self, rectangle: &Rectangle, q: &Tensor, k: &Tensor, v: &Tensor) -> candle_core::Result<Tensor> {
        let (texts, heads, queries, _) = q.dims4()?;
        let shape = (texts, heads, queries, rectangle.keys);
        let mask = rectangle.mask.as_ref().map(|mask| mask.broadcast_as(shape)).transpose()?;
        candle_nn::ops::sdpa(q, k, v, mask.as_ref(), false, self.shape.scale, 1.0)
    }
}

/// Whether candle's fused attention takes heads of this size. It ignores the mask of a single query, and there is one in float32
/// that it has no memory for.
fn fused(x: &Tensor, head_dim: usize) -> bool {
    let sizes = if x.dtype() == DType::F32 { &FUSED[..FUSED.len() - 1] } else { &FUSED };
    x.device().is_metal() && sizes.contains(&head_dim)
}

/// Sizes of heads, as candle_nn 0.11's `ops::sdpa` has them.
const FUSED: [usize; 8] = [32, 64, 72, 80, 96, 128, 256, 512];

/// `[.., queries, keys]` in float32. Products of bfloat16 would be rounded to eight bits, which is too few for scores: Qwen2's show it.
fn scores(q: &Tensor, k: &Tensor) -> candle_core::Result<Tensor> {
    let product = match q.dtype() {
        DType::BF16 => q.to_dtype(DType::F32)?.matmul(&k.to_dtype(DType::F32)?.t()?)?,
        _ => q.matmul(&k.t()?)?,
    };
    product.to_dtype(DType::F32)
}

/// `x [texts, rows, rows + columns]`, by distance, as `[texts, rows, columns]`, by place: row `i` begins at its element `rows - 1 - i`.
pub(super) fn by_place(x: &Tensor) -> candle_core::Result<Tensor> {
    let (texts, rows, both) = x.dims3()?;
    let columns = both - rows;
    // Read as rows of one element fewer, each begins one earlier than the one before it.
    x.reshape((texts, rows * both))?
        .narrow(1, rows - 1, rows * (both - 1))?
        .reshape((texts, rows, both - 1))?
        .narrow(2, 0, columns)
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
