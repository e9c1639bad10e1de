//! Self-attention over packed texts.

use candle_core::{D, DType, Device, Tensor};

use crate::Result;
use crate::kernels::{self, Dtype, Isa, Mask};
use crate::nn::{Body, cpu};
use crate::profile::{Arithmetic, Stage, Work, stage};

/// Scaled dot-product attention; which token sees which is the layer's property, together with where texts end.
pub struct Attention {
    shape: kernels::Attention,
    kernels: Option<(Isa, Dtype)>,
}

impl Attention {
    /// `scale` multiplies the scores: `1 / sqrt(head_dim)` unless the model says otherwise.
    pub fn new(body: &Body, heads: usize, head_dim: usize, scale: f32, mask: Mask) -> Self {
        let kernels = match body {
            Body::Cpu { isa, dtype } => Some((*isa, *dtype)),
            Body::Portable { .. } => None,
        };
        Self { shape: kernels::Attention { heads, head_dim, scale, mask }, kernels }
    }

    /// `qkv [tokens, 3 * heads * head_dim]` (a token's queries, keys and values one after the other) to
    /// `[tokens, heads * head_dim]`. `offsets [texts + 1]`: cumulative lengths.
    pub fn forward(&self, qkv: &Tensor, offsets: &[u32]) -> Result<Tensor> {
        let hidden = self.shape.heads * self.shape.head_dim;
        let run = || match self.kernels {
            Some((isa, dtype)) => {
                Ok(cpu::map(qkv, hidden, |qkv, out| kernels::attention(isa, dtype, &self.shape, qkv, offsets, out))?)
            }
            None => self.portable(qkv, offsets),
        };
        stage(Stage::Attention, || self.work(offsets), run)
    }

    /// A score and a weighted value for each pair of tokens that see each other.
    fn work(&self, offsets: &[u32]) -> Work {
        let kernels::Attention { heads, head_dim, mask, .. } = self.shape;
        let pairs = |len: usize| (0..len).map(|query| mask.keys(query, len).len()).sum::<usize>();
        let pairs: usize = offsets.windows(2).map(|text| pairs((text[1] - text[0]) as usize)).sum();
        let tokens = offsets.last().map_or(0, |&tokens| tokens as usize);
        let hidden = heads * head_dim;
        let arithmetic = match self.kernels {
            Some((_, Dtype::Int8)) => Arithmetic::Int8,
            _ => Arithmetic::Float32,
        };
        Work::multiply_adds(arithmetic, 2 * pairs * hidden, 4 * tokens * 4 * hidden)
    }

    /// One text after the other, each a rectangle of its own.
    fn portable(&self, qkv: &Tensor, offsets: &[u32]) -> Result<Tensor> {
        let kernels::Attention { heads, head_dim, scale, mask } = self.shape;
        let mut texts = Vec::new();
        for pair in offsets.windows(2).filter(|pair| pair[0] < pair[1]) {
            let len = (pair[1] - pair[0]) as usize;
            // [3, heads, len, head_dim]
            let parts = qkv
                .narrow(0, pair[0] as usize, len)?
                .reshape((len, 3, heads, head_dim))?
                .permute((1, 2, 0, 3))?
                .contiguous()?;
            let (q, k, v) = (parts.get(0)?, parts.get(1)?, parts.get(2)?);
            let scores = (q.matmul(&k.t()?)?.to_dtype(DType::F32)? * f64::from(scale))?;
            let scores = match mask_tensor(mask, len, scores.device())? {
                Some(mask) => scores.broadcast_add(&mask)?,
                None => scores,
            };
            let weights = candle_nn::ops::softmax(&scores, D::Minus1)?.to_dtype(v.dtype())?;
            let out = weights.matmul(&v)?.transpose(0, 1)?.reshape((len, heads * head_dim))?;
            texts.push(out);
        }
        match texts.is_empty() {
            true => Ok(Tensor::zeros((0, heads * head_dim), qkv.dtype(), qkv.device())?),
            false => Ok(Tensor::cat(&texts, 0)?),
        }
    }
}

/// 0 where a query (row) sees a key (column), else -inf; None where all see all.
fn mask_tensor(mask: Mask, len: usize, device: &Device) -> Result<Option<Tensor>> {
    let sees = |query: usize, key: usize| match mask {
        Mask::Full => true,
        Mask::Causal => key <= query,
        Mask::Window(reach) => key.abs_diff(query) <= reach,
    };
    if mask == Mask::Full {
        return Ok(None);
    }
    let values: Vec<f32> =
        (0..len * len).map(|i| if sees(i / len, i % len) { 0.0 } else { f32::NEG_INFINITY }).collect();
    Ok(Some(Tensor::from_vec(values, (len, len), device)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree};

    #[test]
    fn bodies_agree_for_every_mask() {
        for mask in [Mask::Full, Mask::Causal, Mask::Window(3)] {
            assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
                let attention = Attention::new(at.body(), 5, 8, 0.35, mask);
                attention.forward(&x.tensor(&[20, 120])?, &[0, 1, 8, 8, 20])
            });
        }
    }
}
