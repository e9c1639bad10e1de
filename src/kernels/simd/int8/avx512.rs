//! Products of bytes by AVX-512 without VNNI: as in `avx2.rs`, in vectors twice as long.

use std::arch::x86_64::*;

use super::x86::{dot_levels_256, four, store_16, store_word_pairs_16, store_words_16, two, words_512};
use super::{Int8, Int8Operation, WeightProducts};
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
    type Row = __m512i;
    type Columns = __m512i;
    type Sum = __m512i;

    const ROWS: usize = 6;
    const STEPS: u8 = 128;
    const WEIGHTS: WeightProducts = WeightProducts::PAIRS;
    const FLIP: u8 = 0;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self
    }

    #[inline(always)]
    fn zero(self) -> __m512i {
        // SAFETY: `self` proves that the CPU has AVX-512.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u8) -> __m512i {
        // SAFETY: `self` proves that the CPU has AVX-512; the caller vouches for four bytes.
        unsafe { _mm512_set1_epi32(four(from)) }
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const i8) -> __m512i {
        // SAFETY: `self` proves that the CPU has AVX-512; the caller vouches for 64 bytes.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    fn dot(self, row: __m512i, columns: __m512i, sum: __m512i) -> __m512i {
        // SAFETY: `self` proves that the CPU has AVX-512.
        unsafe {
            let pairs = _mm512_maddubs_epi16(row, columns);
            _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn dot_weights(self, rows: [__m512i; 2], columns: [__m512i; 2], sum: __m512i) -> __m512i {
        // SAFETY: `self` proves that the CPU has AVX-512.
        unsafe {
            let fours =
                _mm512_add_epi16(_mm512_maddubs_epi16(rows[0], columns[0]), _mm512_maddubs_epi16(rows[1], columns[1]));
            _mm512_add_epi32(sum, _mm512_madd_epi16(fours, _mm512_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn floats(self, sum: __m512i) -> __m512 {
        // SAFETY: `self` proves that the CPU has AVX-512.
        unsafe { _mm512_cvtepi32_ps(sum) }
    }

    #[inline(always)]
    unsafe fn dot_along(self, x: *const u8, w: *const i8, sum: __m512i) -> __m512i {
        // SAFETY: `self` proves that the CPU has AVX-512; the caller vouches for 64 bytes of each.
        unsafe { self.dot(_mm512_loadu_si512(x.cast()), _mm512_loadu_si512(w.cast()), sum) }
    }

    #[inline(always)]
    unsafe fn dot_levels(self, query: *const i8, rows: [*const u8; 4], bytes: usize) -> [i32; 4] {
        // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for the bytes.
        unsafe { dot_levels_256(query, rows, bytes) }
    }

    #[inline(always)]
    fn total(self, sum: __m512i) -> i32 {
        // SAFETY: `self` proves that the CPU has AVX-512.
        unsafe { _mm512_reduce_add_epi32(sum) }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, x: __m512) {
        // SAFETY: `self` proves that the CPU has AVX-512; the caller vouches for 16 bytes.
        unsafe { store_16(to, x) }
    }

    words_512!(|row, columns, sum| _mm512_add_epi32(sum, _mm512_madd_epi16(row, columns)));
}
