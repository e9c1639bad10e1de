//! Products of bytes by AVX-512 without VNNI: widened to 16 bits as in `avx2.rs`, in vectors twice as long.

use std::arch::x86_64::*;

use super::x86::{four, store_16, store_word_pairs_16, store_words_16, two, words_512};
use super::{Int8, Int8Operation};
use crate::kernels::simd::avx512::Avx512;

/// # Safety
/// The CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) unsafe fn run<O: Int8Operation>(operation: O) -> O::Output {
    // SAFETY: the caller vouches for the features.
    operation.run(unsafe { Avx512::assume() })
}

impl Int8 for Avx512 {
    type Simd = Avx512;
    /// The four bytes, widened, eight times.
    type Row = __m512i;
    /// Columns 0 to 7 and 8 to 15, widened.
    type Columns = [__m512i; 2];
    /// Sums of the first and of the last two products of each of these columns.
    type Sum = [__m512i; 2];

    const ROWS: usize = 2;
    const FLIP: u8 = 0;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self
    }

    #[inline(always)]
    fn zero(self) -> [__m512i; 2] {
        // SAFETY: `self` proves that the CPU has AVX-512.
        unsafe { [_mm512_setzero_si512(); 2] }
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u8) -> __m512i {
        // SAFETY: `self` proves that the CPU has AVX-512; the caller vouches for four bytes.
        unsafe { _mm512_cvtepu8_epi16(_mm256_set1_epi32(four(from))) }
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const i8) -> [__m512i; 2] {
        // SAFETY: `self` proves that the CPU has AVX-512; the caller vouches for 64 bytes.
        unsafe {
            [
                _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast())),
                _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.add(32).cast())),
            ]
        }
    }

    #[inline(always)]
    fn dot(self, row: __m512i, columns: [__m512i; 2], sum: [__m512i; 2]) -> [__m512i; 2] {
        // SAFETY: `self` proves that the CPU has AVX-512.
        unsafe {
            [
                _mm512_add_epi32(sum[0], _mm512_madd_epi16(row, columns[0])),
                _mm512_add_epi32(sum[1], _mm512_madd_epi16(row, columns[1])),
            ]
        }
    }

    #[inline(always)]
    fn floats(self, sum: [__m512i; 2]) -> __m512 {
        // SAFETY: `self` proves that the CPU has AVX-512.
        unsafe {
            // The sum of lanes 2c and 2c + 1 is that of column c.
            let firsts = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let lasts = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            let firsts = _mm512_permutex2var_epi32(sum[0], firsts, sum[1]);
            let lasts = _mm512_permutex2var_epi32(sum[0], lasts, sum[1]);
            _mm512_cvtepi32_ps(_mm512_add_epi32(firsts, lasts))
        }
    }

    #[inline(always)]
    unsafe fn dot_along(self, x: *const u8, w: *const i8, sum: [__m512i; 2]) -> [__m512i; 2] {
        // SAFETY: `self` proves that the CPU has AVX-512; the caller vouches for 64 bytes of each.
        unsafe {
            let half = |i: usize| {
                let x = _mm512_cvtepu8_epi16(_mm256_loadu_si256(x.add(i).cast()));
                _mm512_madd_epi16(x, _mm512_cvtepi8_epi16(_mm256_loadu_si256(w.add(i).cast())))
            };
            [_mm512_add_epi32(sum[0], half(0)), _mm512_add_epi32(sum[1], half(32))]
        }
    }

    #[inline(always)]
    fn total(self, sum: [__m512i; 2]) -> i32 {
        // SAFETY: `self` proves that the CPU has AVX-512.
        unsafe { _mm512_reduce_add_epi32(_mm512_add_epi32(sum[0], sum[1])) }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, x: __m512) {
        // SAFETY: `self` proves that the CPU has AVX-512; the caller vouches for 16 bytes.
        unsafe { store_16(to, x) }
    }

    words_512!(|row, columns, sum| _mm512_add_epi32(sum, _mm512_madd_epi16(row, columns)));
}
