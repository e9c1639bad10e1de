//! Relative position bias: a learned number for each head and distance between tokens, added to the scores of attention
//! (T5: Raffel et al. 2020; distances clipped as in Shaw et al. 2018).
//!
//! ```text
//! row = [value(head, clip(offset, -far, far)) for offset in 1 - len ..= len - 1]
//! bias[query, key] = row[key - query + len - 1]
//! ```
//!
//! The matrix is a Toeplitz matrix: all its rows are stretches of one, each starting one number before that of the
//! query before it. So nothing of `[len, len]` is ever made on the CPU.

use std::ops::Range;

use candle_core::{DType, Tensor};

use crate::Result;
use crate::gpu::ScoreBias;
use crate::kernels::{Bias, BiasHead, BiasRows};
use crate::nn::attention_bias::by_position;
use crate::nn::loader::tensor;
use crate::nn::{AttentionBias, Body};

/// A number for each head and each offset of a key from its query; keys after the query have positive ones.
pub struct PositionBias {
    /// `[heads, 2 * far + 1]`: of offsets from `-far` to `far`.
    values: Vec<f32>,
    /// Offsets beyond it count as this one.
    far: usize,
    /// The values, for the portable body.
    table: Option<Tensor>,
    /// The values, for a GPU's body.
    on_gpu: Option<ScoreBias>,
}

impl PositionBias {
    pub fn new(body: &Body, heads: usize, far: usize, value: impl Fn(usize, isize) -> f32) -> Result<Self> {
        let offsets = -(far as isize)..=far as isize;
        let values = (0..heads).flat_map(|head| offsets.clone().map(move |offset| (head, offset)));
        let values: Vec<f32> = values.map(|(head, offset)| value(head, offset)).collect();
        let table = match body {
            Body::Cpu { .. } | Body::Gpu { .. } => None,
            Body::Portable { device, .. } => Some(tensor(&values, &[heads, 2 * far + 1], device, DType::F32)?),
        };
        let on_gpu = match body {
            Body::Gpu { passes, .. } => Some(ScoreBias::by_distance(passes.context(), far, &values)?),
            Body::Cpu { .. } | Body::Portable { .. } => None,
        };
        Ok(Self { values, far, table, on_gpu })
    }

    /// `[2 * far + 1]`
    fn of_head(&self, head: usize) -> &[f32] {
        let width = 2 * self.far + 1;
        &self.values[head * width..][..width]
    }

    /// The numbers of the `2 * len - 1` offsets between `len` tokens.
    fn spread(&self, head: usize, len: usize, to: &mut [f32]) {
        let values = self.of_head(head);
        match (len - 1).checked_sub(self.far) {
            Some(beyond) => {
                to[..beyond].fill(values[0]);
                to[beyond..][..values.len()].copy_from_slice(values);
                to[beyond + values.len()..].fill(values[2 * self.far]);
            }
            None => to.copy_from_slice(&values[self.far + 1 - len..][..2 * len - 1]),
        }
    }
}

impl Bias for PositionBias {
    fn memory_for(&self, len: usize) -> usize {
        (2 * len).saturating_sub(1)
    }

    fn prepare(&self, BiasHead { head, len, .. }: BiasHead, memory: &mut [f32]) {
        self.spread(head, len, &mut memory[..2 * len - 1]);
    }

    fn rows<'a>(&'a self, head: BiasHead, rows: Range<usize>, memory: &'a mut [f32]) -> BiasRows<'a> {
        BiasRows::by_distance(memory, head.len, rows)
    }
}

impl AttentionBias for PositionBias {
    fn kernel(&self) -> &dyn Bias {
        self
    }

    fn on_gpu(&self) -> &ScoreBias {
        let Some(numbers) = &self.on_gpu else { unreachable!("attention and its bias are of one body") };
        numbers
    }

    fn column(&self, distance: isize) -> u32 {
        (distance.clamp(-(self.far as isize), self.far as isize) + self.far as isize) as u32
    }

    fn portable(&self, q: &Tensor, _: &Tensor, columns: &Tensor) -> candle_core::Result<Tensor> {
        let Some(table) = &self.table else { unreachable!("attention and its bias are of one body") };
        by_position(&table.index_select(&columns.get(0)?, 1)?, q.dims()[2])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernels::{self, Dtype, Isa, Mask};
    use crate::nn::testing::{Checkpoint, assert_bodies_agree};
    use crate::nn::{Attention, Layout};

    fn bias(body: &Body, far: usize) -> PositionBias {
        PositionBias::new(body, 3, far, |head, offset| (head as f32 - 1.0) * 0.1 + offset as f32 * 0.3).unwrap()
    }

    #[test]
    fn far_offsets_count_as_the_farthest() {
        for (far, len) in [(2, 1), (2, 2), (2, 3), (2, 4), (2, 9), (0, 3), (5, 3)] {
            let bias = bias(&Body::Cpu { isa: Isa::available()[0], dtype: Dtype::Float32 }, far);
            let head = BiasHead { head: 2, len, queries: &[], keys: &[], stride: 0 };
            let mut memory = vec![f32::NAN; bias.memory_for(len)];
            bias.prepare(head, &mut memory);
            for (query, key) in (0..len).flat_map(|query| (0..len).map(move |key| (query, key))) {
                // Rows are asked for a few at a time.
                let first = query / 2 * 2;
                let BiasRows { values, start, step } = bias.rows(head, first..len.min(first + 2), &mut memory);
                let found = values[(start as isize + (query - first) as isize * step) as usize + key];
                let offset = (key as isize - query as isize).clamp(-(far as isize), far as isize);
                assert_eq!(found, 0.1 + offset as f32 * 0.3, "far {far}: query {query}, key {key} of {len}");
            }
        }
    }

    #[test]
    fn bodies_agree() {
        for far in [1, 4, 40] {
            for (offsets, rows) in [(&[0, 1, 8, 8, 60][..], None), (&[0, 1, 8, 60], Some(&[0, 7, 30][..]))] {
                assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
                    let shape =
                        kernels::AttentionShape { heads: 3, kv_heads: 3, head_dim: 8, scale: 0.35, mask: Mask::Full };
                    let qkv = x.states([60, shape.width()])?;
                    Attention::new(at.body(), shape).with_bias(Arc::new(bias(at.body(), far))).forward(
                        &qkv,
                        &Layout::new(offsets, &[]),
                        None,
                        rows,
                    )
                });
            }
        }
    }
}
