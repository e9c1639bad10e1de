//! Products of bytes by AVX2: bytes are widened to 16 bits, multiplied and added in pairs (`vpmaddwd`). The instruction
//! that takes bytes, `vpmaddubsw`, saturates its 16-bit sums.

use std::arch::x86_64::*;

use super::x86::{four, store_8, store_word_pairs_8, store_words_8, total_8, two, words_256};
use super::{Int8, Int8Operation};
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
    /// The four bytes, widened, four times.
    type Row = __m256i;
    /// Columns 0 to 3 and 4 to 7, widened.
    type Columns = [__m256i; 2];
    /// Sums of the first and of the last two products of each of these columns.
    type Sum = [__m256i; 2];

    const ROWS: usize = 2;
    const FLIP: u8 = 0;

    #[inline(always)]
    fn simd(self) -> Avx2 {
        self
    }

    #[inline(always)]
    fn zero(self) -> [__m256i; 2] {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u8) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for four bytes.
        unsafe { _mm256_cvtepu8_epi16(_mm_set1_epi32(four(from))) }
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const i8) -> [__m256i; 2] {
        // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for 32 bytes.
        unsafe {
            [
                _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())),
                _mm256_cvtepi8_epi16(_mm_loadu_si128(from.add(16).cast())),
            ]
        }
    }

    #[inline(always)]
    fn dot(self, row: __m256i, columns: [__m256i; 2], sum: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe {
            [
                _mm256_add_epi32(sum[0], _mm256_madd_epi16(row, columns[0])),
                _mm256_add_epi32(sum[1], _mm256_madd_epi16(row, columns[1])),
            ]
        }
    }

    #[inline(always)]
    fn floats(self, sum: [__m256i; 2]) -> __m256 {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe {
            let columns = _mm256_hadd_epi32(sum[0], sum[1]); // 0 1 4 5 2 3 6 7
            _mm256_cvtepi32_ps(_mm256_permute4x64_epi64::<0b11_01_10_00>(columns))
        }
    }

    #[inline(always)]
    unsafe fn dot_along(self, x: *const u8, w: *const i8, sum: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for 32 bytes of each.
        unsafe {
            let half = |i: usize| {
                let x = _mm256_cvtepu8_epi16(_mm_loadu_si128(x.add(i).cast()));
                _mm256_madd_epi16(x, _mm256_cvtepi8_epi16(_mm_loadu_si128(w.add(i).cast())))
            };
            [_mm256_add_epi32(sum[0], half(0)), _mm256_add_epi32(sum[1], half(16))]
        }
    }

    #[inline(always)]
    fn total(self, sum: [__m256i; 2]) -> i32 {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { total_8(_mm256_add_epi32(sum[0], sum[1])) }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, x: __m256) {
        // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for 8 bytes.
        unsafe { store_8(to, x) }
    }

    words_256!(|row, columns, sum| _mm256_add_epi32(sum, _mm256_madd_epi16(row, columns)));
}
