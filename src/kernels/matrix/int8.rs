//! Products in int8 (W8A8 without calibration): weights with a scale for each output channel, packed once; rows
//! quantized as they come, each with a scale of its own (vector-wise as in LLM.int8, Dettmers et al. 2022; affine as in
//! Jacob et al. 2018). Both are rotated before (`hadamard.rs`; QuaRot, Ashkboos et al. 2024), so that no channel is far
//! larger than the others.
//!
//! ```text
//! weights, once:  w = H w / span;  v = round(w / weight_scale);  weight_scale = max |w| / 127
//! a row:          x = H x;  q = round((x - low) / scale);  scale = (max x - low) / 255;  low = min x
//! product:        y = weight_scale * (scale * Σ q v + low * Σ v) + bias
//! ```
//!
//! Why it is right: H Hᵀ is `span` times the identity, so rotating both sides leaves `x · w` as it was. Where x is about
//! `scale * q + low` and w about `weight_scale * v`, the product is the formula above: nothing is clipped, both ends of
//! a row are met, and `Σ v` does not depend on the row. `Σ q v` is exact in 32 bits on every set, for k up to 66,311.
//! q is unsigned and v signed, as VNNI's `vpdpbusd` takes them; where the instruction takes signed bytes alone (NEON,
//! dotprod), q is held 128 lower (`Int8::FLIP`), and `low` is moved by as much.
//!
//! Tried and given up: smoothing, subtracting means, bias correction and clipping brought no fidelity beyond the
//! rotation's (a mean cosine of .9991 became .9995, for 2 % of the time), even with true statistics; quantizing on
//! several threads gained nothing.

use std::ops::Range;

use super::layout::PanelLayout;
use super::product::{Factors, ProductOutput, multiply};
use crate::Result;
use crate::kernels::Isa;
use crate::kernels::aligned::{Aligned, scratch};
use crate::kernels::hadamard::{HadamardTransform, span, transform};
use crate::kernels::simd::{Int8, Int8Operation, MAX_LANES, Simd};
use crate::kernels::tile::Bytes;

/// Panels of `[k / 4, width, 4]`.
pub(super) struct Int8Panels {
    layout: PanelLayout,
    k: usize,
    panels: Aligned<i8>,
    /// `[n]`, padded to whole vectors, as the sums.
    scales: Aligned<f32>,
    /// The scale times the sum of the channel's integers.
    sums: Aligned<f32>,
}

impl Int8Panels {
    pub(super) fn zeroed(isa: Isa, n: usize, k: usize) -> Result<Self> {
        let layout = isa.run_int8(Int8Layout { n, k });
        let padded = n.next_multiple_of(MAX_LANES);
        Ok(Self {
            layout,
            k,
            panels: Aligned::zeroed(layout.len())?,
            scales: Aligned::zeroed(padded)?,
            sums: Aligned::zeroed(padded)?,
        })
    }

    /// `rotated [k]` is memory to work in.
    pub(super) fn set_row(&mut self, isa: Isa, row: usize, values: &[f32], rotated: &mut [f32]) {
        isa.run(HadamardTransform { x: values, out: rotated });
        let share = 1.0 / span(self.k) as f32;
        rotated.iter_mut().for_each(|x| *x *= share);
        let values = rotated;
        let largest = values.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        let scale = largest / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let quantized = values.iter().map(|x| (x * inverse).round() as i8);
        let sum: i32 = quantized.clone().map(i32::from).sum();
        self.layout.set(self.panels.as_mut_slice(), row, quantized);
        self.scales.as_mut_slice()[row] = scale;
        self.sums.as_mut_slice()[row] = scale * sum as f32;
    }

    pub(super) fn apply(&self, isa: Isa, x: &[f32], bias: &[f32], out: &ProductOutput) {
        let Self { layout, k, panels, scales, sums } = self;
        let (m, stride) = (out.m(), k.next_multiple_of(MAX_LANES));
        scratch(m * stride, |rows: &mut [u8]| {
            scratch(m, |ranges: &mut [RowRange]| {
                // Around `run_int8` and not inside it: a closure in there would be compiled without the instruction
                // set.
                scratch(*k, |rotated| isa.run_int8(Quantize { x, k: *k, rotated, rows, stride, ranges }));
                let packed = Packed {
                    layout: *layout,
                    panels: panels.as_slice(),
                    scales: scales.as_slice(),
                    sums: sums.as_slice(),
                    bias,
                    rows,
                    stride,
                    ranges,
                };
                out.split(layout.width, k.div_ceil(4), |range| isa.run_int8(Int8Product { packed, out, range }));
            });
        });
    }
}

struct Int8Layout {
    n: usize,
    k: usize,
}

impl Int8Operation for Int8Layout {
    type Output = PanelLayout;

    #[inline(always)]
    fn run<D: Int8>(self, _: D) -> PanelLayout {
        PanelLayout::new::<Bytes<D>>(self.n, self.k)
    }
}

/// What a row's bytes mean: `scale * byte + low`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct RowRange {
    scale: f32,
    low: f32,
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
    for i in (0..whole).step_by(lanes) {
        // SAFETY: LANES numbers start at i.
        let values = unsafe { s.load(x.as_ptr().add(i)) };
        (low, high) = (s.min(low, values), s.max(high, values));
    }
    // SAFETY: reads what is left.
    let rest = unsafe { s.load_first(x.as_ptr().add(whole), x.len() - whole, x[0]) };
    let low = -s.largest(s.sub(s.splat(0.0), s.min(low, rest)));
    let scale = (s.largest(s.max(high, rest)) - low) / 255.0;
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
    // With FLIP, the bytes are multiplied as signed ones, 128 lower.
    RowRange { scale, low: low + scale * f32::from(D::FLIP) }
}

/// Quantized rows and weights.
#[derive(Clone, Copy)]
struct Packed<'a> {
    layout: PanelLayout,
    panels: &'a [i8],
    scales: &'a [f32],
    sums: &'a [f32],
    bias: &'a [f32],
    rows: &'a [u8],
    stride: usize,
    ranges: &'a [RowRange],
}

/// Some panels of a product.
struct Int8Product<'a> {
    packed: Packed<'a>,
    out: &'a ProductOutput<'a>,
    range: Range<usize>,
}

impl Int8Operation for Int8Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<D: Int8>(self, d: D) {
        // SAFETY: `Matrix::apply` has checked the sizes; `split` gives each range to one thread.
        unsafe { multiply(Int8Factors { d, packed: self.packed }, self.out, self.range) };
    }
}

#[derive(Clone, Copy)]
struct Int8Factors<'a, D> {
    d: D,
    packed: Packed<'a>,
}

impl<D: Int8> Factors for Int8Factors<'_, D> {
    type Simd = D::Simd;
    type Kernel = Bytes<D>;

    #[inline(always)]
    fn kernel(self) -> Bytes<D> {
        Bytes(self.d)
    }

    #[inline(always)]
    fn simd(self) -> D::Simd {
        self.d.simd()
    }

    #[inline(always)]
    fn groups(self) -> usize {
        self.packed.layout.groups
    }

    #[inline(always)]
    fn rows(self) -> (*const u8, usize) {
        (self.packed.rows.as_ptr(), self.packed.stride)
    }

    #[inline(always)]
    fn panel(self, column: usize) -> *const i8 {
        self.packed.panels[self.packed.layout.panel(column)..].as_ptr()
    }

    #[inline(always)]
    unsafe fn finish(self, sum: D::Sum, row: usize, column: usize) -> <D::Simd as Simd>::F {
        let (s, Packed { scales, sums, bias, ranges, .. }) = (self.d.simd(), self.packed);
        // SAFETY: the row is one of the ranges'; scales, sums and bias are padded to whole vectors.
        unsafe {
            let RowRange { scale, low } = *ranges.get_unchecked(row);
            let at = |values: &[f32]| values.as_ptr().add(column);
            let constant = s.mul_add(s.splat(low), s.load(at(sums)), s.load(at(bias)));
            let product = s.mul(self.d.floats(sum), s.splat(scale));
            s.mul_add(product, s.load(at(scales)), constant)
        }
    }
}
