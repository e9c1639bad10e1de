//! Attention with linear biases (ALiBi: Press et al. 2022), of tokens that see both sides: the score of a key falls with
//! its distance from the query, in each head by another slope.
//!
//! ```text
//! bias[query, key] = -slope(head) |key - query|
//! slope(i)         = 2^(-8 (i + 1) / n)          for n heads, a power of two
//! ```
//!
//! Of other numbers of heads, the first have the slopes of the next lower power of two, and those that are left every
//! second slope of twice that power, from its first on: so the paper's code has it.
//!
//! The matrix is a Toeplitz matrix, as in [`PositionBias`](crate::nn::PositionBias); there is no table of distances, so
//! that texts may be of any length.

use std::ops::Range;

use candle_core::{DType, Tensor};

use crate::Result;
use crate::gpu::{MAX_ROWS, ScoreBias};
use crate::kernels::{Bias, BiasHead, BiasRows};
use crate::nn::attention_bias::by_position;
use crate::nn::loader::tensor;
use crate::nn::{AttentionBias, Body};

/// The slopes of the heads.
pub struct Alibi {
    slopes: Vec<f32>,
    /// `[heads, 1]`: the negative slopes, for the portable body.
    falls: Option<Tensor>,
    /// The biases of all distances within a pass, for a GPU's body.
    on_gpu: Option<ScoreBias>,
}

impl Alibi {
    pub fn new(body: &Body, heads: usize) -> Result<Self> {
        let slopes = slopes(heads);
        let falls = match body {
            Body::Cpu { .. } | Body::Gpu { .. } => None,
            Body::Portable { device, .. } => {
                let falls: Vec<f32> = slopes.iter().map(|slope| -slope).collect();
                Some(tensor(&falls, &[heads, 1], device, DType::F32)?)
            }
        };
        let on_gpu = match body {
            Body::Gpu { passes, .. } => {
                let far = MAX_ROWS - 1;
                let of_head = |&slope: &f32| (0..2 * far + 1).map(move |i| -slope * i.abs_diff(far) as f32);
                let values: Vec<f32> = slopes.iter().flat_map(of_head).collect();
                Some(ScoreBias::by_distance(passes.context(), far, &values)?)
            }
            Body::Cpu { .. } | Body::Portable { .. } => None,
        };
        Ok(Self { slopes, falls, on_gpu })
    }
}

fn slopes(heads: usize) -> Vec<f32> {
    let of_power = |n: usize| (1..=n).map(move |i| 2_f64.powf(-8.0 * i as f64 / n as f64));
    let lower = 1 << heads.ilog2();
    of_power(lower).chain(of_power(2 * lower).step_by(2)).take(heads).map(|slope| slope as f32).collect()
}

impl Bias for Alibi {
    fn memory_for(&self, len: usize) -> usize {
        (2 * len).saturating_sub(1)
    }

    fn prepare(&self, BiasHead { head, len, .. }: BiasHead, memory: &mut [f32]) {
        let fall = -self.slopes[head];
        for (i, value) in memory[..2 * len - 1].iter_mut().enumerate() {
            *value = fall * i.abs_diff(len - 1) as f32;
        }
    }

    fn rows<'a>(&'a self, head: BiasHead, rows: Range<usize>, memory: &'a mut [f32]) -> BiasRows<'a> {
        BiasRows::by_distance(memory, head.len, rows)
    }
}

impl AttentionBias for Alibi {
    fn kernel(&self) -> &dyn Bias {
        self
    }

    fn on_gpu(&self) -> &ScoreBias {
        let Some(numbers) = &self.on_gpu else { unreachable!("attention and its bias are of one body") };
        numbers
    }

    fn column(&self, distance: isize) -> u32 {
        distance.unsigned_abs() as u32
    }

    fn portable(&self, q: &Tensor, _: &Tensor, columns: &Tensor) -> candle_core::Result<Tensor> {
        let Some(falls) = &self.falls else { unreachable!("attention and its bias are of one body") };
        let distances = columns.narrow(0, 0, 1)?.to_dtype(DType::F32)?;
        by_position(&falls.broadcast_mul(&distances)?, q.dims()[2])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernels::{self, Dtype, Isa, Mask};
    use crate::nn::testing::{BlockInputs, Checkpoint, assert_bodies_agree};
    use crate::nn::{Attention, Layout, States};

    #[test]
    fn slopes_are_the_papers() {
        assert_eq!(slopes(1), [2_f32.powi(-8)]);
        assert_eq!(slopes(8), [1, 2, 3, 4, 5, 6, 7, 8].map(|i| 2_f32.powi(-i)));
        // Twelve heads, as BERT has: those of eight, and of sixteen the first, third, fifth and seventh.
        assert_eq!(slopes(12)[..8], slopes(8));
        assert_eq!(slopes(12)[8..], [0, 2, 4, 6].map(|i| slopes(16)[i]));
        assert_eq!(slopes(16)[0], 2_f32.powf(-0.5));
    }

    #[test]
    fn a_key_counts_less_the_farther_it_is() {
        let alibi = Alibi::new(&Body::Cpu { isa: Isa::available()[0], dtype: Dtype::Float32 }, 4).unwrap();
        for len in [1, 2, 9, 8192] {
            let head = BiasHead { head: 1, len, queries: &[], keys: &[], stride: 0 };
            // No more than a number for each distance, however long the text is.
            let mut memory = vec![f32::NAN; alibi.memory_for(len)];
            assert!(memory.len() < 2 * len);
            alibi.prepare(head, &mut memory);
            for (query, key) in [(0, 0), (0, len - 1), (len - 1, 0), (len / 2, len / 3), (len / 3, len / 2)] {
                let BiasRows { values, start, .. } = alibi.rows(head, query..query + 1, &mut memory);
                assert_eq!(values[start + key], -0.0625 * key.abs_diff(query) as f32, "{query}, {key} of {len}");
            }
        }
    }

    const SHAPE: kernels::AttentionShape =
        kernels::AttentionShape { heads: 3, kv_heads: 3, head_dim: 8, scale: 0.35, mask: Mask::Full };

    fn attend(body: &Body, x: &mut BlockInputs, offsets: &[u32], rows: Option<&[u32]>) -> Result<States> {
        let qkv = x.states([*offsets.last().unwrap() as usize, SHAPE.width()])?;
        let bias = Arc::new(Alibi::new(body, SHAPE.heads)?);
        Attention::new(body, SHAPE).with_bias(bias).forward(&qkv, &Layout::new(offsets, &[]), None, rows)
    }

    #[test]
    fn bodies_agree() {
        for (offsets, rows) in
            [(&[0, 1, 8, 8, 60][..], None), (&[0, 1, 8, 60], Some(&[0, 7, 30][..])), (&[0, 700], None)]
        {
            assert_bodies_agree(&Checkpoint::random(&[]), |at, x| attend(at.body(), x, offsets, rows));
        }
    }

    /// Integers have their scores in 8 bits, but the bias in float32.
    #[test]
    fn integers_are_near_the_portable_body() {
        let offsets = [0, 40, 300];
        let run = |body: Body| -> Vec<f32> {
            attend(&body, &mut BlockInputs::new(&body), &offsets, None).unwrap().read(<[f32]>::to_vec).unwrap()
        };
        let expected = run(Body::Portable { device: candle_core::Device::Cpu, dtype: DType::F32 });
        for isa in Isa::available() {
            for (a, b) in run(Body::Cpu { isa, dtype: Dtype::Int8 }).iter().zip(&expected) {
                assert!((a - b).abs() <= 0.03, "{}: {a} is not {b}", isa.name());
            }
        }
    }
}
