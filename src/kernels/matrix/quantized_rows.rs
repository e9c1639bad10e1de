//! Rows of a product's input in bytes: rotated, and each quantized with a range of its own. `int8.rs` says why.

use crate::kernels::Isa;
use crate::kernels::aligned::scratch;
use crate::kernels::hadamard::transform;
use crate::kernels::simd::{Int8, Int8Operation, MAX_LANES, Simd};

/// Quantized rows.
#[derive(Clone, Copy)]
pub(super) struct QuantizedRows<'a> {
    /// `[m, stride]`; those beyond a row's numbers mean nothing.
    pub(super) bytes: &'a [u8],
    pub(super) stride: usize,
    /// `[m]`
    pub(super) ranges: &'a [RowRange],
}

/// Gives `work` the rows of `x [m, k]`.
pub(super) fn quantized<R>(isa: Isa, x: &[f32], k: usize, work: impl FnOnce(QuantizedRows) -> R) -> R {
    let (m, stride) = (x.len() / k, k.next_multiple_of(MAX_LANES));
    scratch(m * stride, |rows: &mut [u8]| {
        scratch(m, |ranges: &mut [RowRange]| {
            // Around `run_int8` and not inside it: a closure in there would be compiled without the instruction set.
            scratch(k, |rotated| isa.run_int8(Quantize { x, k, rotated, rows, stride, ranges }));
            work(QuantizedRows { bytes: rows, stride, ranges })
        })
    })
}

/// What a row's bytes mean: `scale * byte + low`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct RowRange {
    pub(super) scale: f32,
    pub(super) low: f32,
}

/// `x [m, k]`, rotated, to bytes `rows [m, stride]` and their `ranges [m]`.
struct Quantize<'a> {
    x: &'a [f32],
    k: usize,
    /// `[k]`
    rotated: &'a mut [f32],
    rows: &'a mut [u8],
    stride: usize,
    ranges: &'a mut [RowRange],
}

impl Int8Operation for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<D: Int8>(self, d: D) {
        let rows = self.x.chunks_exact(self.k).zip(self.rows.chunks_exact_mut(self.stride));
        for ((x, row), range) in rows.zip(self.ranges) {
            transform(d.simd(), x, self.rotated);
            *range = quantize_row(d, self.rotated, row);
        }
    }
}

/// Bytes beyond `x` mean nothing: the weights there are zero.
#[inline(always)]
fn quantize_row<D: Int8>(d: D, x: &[f32], row: &mut [u8]) -> RowRange {
    let s = d.simd();
    let lanes = <D::Simd as Simd>::LANES;
    assert!(row.len() >= x.len().next_multiple_of(lanes), "rows are whole vectors");
    let whole = x.len() / lanes * lanes;
    let (mut low, mut high) = (s.splat(x[0]), s.splat(x[0]));
    // Bytes cannot say that a number is none, and the extremes skip it.
    let mut zeros = s.splat(0.0);
    for i in (0..whole).step_by(lanes) {
        // SAFETY: LANES numbers start at i.
        let values = unsafe { s.load(x.as_ptr().add(i)) };
        (low, high) = (s.min(low, values), s.max(high, values));
        zeros = s.add_to_zeros(zeros, values);
    }
    // SAFETY: reads what is left.
    let rest = unsafe { s.load_first(x.as_ptr().add(whole), x.len() - whole, x[0]) };
    let low = -s.largest(s.sub(s.splat(0.0), s.min(low, rest)));
    let scale = (s.largest(s.max(high, rest)) - low) / f32::from(D::WEIGHTS.steps);
    // Below it the inverse is no finite number, and all of the row is `low`.
    let (scale, inverse) = if scale > 1e-37 { (scale, 1.0 / scale) } else { (0.0, 0.0) };
    let (shift, times) = (s.splat(-low * inverse), s.splat(inverse));
    // SAFETY: as above; the row has bytes for the numbers in whole vectors.
    unsafe {
        for i in (0..whole).step_by(lanes) {
            d.store_bytes(row.as_mut_ptr().add(i), s.mul_add(s.load(x.as_ptr().add(i)), times, shift));
        }
        if whole < x.len() {
            d.store_bytes(row.as_mut_ptr().add(whole), s.mul_add(rest, times, shift));
        }
    }
    let scale = scale + s.sum(s.add_to_zeros(zeros, rest));
    // With FLIP, the bytes are multiplied as signed ones, 128 lower.
    RowRange { scale, low: low + scale * f32::from(D::FLIP) }
}
