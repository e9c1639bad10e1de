//! Weights in float32, or in two bytes (bfloat16, float16) that are widened a panel at a time; sums are float32.
//!
//! ```text
//! for panel: wide = float32(panel); product of all rows with wide
//! ```
//!
//! Widening is exact, so the result is that of float32 on the rounded weights. Tried: widening within the tile, where
//! it takes as many instructions as a third of the multiply-adds (78 instead of 107 billion of them a second).

use std::ops::Range;

use bytemuck::Pod;

use super::layout::PanelLayout;
use super::product::{Factors, ProductOutput, multiply};
use crate::Result;
use crate::kernels::Isa;
use crate::kernels::aligned::{Aligned, scratch};
use crate::kernels::simd::{Operation, Simd};
use crate::kernels::tile::Float;
use crate::kernels::widen::Widen;

/// Panels of `[k, width]`.
pub(super) struct FloatPanels<W> {
    layout: PanelLayout,
    panels: Aligned<W>,
}

impl<W: Pod + Sync> FloatPanels<W> {
    pub(super) fn zeroed(isa: Isa, n: usize, k: usize) -> Result<Self> {
        let layout = isa.run(FloatLayout { n, k });
        Ok(Self { layout, panels: Aligned::zeroed(layout.len())? })
    }

    pub(super) fn set_row(&mut self, row: usize, values: &[f32], convert: impl Fn(f32) -> W) {
        self.layout.set(self.panels.as_mut_slice(), row, values.iter().map(|&x| convert(x)));
    }
}

impl FloatPanels<f32> {
    pub(super) fn apply(&self, isa: Isa, x: &[f32], bias: &[f32], out: &ProductOutput) {
        let Self { layout, panels } = self;
        let panels = panels.as_slice();
        out.split(layout.width, layout.groups, |columns| {
            isa.run(FloatProduct { layout: *layout, first: 0, panels, x, bias, out, columns, after: None });
        });
    }
}

impl<W: Widen + Sync> FloatPanels<W> {
    /// As `apply`, for numbers of two bytes.
    pub(super) fn apply_widened(&self, isa: Isa, x: &[f32], bias: &[f32], out: &ProductOutput) {
        let Self { layout, panels } = self;
        let panels = panels.as_slice();
        out.split(layout.width, layout.groups, |columns| {
            // Once for all rows: in the tile, widening takes as many instructions as a third of the multiply-adds.
            scratch(layout.width * layout.groups, |wide: &mut [f32]| {
                for first in columns.clone().step_by(layout.width) {
                    let end = layout.padded.min(first + layout.width);
                    let from = &panels[layout.panel(first)..layout.panel(end)];
                    let after = (end < columns.end).then(|| (from.as_ptr_range().end.cast(), size_of_val(from)));
                    let wide = &mut wide[..from.len()];
                    isa.run(WidenPanel { from, to: wide });
                    let columns = first..end.min(columns.end);
                    isa.run(FloatProduct { layout: *layout, first, panels: wide, x, bias, out, columns, after });
                }
            });
        });
    }
}

struct FloatLayout {
    n: usize,
    k: usize,
}

impl Operation for FloatLayout {
    type Output = PanelLayout;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> PanelLayout {
        PanelLayout::new::<Float<S>>(self.n, self.k)
    }
}

/// Both in whole vectors.
struct WidenPanel<'a, W> {
    from: &'a [W],
    to: &'a mut [f32],
}

impl<W: Widen> Operation for WidenPanel<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (from, to) in self.from.chunks_exact(S::LANES).zip(self.to.chunks_exact_mut(S::LANES)) {
            // SAFETY: both chunks are LANES numbers.
            unsafe { s.store(to.as_mut_ptr(), W::load(s, from.as_ptr())) };
        }
    }
}

/// Some panels of a product.
struct FloatProduct<'a> {
    layout: PanelLayout,
    /// The column that `panels` start with.
    first: usize,
    panels: &'a [f32],
    x: &'a [f32],
    bias: &'a [f32],
    out: &'a ProductOutput<'a>,
    columns: Range<usize>,
    /// What is fetched beside the last of them.
    after: Option<(*const u8, usize)>,
}

impl Operation for FloatProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { layout, first, panels, x, bias, out, columns, after } = self;
        // SAFETY: `Matrix::apply` has checked the sizes; `split` gives each range to one thread.
        unsafe { multiply(FloatFactors { s, layout, first, panels, x, bias }, out, columns, after) };
    }
}

#[derive(Clone, Copy)]
struct FloatFactors<'a, S> {
    s: S,
    layout: PanelLayout,
    first: usize,
    panels: &'a [f32],
    x: &'a [f32],
    bias: &'a [f32],
}

impl<S: Simd> Factors for FloatFactors<'_, S> {
    type Simd = S;
    type Kernel = Float<S>;

    #[inline(always)]
    fn kernel(self) -> Float<S> {
        Float(self.s)
    }

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
    fn panel(self, column: usize) -> *const f32 {
        self.panels[self.layout.panel(column - self.first)..].as_ptr()
    }

    #[inline(always)]
    unsafe fn finish(self, sum: S::F, _: usize, column: usize) -> S::F {
        // SAFETY: the bias is padded to whole vectors.
        self.s.add(sum, unsafe { self.s.load(self.bias.as_ptr().add(column)) })
    }
}
