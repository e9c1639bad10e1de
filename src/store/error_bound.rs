//! How far float32 scores that a device computes can be from the real ones.
//!
//! The standard forward error bound of an inner product (Higham, "Accuracy and stability of numerical algorithms",
//! section 3.1): computed in any order, it is within `n u / (1 - n u)` of the real one relative to the sum of the
//! products' absolute values, which is at most `|q| |x|`. The constants below are about twice that, and each says for
//! what.

use crate::kernels::{Bound, Metric};

/// Relative error of a product of two vectors of `dimension` numbers, for what its numbers add up to.
///
/// Products and sums in float32, each off by 2^-23 of itself at most: by half of that where a device rounds to the
/// nearest, by all of it where it cuts off. In whatever order a device sums, a number takes part in `dimension` sums at
/// most. That is half of the bound; the other half, and 256, are for the rounding of the query, of the weight, which a
/// sum of `dimension` squares in float32 went into, and of what is computed with the product. float32 products in less
/// than float32, such as CUDA's TF32, are not covered; candle does not use them unless it is told to.
fn rounding(dimension: usize) -> f64 {
    (2 * dimension + 256) as f64 * f64::from(f32::EPSILON)
}

/// The most that so many products and sums together lose where numbers below float32's normal range are taken for 0.
fn underflow(dimension: usize) -> f64 {
    (2 * dimension) as f64 * f64::from(f32::MIN_POSITIVE)
}

/// The error of a row's scores on the scale of [`crate::kernels::Collector`], whatever the query.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ErrorBound {
    /// At most so many times the length of the query,
    per_length: f64,
    /// and this,
    constant: f64,
    /// and so many times the square of the query's length under [`crate::kernels::Metric::L2`], where exact scores are
    /// off by as much themselves.
    per_square: f64,
}

impl ErrorBound {
    /// The error bound of the row with that `bound`, whose product is multiplied by `weight`.
    pub(super) fn for_row(bound: &Bound, weight: f32, metric: Metric, dimension: usize) -> Self {
        let (rounding, underflow) = (rounding(dimension), underflow(dimension));
        let [norm, error, half_square, weight] = [bound.norm, bound.error, bound.half_square, weight].map(f64::from);
        // At least the length of the row as its metric sees it.
        let length = norm + error;
        // The direction of a row so small is not known.
        let unknown = if weight == 0.0 { error } else { 0.0 };
        Self {
            per_length: rounding * length + underflow * weight + unknown,
            constant: 2.0 * rounding * half_square + underflow * (weight + length),
            per_square: if metric == Metric::L2 { 2.0 * dimension as f64 * f64::EPSILON } else { 0.0 },
        }
    }

    /// What holds for both rows.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            per_length: self.per_length.max(other.per_length),
            constant: self.constant.max(other.constant),
            per_square: self.per_square.max(other.per_square),
        }
    }

    /// The error of scores of a query of that length.
    pub(super) fn for_query(self, length: f64) -> f32 {
        ((self.per_length + self.per_square * length) * length + self.constant) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::numbers;
    use crate::kernels::{BoundReference, CodeOutput, Isa, code_stride, encode};

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
                let output = CodeOutput { codes: &mut codes, bounds: &mut bounds };
                encode(isa, metric, BoundReference::Vectors, &vectors, dimension, output).unwrap();
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
                    let error_bound =
                        f64::from(ErrorBound::for_row(bound, weight, metric, dimension).for_query(q / unit));
                    assert!(
                        (f64::from(found) - exact).abs() <= error_bound,
                        "{metric:?} {dimension}: {found} {exact} {error_bound}"
                    );
                    let scale = match metric {
                        Metric::Cosine => 1.0,
                        Metric::Dot => length(x),
                        Metric::L2 => q * length(x) + length(x).powi(2) + q * q * 1e-8,
                    };
                    assert!(
                        error_bound <= 3.0 * rounding(dimension) * scale,
                        "{metric:?} {dimension}: {error_bound} of {scale}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_direction_of_a_row_that_is_too_small_is_not_known() {
        let small = Bound { error: 1.1, ..Bound::default() };
        assert!(ErrorBound::for_row(&small, 0.0, Metric::Cosine, 8).for_query(1.0) >= 1.1);
        assert!(ErrorBound::for_row(&Bound::default(), 0.0, Metric::Cosine, 8).for_query(1.0) < 1e-30);
    }
}
