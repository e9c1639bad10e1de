//! Self-attention over packed texts.

use std::sync::Arc;

use candle_core::{D, DType, Device, Tensor};

use crate::Result;
use crate::kernels::{self, Dtype, Inputs, Isa, Mask};
use crate::nn::{Body, cpu, select};
use crate::profile::{Arithmetic, Stage, Work, stage};

/// Scaled dot-product attention; which token sees which is the layer's property, together with where texts end.
pub struct Attention {
    shape: kernels::Attention,
    kernels: Option<(Isa, Dtype)>,
    bias: Option<Arc<dyn AttentionBias>>,
}

/// What a layer adds to its scores, after they are multiplied by the scale.
pub trait AttentionBias: Send + Sync {
    fn kernel(&self) -> &dyn kernels::Bias;

    /// `[heads, len, len]` for the `queries` and `keys [heads, len, head_dim]` of one text.
    fn portable(&self, queries: &Tensor, keys: &Tensor) -> candle_core::Result<Tensor>;
}

impl Attention {
    pub fn new(body: &Body, shape: kernels::Attention) -> Self {
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
    /// `[tokens, heads * head_dim]`. `offsets [texts + 1]`: cumulative lengths. `past [tokens, 2 * kv_heads * head_dim]`: keys and
    /// values of tokens that come before those of every text. `rows [texts]`: the token of each whose output is wanted, where that is
    /// one; then it is `[texts, heads * head_dim]`, and no text is empty.
    pub fn forward(
        &self,
        qkv: &Tensor,
        offsets: &[u32],
        past: Option<&Tensor>,
        rows: Option<&[u32]>,
    ) -> Result<Tensor> {
        let run = || match self.kernels {
            Some((isa, dtype)) => cpu::with_values(past, |past| {
                let bias = self.bias.as_deref().map(AttentionBias::kernel);
                let shape = [rows.map_or(qkv.dims()[0], <[u32]>::len), self.shape.heads * self.shape.head_dim];
                cpu::map_to(qkv, shape, |qkv, out| {
                    kernels::attention(isa, dtype, &self.shape, Inputs { qkv, offsets, past, bias, rows }, out);
                })
            }),
            None => match rows {
                Some(rows) => select(&self.portable(qkv, offsets, past)?, rows),
                None => self.portable(qkv, offsets, past),
            },
        };
        let past_tokens = past.map_or(0, |past| past.dims()[0]);
        Ok(stage(Stage::Attention, || self.work(offsets, past_tokens, rows), run)?)
    }

    /// A score and a weighted value for each pair of tokens that see each other.
    fn work(&self, offsets: &[u32], past: usize, rows: Option<&[u32]>) -> Work {
        let kernels::Attention { heads, head_dim, mask, .. } = self.shape;
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

    /// One text after the other, each a rectangle of its own.
    fn portable(&self, qkv: &Tensor, offsets: &[u32], past: Option<&Tensor>) -> candle_core::Result<Tensor> {
        let kernels::Attention { heads, kv_heads, head_dim, scale, mask } = self.shape;
        let by_head = |x: &Tensor, heads: usize| {
            x.reshape((x.dims()[0], heads, head_dim))?.transpose(0, 1)?.contiguous()?.reshape((
                heads,
                x.dims()[0],
                head_dim,
            ))
        };
        let mut texts = Vec::new();
        for pair in offsets.windows(2).filter(|pair| pair[0] < pair[1]) {
            let len = (pair[1] - pair[0]) as usize;
            let text = qkv.narrow(0, pair[0] as usize, len)?;
            let q = by_head(&text.narrow(1, 0, heads * head_dim)?.contiguous()?, heads)?;
            let kv = text.narrow(1, heads * head_dim, 2 * kv_heads * head_dim)?.contiguous()?;
            let kv = match past {
                Some(past) => Tensor::cat(&[past, &kv], 0)?,
                None => kv,
            };
            let keys = kv.dims()[0];
            // [2 * kv_heads, keys, head_dim], then as many keys and values as there are heads.
            let kv = by_head(&kv, 2 * kv_heads)?;
            let shared: Vec<u32> = (0..heads).map(|head| (head / (heads / kv_heads)) as u32).collect();
            let shared = Tensor::from_vec(shared, heads, kv.device())?;
            let k = kv.narrow(0, 0, kv_heads)?.index_select(&shared, 0)?;
            let v = kv.narrow(0, kv_heads, kv_heads)?.contiguous()?.index_select(&shared, 0)?;
            let scores = (q.matmul(&k.t()?)?.to_dtype(DType::F32)? * f64::from(scale))?;
            let scores = match &self.bias {
                Some(bias) => (scores + bias.portable(&q, &k)?.to_dtype(DType::F32)?)?,
                None => scores,
            };
            let scores = match mask_tensor(mask, len, keys, scores.device())? {
                Some(mask) => scores.broadcast_add(&mask)?,
                None => scores,
            };
            let weights = candle_nn::ops::softmax(&scores, D::Minus1)?.to_dtype(v.dtype())?;
            let out = weights.matmul(&v)?.transpose(0, 1)?.reshape((len, heads * head_dim))?;
            texts.push(out);
        }
        match texts.is_empty() {
            true => Tensor::zeros((0, heads * head_dim), qkv.dtype(), qkv.device()),
            false => Tensor::cat(&texts, 0),
        }
    }
}

/// 0 where a query (row) sees a key (column), else -inf; None where all see all. The queries are those of the last tokens.
fn mask_tensor(mask: Mask, len: usize, keys: usize, device: &Device) -> candle_core::Result<Option<Tensor>> {
    let sees = |query: usize, key: usize| match mask {
        Mask::Full => true,
        Mask::Causal => key <= query,
        Mask::Window(reach) => key.abs_diff(query) <= reach,
    };
    if mask == Mask::Full {
        return Ok(None);
    }
    let sees = |i: usize| sees(keys - len + i / keys, i % keys);
    let values: Vec<f32> = (0..len * keys).map(|i| if sees(i) { 0.0 } else { f32::NEG_INFINITY }).collect();
    Ok(Some(Tensor::from_vec(values, (len, keys), device)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree};

    #[test]
    fn bodies_agree_for_every_mask() {
        for mask in [Mask::Full, Mask::Causal, Mask::Window(3)] {
            for kv_heads in [6, 3, 1] {
                assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
                    let shape = kernels::Attention { heads: 6, kv_heads, head_dim: 8, scale: 0.35, mask };
                    let qkv = x.tensor(&[20, shape.width()])?;
                    Attention::new(at.body(), shape).forward(&qkv, &[0, 1, 8, 8, 20], None, None)
                });
            }
        }
    }

    #[test]
    fn bodies_agree_after_a_past() {
        for past in [1, 33] {
            assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
                let mask = Mask::Causal;
                let shape = kernels::Attention { heads: 6, kv_heads: 2, head_dim: 8, scale: 0.35, mask };
                let (qkv, past) = (x.tensor(&[20, shape.width()])?, x.tensor(&[past, 2 * 2 * 8])?);
                Attention::new(at.body(), shape).forward(&qkv, &[0, 1, 8, 8, 20], Some(&past), None)
            });
        }
    }

    #[test]
    fn bodies_agree_on_one_token_of_each_text() {
        for mask in [Mask::Full, Mask::Causal, Mask::Window(3)] {
            assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
                let shape = kernels::Attention { heads: 6, kv_heads: 2, head_dim: 8, scale: 0.35, mask };
                let qkv = x.tensor(&[20, shape.width()])?;
                Attention::new(at.body(), shape).forward(&qkv, &[0, 1, 8, 20], None, Some(&[0, 7, 12]))
            });
        }
    }
}
