//! Products of bytes by AVX2: `vpmaddubsw` multiplies unsigned with signed bytes and adds two neighbours in 16 bits,
//! `vpmaddwd` with ones adds two such sums in 32 bits.
//!
//! `vpmaddubsw` saturates. It never comes to that, and sums are exact integers:
//!
//! ```text
//! any columns:      2 * 128 * 127 = 32,512 <= 32,767        so rows have at most 128 (`Int8::STEPS`)
//! packed weights:   steps * limit          <= 32,767        of four products that are added up in 16 bits, those of one
//!                                                           sign come to at most that (`WeightProducts`)
//! ```
//!
//! Instructions for 64 products, and what two ports for multiplications allow of them in a cycle (a float32 tile does 16
//! products in a cycle there; measured on Zen 3 beside it, tiles whose operands lie in the first-level cache):
//!
//! ```text
//!                                                multiplications    others   products a cycle   measured, float32 = 1
//! bytes widened to 16 bits, vpmaddwd                  4               4 + 4/row       32              1.16
//! vpmaddubsw, vpmaddwd, vpaddd                        4               2               32              1.91
//! vpmaddubsw twice, vpaddw, vpmaddwd, vpaddd          3               2               43              2.40
//! four times, vpaddw three times, ...                 2.5             2               51              2.50
//! ```
//!
//! Four times would leave the weights half the range for a gain of 4 %.

use std::arch::x86_64::*;

use super::x86::{dot_levels_256, four, store_8, store_word_pairs_8, store_words_8, total_8, two, words_256};
use super::{Int8, Int8Operation, WeightProducts};
use crate::kernels::simd::avx2::Avx2;

/// # Safety
/// The CPU has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn run<O: Int8Operation>(operation: O) -> O::Output {
    // SAFETY: the caller vouches for the features.
    operation.run(unsafe { Avx2::assume() })
}

impl Int8 for Avx2 {
    type Simd = Avx2;
    type Row = __m256i;
    type Columns = __m256i;
    type Sum = __m256i;

    const ROWS: usize = 6;
    const STEPS: u8 = 128;
    const WEIGHTS: WeightProducts = WeightProducts::PAIRS;
    const FLIP: u8 = 0;

    #[inline(always)]
    fn simd(self) -> Avx2 {
        self
    }

    #[inline(always)]
    fn zero(self) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u8) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for four bytes.
        unsafe { _mm256_set1_epi32(four(from)) }
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const i8) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for 32 bytes.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    fn dot(self, row: __m256i, columns: __m256i, sum: __m256i) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe {
            let pairs = _mm256_maddubs_epi16(row, columns);
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn dot_weights(self, rows: [__m256i; 2], columns: [__m256i; 2], sum: __m256i) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe {
            let fours =
                _mm256_add_epi16(_mm256_maddubs_epi16(rows[0], columns[0]), _mm256_maddubs_epi16(rows[1], columns[1]));
            _mm256_add_epi32(sum, _mm256_madd_epi16(fours, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn floats(self, sum: __m256i) -> __m256 {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { _mm256_cvtepi32_ps(sum) }
    }

    #[inline(always)]
    unsafe fn dot_along(self, x: *const u8, w: *const i8, sum: __m256i) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for 32 bytes of each.
        unsafe { self.dot(_mm256_loadu_si256(x.cast()), _mm256_loadu_si256(w.cast()), sum) }
    }

    #[inline(always)]
    unsafe fn dot_levels(self, query: *const i8, rows: [*const u8; 4], bytes: usize) -> [i32; 4] {
        // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for the bytes.
        unsafe { dot_levels_256(query, rows, bytes) }
    }

    #[inline(always)]
    fn total(self, sum: __m256i) -> i32 {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { total_8(sum) }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, x: __m256) {
        // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for 8 bytes.
        unsafe { store_8(to, x) }
    }

    words_256!(|row, columns, sum| _mm256_add_epi32(sum, _mm256_madd_epi16(row, columns)));
}
