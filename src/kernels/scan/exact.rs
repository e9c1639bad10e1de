//! Exact scores: float64 inner products and distances with a fixed order of summation.
//!
//! ```text
//! for each i:  partial[i mod 16] += q_i * x_i            in float64, where the product of two float32 numbers is exact
//! score := partial[0] + partial[1] + ... + partial[15]
//! ```
//!
//! The order does not depend on the width of the CPU's registers, so scores have the same bits on every CPU, and a
//! search's answer is one answer. The sum is within `dimension * 2^-53` of the real one, relative to the sum of the
//! absolute values (Higham, "Accuracy and stability of numerical algorithms", section 4.2). The proof of
//! `store::search` builds on this.

use super::{Bound, MAX_REGISTERS_PER_STEP, Metric, PARTIAL_SUMS, code_stride};
use crate::kernels::Isa;
use crate::kernels::prefetch::prefetch;
use crate::kernels::simd::{MAX_LANES, Operation, Simd};

/// Rows of vectors as a store keeps them.
#[derive(Debug, Clone, Copy)]
pub enum StoredRows<'a> {
    /// `[rows, dimension]`
    Float32(&'a [f32]),
    /// `[rows, dimension]`
    Float16(&'a [half::f16]),
    /// `[rows, code_stride(dimension)]`, `[rows]`
    Int8(&'a [i8], &'a [Bound]),
}

impl StoredRows<'_> {
    /// Asks the memory for a row that will be read next.
    pub fn prefetch_row(self, row: usize, dimension: usize) {
        let (start, bytes): (*const u8, usize) = match self {
            StoredRows::Float32(vectors) => (vectors[row * dimension..].as_ptr().cast(), 4 * dimension),
            StoredRows::Float16(vectors) => (vectors[row * dimension..].as_ptr().cast(), 2 * dimension),
            StoredRows::Int8(codes, _) => (codes[row * code_stride(dimension)..].as_ptr().cast(), dimension),
        };
        for line in (0..bytes).step_by(64) {
            prefetch(start.wrapping_add(line));
        }
    }
}

/// The score of `query [dimension]`, which are float32 numbers, and a stored row, before the cosine's division by the
/// query's length and the root of the distance: ⟨q, x⟩ / |x|, ⟨q, x⟩ or -|q - x|².
pub fn exact_score(isa: Isa, metric: Metric, query: &[f64], stored: StoredRows<'_>, row: usize) -> f64 {
    isa.run(ExactScore { metric, query, stored, row })
}

struct ExactScore<'a> {
    metric: Metric,
    query: &'a [f64],
    stored: StoredRows<'a>,
    row: usize,
}

impl Operation for ExactScore<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let (d, row) = (self.query.len(), self.row);
        match self.stored {
            StoredRows::Float32(vectors) => score(s, self.metric, self.query, &vectors[row * d..][..d], 1.0),
            StoredRows::Float16(vectors) => score(s, self.metric, self.query, &vectors[row * d..][..d], 1.0),
            StoredRows::Int8(codes, bounds) => {
                let codes = &codes[row * code_stride(d)..][..d];
                score(s, self.metric, self.query, codes, f64::from(bounds[row].step))
            }
        }
    }
}

/// A number as a stored vector has it.
trait StoredNumber: Copy + Default {
    /// # Safety
    /// `from` is valid for reads of `LANES` numbers.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::D;
}

impl StoredNumber for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::D {
        // SAFETY: the caller vouches for the numbers.
        unsafe { s.load_widened(from) }
    }
}

impl StoredNumber for half::f16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const half::f16) -> S::D {
        let mut numbers = [0.0; MAX_LANES];
        // SAFETY: the caller vouches for LANES numbers, and no set has more than MAX_LANES.
        unsafe {
            s.store(numbers.as_mut_ptr(), s.load_float16(from.cast()));
            s.load_widened(numbers.as_ptr())
        }
    }
}

impl StoredNumber for i8 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const i8) -> S::D {
        let mut numbers = [0.0; MAX_LANES];
        // SAFETY: the caller vouches for LANES numbers, and no set has more than MAX_LANES.
        unsafe {
            for (i, number) in numbers[..S::LANES].iter_mut().enumerate() {
                *number = f32::from(*from.add(i));
            }
            s.load_widened(numbers.as_ptr())
        }
    }
}

/// The score of a row whose numbers are `step` times those of `x`.
#[inline(always)]
fn score<S: Simd, T: StoredNumber>(s: S, metric: Metric, query: &[f64], x: &[T], step: f64) -> f64 {
    let [mut first, mut second] = [[s.zeros(); MAX_REGISTERS_PER_STEP]; 2];
    let step_vector = s.splat_double(step);
    let (whole, rest) = query.as_chunks::<PARTIAL_SUMS>();
    let (whole_x, rest_x) = x.as_chunks::<PARTIAL_SUMS>();
    let (mut last, mut last_x) = ([0.0; PARTIAL_SUMS], [T::default(); PARTIAL_SUMS]);
    last[..rest.len()].copy_from_slice(rest);
    last_x[..rest.len()].copy_from_slice(rest_x);
    for (q, x) in whole.iter().zip(whole_x).chain([(&last, &last_x)]) {
        for i in 0..PARTIAL_SUMS / S::LANES {
            // SAFETY: LANES numbers start at each multiple of LANES below PARTIAL_SUMS.
            let (q, x) = unsafe {
                let at = i * S::LANES;
                (s.load_double(q.as_ptr().add(at)), T::load(s, x.as_ptr().add(at)))
            };
            match metric {
                Metric::Dot => first[i] = s.add_double(first[i], s.mul_double(q, x)),
                Metric::Cosine => {
                    first[i] = s.add_double(first[i], s.mul_double(q, x));
                    second[i] = s.add_double(second[i], s.mul_double(x, x));
                }
                Metric::L2 => {
                    let apart = s.sub_double(q, s.mul_double(x, step_vector));
                    first[i] = s.add_double(first[i], s.mul_double(apart, apart));
                }
            }
        }
    }
    let first = total(s, &first);
    match metric {
        Metric::Dot => first * step,
        Metric::Cosine => {
            let square = total(s, &second);
            if square == 0.0 { 0.0 } else { first / square.sqrt() }
        }
        Metric::L2 => -first,
    }
}

/// The sum of PARTIAL_SUMS numbers, in order.
#[inline(always)]
fn total<S: Simd>(s: S, sums: &[S::D; MAX_REGISTERS_PER_STEP]) -> f64 {
    let mut all = [0.0; PARTIAL_SUMS];
    for (to, &sum) in all.chunks_exact_mut(S::LANES).zip(sums) {
        // SAFETY: a chunk has LANES numbers.
        unsafe { s.store_double(to.as_mut_ptr(), sum) };
    }
    all.iter().sum()
}
