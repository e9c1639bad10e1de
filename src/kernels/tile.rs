//! The register tile, the innermost loop of every product: the micro-kernel of GotoBLAS (Goto and van de Geijn 2008),
//! in the terms of BLIS (Van Zee and van de Geijn 2015).
//!
//! A tile is `MR` rows of x by `NV` vectors of columns of a packed panel. Its sums stay in registers over all of k: a
//! step loads `NV` vectors and broadcasts `MR` groups for `MR * NV` vectors of multiply-adds.
//!
//! ```text
//! sums[MR][NV] = 0
//! for p in 0..groups:                          a group: the numbers of k, 1 to 8, that are multiplied at once
//!     columns[j] = panel[p, j]                 for each j < NV
//!     for i in 0..MR:
//!         x = broadcast(a[i, p])
//!         sums[i][j] += x * columns[j]         for each j < NV
//! ```
//!
//! Why it is right: an element is one sum, added up in the order of p, whatever the size of the tile that it lies in.
//! So its bits do not depend on the other rows of a batch, nor on how the work is split. GotoBLAS cuts k into blocks as
//! well; here k is whole, because the depth of a block would be chosen by the sizes of the product, and bits would
//! depend on the batch (the `gemm` crate was given up for that).
//!
//! 6 rows by 4 vectors where there are 32 registers, by 2 where there are 16; 4 rows where a group of columns takes two
//! registers, 2 where a sum does.

use crate::kernels::prefetch::Prefetch;
use crate::kernels::simd::{Int8, Simd};

/// What a tile multiplies and adds up: `GROUP` numbers of a row with as many of each column of a panel at a time.
pub(super) trait MicroKernel: Copy {
    /// A number of a row, as memory holds it.
    type X: Copy;
    /// A number of a panel.
    type W: Copy;
    /// A group of a row, in every lane.
    type Row: Copy;
    /// A group of each column in a vector.
    type Columns: Copy;
    /// A vector of sums.
    type Sum: Copy;

    /// Numbers of k in a group.
    const GROUP: usize;
    /// Numbers of k that lie side by side in a panel, for each column: a group or a part of one.
    const UNIT: usize = Self::GROUP;
    /// Columns in a vector.
    const LANES: usize;
    /// Rows in a full tile: 2, 4 or 6.
    const ROWS: usize;
    /// Vectors in a full panel of columns, 2 or 4: the sums of a full tile, a row of columns and one broadcast fill the
    /// registers.
    const VECTORS: usize;
    /// Columns in a full panel.
    const WIDTH: usize = Self::VECTORS * Self::LANES;

    fn zero(self) -> Self::Sum;

    /// # Safety
    /// `x` is valid for reads of `GROUP` numbers.
    unsafe fn row(self, x: *const Self::X) -> Self::Row;

    /// A group has one or two units, which lie `stride / 2` numbers apart.
    ///
    /// # Safety
    /// `w` is valid for reads of `UNIT * LANES` numbers of each unit.
    unsafe fn columns(self, w: *const Self::W, stride: usize) -> Self::Columns;

    fn add(self, row: Self::Row, columns: Self::Columns, sum: Self::Sum) -> Self::Sum;
}

/// float32 times float32.
#[derive(Clone, Copy)]
pub(super) struct Float<S>(pub(super) S);

impl<S: Simd> MicroKernel for Float<S> {
    type X = f32;
    type W = f32;
    type Row = S::F;
    type Columns = S::F;
    type Sum = S::F;

    const GROUP: usize = 1;
    const LANES: usize = S::LANES;
    const ROWS: usize = 6;
    const VECTORS: usize = if S::REGISTERS >= 32 { 4 } else { 2 };

    #[inline(always)]
    fn zero(self) -> S::F {
        self.0.splat(0.0)
    }

    #[inline(always)]
    unsafe fn row(self, x: *const f32) -> S::F {
        // SAFETY: the caller vouches for one number.
        self.0.splat(unsafe { *x })
    }

    #[inline(always)]
    unsafe fn columns(self, w: *const f32, _: usize) -> S::F {
        // SAFETY: the caller vouches for LANES numbers.
        unsafe { self.0.load(w) }
    }

    #[inline(always)]
    fn add(self, row: S::F, columns: S::F, sum: S::F) -> S::F {
        self.0.mul_add(row, columns, sum)
    }
}

/// Unsigned bytes times signed bytes.
#[derive(Clone, Copy)]
pub(super) struct Bytes<D>(pub(super) D);

impl<D: Int8> MicroKernel for Bytes<D> {
    type X = u8;
    type W = i8;
    type Row = D::Row;
    type Columns = D::Columns;
    type Sum = D::Sum;

    const GROUP: usize = 4;
    const LANES: usize = <D::Simd as Simd>::LANES;
    const ROWS: usize = D::ROWS;
    const VECTORS: usize = Float::<D::Simd>::VECTORS;

    #[inline(always)]
    fn zero(self) -> D::Sum {
        self.0.zero()
    }

    #[inline(always)]
    unsafe fn row(self, x: *const u8) -> D::Row {
        // SAFETY: the caller vouches for four bytes.
        unsafe { self.0.row(x) }
    }

    #[inline(always)]
    unsafe fn columns(self, w: *const i8, _: usize) -> D::Columns {
        // SAFETY: the caller vouches for four bytes a lane.
        unsafe { self.0.columns(w) }
    }

    #[inline(always)]
    fn add(self, row: D::Row, columns: D::Columns, sum: D::Sum) -> D::Sum {
        self.0.dot(row, columns, sum)
    }
}

/// Unsigned bytes times the signed bytes of packed weights, as [`Int8::WEIGHTS`] says. Where a group has one unit of four
/// bytes, both of its row and columns are that one.
#[derive(Clone, Copy)]
pub(super) struct WeightBytes<D>(pub(super) D);

impl<D: Int8> MicroKernel for WeightBytes<D> {
    type X = u8;
    type W = i8;
    type Row = [D::Row; 2];
    type Columns = [D::Columns; 2];
    type Sum = D::Sum;

    const GROUP: usize = 4 * D::WEIGHTS.groups;
    const UNIT: usize = 4;
    const LANES: usize = <D::Simd as Simd>::LANES;
    // Two units take as many more registers for the columns.
    const ROWS: usize = if D::WEIGHTS.groups == 2 { 4 } else { D::ROWS };
    const VECTORS: usize = Float::<D::Simd>::VECTORS;

    #[inline(always)]
    fn zero(self) -> D::Sum {
        self.0.zero()
    }

    #[inline(always)]
    unsafe fn row(self, x: *const u8) -> [D::Row; 2] {
        // SAFETY: the caller vouches for the bytes of a group.
        unsafe { [self.0.row(x), self.0.row(x.add(Self::GROUP - Self::UNIT))] }
    }

    #[inline(always)]
    unsafe fn columns(self, w: *const i8, stride: usize) -> [D::Columns; 2] {
        let second = if D::WEIGHTS.groups == 2 { stride / 2 } else { 0 };
        // SAFETY: the caller vouches for four bytes a lane of each unit.
        unsafe { [self.0.columns(w), self.0.columns(w.add(second))] }
    }

    #[inline(always)]
    fn add(self, row: [D::Row; 2], columns: [D::Columns; 2], sum: D::Sum) -> D::Sum {
        match D::WEIGHTS.groups {
            2 => self.0.dot_weights(row, columns, sum),
            _ => self.0.dot(row[0], columns[0], sum),
        }
    }
}

/// 16-bit integers times 16-bit integers.
#[derive(Clone, Copy)]
pub(super) struct Words<D>(pub(super) D);

impl<D: Int8> MicroKernel for Words<D> {
    type X = i16;
    type W = i16;
    type Row = D::WordRow;
    type Columns = D::WordColumns;
    type Sum = D::WordSum;

    const GROUP: usize = 2;
    const LANES: usize = <D::Simd as Simd>::LANES;
    const ROWS: usize = D::ROWS;
    const VECTORS: usize = Float::<D::Simd>::VECTORS;

    #[inline(always)]
    fn zero(self) -> D::WordSum {
        self.0.zero_words()
    }

    #[inline(always)]
    unsafe fn row(self, x: *const i16) -> D::WordRow {
        // SAFETY: the caller vouches for two integers.
        unsafe { self.0.word_row(x) }
    }

    #[inline(always)]
    unsafe fn columns(self, w: *const i16, _: usize) -> D::WordColumns {
        // SAFETY: the caller vouches for two integers a lane.
        unsafe { self.0.word_columns(w) }
    }

    #[inline(always)]
    fn add(self, row: D::WordRow, columns: D::WordColumns, sum: D::WordSum) -> D::WordSum {
        self.0.dot_words(row, columns, sum)
    }
}

/// `sum over p of a[i, p] * b[p, j]`, one group after the other in the order of p, so that an element's bits do not
/// depend on the tile that it lies in. Each group is a step that fetches some of what is `ahead`.
///
/// # Safety
/// `a` is valid for reads of `groups` groups at each of `MR` rows `lda` numbers apart, `b` for `NV` vectors' groups at
/// each of `groups` places `ldb` numbers apart.
#[inline(always)]
pub(super) unsafe fn tile<T: MicroKernel, const MR: usize, const NV: usize>(
    t: T,
    groups: usize,
    (a, lda): (*const T::X, usize),
    (b, ldb): (*const T::W, usize),
    ahead: Prefetch,
) -> [[T::Sum; NV]; MR] {
    let row = |i: usize| {
        // SAFETY: i < MR is one of the rows that the caller vouches for.
        opaque(unsafe { a.add(i * lda) })
    };
    let rows: [*const T::X; MR] = std::array::from_fn(row);
    let mut sums = [[t.zero(); NV]; MR];
    for first in (0..groups).step_by(Prefetch::STEPS) {
        ahead.fetch(first / Prefetch::STEPS);
        for p in first..groups.min(first + Prefetch::STEPS) {
            // SAFETY: p < groups and j < NV are within what the caller vouches for.
            unsafe {
                let b = b.add(p * ldb);
                let mut columns = [t.columns(b, ldb); NV];
                for (j, column) in columns.iter_mut().enumerate().skip(1) {
                    *column = t.columns(b.add(j * T::UNIT * T::LANES), ldb);
                }
                for (sums, x) in sums.iter_mut().zip(&rows) {
                    let x = t.row(x.add(p * T::GROUP));
                    for (sum, &column) in sums.iter_mut().zip(&columns) {
                        *sum = t.add(x, column, *sum);
                    }
                }
            }
        }
    }
    sums
}

/// The same pointer, of which the compiler does not know where it comes from: so it has a register for each row of a tile,
/// instead of adding up the distances between them at every step.
#[inline(always)]
fn opaque<T>(pointer: *const T) -> *const T {
    let mut pointer = pointer.expose_provenance();
    // SAFETY: no instruction.
    unsafe {
        std::arch::asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags));
    }
    std::ptr::with_exposed_provenance(pointer)
}

/// Runs `$body` with the constants `$MR` and `$NV` set to the values of `$rows` (from 1 to the `ROWS` of the terms) and
/// `$vectors` (from 1 to their `VECTORS`).
macro_rules! with_tile {
    ($T:ty, $rows:expr, $vectors:expr, $MR:ident, $NV:ident => $body:expr) => {{
        macro_rules! sized {
            ($mr:literal, $nv:literal) => {{
                const $MR: usize = $mr;
                const $NV: usize = $nv;
                $body
            }};
        }
        macro_rules! rows {
            ($nv:literal) => {
                if <$T as $crate::kernels::tile::MicroKernel>::ROWS > 4 {
                    match $rows {
                        1 => sized!(1, $nv),
                        2 => sized!(2, $nv),
                        3 => sized!(3, $nv),
                        4 => sized!(4, $nv),
                        5 => sized!(5, $nv),
                        _ => sized!(6, $nv),
                    }
                } else if <$T as $crate::kernels::tile::MicroKernel>::ROWS > 2 {
                    match $rows {
                        1 => sized!(1, $nv),
                        2 => sized!(2, $nv),
                        3 => sized!(3, $nv),
                        _ => sized!(4, $nv),
                    }
                } else {
                    match $rows {
                        1 => sized!(1, $nv),
                        _ => sized!(2, $nv),
                    }
                }
            };
        }
        if <$T as $crate::kernels::tile::MicroKernel>::VECTORS > 2 {
            match $vectors {
                1 => rows!(1),
                2 => rows!(2),
                3 => rows!(3),
                _ => rows!(4),
            }
        } else {
            match $vectors {
                1 => rows!(1),
                _ => rows!(2),
            }
        }
    }};
}
pub(super) use with_tile;
