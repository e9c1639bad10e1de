//! Scaled dot-product self-attention (Vaswani et al. 2017) over packed texts, with a mask, a bias on the scores, and
//! heads of queries that share keys (grouped queries: Ainslie et al. 2023).
//!
//! ```text
//! out_i = softmax over keys j that i sees (q_i · k_j scale + bias(i, j)) · v_j
//! ```
//!
//! The CPU body is one kernel (`kernels/attention`). The portable body is, by device and type, candle's flash-attention
//! (CUDA), its fused operation (Metal), or a product, a softmax and a product: these want rectangles, so the packed
//! texts are gathered to padded batches first (`attention_plan`) and their outputs put back afterwards.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::Result;
use crate::kernels::{self, AttentionInputs, Dtype, Isa};
use crate::nn::attention_plan::{DeviceBatch, PlanRequest};
#[cfg(feature = "flash-attn")]
use crate::nn::flash;
use crate::nn::matmul::matmul;
use crate::nn::rows::Rows;
use crate::nn::{AttentionBias, Body, Layout, States};
use crate::profile::{Arithmetic, Stage, Work, stage};

/// A layer's attention. Which token sees which is its own property (the mask of `shape`) and that of the texts' ends;
/// no mask comes from outside.
pub struct Attention {
    shape: kernels::AttentionShape,
    kernels: Option<(Isa, Dtype)>,
    bias: Option<Arc<dyn AttentionBias>>,
}

impl Attention {
    pub fn new(body: &Body, shape: kernels::AttentionShape) -> Self {
        let kernels = match body {
            Body::Cpu { isa, dtype } => Some((*isa, *dtype)),
            Body::Portable { .. } | Body::Gpu { .. } => None,
        };
        Self { shape, kernels, bias: None }
    }

    /// The same layer with a bias.
    pub fn with_bias(self, bias: Arc<dyn AttentionBias>) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// `qkv [tokens, (heads + 2 * kv_heads) * head_dim]` (a token's queries, keys and values one after the other) to
    /// `[tokens, heads * head_dim]`. `past [tokens, 2 * kv_heads * head_dim]`: keys and values of tokens that come
    /// before those of every text. `rows [texts]`: the one token of each text whose output is wanted; the output is
    /// `[texts, heads * head_dim]` then, and no text may be empty.
    pub fn forward(
        &self,
        qkv: &States,
        layout: &Layout,
        past: Option<&States>,
        rows: Option<&[u32]>,
    ) -> Result<States> {
        let offsets = layout.offsets();
        let run = || {
            Ok(match (self.kernels, qkv) {
                (Some((isa, dtype)), _) => {
                    let (qkv, past) = (qkv.cpu()?, past.map(States::cpu).transpose()?);
                    let bias = self.bias.as_deref().map(AttentionBias::kernel);
                    let shape = [rows.map_or(qkv.count(), <[u32]>::len), self.shape.heads * self.shape.head_dim];
                    let (qkv, past) = (qkv.values(), past.map_or(&[][..], Rows::values));
                    let inputs = AttentionInputs { qkv, offsets, past, bias, rows };
                    States::Cpu(Rows::written(shape, |out| {
                        kernels::attention(isa, dtype, &self.shape, inputs, out);
                    }))
                }
                (None, States::Gpu(qkv)) => {
                    let past = past.map(States::gpu).transpose()?;
                    let queries = layout.queries(rows, &qkv.pass);
                    let bias = self.bias.as_deref().map(AttentionBias::on_gpu);
                    States::Gpu(qkv.attended(&self.shape, &queries, past, bias)?)
                }
                (None, _) => {
                    let past = past.map(States::portable).transpose()?;
                    States::Portable(self.portable(qkv.portable()?, layout, past, rows)?)
                }
            })
        };
        let past_tokens = past.map_or(0, States::count);
        stage(Stage::Attention, || self.work(offsets, past_tokens, rows), run)
    }

    /// Arithmetic and memory: a product of queries and keys, and one of weights and values, for each pair that is seen.
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
            Some((_, dtype)) if dtype.is_integer() && !mask.is_causal() => Arithmetic::Int8,
            _ => Arithmetic::Float32,
        };
        Work::multiply_adds(
            arithmetic,
            2 * pairs * heads * head_dim,
            4 * (tokens * self.shape.width() + rows.map_or(tokens, <[u32]>::len) * heads * head_dim),
        )
    }

    /// The portable body: texts side by side in padded batches.
    fn portable(
        &self,
        qkv: &Tensor,
        layout: &Layout,
        past: Option<&Tensor>,
        rows: Option<&[u32]>,
    ) -> candle_core::Result<Tensor> {
        #[cfg(feature = "flash-attn")]
        if self.bias.is_none() && flash::supports(&self.shape, qkv) {
            let attended = flash::attend(&self.shape, qkv, layout, past)?;
            return match rows {
                Some(rows) => attended.index_select(&Tensor::from_slice(rows, rows.len(), qkv.device())?, 0),
                None => Ok(attended),
            };
        }
        let kernels::AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        let fused = self.bias.is_none() && has_fused(qkv, head_dim) && rows.is_none();
        let plan = layout.plan(&PlanRequest {
            shape: &self.shape,
            biased: self.bias.is_some(),
            past: past.map_or(0, |past| past.dims()[0]),
            rows,
            // The fused operation takes masks of its inputs' type.
            dtype: if fused { qkv.dtype() } else { DType::F32 },
            device: qkv.device(),
        })?;
        if plan.batches.is_empty() {
            return Tensor::zeros((0, heads * head_dim), qkv.dtype(), qkv.device());
        }
        let by_head = |x: &Tensor| x.reshape((x.elem_count() / head_dim, head_dim));
        let all = match past {
            Some(past) => Tensor::cat(&[by_head(qkv)?, by_head(past)?], 0)?,
            None => by_head(qkv)?,
        };
        let mut outputs = Vec::with_capacity(plan.batches.len());
        for batch in &plan.batches {
            let DeviceBatch { texts, queries, keys, .. } = *batch;
            let chosen = all.index_select(&batch.rows, 0)?;
            let part = |first: usize, heads: usize, len: usize| {
                chosen.narrow(0, first, texts * heads * len)?.reshape((texts, heads, len, head_dim))
            };
            let (of_queries, of_keys) = (texts * heads * queries, texts * kv_heads * keys);
            let q = part(0, heads, queries)?;
            let k = part(of_queries, kv_heads, keys)?;
            let v = part(of_queries + of_keys, kv_heads, keys)?;
            let attended = if fused { self.fused(batch, &q, &k, &v)? } else { self.explicit(batch, &q, &k, &v)? };
            outputs.push(by_head(&attended)?);
        }
        let queries = plan.unpad.elem_count() / heads;
        Tensor::cat(&outputs, 0)?.index_select(&plan.unpad, 0)?.reshape((queries, heads * head_dim))
    }

    /// Attention of `q [texts, heads, queries, head_dim]` to `k` and `v [texts, kv_heads, keys, head_dim]`, of the
    /// shape of `q`, step by step. Scores and softmax are in float32.
    fn explicit(&self, padded: &DeviceBatch, q: &Tensor, k: &Tensor, v: &Tensor) -> candle_core::Result<Tensor> {
        let (texts, heads, queries, head_dim) = q.dims4()?;
        let (kv_heads, keys) = (k.dims()[1], k.dims()[2]);
        // Queries of heads that share keys are as those of one head.
        let (groups, group_queries) = (texts * kv_heads, heads / kv_heads * queries);
        let scaled = (q * f64::from(self.shape.scale))?.reshape((groups, group_queries, head_dim))?;
        let scores = scores(&scaled, &k.reshape((groups, keys, head_dim))?)?.reshape((texts, heads, queries, keys))?;
        let scores = match &self.bias {
            Some(bias) => {
                let columns = padded.columns(bias.as_ref(), q.device())?;
                scores.broadcast_add(&bias.portable(q, k, columns)?)?
            }
            None => scores,
        };
        let scores = match &padded.mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let weights = candle_nn::ops::softmax_last_dim(&scores)?.to_dtype(v.dtype())?;
        let weights = weights.reshape((groups, group_queries, keys))?;
        matmul(&weights, &v.reshape((groups, keys, head_dim))?)?.reshape((texts, heads, queries, head_dim))
    }

    /// As [`Self::explicit`], in one operation, which Metal has.
    fn fused(&self, padded: &DeviceBatch, q: &Tensor, k: &Tensor, v: &Tensor) -> candle_core::Result<Tensor> {
        let (texts, heads, queries, _) = q.dims4()?;
        let shape = (texts, heads, queries, padded.keys);
        let mask = padded.mask.as_ref().map(|mask| mask.broadcast_as(shape)).transpose()?;
        candle_nn::ops::sdpa(q, k, v, mask.as_ref(), false, self.shape.scale, 1.0)
    }
}

/// Whether candle's fused attention (Metal alone) takes heads of this size. It ignores the mask of a single query, and
/// there is one size in float32 that it has no memory for.
fn has_fused(x: &Tensor, head_dim: usize) -> bool {
    let sizes = if x.dtype() == DType::F32 { &FUSED_HEAD_DIMS[..FUSED_HEAD_DIMS.len() - 1] } else { &FUSED_HEAD_DIMS };
    x.device().is_metal() && sizes.contains(&head_dim)
}

/// The sizes of heads of candle_nn 0.11's `ops::sdpa`.
const FUSED_HEAD_DIMS: [usize; 8] = [32, 64, 72, 80, 96, 128, 256, 512];

/// `q kᵀ`, `[.., queries, keys]` in float32. Products of bfloat16 would be rounded to eight bits, which is too few for
/// scores: Qwen2's show it.
fn scores(q: &Tensor, k: &Tensor) -> candle_core::Result<Tensor> {
    let product = match q.dtype() {
        DType::BF16 => q.to_dtype(DType::F32)?.matmul(&k.to_dtype(DType::F32)?.t()?)?,
        _ => q.matmul(&k.t()?)?,
    };
    product.to_dtype(DType::F32)
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
