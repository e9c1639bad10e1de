//! The innermost product: a tile of `MR` rows by `NV` vectors of columns, held in registers over all of k.

use crate::kernels::simd::Simd;

/// `sum over p of a[i, p] * b[p, j]`, one multiply-add after the other in the order of p, so that an element's bits do
/// not depend on the tile that it lies in.
///
/// # Safety
/// `a` is valid for reads of `k` numbers at each of `MR` rows `lda` apart, `b` for `NV * LANES` numbers at each of `k`
/// rows `ldb` apart.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    k: usize,
    (a, lda): (*const f32, usize),
    (b, ldb): (*const f32, usize),
) -> [[S::F; NV]; MR] {
    let mut sums = [[s.splat(0.0); NV]; MR];
    for p in 0..k {
        // SAFETY: p < k, i < MR and j < NV are within what the caller vouches for.
        unsafe {
            let mut columns = [s.splat(0.0); NV];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = s.load(b.add(p * ldb + j * S::LANES));
            }
            for (i, row) in sums.iter_mut().enumerate() {
                let x = s.splat(*a.add(i * lda + p));
                for (sum, &column) in row.iter_mut().zip(&columns) {
                    *sum = s.mul_add(x, column, *sum);
                }
            }
        }
    }
    sums
}

/// Rows in a full tile.
pub(super) const ROWS: usize = 6;

/// Vectors in a full panel of columns: with [`ROWS`] rows the accumulators, one row of columns and one broadcast fill
/// the registers.
pub(super) const fn vectors<S: Simd>() -> usize {
    if S::REGISTERS >= 32 { 4 } else { 2 }
}

/// Runs `$body` with the constants `$MR` and `$NV` set to the values of `$rows` (1 to 6) and `$vectors` (1 to 4, to 2
/// where there are 16 registers).
macro_rules! with_tile {
    ($S:ty, $rows:expr, $vectors:expr, $MR:ident, $NV:ident => $body:expr) => {{
        macro_rules! sized {
            ($mr:literal, $nv:literal) => {{
                const $MR: usize = $mr;
                const $NV: usize = $nv;
                $body
            }};
        }
        macro_rules! rows {
            ($nv:literal) => {
                match $rows {
                    1 => sized!(1, $nv),
                    2 => sized!(2, $nv),
                    3 => sized!(3, $nv),
                    4 => sized!(4, $nv),
                    5 => sized!(5, $nv),
                    _ => sized!(6, $nv),
                }
            };
        }
        if <$S as $crate::kernels::simd::Simd>::REGISTERS >= 32 {
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
