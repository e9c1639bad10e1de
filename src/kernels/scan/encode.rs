//! Vectors to codes: symmetric scalar quantization with a bound on each row's residual.
//!
//! ```text
//! step  := max |x_i| / 127
//! codes := round(x / step)                              nearest, ties to even
//! error := |x - step * codes|                           the residual's length, raised by what rounding can hide
//! norm  := at least |step * codes|
//! ```
//!
//! Cauchy-Schwarz makes of these lengths a bound on every product with the row: see `store::search`. All sums are
//! float32, in 16 partial sums of separate multiplications and additions, as not all sets can fuse them; so codes and
//! bounds have the same bits on every CPU. A sum of n squares in 16 partial sums takes n / 16 + 16 additions of one
//! rounding each; `row_sums::rounding` is more than that, for the square root and the products that follow too.
//!
//! The loop over a row is not that of `kernels::matrix::int8`, which is affine (a row's least number is 0, its largest
//! 255), sums nothing up, and fuses multiplication and addition: the two have only the store of a byte in common.

use super::row_sums::{MIN_MAGNITUDE, RowSums, largest, load, padded, total};
use super::{Bound, MAX_REGISTERS_PER_STEP, Metric, PARTIAL_SUMS, code_stride};
use crate::kernels::Isa;
use crate::kernels::simd::{Int8, Int8Operation, Simd};

/// The largest length of a row: longer ones have squares beyond float32.
const MAX_NORM: f32 = 1e18;

/// What a row is to a search, so that bounds say how far its codes are from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundReference {
    /// The vector that is encoded, which is kept too.
    Vectors,
    /// The codes: what they leave out is gone.
    Codes,
}

/// A row, by its number, that cannot be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeError {
    /// It has NaN or infinity.
    NotFinite(usize),
    /// It is longer than 1e18.
    TooLong(usize),
}

/// Where the codes of rows go.
pub struct CodeOutput<'a> {
    /// `[n, code_stride(dimension)]`
    pub codes: &'a mut [i8],
    /// `[n]`
    pub bounds: &'a mut [Bound],
}

/// Encodes `vectors [n, dimension]`: the same bits on every CPU.
///
/// # Errors
/// If a row is not finite, or longer than 1e18.
pub fn encode(
    isa: Isa,
    metric: Metric,
    reference: BoundReference,
    vectors: &[f32],
    dimension: usize,
    output: CodeOutput<'_>,
) -> Result<(), EncodeError> {
    let n = output.bounds.len();
    assert_eq!((vectors.len(), output.codes.len()), (n * dimension, n * code_stride(dimension)), "one row each");
    isa.run_int8(Encode { metric, reference, vectors, dimension, output })
}

struct Encode<'a> {
    metric: Metric,
    reference: BoundReference,
    vectors: &'a [f32],
    dimension: usize,
    output: CodeOutput<'a>,
}

impl Int8Operation for Encode<'_> {
    type Output = Result<(), EncodeError>;

    #[inline(always)]
    fn run<D: Int8>(self, d: D) -> Self::Output {
        let vectors = self.vectors.chunks_exact(self.dimension);
        let codes = self.output.codes.chunks_exact_mut(code_stride(self.dimension));
        for (i, ((vector, codes), bound)) in vectors.zip(codes).zip(self.output.bounds).enumerate() {
            let largest = largest(d.simd(), vector).ok_or(EncodeError::NotFinite(i))?;
            let step = if largest < MIN_MAGNITUDE { 0.0 } else { largest / 127.0 };
            let sums = round(d, vector, if step == 0.0 { 0.0 } else { 127.0 / largest }, codes);
            if step * sums.square.sqrt() > MAX_NORM {
                return Err(EncodeError::TooLong(i));
            }
            *bound = match self.reference {
                BoundReference::Vectors => sums.bound(self.metric, self.dimension, step, largest > 0.0),
                BoundReference::Codes => {
                    let sums = RowSums { square: sums.code_square, residual: 0.0, ..sums };
                    sums.bound(self.metric, self.dimension, step, false)
                }
            };
        }
        Ok(())
    }
}

/// Writes the codes of a vector, each the nearest integer to a number times `inverse`.
#[inline(always)]
fn round<D: Int8>(d: D, vector: &[f32], inverse: f32, codes: &mut [i8]) -> RowSums {
    let s = d.simd();
    let lanes = <D::Simd as Simd>::LANES;
    assert!(codes.len() >= vector.len().next_multiple_of(PARTIAL_SUMS), "a row of codes is whole lines");
    let (inverse, middle) = (s.splat(inverse), s.splat(128.0));
    let mut sums = [[s.splat(0.0); MAX_REGISTERS_PER_STEP]; 4];
    let (whole, rest) = vector.as_chunks::<PARTIAL_SUMS>();
    let mut to = codes.as_mut_ptr();
    for x in whole.iter().chain((!rest.is_empty()).then_some(&padded(rest))) {
        let x = load(s, x);
        for i in 0..PARTIAL_SUMS / lanes {
            let y = s.mul(x[i], inverse);
            let code = s.round(y);
            let residual = s.sub(y, code);
            // Not fused, as not all sets can.
            let terms = [s.mul(y, y), s.mul(residual, residual), s.mul(code, code), code];
            for j in 0..terms.len() {
                sums[j][i] = s.add(sums[j][i], terms[j]);
            }
            // SAFETY: `codes` has a byte for each number, in PARTIAL_SUMS at a time.
            unsafe {
                d.store_bytes(to.cast(), s.add(code, middle));
                to = to.add(lanes);
            }
        }
    }
    if D::FLIP == 0 {
        codes[..vector.len().next_multiple_of(PARTIAL_SUMS)].iter_mut().for_each(|code| *code ^= i8::MIN);
    }
    let [square, residual, code_square, codes] = [0, 1, 2, 3].map(|i| total(s, &sums[i]));
    RowSums { square, residual, code_square, codes }
}
