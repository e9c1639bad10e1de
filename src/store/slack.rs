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
        let [norm, error, half_square, weight] =
            [bound.norm, bound.error, bound.half_square, weight].map(f64::from);
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
