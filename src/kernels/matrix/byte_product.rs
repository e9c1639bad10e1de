//! The product of rows and weights in bytes, which `int8.rs` holds as they are and `int4.rs` unpacks.
//!
//! ```text
//! y = weight_scale * (scale * Σ q v + low * Σ v) + bias
//! ```

use std::ops::Range;

use super::layout::PanelLayout;
use super::product::{Factors, ProductOutput, multiply};
use super::quantized_rows::{QuantizedRows, RowRange};
use crate::kernels::simd::{Int8, Int8Operation, Simd};
use crate::kernels::tile::WeightBytes;

/// Weights as bytes, and what they mean.
#[derive(Clone, Copy)]
pub(super) struct ByteWeights<'a> {
    pub(super) layout: PanelLayout,
    /// The column that `panels` start with.
    pub(super) first: usize,
    pub(super) panels: &'a [i8],
    /// Of all columns, padded to whole vectors, as the sums and the bias.
    pub(super) scales: &'a [f32],
    /// The scale times the sum of the channel's bytes.
    pub(super) sums: &'a [f32],
    pub(super) bias: &'a [f32],
}

/// Some panels of a product.
pub(super) struct ByteProduct<'a> {
    pub(super) weights: ByteWeights<'a>,
    pub(super) rows: QuantizedRows<'a>,
    pub(super) out: &'a ProductOutput<'a>,
    pub(super) columns: Range<usize>,
    /// What is fetched beside the last of them.
    pub(super) after: Option<(*const u8, usize)>,
}

impl Int8Operation for ByteProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<D: Int8>(self, d: D) {
        let Self { weights, rows, out, columns, after } = self;
        // SAFETY: `Matrix::apply` has checked the sizes; `split` gives each range to one thread.
        unsafe { multiply(ByteFactors { d, weights, rows }, out, columns, after) };
    }
}

#[derive(Clone, Copy)]
struct ByteFactors<'a, D> {
    d: D,
    weights: ByteWeights<'a>,
    rows: QuantizedRows<'a>,
}

impl<D: Int8> Factors for ByteFactors<'_, D> {
    type Simd = D::Simd;
    type Kernel = WeightBytes<D>;

    #[inline(always)]
    fn kernel(self) -> WeightBytes<D> {
        WeightBytes(self.d)
    }

    #[inline(always)]
    fn simd(self) -> D::Simd {
        self.d.simd()
    }

    #[inline(always)]
    fn groups(self) -> usize {
        self.weights.layout.groups
    }

    #[inline(always)]
    fn rows(self) -> (*const u8, usize) {
        (self.rows.bytes.as_ptr(), self.rows.stride)
    }

    #[inline(always)]
    fn panel(self, column: usize) -> *const i8 {
        let ByteWeights { layout, first, panels, .. } = self.weights;
        panels[layout.panel(column - first)..].as_ptr()
    }

    #[inline(always)]
    unsafe fn finish(self, sum: D::Sum, row: usize, column: usize) -> <D::Simd as Simd>::F {
        let (s, ByteWeights { scales, sums, bias, .. }) = (self.d.simd(), self.weights);
        // SAFETY: the row is one of the ranges'; scales, sums and bias are padded to whole vectors.
        unsafe {
            let RowRange { scale, low } = *self.rows.ranges.get_unchecked(row);
            let at = |values: &[f32]| values.as_ptr().add(column);
            let constant = s.mul_add(s.splat(low), s.load(at(sums)), s.load(at(bias)));
            let product = s.mul(self.d.floats(sum), s.splat(scale));
            s.mul_add(product, s.load(at(scales)), constant)
        }
    }
}
