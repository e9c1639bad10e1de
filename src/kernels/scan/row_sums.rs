//! Sums over a row, with the same bits on every CPU, and the bound that they make.

use super::{Bound, MAX_REGISTERS_PER_STEP, Metric, PARTIAL_SUMS};
use crate::kernels::simd::Simd;

/// The largest number of a row is at least this, else all its codes are 0: the inverse of their scale would be no
/// finite number.
pub(super) const MIN_MAGNITUDE: f32 = 1e-30;

/// PARTIAL_SUMS numbers in as many registers as it takes; the others are zero.
#[inline(always)]
pub(super) fn load<S: Simd>(s: S, x: &[f32; PARTIAL_SUMS]) -> [S::F; MAX_REGISTERS_PER_STEP] {
    let mut vectors = [s.splat(0.0); MAX_REGISTERS_PER_STEP];
    for (vector, x) in vectors.iter_mut().zip(x.chunks_exact(S::LANES)) {
        // SAFETY: a chunk has LANES numbers.
        *vector = unsafe { s.load(x.as_ptr()) };
    }
    vectors
}

/// What is left of a row after whole PARTIAL_SUMS numbers, and zeros.
#[inline(always)]
pub(super) fn padded(rest: &[f32]) -> [f32; PARTIAL_SUMS] {
    let mut padded = [0.0; PARTIAL_SUMS];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}

/// The largest absolute value; None where one is NaN or infinite.
#[inline(always)]
pub(super) fn largest<S: Simd>(s: S, vector: &[f32]) -> Option<f32> {
    let zero = s.splat(0.0);
    let mut most = [zero; MAX_REGISTERS_PER_STEP];
    let mut zeros = [zero; MAX_REGISTERS_PER_STEP];
    let (whole, rest) = vector.as_chunks::<PARTIAL_SUMS>();
    for x in whole.iter().chain([&padded(rest)]) {
        let x = load(s, x);
        for i in 0..PARTIAL_SUMS / S::LANES {
            most[i] = s.max(most[i], s.max(x[i], s.sub(zero, x[i])));
            zeros[i] = s.add_to_zeros(zeros[i], x[i]);
        }
    }
    let (mut largest, mut finite) = (0.0_f32, true);
    for i in 0..PARTIAL_SUMS / S::LANES {
        largest = largest.max(s.largest(most[i]));
        finite &= s.sum(zeros[i]) == 0.0;
    }
    finite.then_some(largest)
}

/// The sum of PARTIAL_SUMS numbers, in order.
#[inline(always)]
pub(super) fn total<S: Simd>(s: S, sums: &[S::F; MAX_REGISTERS_PER_STEP]) -> f32 {
    let mut all = [0.0; PARTIAL_SUMS];
    for (to, &sum) in all.chunks_exact_mut(S::LANES).zip(sums) {
        // SAFETY: a chunk has the lanes of a vector.
        unsafe { s.store(to.as_mut_ptr(), sum) };
    }
    all.iter().sum()
}

/// Sums over a row in units of its step.
#[derive(Default)]
pub(super) struct RowSums {
    /// Sum of the squares of its numbers.
    pub(super) square: f32,
    /// Sum of the squares of what the codes leave out.
    pub(super) residual: f32,
    /// Sum of the squares of the codes.
    pub(super) code_square: f32,
    /// Sum of the codes.
    pub(super) codes: f32,
}

impl RowSums {
    /// The bound of a row with these sums. `small`: whether the row may be other than zero where its step is 0.
    #[inline(always)]
    pub(super) fn bound(&self, metric: Metric, dimension: usize, step: f32, small: bool) -> Bound {
        let rounding = rounding(dimension);
        let length = self.square.sqrt();
        let residual = self.residual.sqrt() * (1.0 + rounding) + length * rounding;
        let norm = length * (1.0 + rounding) + residual;
        let error = residual + norm * rounding;
        let (scale, half_square) = match metric {
            Metric::Cosine if step == 0.0 => {
                // Nothing is known of its direction.
                return Bound { error: if small { 1.0 + rounding } else { 0.0 }, ..Bound::default() };
            }
            Metric::Cosine => (1.0 / length, 0.0),
            Metric::Dot => (step, 0.0),
            Metric::L2 => (step, (length * step) * (length * step) * (0.5 - rounding)),
        };
        let smallest = if small { MIN_MAGNITUDE * (dimension as f32).sqrt() } else { 0.0 };
        Bound { scale, error: error * scale + smallest, norm: norm * scale, half_square, sum: self.codes, step }
    }
}

/// More than the relative error that rounding leaves in a sum of so many squares, and in what is computed with it.
pub(super) fn rounding(dimension: usize) -> f32 {
    (dimension as f32 / 4.0 + 32.0) * f32::EPSILON
}
