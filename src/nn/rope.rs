//! Rotary position embedding (RoPE; Su et al. 2021, RoFormer), in the order of pairs of GPT-NeoX, which transformers'
//! `apply_rotary_pos_emb` has: number `i` of a head is turned together with number `i + head_dim / 2`.
//!
//! ```text
//! x'[i]                = x[i] cos(angle(p, i)) - x[i + head_dim / 2] sin(angle(p, i))
//! x'[i + head_dim / 2] = x[i + head_dim / 2] cos(angle(p, i)) + x[i] sin(angle(p, i))
//! ```
//!
//! So the product of a query and a key depends on their distance alone. The angles are [`RotaryTable`]'s.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::Result;
use crate::kernels;
use crate::nn::rotary_table::{CosSinValues, RotaryTable};
use crate::nn::{Layout, Norm, cpu};
use crate::profile::{Stage, Work, stage};

/// Rotary position embedding of queries and keys, which may each be normalized head by head before it.
pub struct Rope {
    shape: kernels::AttentionShape,
    table: Arc<RotaryTable>,
    /// Normalizations of queries and of keys, each over a head.
    norms: Option<[Norm; 2]>,
}

impl Rope {
    /// `shape` is that of the attention behind it; `table` and `norms` (of queries, then of keys) are for its
    /// `head_dim`.
    pub fn new(shape: kernels::AttentionShape, table: Arc<RotaryTable>, norms: Option<[Norm; 2]>) -> Self {
        Self { shape, table, norms }
    }

    /// `qkv [tokens, (heads + 2 * kv_heads) * head_dim]` (a token's queries, keys and values one after the other) with
    /// its queries and keys turned by their tokens' positions.
    pub fn forward(&self, qkv: &Tensor, layout: &Layout) -> Result<Tensor> {
        // One is read, one is written.
        let work = || Work::bytes(2 * qkv.elem_count() * qkv.dtype().size_in_bytes());
        Ok(stage(Stage::Attention, work, || self.turn(qkv, layout))?)
    }

    fn turn(&self, qkv: &Tensor, layout: &Layout) -> candle_core::Result<Tensor> {
        let positions = layout.positions();
        match &self.table.up_to(positions)?.values {
            CosSinValues::Cpu(isa, table) => {
                let norms = self.norms.as_ref().map(|norms| norms.each_ref().map(Norm::kernel));
                cpu::map(qkv, self.shape.width(), |qkv, out| {
                    let rotations = kernels::RopeAngles { table, positions };
                    kernels::rope(*isa, &self.shape, norms, rotations, qkv, out);
                })
            }
            CosSinValues::Portable { cos, sin } => self.portable(qkv, layout.cos_sin(&self.table, [cos, sin])?),
        }
    }

    /// `cos` and `sin [tokens, head_dim / 2]`.
    fn portable(&self, qkv: &Tensor, [cos, sin]: [Tensor; 2]) -> candle_core::Result<Tensor> {
        let kernels::AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        let tokens = qkv.dims()[0];
        let part = |first: usize, count: usize| {
            qkv.narrow(1, first * head_dim, count * head_dim)?.contiguous()?.reshape((tokens, count, head_dim))
        };
        let both = match &self.norms {
            Some([of_queries, of_keys]) => {
                let normed = [of_queries.0.apply(&part(0, heads)?)?, of_keys.0.apply(&part(heads, kv_heads)?)?];
                Tensor::cat(&normed, 1)?
            }
            None => part(0, heads + kv_heads)?,
        };
        // Turned in float32: positions in the thousands are whole turns away in less.
        let turned = candle_nn::rotary_emb::rope_thd(&both.to_dtype(DType::F32)?.unsqueeze(0)?, &cos, &sin)?;
        let turned = turned.to_dtype(qkv.dtype())?.reshape((tokens, (heads + kv_heads) * head_dim))?;
        let values = qkv.narrow(1, (heads + kv_heads) * head_dim, kv_heads * head_dim)?;
        Tensor::cat(&[turned, values], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Mask;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree, assert_halves_agree};

    fn shape(heads: usize, kv_heads: usize, head_dim: usize) -> kernels::AttentionShape {
        kernels::AttentionShape { heads, kv_heads, head_dim, scale: 1.0, mask: Mask::Full }
    }

    #[test]
    fn bodies_agree_as_the_table_grows() {
        for (heads, kv_heads, head_dim) in [(6, 6, 8), (6, 2, 12), (3, 1, 34)] {
            let checkpoint = Checkpoint::random(&[("q.weight", &[head_dim]), ("k.weight", &[head_dim])]);
            for normed in [false, true] {
                assert_bodies_agree(&checkpoint, |at, x| {
                    let table = RotaryTable::new(at.body(), head_dim, 10_000.0)?;
                    let norm = |name: &str| Norm::rms_norm(&at.at(name), head_dim, 1e-6);
                    let norms = if normed { Some([norm("q")?, norm("k")?]) } else { None };
                    let rope = Rope::new(shape(heads, kv_heads, head_dim), table, norms);
                    let mut turned = Vec::new();
                    for positions in [vec![0, 1, 2], vec![700, 3], vec![8191, 0]] {
                        let qkv = x.tensor(&[positions.len(), rope.shape.width()])?;
                        turned.push(rope.forward(&qkv, &Layout::new(&[0, positions.len() as u32], &positions))?);
                    }
                    Ok(Tensor::cat(&turned, 0)?)
                });
            }
        }
    }

    #[test]
    fn halves_agree_with_float32() {
        let checkpoint = Checkpoint::random(&[("q.weight", &[12]), ("k.weight", &[12])]);
        assert_halves_agree(&checkpoint, |at, x| {
            let norm = |name: &str| Norm::rms_norm(&at.at(name), 12, 1e-6);
            let table = RotaryTable::new(at.body(), 12, 10_000.0)?;
            let rope = Rope::new(shape(6, 2, 12), table, Some([norm("q")?, norm("k")?]));
            rope.forward(&x(&[4, rope.shape.width()])?, &Layout::new(&[0, 4], &[0, 1, 5000, 8191]))
        });
    }

    /// Cosines and sines of a batch are gathered once for each table.
    #[test]
    fn layers_share_a_batchs_cosines_and_sines() {
        let checkpoint = Checkpoint::random(&[]);
        assert_bodies_agree(&checkpoint, |at, x| {
            let layout = Layout::new(&[0, 3], &[0, 1, 2]);
            let [near, far] = [10_000.0, 160_000.0].map(|theta| RotaryTable::new(at.body(), 8, theta));
            let (near, far) = (near?, far?);
            let mut qkv = x.tensor(&[3, shape(2, 2, 8).width()])?;
            for table in [&near, &far, &near] {
                qkv = Rope::new(shape(2, 2, 8), table.clone(), None).forward(&qkv, &layout)?;
            }
            Ok(qkv)
        });
    }
}
