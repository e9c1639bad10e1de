//! Weights and rows in bfloat16, multiplied in pairs and summed in float32 by `vdpbf16ps` of AVX512-BF16.
//!
//! ```text
//! rows = bfloat16(x)                           to the nearest, once for a product
//! sums[j] += rows[2p] * panel[2p, j] + rows[2p + 1] * panel[2p + 1, j]
//! ```
//!
//! Both sides have 8 bits of mantissa, so their products are exact in float32. In use by default only where it is the
//! faster way (`isa.rs`): Intel's cores do half as many of these multiply-adds as in float32.

use std::arch::x86_64::{__m512, __m512i};
use std::ops::Range;

use half::bf16;

use super::layout::PanelLayout;
use super::product::{Factors, ProductOutput, multiply};
use crate::Result;
use crate::kernels::Isa;
use crate::kernels::aligned::{Aligned, scratch};
use crate::kernels::simd::avx512::Avx512;
use crate::kernels::simd::bf16_x86::{Bf16, Bf16Operation};
use crate::kernels::simd::{MAX_LANES, Simd};
use crate::kernels::tile::{Float, MicroKernel};

/// Panels of `[k / 2, width, 2]`.
pub(super) struct Bfloat16Pairs {
    layout: PanelLayout,
    k: usize,
    panels: Aligned<u16>,
}

impl Bfloat16Pairs {
    pub(super) fn zeroed(n: usize, k: usize) -> Result<Self> {
        let layout = PanelLayout::new::<Pairs>(n, k);
        Ok(Self { layout, k, panels: Aligned::zeroed(layout.len())? })
    }

    pub(super) fn set_row(&mut self, row: usize, values: &[f32]) {
        self.layout.set(self.panels.as_mut_slice(), row, values.iter().map(|&x| bf16::from_f32(x).to_bits()));
    }

    pub(super) fn apply(&self, isa: Isa, x: &[f32], bias: &[f32], out: &ProductOutput) {
        let Self { layout, k, panels } = self;
        let stride = k.next_multiple_of(MAX_LANES);
        scratch(out.m() * stride, |rows| {
            isa.run_bf16(Round { x, k: *k, stride, rows });
            let factors = |d| PairFactors { d, layout: *layout, panels: panels.as_slice(), rows, stride, bias };
            out.split(layout.width, *k, |columns| isa.run_bf16(PairProduct { factors: &factors, out, columns }));
        });
    }
}

/// `x [_, k]` to `rows [_, stride]`, zero beyond k.
struct Round<'a> {
    x: &'a [f32],
    k: usize,
    stride: usize,
    rows: &'a mut [u16],
}

impl Bf16Operation for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, d: Bf16) {
        let s = d.simd();
        for (x, row) in self.x.chunks_exact(self.k).zip(self.rows.chunks_exact_mut(self.stride)) {
            for (x, to) in x.chunks(Avx512::LANES).zip(row.chunks_exact_mut(Avx512::LANES)) {
                // SAFETY: reads the chunk, and writes the 16 numbers of the other one.
                unsafe { d.store(to.as_mut_ptr(), s.load_first(x.as_ptr(), x.len(), 0.0)) };
            }
        }
    }
}

/// Some panels of a product.
struct PairProduct<'a, M> {
    factors: &'a M,
    out: &'a ProductOutput<'a>,
    columns: Range<usize>,
}

impl<'a, M: Fn(Bf16) -> PairFactors<'a>> Bf16Operation for PairProduct<'_, M> {
    type Output = ();

    #[inline(always)]
    fn run(self, d: Bf16) {
        // SAFETY: `Matrix::apply` has checked the sizes; `split` gives each range to one thread.
        unsafe { multiply((self.factors)(d), self.out, self.columns, None) };
    }
}

/// Pairs of bfloat16 times pairs of bfloat16.
#[derive(Clone, Copy)]
struct Pairs(Bf16);

#[derive(Clone, Copy)]
struct PairFactors<'a> {
    d: Bf16,
    layout: PanelLayout,
    panels: &'a [u16],
    rows: &'a [u16],
    stride: usize,
    bias: &'a [f32],
}

impl MicroKernel for Pairs {
    type X = u16;
    type W = u16;
    type Row = __m512i;
    type Columns = __m512i;
    type Sum = __m512;

    const GROUP: usize = 2;
    const LANES: usize = Avx512::LANES;
    const ROWS: usize = Float::<Avx512>::ROWS;
    const VECTORS: usize = Float::<Avx512>::VECTORS;

    #[inline(always)]
    fn zero(self) -> __m512 {
        self.0.simd().splat(0.0)
    }

    #[inline(always)]
    unsafe fn row(self, x: *const u16) -> __m512i {
        // SAFETY: the caller vouches for two numbers.
        unsafe { self.0.row(x) }
    }

    #[inline(always)]
    unsafe fn columns(self, w: *const u16, _: usize) -> __m512i {
        // SAFETY: the caller vouches for 32 numbers.
        unsafe { self.0.columns(w) }
    }

    #[inline(always)]
    fn add(self, row: __m512i, columns: __m512i, sum: __m512) -> __m512 {
        self.0.dot(row, columns, sum)
    }
}

impl Factors for PairFactors<'_> {
    type Simd = Avx512;
    type Kernel = Pairs;

    #[inline(always)]
    fn kernel(self) -> Pairs {
        Pairs(self.d)
    }

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self.d.simd()
    }

    #[inline(always)]
    fn groups(self) -> usize {
        self.layout.groups
    }

    #[inline(always)]
    fn rows(self) -> (*const u16, usize) {
        (self.rows.as_ptr(), self.stride)
    }

    #[inline(always)]
    fn panel(self, column: usize) -> *const u16 {
        self.panels[self.layout.panel(column)..].as_ptr()
    }

    #[inline(always)]
    unsafe fn finish(self, sum: __m512, _: usize, column: usize) -> __m512 {
        // SAFETY: the bias is padded to whole vectors.
        self.simd().add(sum, unsafe { self.simd().load(self.bias.as_ptr().add(column)) })
    }
}
