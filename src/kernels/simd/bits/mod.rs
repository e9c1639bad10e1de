//! Counting the bits in which words differ: the same numbers on every set.
//!
//! Sets without an instruction for it count by a table of nibbles (Muła, Kurz & Lemire, "Faster population counts using
//! AVX2 instructions", 2018): counts of a byte are added as bytes, and summed for each word before they can overflow.

#[cfg(target_arch = "aarch64")]
pub(in crate::kernels) mod neon;
#[cfg(target_arch = "x86_64")]
pub(in crate::kernels) mod x86;

use super::Scalar;

/// Counts of bytes, 8 at most, that a byte can hold the sum of.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const MAX_BYTE_COUNTS: usize = 31;

/// Work on bits that is compiled once per instruction set.
pub(crate) trait BitOperation {
    type Output;

    fn run<B: Bits>(self, b: B) -> Self::Output;
}

/// Like [`Simd`](super::Simd), a proof that the CPU has the instructions.
pub(crate) trait Bits: Copy {
    /// Words of 64 bits in a vector.
    const WORDS: usize;
    /// Counts that may be added before they are widened.
    const MAX_COUNTS: usize;

    type V: Copy;

    fn zero(self) -> Self::V;

    fn splat(self, word: u64) -> Self::V;

    /// # Safety
    /// `from` is valid for reads of `WORDS` words; no alignment is asked for.
    unsafe fn load(self, from: *const u64) -> Self::V;

    /// The first `count < WORDS` words; the others are 0.
    ///
    /// # Safety
    /// `from` is valid for reads of `count` words.
    unsafe fn load_first(self, from: *const u64, count: usize) -> Self::V;

    /// # Safety
    /// `to` is valid for writes of `WORDS` words.
    unsafe fn store(self, to: *mut u64, x: Self::V);

    /// In how many bits `a` and `b` differ: a count for each word, or for each of its bytes.
    fn count_different(self, a: Self::V, b: Self::V) -> Self::V;

    fn add_counts(self, a: Self::V, b: Self::V) -> Self::V;

    /// Sums of up to `MAX_COUNTS` counts as a number for each word.
    fn widen(self, counts: Self::V) -> Self::V;

    fn add_words(self, a: Self::V, b: Self::V) -> Self::V;

    /// The sum of all words.
    fn total(self, words: Self::V) -> u64;

    /// Whether one of the words, which are below 2^32, is at most `limit`.
    fn any_at_most(self, words: Self::V, limit: u64) -> bool;
}

impl Bits for Scalar {
    const WORDS: usize = 1;
    const MAX_COUNTS: usize = usize::MAX;

    type V = u64;

    #[inline(always)]
    fn zero(self) -> u64 {
        0
    }

    #[inline(always)]
    fn splat(self, word: u64) -> u64 {
        word
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u64) -> u64 {
        // SAFETY: the caller vouches for the word.
        unsafe { from.read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_first(self, _: *const u64, _: usize) -> u64 {
        0
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u64, x: u64) {
        // SAFETY: the caller vouches for the word.
        unsafe { to.write_unaligned(x) }
    }

    #[inline(always)]
    fn count_different(self, a: u64, b: u64) -> u64 {
        u64::from((a ^ b).count_ones())
    }

    #[inline(always)]
    fn add_counts(self, a: u64, b: u64) -> u64 {
        a + b
    }

    #[inline(always)]
    fn widen(self, counts: u64) -> u64 {
        counts
    }

    #[inline(always)]
    fn add_words(self, a: u64, b: u64) -> u64 {
        a + b
    }

    #[inline(always)]
    fn total(self, words: u64) -> u64 {
        words
    }

    #[inline(always)]
    fn any_at_most(self, words: u64, limit: u64) -> bool {
        words <= limit
    }
}
