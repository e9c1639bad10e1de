//! What an adapter adds to a matrix: a product of two narrow ones (LoRA: <https://arxiv.org/abs/2106.09685>).
//!
//! ```text
//! W'[i, j] = W[i, j] + scale · Σ_r left[i, r] · right[r, j]          the sum over r first, in float32, in the order of r
//! ```
//!
//! A row is computed by itself, so that parts of a tensor have the bits of the whole.

use crate::Result;
use crate::memory::zeroed;

/// Terms of a sum that go over a row of the output together: it is then read and written a fourth as often.
const TERMS: usize = 4;

/// `scale · left · right`.
#[derive(Debug)]
pub(super) struct LowRank {
    /// `[n, rank]`
    left: Vec<f32>,
    /// `[rank, k]`
    right: Vec<f32>,
    rank: usize,
    scale: f32,
}

impl LowRank {
    /// Of `left [n, rank]` and `right [rank, k]`; `rank` is at least 1.
    pub(super) fn new(left: Vec<f32>, right: Vec<f32>, rank: usize, scale: f32) -> Self {
        Self { left, right, rank, scale }
    }

    /// Adds the rows from `first` on to `values [rows, k]`.
    pub(super) fn add_to(&self, values: &mut [f32], first: usize) -> Result<()> {
        let k = self.right.len() / self.rank;
        let mut sum: Vec<f32> = zeroed(k, "a row of an adapter")?;
        let lefts = self.left[first * self.rank..].chunks_exact(self.rank);
        for (row, left) in values.chunks_exact_mut(k.max(1)).zip(lefts) {
            sum.fill(0.0);
            for (left, right) in left.chunks(TERMS).zip(self.right.chunks(TERMS * k)) {
                let mut factors = [0.0; TERMS];
                factors[..left.len()].copy_from_slice(left);
                // What is missing in the last terms is multiplied by 0.
                let part = |i: usize| right.get(i * k..(i + 1) * k).unwrap_or(&right[..k]);
                let parts = part(0).iter().zip(part(1)).zip(part(2)).zip(part(3));
                for (sum, (((a, b), c), d)) in sum.iter_mut().zip(parts) {
                    *sum = (((*sum + factors[0] * a) + factors[1] * b) + factors[2] * c) + factors[3] * d;
                }
            }
            row.iter_mut().zip(&sum).for_each(|(value, sum)| *value += self.scale * sum);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_the_product() {
        for (n, rank, k) in [(1, 1, 1), (3, 2, 5), (4, 4, 7), (5, 7, 3), (2, 9, 17)] {
            let number = |i: usize| ((i * 37 + 11) % 64) as f32 / 32.0 - 1.0;
            let (left, right): (Vec<f32>, Vec<f32>) =
                ((0..n * rank).map(number).collect(), (5..5 + rank * k).map(number).collect());
            let product = |i: usize| (0..rank).map(|r| left[i / k * rank + r] * right[r * k + i % k]).sum::<f32>();
            // Multiples of 1/1024: all of it is exact.
            let expected: Vec<f32> = (0..n * k).map(|i| 3.0 + 0.5 * product(i)).collect();
            let low_rank = LowRank::new(left.clone(), right.clone(), rank, 0.5);
            for first in 0..n {
                let mut values = vec![3.0; (n - first) * k];
                low_rank.add_to(&mut values, first).unwrap();
                assert_eq!(values, expected[first * k..]);
            }
        }
    }
}
