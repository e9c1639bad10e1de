//! Coarse codes: four bits for each number of a row, with a bound of their own, for a first look at half the bytes.
//!
//! Uniform scalar quantization to 16 levels (Max, "Quantizing for minimum distortion", 1960), of which the outer two take
//! what is beyond them:
//!
//! ```text
//! step   := .3352 * root mean square of x               the best for normally distributed numbers (Max, table II),
//!           or max |x_i| / 8 if that is less            by which nothing is cut off;
//!           where max |x_i| is five times the root mean square: the one of both and their geometric mean with the
//!           least error
//! level  := round(x / step + 7.5), at least 0 and at most 15, which stands for step * (level - 7.5)
//! error  := |x - step * (level - 7.5)|
//! ```
//!
//! A row is 16 bytes of its [`CoarseBound`], then for each 64 numbers 32 bytes: byte i has number i in its lower bits and
//! number i + 32 in its upper ones. So a row is read at one place, and levels come apart by a mask and a shift. As the
//! codes of `encode`, they have the same bits on every CPU.

use super::encode::EncodeError;
use super::row_sums::{MIN_MAGNITUDE, RowSums, largest, load, padded, total};
use super::{Bound, MAX_REGISTERS_PER_STEP, Metric, PARTIAL_SUMS, code_stride};
use crate::kernels::Isa;
use crate::kernels::simd::{Int8, Int8Operation, Simd};

/// Numbers whose levels are in consecutive bytes.
const CHUNK: usize = 64;

/// Steps that are tried for a row with large numbers.
const STEPS: usize = 3;

/// A row has large numbers where the largest is so many times the root mean square: of a thousand normally distributed
/// ones the largest is mostly 3.3 times that.
const LARGE: f32 = 5.0;

/// The step with the least mean square error for numbers of a standard normal distribution, and 16 levels.
const NORMAL_STEP: f32 = 0.3352;

/// What the levels of a row mean: as the [`Bound`] of codes.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct CoarseBound {
    /// The row as its metric sees it is about `scale * (2 * levels - 15)`: so integers are multiplied.
    pub(super) scale: f32,
    pub(super) error: f32,
    pub(super) norm: f32,
    pub(super) half_square: f32,
}

/// Bytes of a row's [`CoarseBound`], before its levels.
pub(super) const COARSE_BOUND_BYTES: usize = size_of::<CoarseBound>();

/// Bytes from one row of coarse codes to the next.
pub fn coarse_stride(dimension: usize) -> usize {
    COARSE_BOUND_BYTES + code_stride(dimension) / 2
}

/// Encodes `vectors [n, dimension]` to `coarse [n, coarse_stride(dimension)]`: the same bits on every CPU.
///
/// # Errors
/// If a row is not finite.
pub fn encode_coarse(
    isa: Isa,
    metric: Metric,
    vectors: &[f32],
    dimension: usize,
    coarse: &mut [u8],
) -> Result<(), EncodeError> {
    assert_eq!(coarse.len(), vectors.len() / dimension * coarse_stride(dimension), "one row each");
    isa.run_int8(EncodeCoarse { metric, vectors, dimension, coarse })
}

struct EncodeCoarse<'a> {
    metric: Metric,
    vectors: &'a [f32],
    dimension: usize,
    coarse: &'a mut [u8],
}

impl Int8Operation for EncodeCoarse<'_> {
    type Output = Result<(), EncodeError>;

    #[inline(always)]
    fn run<D: Int8>(self, d: D) -> Self::Output {
        let rows = self.coarse.chunks_exact_mut(coarse_stride(self.dimension));
        for (i, (vector, row)) in self.vectors.chunks_exact(self.dimension).zip(rows).enumerate() {
            let largest = largest(d.simd(), vector).ok_or(EncodeError::NotFinite(i))?;
            let (head, bytes) = row.split_at_mut(COARSE_BOUND_BYTES);
            let sums = if largest < MIN_MAGNITUDE {
                bytes.fill(0);
                RowSums::default().bound(self.metric, self.dimension, 0.0, largest > 0.0)
            } else {
                // By the step of codes: numbers times it are neither too large nor too small to be squared.
                let length = largest / 127.0 * length(d.simd(), vector, 127.0 / largest);
                let whole = largest / 8.0;
                let mean = length / (self.dimension as f32).sqrt();
                let normal = whole.min(NORMAL_STEP * mean);
                let step = match largest > LARGE * mean {
                    true => best_step(d.simd(), vector, [whole, normal, (whole / normal).sqrt() * normal]),
                    false => normal,
                };
                let residual = round(d, vector, 1.0 / step, bytes);
                let square = (length / step) * (length / step);
                RowSums { square, residual, ..RowSums::default() }.bound(self.metric, self.dimension, step, true)
            };
            let Bound { scale, error, norm, half_square, .. } = sums;
            head.copy_from_slice(bytemuck::bytes_of(&CoarseBound { scale: scale / 2.0, error, norm, half_square }));
        }
        Ok(())
    }
}

/// The length of a vector whose numbers are multiplied by `inverse`.
#[inline(always)]
fn length<S: Simd>(s: S, vector: &[f32], inverse: f32) -> f32 {
    let inverse = s.splat(inverse);
    let mut sums = [s.splat(0.0); MAX_REGISTERS_PER_STEP];
    let (whole, rest) = vector.as_chunks::<PARTIAL_SUMS>();
    for x in whole.iter().chain((!rest.is_empty()).then_some(&padded(rest))) {
        let x = load(s, x);
        for i in 0..PARTIAL_SUMS / S::LANES {
            let y = s.mul(x[i], inverse);
            // Not fused, as not all sets can.
            sums[i] = s.add(sums[i], s.mul(y, y));
        }
    }
    total(s, &sums).sqrt()
}

/// The levels of numbers in steps, and what they leave out.
#[inline(always)]
fn levels<S: Simd>(s: S, y: S::F) -> (S::F, S::F) {
    let middle = s.splat(7.5);
    let level = s.clamp(s.round(s.add(y, middle)), 0.0, 15.0);
    (level, s.sub(y, s.sub(level, middle)))
}

/// The step by which levels leave out least.
#[inline(always)]
fn best_step<S: Simd>(s: S, vector: &[f32], steps: [f32; STEPS]) -> f32 {
    let inverses = steps.map(|step| s.splat(1.0 / step));
    let mut sums = [[s.splat(0.0); MAX_REGISTERS_PER_STEP]; STEPS];
    let (whole, rest) = vector.as_chunks::<PARTIAL_SUMS>();
    for x in whole.iter().chain((!rest.is_empty()).then_some(&padded(rest))) {
        let x = load(s, x);
        for (sums, &inverse) in sums.iter_mut().zip(&inverses) {
            for i in 0..PARTIAL_SUMS / S::LANES {
                let (_, residual) = levels(s, s.mul(x[i], inverse));
                sums[i] = s.add(sums[i], s.mul(residual, residual));
            }
        }
    }
    let mut best = (f32::INFINITY, steps[0]);
    for (step, sums) in steps.into_iter().zip(&sums) {
        let error = total(s, sums) * step * step;
        if error < best.0 {
            best = (error, step);
        }
    }
    best.1
}

/// Writes the levels of a vector whose numbers are multiplied by `inverse`. Returns the sum of the squares of what they
/// leave out.
#[inline(always)]
fn round<D: Int8>(d: D, vector: &[f32], inverse: f32, bytes: &mut [u8]) -> f32 {
    let (s, lanes) = (d.simd(), <D::Simd as Simd>::LANES);
    let inverse = s.splat(inverse);
    let mut sums = [s.splat(0.0); MAX_REGISTERS_PER_STEP];
    for (numbers, bytes) in vector.chunks(CHUNK).zip(bytes.chunks_exact_mut(CHUNK / 2)) {
        // Beyond the dimension a query has zeros, whatever is there.
        let mut found = [0; CHUNK];
        let (whole, rest) = numbers.as_chunks::<PARTIAL_SUMS>();
        let mut to = found.as_mut_ptr();
        for x in whole.iter().chain((!rest.is_empty()).then_some(&padded(rest))) {
            let x = load(s, x);
            for i in 0..PARTIAL_SUMS / lanes {
                let (level, residual) = levels(s, s.mul(x[i], inverse));
                // Not fused, as not all sets can.
                sums[i] = s.add(sums[i], s.mul(residual, residual));
                // SAFETY: `found` has a byte for each number of a chunk, in PARTIAL_SUMS at a time.
                unsafe {
                    d.store_bytes(to, level);
                    to = to.add(lanes);
                }
            }
        }
        let (lower, upper) = found.split_at(CHUNK / 2);
        for ((byte, lower), upper) in bytes.iter_mut().zip(lower).zip(upper) {
            // The sign that some sets flip is none of these bits.
            *byte = lower & 15 | upper << 4;
        }
    }
    total(s, &sums)
}
