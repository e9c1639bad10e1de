//! Scores that decide.

use super::{Bound, MAX_VECTORS, Metric, SIDE_BY_SIDE, code_stride};
use crate::kernels::Isa;
use crate::kernels::prefetch::prefetch;
use crate::kernels::simd::{MAX_LANES, Operation, Simd};

/// Rows of vectors as a store keeps them.
#[derive(Debug, Clone, Copy)]
pub enum Stored<'a> {
    /// `[rows, dimension]`
    Float32(&'a [f32]),
    /// `[rows, dimension]`
    Float16(&'a [half::f16]),
    /// `[rows, code_stride(dimension)]`, `[rows]`
    Int8(&'a [i8], &'a [Bound]),
}

impl Stored<'_> {
    /// Asks the memory for a row that will be wanted next.
    pub fn ask_for(self, row: usize, dimension: usize) {
        let (start, bytes): (*const u8, usize) = match self {
            Stored::Float32(vectors) => (vectors[row * dimension..].as_ptr().cast(), 4 * dimension),
            Stored::Float16(vectors) => (vectors[row * dimension..].as_ptr().cast(), 2 * dimension),
            Stored::Int8(codes, _) => (codes[row * code_stride(dimension)..].as_ptr().cast(), dimension),
        };
        for line in (0..bytes).step_by(64) {
            prefetch(start.wrapping_add(line));
        }
    }
}

/// How alike `query [dimension]`, which are float32 numbers, and a stored row are, before the cosine's division by the query's length and the root of the
/// distance: ⟨q, x⟩ / |x|, ⟨q, x⟩ or -|q - x|².
///
/// Summed in float64, where the product of two float32 numbers is exact: number i is added to partial sum i mod 16, and the
/// partial sums in order. So the bits are the same on every CPU, and the sum is within dimension * 2^-53 of the real one, relative to
/// the sum of the absolute values.
pub fn exact(isa: Isa, metric: Metric, query: &[f64], stored: Stored<'_>, row: usize) -> f64 {
    isa.run(Exact { metric, query, stored, row })
}

struct Exact<'a> {
    metric: Metric,
    query: &'a [f64],
    stored: Stored<'a>,
    row: usize,
}

impl Operation for Exact<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let (d, row) = (self.query.len(), self.row);
        match self.stored {
            Stored::Float32(vectors) => score(s, self.metric, self.query, &vectors[row * d..][..d], 1.0),
            Stored::Float16(vectors) => score(s, self.metric, self.query, &vectors[row * d..][..d], 1.0),
            Stored::Int8(codes, bounds) => {
                let codes = &codes[row * code_stride(d)..][..d];
                score(s, self.metric, self.query, codes, f64::from(bounds[row].step))
            }
        }
    }
}

/// How numbers of a vector are kept.
trait Number: Copy + Default {
    /// # Safety
    /// `from` is valid for reads of `LANES` numbers.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::D;
}

impl Number for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::D {
        // SAFETY: the caller vouches for the numbers.
        unsafe { s.load_widened(from) }
    }
}

impl Number for half::f16 {
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

impl Number for i8 {
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

/// The numbers of `x` times `step` are the vector's.
#[inline(always)]
fn score<S: Simd, T: Number>(s: S, metric: Metric, query: &[f64], x: &[T], step: f64) -> f64 {
    let [mut first, mut second] = [[s.zeros(); MAX_VECTORS]; 2];
    let step_vector = s.splat_double(step);
    let (whole, rest) = query.as_chunks::<SIDE_BY_SIDE>();
    let (whole_x, rest_x) = x.as_chunks::<SIDE_BY_SIDE>();
    let (mut last, mut last_x) = ([0.0; SIDE_BY_SIDE], [T::default(); SIDE_BY_SIDE]);
    last[..rest.len()].copy_from_slice(rest);
    last_x[..rest.len()].copy_from_slice(rest_x);
    for (q, x) in whole.iter().zip(whole_x).chain([(&last, &last_x)]) {
        for i in 0..SIDE_BY_SIDE / S::LANES {
            // SAFETY: LANES numbers start at each multiple of LANES below SIDE_BY_SIDE.
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

/// The sum of SIDE_BY_SIDE numbers, in order.
#[inline(always)]
fn total<S: Simd>(s: S, sums: &[S::D; MAX_VECTORS]) -> f64 {
    let mut all = [0.0; SIDE_BY_SIDE];
    for (to, &sum) in all.chunks_exact_mut(S::LANES).zip(sums) {
        // SAFETY: a chunk has LANES numbers.
        unsafe { s.store_double(to.as_mut_ptr(), sum) };
    }
    all.iter().sum()
}
