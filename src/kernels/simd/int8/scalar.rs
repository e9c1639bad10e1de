//! Products of bytes in plain Rust: the reference for the other sets, and what runs where no other can.

use super::{Int8, WeightProducts};
use crate::kernels::simd::{Scalar, Simd};

impl Int8 for Scalar {
    type Simd = Scalar;
    type Row = [u8; 4];
    type Columns = [[i8; 4]; 4];
    type Sum = [i32; 4];

    const ROWS: usize = 2;
    const STEPS: u8 = 255;
    const WEIGHTS: WeightProducts = WeightProducts::UNBOUND;
    const FLIP: u8 = 0;

    #[inline(always)]
    fn simd(self) -> Scalar {
        self
    }

    #[inline(always)]
    fn zero(self) -> [i32; 4] {
        [0; 4]
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u8) -> [u8; 4] {
        // SAFETY: the caller vouches for four bytes.
        unsafe { from.cast::<[u8; 4]>().read() }
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const i8) -> [[i8; 4]; 4] {
        // SAFETY: the caller vouches for sixteen bytes.
        unsafe { from.cast::<[[i8; 4]; 4]>().read() }
    }

    #[inline(always)]
    fn dot(self, row: [u8; 4], columns: [[i8; 4]; 4], mut sum: [i32; 4]) -> [i32; 4] {
        for (sum, column) in sum.iter_mut().zip(columns) {
            for (x, w) in row.into_iter().zip(column) {
                *sum += i32::from(x) * i32::from(w);
            }
        }
        sum
    }

    #[inline(always)]
    fn floats(self, sum: [i32; 4]) -> [f32; 4] {
        sum.map(|sum| sum as f32)
    }

    #[inline(always)]
    unsafe fn dot_along(self, x: *const u8, w: *const i8, mut sum: [i32; 4]) -> [i32; 4] {
        for i in 0..16 {
            // SAFETY: the caller vouches for sixteen bytes.
            sum[i % 4] += unsafe { i32::from(*x.add(i)) * i32::from(*w.add(i)) };
        }
        sum
    }

    #[inline(always)]
    unsafe fn dot_levels(self, query: *const i8, rows: [*const u8; 4], bytes: usize) -> [i32; 4] {
        rows.map(|row| {
            let product = |at: usize| {
                let from = at + at / 32 * 32;
                // SAFETY: the caller vouches for the bytes.
                let (levels, lower, upper) = unsafe { (*row.add(at), *query.add(from), *query.add(from + 32)) };
                i32::from(levels & 15) * i32::from(lower) + i32::from(levels >> 4) * i32::from(upper)
            };
            (0..bytes).map(product).sum()
        })
    }

    #[inline(always)]
    fn total(self, sum: [i32; 4]) -> i32 {
        sum.iter().sum()
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, x: [f32; 4]) {
        // SAFETY: the caller vouches for four bytes. The cast saturates.
        unsafe { to.cast::<[u8; 4]>().write(self.round(x).map(|x| x as u8)) }
    }

    type WordSum = [i32; 4];
    type WordRow = [i16; 2];
    type WordColumns = [[i16; 2]; 4];

    #[inline(always)]
    fn zero_words(self) -> [i32; 4] {
        [0; 4]
    }

    #[inline(always)]
    unsafe fn word_row(self, from: *const i16) -> [i16; 2] {
        // SAFETY: the caller vouches for two integers.
        unsafe { from.cast::<[i16; 2]>().read() }
    }

    #[inline(always)]
    unsafe fn word_columns(self, from: *const i16) -> [[i16; 2]; 4] {
        // SAFETY: the caller vouches for eight integers.
        unsafe { from.cast::<[[i16; 2]; 4]>().read() }
    }

    #[inline(always)]
    fn dot_words(self, row: [i16; 2], columns: [[i16; 2]; 4], mut sum: [i32; 4]) -> [i32; 4] {
        for (sum, column) in sum.iter_mut().zip(columns) {
            *sum += i32::from(row[0]) * i32::from(column[0]) + i32::from(row[1]) * i32::from(column[1]);
        }
        sum
    }

    #[inline(always)]
    fn word_floats(self, sum: [i32; 4]) -> [f32; 4] {
        sum.map(|sum| sum as f32)
    }

    #[inline(always)]
    unsafe fn store_words(self, to: *mut i16, x: [f32; 4]) {
        // SAFETY: the caller vouches for four integers.
        unsafe { to.cast::<[i16; 4]>().write(x.map(|x| x.to_bits() as i16)) }
    }

    #[inline(always)]
    unsafe fn store_word_pairs(self, to: *mut i16, a: [f32; 4], b: [f32; 4]) {
        let pair = |i: usize| [a[i].to_bits() as i16, b[i].to_bits() as i16];
        // SAFETY: the caller vouches for eight integers.
        unsafe { to.cast::<[[i16; 2]; 4]>().write([pair(0), pair(1), pair(2), pair(3)]) }
    }
}
