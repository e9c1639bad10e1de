//! Products of pairs of bfloat16, summed in float32.

use std::arch::x86_64::*;

use super::avx512::Avx512;

/// 512-bit vectors with AVX512-BF16.
#[derive(Clone, Copy)]
pub(crate) struct Bf16(Avx512);

/// Work on bfloat16.
pub(crate) trait Bf16Operation {
    type Output;

    fn run(self, d: Bf16) -> Self::Output;
}

/// # Safety
/// The CPU has AVX-512 F, BW, DQ, VL and BF16.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(crate) unsafe fn run<O: Bf16Operation>(operation: O) -> O::Output {
    // SAFETY: the caller vouches for the features.
    operation.run(Bf16(unsafe { Avx512::assume() }))
}

// SAFETY of every block below: a `Bf16` exists only inside `run`, so the CPU has the instructions; memory is the
// caller's to vouch for where a function is unsafe itself.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: see above.
        unsafe { $call }
    };
}

impl Bf16 {
    #[inline(always)]
    pub(crate) fn simd(self) -> Avx512 {
        self.0
    }

    /// Two numbers, in every lane.
    ///
    /// # Safety
    /// `from` is valid for reads of two numbers.
    #[inline(always)]
    pub(crate) unsafe fn row(self, from: *const u16) -> __m512i {
        intrinsic!(_mm512_set1_epi32(from.cast::<i32>().read_unaligned()))
    }

    /// Two numbers for each of 16 lanes.
    ///
    /// # Safety
    /// `from` is valid for reads of 32 numbers.
    #[inline(always)]
    pub(crate) unsafe fn columns(self, from: *const u16) -> __m512i {
        intrinsic!(_mm512_loadu_si512(from.cast()))
    }

    /// `sum` plus two products in each lane.
    #[inline(always)]
    pub(crate) fn dot(self, row: __m512i, columns: __m512i, sum: __m512) -> __m512 {
        // SAFETY: see above; both types are 64 bytes without a meaning of their own.
        unsafe {
            let bfloat16 = std::mem::transmute::<__m512i, __m512bh>;
            _mm512_dpbf16_ps(sum, bfloat16(row), bfloat16(columns))
        }
    }

    /// Writes 16 numbers, each rounded to the nearest.
    ///
    /// # Safety
    /// `to` is valid for writes of 16 numbers.
    #[inline(always)]
    pub(crate) unsafe fn store(self, to: *mut u16, x: __m512) {
        // SAFETY: see above; the type is 32 bytes without a meaning of its own.
        unsafe { _mm256_storeu_si256(to.cast(), std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x))) }
    }
}
