//! Products of bytes by AVX-512 VNNI: `vpdpbusd` multiplies unsigned with signed bytes and adds four products at once.

use std::arch::x86_64::*;

use super::x86::{dot_levels_256, dpwssd_512, four, store_16, store_word_pairs_16, store_words_16, two, words_512};
use super::{Int8, Int8Operation, WeightProducts};
use crate::kernels::simd::avx512::Avx512;

/// 512-bit vectors with VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Vnni(Avx512);

/// # Safety
/// The CPU has AVX-512 F, BW, DQ, VL and VNNI.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) unsafe fn run<O: Int8Operation>(operation: O) -> O::Output {
    // SAFETY: the caller vouches for the features.
    operation.run(Avx512Vnni(unsafe { Avx512::assume() }))
}

impl Int8 for Avx512Vnni {
    type Simd = Avx512;
    type Row = __m512i;
    type Columns = __m512i;
    type Sum = __m512i;

    const ROWS: usize = 6;
    const STEPS: u8 = 255;
    const WEIGHTS: WeightProducts = WeightProducts::UNBOUND;
    const FLIP: u8 = 0;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    fn zero(self) -> __m512i {
        // SAFETY: `self` proves that the CPU has AVX-512 VNNI.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u8) -> __m512i {
        // SAFETY: `self` proves that the CPU has AVX-512 VNNI; the caller vouches for four bytes.
        unsafe { _mm512_set1_epi32(four(from)) }
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const i8) -> __m512i {
        // SAFETY: `self` proves that the CPU has AVX-512 VNNI; the caller vouches for 64 bytes.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    fn dot(self, row: __m512i, columns: __m512i, sum: __m512i) -> __m512i {
        // SAFETY: `self` proves that the CPU has AVX-512 VNNI.
        unsafe { _mm512_dpbusd_epi32(sum, row, columns) }
    }

    #[inline(always)]
    fn floats(self, sum: __m512i) -> __m512 {
        // SAFETY: `self` proves that the CPU has AVX-512 VNNI.
        unsafe { _mm512_cvtepi32_ps(sum) }
    }

    #[inline(always)]
    unsafe fn dot_along(self, x: *const u8, w: *const i8, sum: __m512i) -> __m512i {
        // SAFETY: `self` proves that the CPU has AVX-512 VNNI; the caller vouches for 64 bytes of each.
        unsafe { _mm512_dpbusd_epi32(sum, _mm512_loadu_si512(x.cast()), _mm512_loadu_si512(w.cast())) }
    }

    #[inline(always)]
    unsafe fn dot_levels(self, query: *const i8, rows: [*const u8; 4], bytes: usize) -> [i32; 4] {
        // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for the bytes.
        unsafe { dot_levels_256(query, rows, bytes) }
    }

    #[inline(always)]
    fn total(self, sum: __m512i) -> i32 {
        // SAFETY: `self` proves that the CPU has AVX-512 VNNI.
        unsafe { _mm512_reduce_add_epi32(sum) }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, x: __m512) {
        // SAFETY: `self` proves that the CPU has AVX-512 VNNI; the caller vouches for 16 bytes.
        unsafe { store_16(to, x) }
    }

    words_512!(|row, columns, sum| dpwssd_512(sum, row, columns));
}
