//! The loops around the tiles of a product, the same for every format of weights: those of GotoBLAS (Goto and van de
//! Geijn 2008) without its blocks of k, which would make an element's bits depend on the sizes.
//!
//! ```text
//! for columns of some panels, a range for each piece of the team's loop:    (ProductOutput::split)
//!     for block of rows, at most BLOCK_BYTES of x:
//!         for panel:
//!             for tile of rows, all about as high:
//!                 sums = tile(rows, panel), which fetches a part of the next panel at each step
//!                 out[rows, panel] = activation(finish(sums))
//! ```
//!
//! Why it is right: blocks and tiles cover every row once, ranges every panel once; two threads never write one column.
//!
//! Tried: without fetching the next panel products were 10 % slower (97 of 107 billion multiply-adds a second in
//! float32). Blocks of 256 KB fetched weights of 3 to 12 MB for every 21 rows, and lost 10 to 20 % at widths of 768 and
//! 1024.

use std::ops::Range;

use crate::kernels::prefetch::Prefetch;
use crate::kernels::simd::Simd;
use crate::kernels::tile::{MicroKernel, tile, with_tile};
use crate::kernels::{Activation, parallel_for};

/// Bytes of `x` that are multiplied with all panels before the next rows: as many as stay near, so that weights that do
/// not are fetched seldom.
const BLOCK_BYTES: usize = 1 << 20;

/// What is done with a product's numbers as they are written.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Epilogue {
    /// They go through the function.
    Activate(Activation),
    /// Those that are there are multiplied by them.
    Multiply,
}

/// A product's result `[m, n]`, which several threads write, each its own columns.
pub(super) struct ProductOutput<'a> {
    start: *mut f32,
    m: usize,
    n: usize,
    /// Numbers from one row to the next.
    stride: usize,
    epilogue: Epilogue,
    borrowed: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: the slice is borrowed mutably for as long as this lives, and `multiply` gives every thread other columns.
unsafe impl Sync for ProductOutput<'_> {}

impl<'a> ProductOutput<'a> {
    pub(super) fn new(out: &'a mut [f32], n: usize, epilogue: Epilogue) -> Self {
        let m = out.len() / n;
        assert_eq!(out.len(), m * n, "out is [m, n]");
        Self { start: out.as_mut_ptr(), m, n, stride: n, epilogue, borrowed: std::marker::PhantomData }
    }

    /// Rows.
    pub(super) fn m(&self) -> usize {
        self.m
    }

    /// Some of its columns.
    pub(super) fn columns(&self, columns: Range<usize>) -> ProductOutput<'_> {
        assert!(columns.end <= self.n, "the columns are within n");
        ProductOutput { start: self.start.wrapping_add(columns.start), n: columns.len(), ..*self }
    }

    /// Calls `part` on the columns of some panels, together all of them, on this thread and others; `width` columns in a
    /// panel, `k` multiply-adds for an element.
    pub(super) fn split(&self, width: usize, k: usize, part: impl Fn(Range<usize>) + Sync) {
        parallel_for(self.n.div_ceil(width), self.m * k * width, |panels| {
            part(panels.start * width..self.n.min(panels.end * width));
        });
    }
}

/// Rows and a packed matrix, ready to be multiplied.
pub(super) trait Factors: Copy {
    type Simd: Simd;
    type Kernel: MicroKernel;

    fn kernel(self) -> Self::Kernel;

    fn simd(self) -> Self::Simd;

    /// Groups of numbers in a row and in a column.
    fn groups(self) -> usize;

    /// The rows of x, and how many numbers they are apart.
    fn rows(self) -> (*const <Self::Kernel as MicroKernel>::X, usize);

    /// The panel that starts at `column`.
    fn panel(self, column: usize) -> *const <Self::Kernel as MicroKernel>::W;

    /// A vector of the result, before the activation: columns from `column` on of `row`.
    ///
    /// # Safety
    /// `row` is one of x's and `column` starts a vector of the matrix'.
    unsafe fn finish(
        self,
        sum: <Self::Kernel as MicroKernel>::Sum,
        row: usize,
        column: usize,
    ) -> <Self::Simd as Simd>::F;
}

/// Computes the columns of some panels of the output, and fetches so many bytes of what comes `after` them.
///
/// # Safety
/// `factors` has the rows and columns of `out`; no other call has these columns.
#[inline(always)]
pub(super) unsafe fn multiply<P: Factors>(
    factors: P,
    out: &ProductOutput,
    columns: Range<usize>,
    after: Option<(*const u8, usize)>,
) {
    let (_, lda) = factors.rows();
    let block = (BLOCK_BYTES / (lda * size_of::<<P::Kernel as MicroKernel>::X>())).max(P::Kernel::ROWS);
    let panel_bytes =
        factors.groups() * P::Kernel::WIDTH * P::Kernel::GROUP * size_of::<<P::Kernel as MicroKernel>::W>();
    for block_start in (0..out.m).step_by(block) {
        let rows = block.min(out.m - block_start);
        let tiles = rows.div_ceil(P::Kernel::ROWS);
        for start in columns.clone().step_by(P::Kernel::WIDTH) {
            let end = start + P::Kernel::WIDTH;
            // While this panel is in the first-level cache, the memory has time for the next one.
            let next = match end < columns.end {
                true => Some((factors.panel(end).cast(), panel_bytes)),
                false if block_start + rows < out.m => Some((factors.panel(columns.start).cast(), panel_bytes)),
                false => after,
            };
            for i in 0..tiles {
                // Tiles are of about the same size, since one of one row computes no faster than one of two.
                let rows = block_start + rows * i / tiles..block_start + rows * (i + 1) / tiles;
                let ahead = match next {
                    Some(next) => Prefetch::part(next, factors.groups(), (i, tiles)),
                    None => Prefetch::NONE,
                };
                // SAFETY: the rows are within m, the columns within n, and these columns are this call's alone.
                unsafe { one_tile(factors, out, rows, start..end.min(columns.end), ahead) };
            }
        }
    }
}

/// # Safety
/// As for `multiply`; `rows` are at most `ROWS`, `columns` are one panel.
#[inline(always)]
unsafe fn one_tile<P: Factors>(
    factors: P,
    out: &ProductOutput,
    rows: Range<usize>,
    columns: Range<usize>,
    ahead: Prefetch,
) {
    let s = factors.simd();
    let (x, lda) = factors.rows();
    let count = columns.len();
    // SAFETY: x and the panel have as many groups as the factors say; the output is the caller's.
    unsafe {
        let (a, b) = (x.add(rows.start * lda), factors.panel(columns.start));
        let to = out.start.add(rows.start * out.stride + columns.start);
        with_tile!(P::Kernel, rows.len(), count.div_ceil(P::Kernel::LANES), MR, NV => {
            let sums = tile::<P::Kernel, MR, NV>(factors.kernel(), factors.groups(), (a, lda), (b, NV * P::Kernel::LANES * P::Kernel::GROUP), ahead);
            for (i, row) in sums.iter().enumerate() {
                for (j, &sum) in row.iter().enumerate() {
                    let y = factors.finish(sum, rows.start + i, columns.start + j * P::Kernel::LANES);
                    let to = to.add(i * out.stride + j * P::Kernel::LANES);
                    match (count - j * P::Kernel::LANES, out.epilogue) {
                        (left, Epilogue::Activate(_)) if left >= P::Kernel::LANES => s.store(to, y),
                        (left, Epilogue::Activate(_)) => s.store_first(to, y, left),
                        (left, Epilogue::Multiply) if left >= P::Kernel::LANES => s.store(to, s.mul(y, s.load(to))),
                        (left, Epilogue::Multiply) => s.store_first(to, s.mul(y, s.load_first(to, left, 0.0)), left),
                    }
                }
            }
        });
        // Not inside the tile: its 24 sizes times all activations would be 300 copies of the same loop.
        if let Epilogue::Activate(activation) = out.epilogue
            && activation != Activation::Identity
        {
            for i in 0..rows.len() {
                activation.apply_to_slice(s, std::slice::from_raw_parts_mut(to.add(i * out.stride), count));
            }
        }
    }
}
