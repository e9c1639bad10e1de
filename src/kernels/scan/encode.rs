//! Vectors to codes.

use super::{Bound, Metric, SIDE_BY_SIDE, code_stride};
use crate::kernels::Isa;
use crate::kernels::simd::{Operation, Simd};

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
    isa.run(Encode { metric, of, vectors, dimension, codes, bounds })
}

struct Encode<'a> {
    metric: Metric,
    of: CodesOf,
    vectors: &'a [f32],
    dimension: usize,
    codes: &'a mut [i8],
    bounds: &'a mut [Bound],
}

impl Operation for Encode<'_> {
    type Output = Result<(), Unencodable>;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Self::Output {
        let vectors = self.vectors.chunks_exact(self.dimension);
        let codes = self.codes.chunks_exact_mut(code_stride(self.dimension));
        for (i, ((vector, codes), bound)) in vectors.zip(codes).zip(self.bounds).enumerate() {
            let largest = largest(vector).ok_or(Unencodable::NotFinite(i))?;
            let step = if largest < SMALLEST { 0.0 } else { largest / 127.0 };
            let sums = round(vector, if step == 0.0 { 0.0 } else { 127.0 / largest }, codes);
            if step * sums.square.sqrt() > LONGEST {
                return Err(Unencodable::TooLong(i));
            }
            *bound = match self.of {
                CodesOf::Kept => sums.bound(self.metric, self.dimension, step, largest > 0.0),
                CodesOf::Themselves => Sums { square: sums.code_square, residual: 0.0, ..sums }.bound(
                    self.metric,
                    self.dimension,
                    step,
                    false,
                ),
            };
        }
        Ok(())
    }
}

/// The largest absolute value; None where one is NaN or infinite.
#[inline(always)]
fn largest(vector: &[f32]) -> Option<f32> {
    let mut most = [0.0_f32; SIDE_BY_SIDE];
    // Stays zero for finite numbers alone.
    let mut taint = [0.0_f32; SIDE_BY_SIDE];
    let (whole, rest) = vector.as_chunks::<SIDE_BY_SIDE>();
    for x in whole {
        for i in 0..SIDE_BY_SIDE {
            most[i] = if x[i].abs() > most[i] { x[i].abs() } else { most[i] };
            taint[i] += x[i] * 0.0;
        }
    }
    for (i, x) in rest.iter().enumerate() {
        most[i] = if x.abs() > most[i] { x.abs() } else { most[i] };
        taint[i] += x * 0.0;
    }
    taint.iter().all(|&x| x == 0.0).then(|| most.into_iter().fold(0.0, f32::max))
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
fn round(vector: &[f32], inverse: f32, codes: &mut [i8]) -> Sums {
    let mut sums = [[0.0_f32; SIDE_BY_SIDE]; 4];
    let (whole, rest) = vector.as_chunks::<SIDE_BY_SIDE>();
    let (vectors_codes, rest_codes) = codes.as_chunks_mut::<SIDE_BY_SIDE>();
    let mut add = |x: &[f32; SIDE_BY_SIDE], codes: &mut [i8; SIDE_BY_SIDE]| {
        for i in 0..SIDE_BY_SIDE {
            let y = x[i] * inverse;
            // The integer is in the lowest bits.
            let shifted = y + MAGIC;
            codes[i] = shifted.to_bits() as i8;
            let code = shifted - MAGIC;
            sums[0][i] += y * y;
            sums[1][i] += (y - code) * (y - code);
            sums[2][i] += code * code;
            sums[3][i] += code;
        }
    };
    for (x, codes) in whole.iter().zip(&mut *vectors_codes) {
        add(x, codes);
    }
    if !rest.is_empty() {
        let mut last = [0.0; SIDE_BY_SIDE];
        last[..rest.len()].copy_from_slice(rest);
        add(&last, &mut vectors_codes[whole.len()]);
    }
    debug_assert!(rest_codes.is_empty(), "a row of codes is whole lines");
    let [square, residual, code_square, codes] = sums.map(|sums| sums.iter().sum());
    Sums { square, residual, code_square, codes }
}

/// Added to a number below 2^22 it leaves the nearest integer in the lowest bits.
const MAGIC: f32 = 1.5 * (1 << 23) as f32;

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
