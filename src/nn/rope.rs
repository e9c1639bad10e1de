//! Positions as rotations of queries and keys.

use std::sync::Arc;

use arc_swap::ArcSwap;
use candle_core::{DType, Tensor};

use crate::Result;
use crate::kernels::{self, Isa};
use crate::nn::{Body, Layout, Norm, cpu};
use crate::profile::{Stage, Work, stage};

/// The angles of every position, for all layers that turn by the same ones.
pub struct Rotations {
    /// `[head_dim / 2]`: of a position more.
    angles: Vec<f32>,
    /// For positions up to the longest so far.
    table: ArcSwap<Table>,
    body: Body,
}

/// Cosines and sines.
struct Table {
    positions: usize,
    values: Values,
}

enum Values {
    /// `[positions, head_dim]`: both of a position, one after the other.
    Cpu(Isa, Vec<f32>),
    /// `[positions, head_dim / 2]` each.
    Portable { cos: Tensor, sin: Tensor },
}

impl Rotations {
    /// Pair `i` of a head turns by `theta^(-2 i / head_dim)` for each position; `head_dim` is even.
    pub fn new(body: &Body, head_dim: usize, theta: f64) -> Result<Arc<Self>> {
        // In float32 step by step, as transformers does it: at a position in the thousands the last bit of it shows.
        let power = |i: usize| theta.powf(f64::from(2.0 * i as f32 / head_dim as f32)) as f32;
        let angles: Vec<f32> = (0..head_dim / 2).map(|i| 1.0 / power(i)).collect();
        let table = ArcSwap::from_pointee(Table::new(body, &angles, 1)?);
        Ok(Arc::new(Self { angles, table, body: body.clone() }))
    }

    /// A table that has all the `positions`.
    fn of(&self, positions: &[u32]) -> candle_core::Result<Arc<Table>> {
        let count = positions.iter().max().map_or(0, |&last| last as usize + 1);
        let table = self.table.load_full();
        if count <= table.positions {
            return Ok(table);
        }
        // Several threads may come here at once, and a shorter table be the one that stays: the next call makes up for it.
        let longer = Arc::new(Table::new(&self.body, &self.angles, count.next_power_of_two())?);
        self.table.store(longer.clone());
        Ok(longer)
    }
}

impl Table {
    fn new(body: &Body, angles: &[f32], positions: usize) -> candle_core::Result<Self> {
        let pairs = angles.len();
        // The product is rounded to float32, as in transformers.
        let angle = |position: usize, pair: usize| f64::from(position as f32 * angles[pair]);
        let values = match body {
            Body::Cpu { isa, .. } => {
                let mut values = vec![0.0; positions * 2 * pairs];
                for (position, values) in values.chunks_exact_mut(2 * pairs).enumerate() {
                    let (cos, sin) = values.split_at_mut(pairs);
                    for (pair, (cos, sin)) in cos.iter_mut().zip(sin).enumerate() {
                        (*sin, *cos) = (angle(position, pair).sin() as f32, angle(position, pair).cos() as f32);
                    }
                }
                Values::Cpu(*isa, values)
            }
            Body::Portable { device, .. } => {
                let tensor = |function: fn(f64) -> f64| {
                    let value = |i: usize| function(angle(i / pairs, i % pairs)) as f32;
                    Tensor::from_iter((0..positions * pairs).map(value), device)?.reshape((positions, pairs))
                };
                Values::Portable { cos: tensor(f64::cos)?, sin: tensor(f64::sin)? }
            }
        };
        Ok(Self { positions, values })
    }
}

/// Rotary position embedding (Su et al. 2021) of queries and keys, which may each be normalized head by head before it.
pub struct Rope {
    shape: kernels::AttentionShape,
    rotations: Arc<Rotations>,
    /// Of queries and of keys, each over a head.
    norms: Option<[Norm; 2]>,
}

impl Rope {
    /// `shape` is that of the attention behind it; `rotations` and `norms` (of queries, then of keys) are for its `head_dim`.
    pub fn new(shape: kernels::AttentionShape, rotations: Arc<Rotations>, norms: Option<[Norm; 2]>) -> Self {
        Self { shape, rotations, norms }
    }

    /// `qkv [tokens, (heads + 2 * kv_heads) * head_dim]` (a token's queries, keys and values one after the other) with its queries
    /// and keys turned by their tokens' positions.
    pub fn forward(&self, qkv: &Tensor, layout: &Layout) -> Result<Tensor> {
        // One is read, one is written.
        let work = || Work::bytes(2 * qkv.elem_count() * qkv.dtype().size_in_bytes());
        Ok(stage(Stage::Attention, work, || self.turn(qkv, layout))?)
    }

    fn turn(&self, qkv: &Tensor, layout: &Layout) -> candle_core::Result<Tensor> {
        let positions = layout.positions();
        match &self.rotations.of(positions)?.values {
            Values::Cpu(isa, table) => {
                let norms = self.norms.as_ref().map(|norms| norms.each_ref().map(Norm::kernel));
                cpu::map(qkv, self.shape.width(), |qkv, out| {
                    let rotations = kernels::RopeAngles { table, positions };
                    kernels::rope(*isa, &self.shape, norms, rotations, qkv, out);
                })
            }
            Values::Portable { cos, sin } => self.portable(qkv, layout.angles(&self.rotations, [cos, sin])?),
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
                    let rotations = Rotations::new(at.body(), head_dim, 10_000.0)?;
                    let norm = |name: &str| Norm::root_mean_square(&at.at(name), head_dim, 1e-6);
                    let norms = if normed { Some([norm("q")?, norm("k")?]) } else { None };
                    let rope = Rope::new(shape(heads, kv_heads, head_dim), rotations, norms);
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

    /// Theta, size of a head, and of some pairs the cosine and the sine at position 8191, as transformers computes them.
    type Reference = (f64, usize, [(usize, [f32; 2]); 4]);

    const REFERENCE: [Reference; 3] = [
        // ModernBERT's layers that see all, and those that see a window.
        (
            160_000.0,
            64,
            [
                (0, [-0.646_390_5, -0.763_006_8]),
                (5, [-0.957_329_6, 0.288_998_43]),
                (16, [-0.057_115_66, 0.998_367_55]),
                (31, [0.997_230_1, 0.074_378]),
            ],
        ),
        (
            10_000.0,
            64,
            [
                (0, [-0.646_390_5, -0.763_006_8]),
                (5, [0.631_096_84, 0.775_704]),
                (16, [0.973_987_6, 0.226_601_54]),
                (31, [0.460_456_07, 0.887_682_5]),
            ],
        ),
        // Qwen3's.
        (
            1_000_000.0,
            128,
            [
                (1, [-0.985_980_75, -0.166_859_25]),
                (5, [0.999_772_7, 0.021_319_414]),
                (32, [-0.330_674_65, 0.943_744_84]),
                (63, [0.999_948_3, 0.010_164_347]),
            ],
        ),
    ];

    /// Half precision would be off by whole turns here.
    #[test]
    fn angles_far_from_the_start_are_the_references() {
        let body = Body::Portable { device: candle_core::Device::Cpu, dtype: DType::BF16 };
        for (theta, head_dim, expected) in REFERENCE {
            let rotations = Rotations::new(&body, head_dim, theta).unwrap();
            let Values::Portable { cos, sin } = &rotations.of(&[8191]).unwrap().values else { panic!("portable") };
            for (pair, expected) in expected {
                for (table, expected) in [cos, sin].into_iter().zip(expected) {
                    let value: f32 = table.get(8191).unwrap().get(pair).unwrap().to_scalar().unwrap();
                    assert!((value - expected).abs() <= 1e-7, "theta {theta}, pair {pair}: {value} is not {expected}");
                }
            }
        }
    }

    #[test]
    fn halves_agree_with_float32() {
        let checkpoint = Checkpoint::random(&[("q.weight", &[12]), ("k.weight", &[12])]);
        assert_halves_agree(&checkpoint, |at, x| {
            let norm = |name: &str| Norm::root_mean_square(&at.at(name), 12, 1e-6);
            let rotations = Rotations::new(at.body(), 12, 10_000.0)?;
            let rope = Rope::new(shape(6, 2, 12), rotations, Some([norm("q")?, norm("k")?]));
            rope.forward(&x(&[4, rope.shape.width()])?, &Layout::new(&[0, 4], &[0, 1, 5000, 8191]))
        });
    }

    /// What is computed of positions is computed once for each table of angles.
    #[test]
    fn layers_share_a_batchs_angles() {
        let checkpoint = Checkpoint::random(&[]);
        assert_bodies_agree(&checkpoint, |at, x| {
            let layout = Layout::new(&[0, 3], &[0, 1, 2]);
            let [near, far] = [10_000.0, 160_000.0].map(|theta| Rotations::new(at.body(), 8, theta));
            let (near, far) = (near?, far?);
            let mut qkv = x.tensor(&[3, shape(2, 2, 8).width()])?;
            for rotations in [&near, &far, &near] {
                qkv = Rope::new(shape(2, 2, 8), rotations.clone(), None).forward(&qkv, &layout)?;
            }
            Ok(qkv)
        });
    }
}
