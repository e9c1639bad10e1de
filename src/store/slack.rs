//! How far scores that a device computes can be from the real ones.

use crate::kernels::{Bound, Metric};

/// Relative error of a product of two vectors of `dimension` numbers, for what its numbers add up to.
///
/// Products and sums in float32, each off by 2^-23 of itself at most: by half of that where a device rounds to the nearest, by all of it
/// where it cuts off. In whatever order a device sums, a number takes part in `dimension` sums at most. That is half of the bound; the
/// other half, and 256, are for the rounding of the query, of the weight, which a sum of `dimension` squares in float32 went into, and of
/// what is computed with the product. float32 products in less than float32, such as CUDA's TF32, are not covered; candle does not use
/// them unless it is told to.
fn rounding(dimension: usize) -> f64 {
    (2 * dimension + 256) as f64 * f64::from(f32::EPSILON)
}

/// What each of so many products and sums loses where numbers below float32's normal range are taken for 0.
fn flushed(dimension: usize) -> f64 {
    (2 * dimension) as f64 * f64::from(f32::MIN_POSITIVE)
}

/// The error of a row's scores on the scale of [`crate::kernels::Collect`], whatever the query.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Slack {
    /// At most so many times the length of the query,
    by_length: f64,
    /// and this,
    still: f64,
    /// and so many times the square of the query's length under [`crate::kernels::Metric::L2`], where exact scores are off by
    /// as much themselves.
    by_square: f64,
}

impl Slack {
    /// Of the row with that bound, whose product is multiplied by `weight`.
    pub(super) fn of(bound: &Bound, weight: f32, metric: Metric, dimension: usize) -> Self {
        let (rounding, flushed) = (rounding(dimension), flushed(dimension));
        let [norm, error, half_square, weight] = [bound.norm, bound.error, bound.half_square, weight].map(f64::from);
        // At least the length of the row as its metric sees it.
        let length = norm + error;
        // The direction of a row so small is not known.
        let unknown = if weight == 0.0 { error } else { 0.0 };
        Self {
            by_length: rounding * length + flushed * weight + unknown,
            still: 2.0 * rounding * half_square + flushed * (weight + length),
            by_square: if metric == Metric::L2 { 2.0 * dimension as f64 * f64::EPSILON } else { 0.0 },
        }
    }

    pub(super) fn most(self, other: Self) -> Self {
        Self {
            by_length: self.by_length.max(other.by_length),
            still: self.still.max(other.still),
            by_square: self.by_square.max(other.by_square),
        }
    }

    /// For a query of that length.
    pub(super) fn at(self, length: f64) -> f32 {
        ((self.by_length + self.by_square * length) * length + self.still) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::numbers;
    use crate::kernels::{CodesOf, Isa, code_stride, encode};

    #[test]
    fn it_covers_sums_in_float32_and_little_more() {
        for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
            for (dimension, times) in [(1, 1.0), (48, 1e9), (768, 1.0), (768, 1e-12), (4096, 1e-3)] {
                let rows = 50;
                // Numbers of all sizes, of one sign in every other row: there errors add up.
                let mut vectors = numbers(rows * dimension, 1);
                for (row, vector) in vectors.chunks_exact_mut(dimension).enumerate() {
                    vector.iter_mut().for_each(|x| *x *= times * if row % 2 == 0 { x.signum() } else { x.powi(4) });
                }
                let mut codes = vec![0; rows * code_stride(dimension)];
                let mut bounds = vec![Bound::default(); rows];
                let isa = Isa::available()[0];
                encode(isa, metric, CodesOf::Kept, &vectors, dimension, &mut codes, &mut bounds).unwrap();
                let query: Vec<f32> = numbers(dimension, 2).into_iter().map(f32::abs).collect();
                let length = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
                let q = length(&query);
                let unit = if metric == Metric::L2 { 1.0 } else { q };
                for (x, bound) in vectors.chunks_exact(dimension).zip(&bounds) {
                    let weight = if metric == Metric::Cosine { bound.scale / bound.step } else { 1.0 };
                    // One after the other, which is the worst order.
                    let product: f32 = query.iter().zip(x).map(|(q, x)| (f64::from(*q) / unit) as f32 * x).sum();
                    let found = product * weight - bound.half_square;
                    let exact: f64 = query.iter().zip(x).map(|(&q, &x)| f64::from(q) / unit * f64::from(x)).sum();
                    let exact = match metric {
                        Metric::Cosine => exact / length(x),
                        Metric::Dot => exact,
                        Metric::L2 => exact - length(x).powi(2) / 2.0,
                    };
                    let slack = f64::from(Slack::of(bound, weight, metric, dimension).at(q / unit));
                    assert!(
                        (f64::from(found) - exact).abs() <= slack,
                        "{metric:?} {dimension}: {found} {exact} {slack}"
                    );
                    let scale = match metric {
                        Metric::Cosine => 1.0,
                        Metric::Dot => length(x),
                        Metric::L2 => q * length(x) + length(x).powi(2) + q * q * 1e-8,
                    };
                    assert!(slack <= 3.0 * rounding(dimension) * scale, "{metric:?} {dimension}: {slack} of {scale}");
                }
            }
        }
    }

    #[test]
    fn the_direction_of_a_row_that_is_too_small_is_not_known() {
        let small = Bound { error: 1.1, ..Bound::default() };
        assert!(Slack::of(&small, 0.0, Metric::Cosine, 8).at(1.0) >= 1.1);
        assert!(Slack::of(&Bound::default(), 0.0, Metric::Cosine, 8).at(1.0) < 1e-30);
    }
}
