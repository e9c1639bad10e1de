//! Products of bytes, summed in 32 bits without saturation: the same integers on every set. One file for each set;
//! those of x86-64 share what is in `x86.rs`, those of Arm are so alike that one file holds them.

#[cfg(target_arch = "x86_64")]
pub(in crate::kernels) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(in crate::kernels) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(in crate::kernels) mod avx512_vnni;
#[cfg(target_arch = "x86_64")]
pub(in crate::kernels) mod avx_vnni;
#[cfg(target_arch = "aarch64")]
pub(in crate::kernels) mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::Simd;

/// Work on bytes that is compiled once per instruction set.
pub(crate) trait Int8Operation {
    type Output;

    fn run<D: Int8>(self, d: D) -> Self::Output;
}

/// How products with weights are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WeightProducts {
    /// Groups of four bytes that are added up at once: 1 or 2.
    pub(crate) groups: usize,
    /// The largest byte of a row.
    pub(crate) steps: u8,
}

impl WeightProducts {
    /// Each group is added up by itself, whatever the bytes are.
    const UNBOUND: Self = Self { groups: 1, steps: 255 };

    /// Products 0, 1, 4 and 5 of eight are added up in 16 bits, and so are the other four.
    const PAIRS: Self = Self { groups: 2, steps: 180 };

    /// What the weights of one sign among four that are added up in 16 bits come to at most; None where any weights do.
    pub(crate) fn limit(self) -> Option<i32> {
        (self.groups == 2).then(|| i32::from(i16::MAX) / i32::from(self.steps))
    }
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

    /// The largest byte of a row that `dot` and `dot_along` take beside any columns: less than 255 where two products
    /// are added up in 16 bits.
    const STEPS: u8;

    /// What products with weights are made of. Where `dot` would add up two products in 16 bits, that is four: weights
    /// are packed once, and can be made such that four fit, which halves the widening of such sums.
    const WEIGHTS: WeightProducts;

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

    /// `sum` plus the products of two groups of four bytes, in each lane; for a row and columns as `WEIGHTS` says.
    #[inline(always)]
    fn dot_weights(self, rows: [Self::Row; 2], columns: [Self::Columns; 2], sum: Self::Sum) -> Self::Sum {
        self.dot(rows[1], columns[1], self.dot(rows[0], columns[0], sum))
    }

    /// The sums, each rounded once.
    fn floats(self, sum: Self::Sum) -> <Self::Simd as Simd>::F;

    /// `sum` plus the products of bytes with as many bytes, which end up in any of the lanes.
    ///
    /// # Safety
    /// `x` and `w` are valid for reads of four bytes for each lane.
    unsafe fn dot_along(self, x: *const u8, w: *const i8, sum: Self::Sum) -> Self::Sum;

    /// The sums of products of a query's bytes with levels: of `bytes` bytes of each of four rows, 32 or a multiple of
    /// it. Of each 32 bytes the lower bits are multiplied with 32 bytes of the query, the upper bits with the next 32.
    ///
    /// # Safety
    /// The rows are valid for reads of `bytes` bytes, the query for twice as many.
    unsafe fn dot_levels(self, query: *const i8, rows: [*const u8; 4], bytes: usize) -> [i32; 4];

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

    /// Writes a 16-bit integer for each lane. The numbers are integers, and
    /// [`ROUNDING_SHIFT`](crate::kernels::math::ROUNDING_SHIFT) was added.
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
