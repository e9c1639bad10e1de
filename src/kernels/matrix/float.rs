//! Weights in float32, or in two bytes that are widened as they are read.

use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::Pod;

use super::Layout;
use super::product::{Factors, Output, multiply};
use crate::kernels::Isa;
use crate::kernels::aligned::Aligned;
use crate::kernels::simd::{Operation, Simd};
use crate::kernels::tile::{Float, Terms};

/// How memory holds a weight.
pub(super) trait Format: Copy + Sync {
    type W: Pod + Sync;

    /// # Safety
    /// `from` is valid for reads of `LANES` numbers.
    unsafe fn load<S: Simd>(s: S, from: *const Self::W) -> S::F;
}

#[derive(Clone, Copy)]
pub(super) struct Single;
#[derive(Clone, Copy)]
pub(super) struct Bfloat16;
#[derive(Clone, Copy)]
pub(super) struct Float16;

impl Format for Single {
    type W = f32;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::F {
        // SAFETY: the caller vouches for LANES numbers.
        unsafe { s.load(from) }
    }
}

impl Format for Bfloat16 {
    type W = u16;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const u16) -> S::F {
        // SAFETY: the caller vouches for LANES numbers.
        unsafe { s.load_bfloat16(from) }
    }
}

impl Format for Float16 {
    type W = u16;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const u16) -> S::F {
        // SAFETY: the caller vouches for LANES numbers.
        unsafe { s.load_float16(from) }
    }
}

/// Panels of `[k, width]`.
pub(super) struct FloatPanels<W> {
    layout: Layout,
    panels: Aligned<W>,
}

impl<W: Pod + Sync> FloatPanels<W> {
    pub(super) fn zeroed(isa: Isa, n: usize, k: usize) -> Self {
        let layout = isa.run(LayoutOf { n, k });
        Self { layout, panels: Aligned::zeroed(layout.len()) }
    }

    pub(super) fn set_row(&mut self, row: usize, values: &[f32], convert: impl Fn(f32) -> W) {
        self.layout.set(self.panels.as_mut_slice(), row, values.iter().map(|&x| convert(x)));
    }

    pub(super) fn apply<F: Format<W = W>>(&self, isa: Isa, x: &[f32], bias: &[f32], out: &Output) {
        let Self { layout, panels } = self;
        let panels = panels.as_slice();
        out.split(layout.width, layout.groups, |range| {
            isa.run(Product { layout: *layout, panels, x, bias, out, range, format: PhantomData::<F> });
        });
    }
}

struct LayoutOf {
    n: usize,
    k: usize,
}

impl Operation for LayoutOf {
    type Output = Layout;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Layout {
        Layout::of::<Float<S>>(self.n, self.k)
    }
}

/// Some panels of a product.
struct Product<'a, F: Format> {
    layout: Layout,
    panels: &'a [F::W],
    x: &'a [f32],
    bias: &'a [f32],
    out: &'a Output<'a>,
    range: Range<usize>,
    format: PhantomData<F>,
}

impl<F: Format> Operation for Product<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { layout, panels, x, bias, out, range, format } = self;
        // SAFETY: `Matrix::apply` has checked the sizes; `split` gives each range to one thread.
        unsafe { multiply(FloatFactors { s, layout, panels, x, bias, format }, out, range) };
    }
}

#[derive(Clone, Copy)]
struct FloatFactors<'a, S, F: Format> {
    s: S,
    layout: Layout,
    panels: &'a [F::W],
    x: &'a [f32],
    bias: &'a [f32],
    format: PhantomData<F>,
}

impl<S: Simd, F: Format> Terms for FloatFactors<'_, S, F> {
    type X = f32;
    type W = F::W;
    type Row = S::F;
    type Columns = S::F;
    type Sum = S::F;

    const GROUP: usize = 1;
    const LANES: usize = S::LANES;
    const ROWS: usize = Float::<S>::ROWS;
    const VECTORS: usize = Float::<S>::VECTORS;

    #[inline(always)]
    fn zero(self) -> S::F {
        self.s.splat(0.0)
    }

    #[inline(always)]
    unsafe fn row(self, x: *const f32) -> S::F {
        // SAFETY: the caller vouches for one number.
        self.s.splat(unsafe { *x })
    }

    #[inline(always)]
    unsafe fn columns(self, w: *const F::W) -> S::F {
        // SAFETY: the caller vouches for LANES numbers.
        unsafe { F::load(self.s, w) }
    }

    #[inline(always)]
    fn add(self, row: S::F, columns: S::F, sum: S::F) -> S::F {
        self.s.mul_add(row, columns, sum)
    }
}

impl<S: Simd, F: Format> Factors for FloatFactors<'_, S, F> {
    type Simd = S;

    #[inline(always)]
    fn simd(self) -> S {
        self.s
    }

    #[inline(always)]
    fn groups(self) -> usize {
        self.layout.groups
    }

    #[inline(always)]
    fn rows(self) -> (*const f32, usize) {
        (self.x.as_ptr(), self.layout.groups)
    }

    #[inline(always)]
    fn panel(self, column: usize) -> *const F::W {
        self.panels[self.layout.panel(column)..].as_ptr()
    }

    #[inline(always)]
    unsafe fn finish(self, sum: S::F, _: usize, column: usize) -> S::F {
        // SAFETY: the bias is padded to whole vectors.
        self.s.add(sum, unsafe { self.s.load(self.bias.as_ptr().add(column)) })
    }
}
