//! Products of bytes, summed in 32 bits without saturation: the same integers on every set.

use super::{Scalar, Simd};

/// Work on bytes that is compiled once per instruction set.
pub(crate) trait Int8Operation {
    type Output;

    fn run<D: Int8>(self, d: D) -> Self::Output;
}

/// Like [`Simd`], a proof that the CPU has the instructions.
pub(crate) trait Int8: Copy {
    /// The set's vectors of float32; a vector of sums has as many lanes.
    type Simd: Simd;
    /// Four unsigned bytes, in every lane.
    type Row: Copy;
    /// Four signed bytes for each lane.
    type Columns: Copy;
    type Sum: Copy;

    /// Rows whose sums fit in the registers, with as many vectors of columns as float32 tiles have.
    const ROWS: usize;

    /// What unsigned bytes are held XOR: 0x80 where the instruction multiplies signed bytes with signed bytes.
    const FLIP: u8;

    fn simd(self) -> Self::Simd;

    fn zero(self) -> Self::Sum;

    /// # Safety
    /// `from` is valid for reads of four bytes.
    unsafe fn row(self, from: *const u8) -> Self::Row;

    /// # Safety
    /// `from` is valid for reads of four bytes for each lane.
    unsafe fn columns(self, from: *const i8) -> Self::Columns;

    /// `sum` plus the products of four bytes with four bytes, in each lane.
    fn dot(self, row: Self::Row, columns: Self::Columns, sum: Self::Sum) -> Self::Sum;

    /// The sums, each rounded once.
    fn floats(self, sum: Self::Sum) -> <Self::Simd as Simd>::F;

    /// `sum` plus the products of bytes with as many bytes, which end up in any of the lanes.
    ///
    /// # Safety
    /// `x` and `w` are valid for reads of four bytes for each lane.
    unsafe fn dot_along(self, x: *const u8, w: *const i8, sum: Self::Sum) -> Self::Sum;

    /// The sum of all lanes.
    fn total(self, sum: Self::Sum) -> i32;

    /// Sums of products of 16-bit integers.
    type WordSum: Copy;
    /// Two 16-bit integers, in every lane.
    type WordRow: Copy;
    /// Two 16-bit integers for each lane.
    type WordColumns: Copy;

    fn zero_words(self) -> Self::WordSum;

    /// # Safety
    /// `from` is valid for reads of two integers.
    unsafe fn word_row(self, from: *const i16) -> Self::WordRow;

    /// # Safety
    /// `from` is valid for reads of two integers for each lane.
    unsafe fn word_columns(self, from: *const i16) -> Self::WordColumns;

    /// `sum` plus the products of two integers with two integers, in each lane.
    fn dot_words(self, row: Self::WordRow, columns: Self::WordColumns, sum: Self::WordSum) -> Self::WordSum;

    /// The sums, each rounded once.
    fn word_floats(self, sum: Self::WordSum) -> <Self::Simd as Simd>::F;

    /// Writes a 16-bit integer for each lane. The numbers are integers, and [`ROUND`](crate::kernels::math::ROUND) was added.
    ///
    /// # Safety
    /// `to` is valid for writes of `LANES` integers.
    unsafe fn store_words(self, to: *mut i16, x: <Self::Simd as Simd>::F);

    /// As `store_words`, of each lane first the integer of `a` and then that of `b`.
    ///
    /// # Safety
    /// `to` is valid for writes of two integers for each lane.
    unsafe fn store_word_pairs(self, to: *mut i16, a: <Self::Simd as Simd>::F, b: <Self::Simd as Simd>::F);

    /// Writes a byte for each lane: to the nearest integer, at least 0 and at most 255, XOR `FLIP`.
    ///
    /// # Safety
    /// `to` is valid for writes of `LANES` bytes.
    unsafe fn store_bytes(self, to: *mut u8, x: <Self::Simd as Simd>::F);
}

impl Int8 for Scalar {
    type Simd = Scalar;
    type Row = [u8; 4];
    type Columns = [[i8; 4]; 4];
    type Sum = [i32; 4];

    const ROWS: usize = 2;
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
