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
use crate::gpu::{SentAngles, rotate};
use crate::kernels;
use crate::nn::device_states::DeviceStates;
use crate::nn::rotary_table::{CosSinValues, RotaryTable};
use crate::nn::{Layout, Norm, States};
use crate::profile::{Stage, Work, stage};

/// Rotary position embedding of queries and keys, which may each be normalized head by head before it.
pub struct Rope {
    shape: kernels::AttentionShape,
    table: Arc<RotaryTable>,
    norms: Option<HeadNormalizations>,
}

/// Normalizations of queries, keys and values, each over a head.
pub struct HeadNormalizations {
    pub queries: Norm,
    pub keys: Norm,
    pub values: Option<Norm>,
}

impl Rope {
    /// `shape` is that of the attention behind it; `table` and `norms` are for its `head_dim`.
    pub fn new(shape: kernels::AttentionShape, table: Arc<RotaryTable>, norms: Option<HeadNormalizations>) -> Self {
        Self { shape, table, norms }
    }

    /// `qkv [tokens, (heads + 2 * kv_heads) * head_dim]` (a token's queries, keys and values one after the other) with
    /// its queries and keys turned by their tokens' positions.
    pub fn forward(&self, qkv: States, layout: &Layout) -> Result<States> {
        // One is read, one is written.
        let bytes = 2 * qkv.bytes();
        stage(Stage::Attention, || Work::bytes(bytes), || self.turn(qkv, layout))
    }

    fn turn(&self, qkv: States, layout: &Layout) -> Result<States> {
        let positions = layout.positions();
        if let Some(own) = layout.own_angles(&self.table)? {
            let rows: Vec<u32> = (0..positions.len() as u32).collect();
            return self.turn_by(&own.values, &rows, qkv, layout, |cos, sin| Ok([cos.clone(), sin.clone()]));
        }
        let table = self.table.up_to(positions)?;
        self.turn_by(&table.values, positions, qkv, layout, |cos, sin| layout.cos_sin(&self.table, [cos, sin]))
    }

    /// Turns each token by a row of the values. `gather` gives those of all tokens on a device.
    fn turn_by(
        &self,
        values: &CosSinValues,
        rows: &[u32],
        qkv: States,
        layout: &Layout,
        gather: impl Fn(&Tensor, &Tensor) -> candle_core::Result<[Tensor; 2]>,
    ) -> Result<States> {
        Ok(match values {
            CosSinValues::Cpu(isa, table) => {
                let norms = self.norms.as_ref().map(|norms| kernels::HeadNorms {
                    queries: norms.queries.kernel(),
                    keys: norms.keys.kernel(),
                    values: norms.values.as_ref().map(Norm::kernel),
                });
                States::Cpu(qkv.cpu()?.map(self.shape.width(), |qkv, out| {
                    let rotations = kernels::RopeAngles { table, positions: rows };
                    kernels::rope(*isa, &self.shape, norms, rotations, qkv, out);
                }))
            }
            CosSinValues::Portable { cos, sin } => States::Portable(self.portable(qkv.portable()?, gather(cos, sin)?)?),
            CosSinValues::Gpu(table) => {
                let (qkv, head_dim) = (qkv.into_gpu()?, self.shape.head_dim);
                let of_tokens =
                    || rows.iter().flat_map(|&row| &table[row as usize * head_dim..][..head_dim]).copied().collect();
                let angles = layout.angles(&self.table, &qkv.pass, of_tokens);
                States::Gpu(self.on_gpu(qkv, angles)?)
            }
        })
    }

    /// Normalizes and turns where the numbers stand, if nobody else has them.
    fn on_gpu(&self, qkv: DeviceStates, angles: SentAngles) -> Result<DeviceStates> {
        let kernels::AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        let own = if qkv.rows.is_shared() { qkv.columns(0..qkv.width())? } else { qkv };
        own.pass.record(|recording| {
            if let Some(HeadNormalizations { queries, keys, values }) = &self.norms {
                let values = (values.as_ref(), heads + kv_heads, kv_heads);
                for (norm, first, count) in [(Some(queries), 0, heads), (Some(keys), heads, kv_heads), values] {
                    let Some(norm) = norm else { continue };
                    norm.on_gpu().record_parts(recording, &own.rows, first * head_dim, count)?;
                }
            }
            rotate(recording, &own.rows, [heads + kv_heads, head_dim], angles)
        })?;
        Ok(own)
    }

    /// `cos` and `sin [tokens, head_dim / 2]`.
    fn portable(&self, qkv: &Tensor, [cos, sin]: [Tensor; 2]) -> candle_core::Result<Tensor> {
        let kernels::AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        let tokens = qkv.dims()[0];
        let part = |first: usize, count: usize| {
            qkv.narrow(1, first * head_dim, count * head_dim)?.contiguous()?.reshape((tokens, count, head_dim))
        };
        let both = match &self.norms {
            Some(HeadNormalizations { queries, keys, .. }) => {
                Tensor::cat(&[queries.0.apply(&part(0, heads)?)?, keys.0.apply(&part(heads, kv_heads)?)?], 1)?
            }
            None => part(0, heads + kv_heads)?,
        };
        // Turned in float32: positions in the thousands are whole turns away in less.
        let turned = candle_nn::rotary_emb::rope_thd(&both.to_dtype(DType::F32)?.unsqueeze(0)?, &cos, &sin)?;
        let turned = turned.to_dtype(qkv.dtype())?.reshape((tokens, (heads + kv_heads) * head_dim))?;
        let values = match self.norms.as_ref().and_then(|norms| norms.values.as_ref()) {
            Some(norm) => norm.0.apply(&part(heads + kv_heads, kv_heads)?)?.reshape((tokens, kv_heads * head_dim))?,
            None => qkv.narrow(1, (heads + kv_heads) * head_dim, kv_heads * head_dim)?,
        };
        Tensor::cat(&[turned, values], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Mask;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree, assert_halves_agree, stacked};
    use crate::nn::{RopeScaling, RotaryAngles};

    fn shape(heads: usize, kv_heads: usize, head_dim: usize) -> kernels::AttentionShape {
        kernels::AttentionShape { heads, kv_heads, head_dim, scale: 1.0, mask: Mask::Full }
    }

    #[test]
    fn bodies_agree_as_the_table_grows() {
        for (heads, kv_heads, head_dim) in [(6, 6, 8), (6, 2, 12), (3, 1, 34)] {
            let checkpoint = Checkpoint::random(&[("q.weight", &[head_dim]), ("k.weight", &[head_dim])]);
            for normed in [0, 2, 3] {
                assert_bodies_agree(&checkpoint, |at, x| {
                    let table = RotaryTable::new(at.body(), head_dim, RotaryAngles::new(10_000.0))?;
                    let norm = |name: &str| Norm::rms_norm(&at.at(name), head_dim, 1e-6);
                    let values =
                        if normed == 3 { Some(Norm::unweighted_rms_norm(at.body(), head_dim, 1e-6)?) } else { None };
                    let norms = HeadNormalizations { queries: norm("q")?, keys: norm("k")?, values };
                    let norms = if normed > 0 { Some(norms) } else { None };
                    let rope = Rope::new(shape(heads, kv_heads, head_dim), table, norms);
                    let mut turned = Vec::new();
                    for positions in [vec![0, 1, 2], vec![700, 3], vec![8191, 0]] {
                        let qkv = x.states([positions.len(), rope.shape.width()])?;
                        turned.push(rope.forward(qkv.clone(), &Layout::new(&[0, positions.len() as u32], &positions))?);
                    }
                    stacked(&turned)
                });
            }
        }
    }

    #[test]
    fn bodies_agree_where_a_text_has_angles_of_its_own() {
        let scaling = RopeScaling::Dynamic { factor: 2.0, trained: 5 };
        assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
            let table = RotaryTable::new(at.body(), 8, RotaryAngles { theta: 100.0, scaling })?;
            let rope = Rope::new(shape(3, 3, 8), table, None);
            let positions: Vec<u32> = (0..3).chain(0..9).chain(0..5).collect();
            let qkv = x.states([17, rope.shape.width()])?;
            let turned = rope.forward(qkv.clone(), &Layout::new(&[0, 3, 12, 12, 17], &positions))?;
            // Each text as if it were alone.
            for (first, len) in [(0, 3), (3, 9), (12, 5)] {
                let rows: Vec<u32> = (first..first + len).collect();
                let alone: Vec<u32> = (0..len).collect();
                let alone = rope.forward(qkv.select(&rows)?, &Layout::new(&[0, len], &alone))?;
                assert_eq!(alone.read(<[f32]>::to_vec)?, turned.select(&rows)?.read(<[f32]>::to_vec)?);
            }
            Ok(turned)
        });
    }

    #[test]
    fn halves_agree_with_float32() {
        let checkpoint = Checkpoint::random(&[("q.weight", &[12]), ("k.weight", &[12])]);
        assert_halves_agree(&checkpoint, |at, x| {
            let norm = |name: &str| Norm::rms_norm(&at.at(name), 12, 1e-6);
            let table = RotaryTable::new(at.body(), 12, RotaryAngles::new(10_000.0))?;
            let norms = HeadNormalizations { queries: norm("q")?, keys: norm("k")?, values: None };
            let rope = Rope::new(shape(6, 2, 12), table, Some(norms));
            rope.forward(x.states([4, rope.shape.width()])?, &Layout::new(&[0, 4], &[0, 1, 5000, 8191]))
        });
    }

    /// Cosines and sines of a batch are gathered once for each table.
    #[test]
    fn layers_share_a_batchs_cosines_and_sines() {
        let checkpoint = Checkpoint::random(&[]);
        assert_bodies_agree(&checkpoint, |at, x| {
            let layout = Layout::new(&[0, 3], &[0, 1, 2]);
            let [near, far] =
                [10_000.0, 160_000.0].map(|theta| RotaryTable::new(at.body(), 8, RotaryAngles::new(theta)));
            let (near, far) = (near?, far?);
            let mut qkv = x.states([3, shape(2, 2, 8).width()])?;
            for table in [&near, &far, &near] {
                qkv = Rope::new(shape(2, 2, 8), table.clone(), None).forward(qkv, &layout)?;
            }
            Ok(qkv)
        });
    }
}
