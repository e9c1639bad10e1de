//! Products of bytes by AVX-VNNI: `vpdpbusd` multiplies unsigned with signed bytes and adds four products at once.

use std::arch::x86_64::*;

use super::x86::{
    dot_levels_256, dpwssd_256, four, store_8, store_word_pairs_8, store_words_8, total_8, two, words_256,
};
use super::{Int8, Int8Operation, WeightProducts};
use crate::kernels::simd::avx2::Avx2;

/// 256-bit vectors with VNNI, as on clients without AVX-512.
#[derive(Clone, Copy)]
pub(crate) struct AvxVnni(Avx2);

/// # Safety
/// The CPU has AVX2, FMA, F16C and AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(crate) unsafe fn run<O: Int8Operation>(operation: O) -> O::Output {
    // SAFETY: the caller vouches for the features.
    operation.run(AvxVnni(unsafe { Avx2::assume() }))
}

impl Int8 for AvxVnni {
    type Simd = Avx2;
    type Row = __m256i;
    type Columns = __m256i;
    type Sum = __m256i;

    const ROWS: usize = 6;
    const STEPS: u8 = 255;
    const WEIGHTS: WeightProducts = WeightProducts::UNBOUND;
    const FLIP: u8 = 0;

    #[inline(always)]
    fn simd(self) -> Avx2 {
        self.0
    }

    #[inline(always)]
    fn zero(self) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX-VNNI.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u8) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX-VNNI; the caller vouches for four bytes.
        unsafe { _mm256_set1_epi32(four(from)) }
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const i8) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX-VNNI; the caller vouches for 32 bytes.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    fn dot(self, row: __m256i, columns: __m256i, sum: __m256i) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX-VNNI.
        unsafe { _mm256_dpbusd_avx_epi32(sum, row, columns) }
    }

    #[inline(always)]
    fn floats(self, sum: __m256i) -> __m256 {
        // SAFETY: `self` proves that the CPU has AVX-VNNI.
        unsafe { _mm256_cvtepi32_ps(sum) }
    }

    #[inline(always)]
    unsafe fn dot_along(self, x: *const u8, w: *const i8, sum: __m256i) -> __m256i {
        // SAFETY: `self` proves that the CPU has AVX-VNNI; the caller vouches for 32 bytes of each.
        unsafe { _mm256_dpbusd_avx_epi32(sum, _mm256_loadu_si256(x.cast()), _mm256_loadu_si256(w.cast())) }
    }

    #[inline(always)]
    unsafe fn dot_levels(self, query: *const i8, rows: [*const u8; 4], bytes: usize) -> [i32; 4] {
        // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for the bytes.
        unsafe { dot_levels_256(query, rows, bytes) }
    }

    #[inline(always)]
    fn total(self, sum: __m256i) -> i32 {
        // SAFETY: `self` proves that the CPU has AVX-VNNI.
        unsafe { total_8(sum) }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, x: __m256) {
        // SAFETY: `self` proves that the CPU has AVX-VNNI; the caller vouches for 8 bytes.
        unsafe { store_8(to, x) }
    }

    words_256!(|row, columns, sum| dpwssd_256(sum, row, columns));
}
