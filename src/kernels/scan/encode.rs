//! Vectors to codes.

use super::{Bound, MAX_VECTORS, Metric, SIDE_BY_SIDE, code_stride};
use crate::kernels::Isa;
use crate::kernels::simd::{Int8, Int8Operation, Simd};

/// Longer vectors have squares beyond float32.
const LONGEST: f32 = 1e18;

/// Numbers below it have codes of 0: the inverse of their scale would be no finite number.
const SMALLEST: f32 = 1e-30;

/// What the codes stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodesOf {
    /// Vectors that are kept beside them.
    Kept,
    /// Themselves: what they leave out is gone.
    Themselves,
}

/// A row, by its number, that cannot be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unencodable {
    /// It has NaN or infinity.
    NotFinite(usize),
    /// It is longer than 1e18.
    TooLong(usize),
}

/// Writes `codes [n, code_stride(dimension)]` and `bounds [n]` of `vectors [n, dimension]`: the same bits on every CPU.
pub fn encode(
    isa: Isa,
    metric: Metric,
    of: CodesOf,
    vectors: &[f32],
    dimension: usize,
    codes: &mut [i8],
    bounds: &mut [Bound],
) -> Result<(), Unencodable> {
    let stride = code_stride(dimension);
    assert_eq!((vectors.len(), codes.len()), (bounds.len() * dimension, bounds.len() * stride), "one row each");
    isa.run_int8(Encode { metric, of, vectors, dimension, codes, bounds })
}

struct Encode<'a> {
    metric: Metric,
    of: CodesOf,
    vectors: &'a [f32],
    dimension: usize,
    codes: &'a mut [i8],
    bounds: &'a mut [Bound],
}

impl Int8Operation for Encode<'_> {
    type Output = Result<(), Unencodable>;

    #[inline(always)]
    fn run<D: Int8>(self, d: D) -> Self::Output {
        let vectors = self.vectors.chunks_exact(self.dimension);
        let codes = self.codes.chunks_exact_mut(code_stride(self.dimension));
        for (i, ((vector, codes), bound)) in vectors.zip(codes).zip(self.bounds).enumerate() {
            let largest = largest(d.simd(), vector).ok_or(Unencodable::NotFinite(i))?;
            let step = if largest < SMALLEST { 0.0 } else { largest / 127.0 };
            let sums = round(d, vector, if step == 0.0 { 0.0 } else { 127.0 / largest }, codes);
            if step * sums.square.sqrt() > LONGEST {
                return Err(Unencodable::TooLong(i));
            }
            *bound = match self.of {
                CodesOf::Kept => sums.bound(self.metric, self.dimension, step, largest > 0.0),
                CodesOf::Themselves => {
                    let sums = Sums { square: sums.code_square, residual: 0.0, ..sums };
                    sums.bound(self.metric, self.dimension, step, false)
                }
            };
        }
        Ok(())
    }
}

/// SIDE_BY_SIDE numbers in as many vectors as it takes; the others are zero.
#[inline(always)]
fn load<S: Simd>(s: S, x: &[f32; SIDE_BY_SIDE]) -> [S::F; MAX_VECTORS] {
    let mut vectors = [s.splat(0.0); MAX_VECTORS];
    for (vector, x) in vectors.iter_mut().zip(x.chunks_exact(S::LANES)) {
        // SAFETY: a chunk has LANES numbers.
        *vector = unsafe { s.load(x.as_ptr()) };
    }
    vectors
}

/// What is left of a row after whole SIDE_BY_SIDE numbers, and zeros.
#[inline(always)]
fn padded(rest: &[f32]) -> [f32; SIDE_BY_SIDE] {
    let mut padded = [0.0; SIDE_BY_SIDE];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}

/// The largest absolute value; None where one is NaN or infinite.
#[inline(always)]
fn largest<S: Simd>(s: S, vector: &[f32]) -> Option<f32> {
    let zero = s.splat(0.0);
    let mut most = [zero; MAX_VECTORS];
    // Stays zero for finite numbers alone.
    let mut taint = [zero; MAX_VECTORS];
    let (whole, rest) = vector.as_chunks::<SIDE_BY_SIDE>();
    for x in whole.iter().chain([&padded(rest)]) {
        let x = load(s, x);
        for i in 0..SIDE_BY_SIDE / S::LANES {
            most[i] = s.max(most[i], s.max(x[i], s.sub(zero, x[i])));
            taint[i] = s.add(taint[i], s.mul(x[i], zero));
        }
    }
    let (mut largest, mut finite) = (0.0_f32, true);
    for i in 0..SIDE_BY_SIDE / S::LANES {
        largest = largest.max(s.largest(most[i]));
        finite &= s.sum(taint[i]) == 0.0;
    }
    finite.then_some(largest)
}

/// Sums over a vector in units of its step.
struct Sums {
    /// Of the squares of its numbers.
    square: f32,
    /// Of the squares of what the codes leave out.
    residual: f32,
    /// Of the squares of the codes.
    code_square: f32,
    /// Of the codes.
    codes: f32,
}

/// Writes the codes of a vector, each the nearest integer to a number times `inverse`.
#[inline(always)]
fn round<D: Int8>(d: D, vector: &[f32], inverse: f32, codes: &mut [i8]) -> Sums {
    let s = d.simd();
    let lanes = <D::Simd as Simd>::LANES;
    assert!(codes.len() >= vector.len().next_multiple_of(SIDE_BY_SIDE), "a row of codes is whole lines");
    let (inverse, middle) = (s.splat(inverse), s.splat(128.0));
    let mut sums = [[s.splat(0.0); MAX_VECTORS]; 4];
    let (whole, rest) = vector.as_chunks::<SIDE_BY_SIDE>();
    let mut to = codes.as_mut_ptr();
    for x in whole.iter().chain((!rest.is_empty()).then_some(&padded(rest))) {
        let x = load(s, x);
        for i in 0..SIDE_BY_SIDE / lanes {
            let y = s.mul(x[i], inverse);
            let code = s.round(y);
            let residual = s.sub(y, code);
            // Not fused, as not all sets can.
            let terms = [s.mul(y, y), s.mul(residual, residual), s.mul(code, code), code];
            for j in 0..terms.len() {
                sums[j][i] = s.add(sums[j][i], terms[j]);
            }
            // SAFETY: `codes` has a byte for each number, in SIDE_BY_SIDE at a time.
            unsafe {
                d.store_bytes(to.cast(), s.add(code, middle));
                to = to.add(lanes);
            }
        }
    }
    if D::FLIP == 0 {
        codes[..vector.len().next_multiple_of(SIDE_BY_SIDE)].iter_mut().for_each(|code| *code ^= i8::MIN);
    }
    let mut totals = [0.0_f32; 4];
    for (total, sums) in totals.iter_mut().zip(&sums) {
        let mut all = [0.0; SIDE_BY_SIDE];
        for (to, &sum) in all.chunks_exact_mut(lanes).zip(sums) {
            // SAFETY: a chunk has the lanes of a vector.
            unsafe { s.store(to.as_mut_ptr(), sum) };
        }
        *total = all.iter().sum();
    }
    let [square, residual, code_square, codes] = totals;
    Sums { square, residual, code_square, codes }
}

impl Sums {
    /// `small`: whether the vector may be other than zero where its step is 0.
    #[inline(always)]
    fn bound(&self, metric: Metric, dimension: usize, step: f32, small: bool) -> Bound {
        let rounding = rounding(dimension);
        let length = self.square.sqrt();
        let residual = self.residual.sqrt() * (1.0 + rounding) + length * rounding;
        let norm = length * (1.0 + rounding) + residual;
        let error = residual + norm * rounding;
        let (scale, half_square) = match metric {
            Metric::Cosine if step == 0.0 => {
                // Of its direction nothing is known.
                return Bound { error: if small { 1.0 + rounding } else { 0.0 }, ..Bound::default() };
            }
            Metric::Cosine => (1.0 / length, 0.0),
            Metric::Dot => (step, 0.0),
            Metric::L2 => (step, (length * step) * (length * step) * (0.5 - rounding)),
        };
        let smallest = if small { SMALLEST * (dimension as f32).sqrt() } else { 0.0 };
        Bound { scale, error: error * scale + smallest, norm: norm * scale, half_square, sum: self.codes, step }
    }
}

/// More than the relative error that rounding leaves in a sum of so many squares, and in what is computed with it.
pub(super) fn rounding(dimension: usize) -> f32 {
    (dimension as f32 / 4.0 + 32.0) * f32::EPSILON
}
