//! A learned bias on the scores of attention for the distance between tokens (Shaw et al. 2018, Raffel et al. 2020).

use std::ops::Range;

use candle_core::Tensor;

use crate::kernels::{Bias, BiasHead, BiasRows};
use crate::nn::AttentionBias;

/// A number for each head and each offset of a key from its query; keys after the query have positive ones.
pub struct PositionBias {
    /// `[heads, 2 * far + 1]`: of offsets from `-far` to `far`.
    values: Vec<f32>,
    /// Offsets beyond it count as this one.
    far: usize,
}

impl PositionBias {
    pub fn new(heads: usize, far: usize, value: impl Fn(usize, isize) -> f32) -> Self {
        let offsets = -(far as isize)..=far as isize;
        let values = (0..heads).flat_map(|head| offsets.clone().map(move |offset| (head, offset)));
        Self { values: values.map(|(head, offset)| value(head, offset)).collect(), far }
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
        // A query's own place moves up by one from row to row, so the row starts one before the last one.
        BiasRows { values: memory, start: head.len - 1 - rows.start, step: -1 }
    }
}

impl AttentionBias for PositionBias {
    fn kernel(&self) -> &dyn Bias {
        self
    }

    fn portable(&self, queries: &Tensor, _: &Tensor) -> candle_core::Result<Tensor> {
        let (heads, len, _) = queries.dims3()?;
        let mut spread = vec![0.0; heads * 2 * len];
        for (head, to) in spread.chunks_mut(2 * len).enumerate() {
            self.spread(head, len, &mut to[..2 * len - 1]);
        }
        // Rows of 2 · len numbers, one behind the other and read as rows of one fewer, move by one from row to row.
        Tensor::from_vec(spread, (heads, 1, 2 * len), queries.device())?
            .repeat((1, len, 1))?
            .reshape((heads, 2 * len * len))?
            .narrow(1, 0, (2 * len - 1) * len)?
            .reshape((heads, len, 2 * len - 1))?
            .narrow(2, len - 1, len)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernels::{self, Mask};
    use crate::nn::Attention;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree};

    fn bias(far: usize) -> PositionBias {
        PositionBias::new(3, far, |head, offset| (head as f32 - 1.0) * 0.1 + offset as f32 * 0.3)
    }

    #[test]
    fn far_offsets_count_as_the_farthest() {
        for (far, len) in [(2, 1), (2, 2), (2, 3), (2, 4), (2, 9), (0, 3), (5, 3)] {
            let bias = bias(far);
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
            let bias = Arc::new(bias(far));
            assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
                let shape = kernels::Attention { heads: 3, kv_heads: 3, head_dim: 8, scale: 0.35, mask: Mask::Full };
                let qkv = x.tensor(&[20, shape.width()])?;
                Attention::new(at.body(), shape).with_bias(bias.clone()).forward(&qkv, &[0, 1, 8, 8, 20], None, None)
            });
        }
    }
}
