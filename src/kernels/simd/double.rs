//! Vectors of float64, each as many numbers as a vector of float32. Nothing is fused, so that sums have the same bits on every set.

use super::Scalar;

/// A set's arithmetic in float64.
pub(crate) trait Double: Copy {
    /// `LANES` numbers.
    type D: Copy;

    fn zeros(self) -> Self::D;

    /// # Safety
    /// `from` is valid for reads of `LANES` numbers.
    unsafe fn load_double(self, from: *const f64) -> Self::D;

    /// # Safety
    /// `to` is valid for writes of `LANES` numbers.
    unsafe fn store_double(self, to: *mut f64, x: Self::D);

    /// float32 numbers, widened.
    ///
    /// # Safety
    /// `from` is valid for reads of `LANES` numbers.
    unsafe fn load_widened(self, from: *const f32) -> Self::D;

    fn splat_double(self, x: f64) -> Self::D;
    fn add_double(self, a: Self::D, b: Self::D) -> Self::D;
    fn sub_double(self, a: Self::D, b: Self::D) -> Self::D;
    fn mul_double(self, a: Self::D, b: Self::D) -> Self::D;
}

/// Two registers of a set's intrinsics.
macro_rules! two_registers {
    ($set:ty, $register:ty, $half:literal, $zero:expr, $load:expr, $store:expr, $splat:expr, $add:expr, $sub:expr, $mul:expr, $widen:expr) => {
        impl Double for $set {
            type D = [$register; 2];

            #[inline(always)]
            fn zeros(self) -> Self::D {
                // SAFETY: this, and every block below, runs only where a value of the set exists, so the CPU has the
                // instructions; memory is the caller's to vouch for where a function is unsafe itself.
                unsafe { [$zero(), $zero()] }
            }

            #[inline(always)]
            unsafe fn load_double(self, from: *const f64) -> Self::D {
                // SAFETY: see above.
                unsafe { [$load(from), $load(from.add($half))] }
            }

            #[inline(always)]
            unsafe fn store_double(self, to: *mut f64, x: Self::D) {
                // SAFETY: see above.
                unsafe {
                    $store(to, x[0]);
                    $store(to.add($half), x[1]);
                }
            }

            #[inline(always)]
            unsafe fn load_widened(self, from: *const f32) -> Self::D {
                // SAFETY: see above.
                unsafe { [$widen(from), $widen(from.add($half))] }
            }

            #[inline(always)]
            fn splat_double(self, x: f64) -> Self::D {
                // SAFETY: see above.
                unsafe { [$splat(x), $splat(x)] }
            }

            #[inline(always)]
            fn add_double(self, a: Self::D, b: Self::D) -> Self::D {
                // SAFETY: see above.
                unsafe { [$add(a[0], b[0]), $add(a[1], b[1])] }
            }

            #[inline(always)]
            fn sub_double(self, a: Self::D, b: Self::D) -> Self::D {
                // SAFETY: see above.
                unsafe { [$sub(a[0], b[0]), $sub(a[1], b[1])] }
            }

            #[inline(always)]
            fn mul_double(self, a: Self::D, b: Self::D) -> Self::D {
                // SAFETY: see above.
                unsafe { [$mul(a[0], b[0]), $mul(a[1], b[1])] }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Double;
    use crate::kernels::simd::avx2::Avx2;
    use crate::kernels::simd::avx512::Avx512;

    #[inline(always)]
    unsafe fn widen_4(from: *const f32) -> __m256d {
        // SAFETY: the caller vouches for AVX2 and for the numbers.
        unsafe { _mm256_cvtps_pd(_mm_loadu_ps(from)) }
    }

    #[inline(always)]
    unsafe fn widen_8(from: *const f32) -> __m512d {
        // SAFETY: the caller vouches for AVX-512 and for the numbers.
        unsafe { _mm512_cvtps_pd(_mm256_loadu_ps(from)) }
    }

    two_registers!(
        Avx2,
        __m256d,
        4,
        _mm256_setzero_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_set1_pd,
        _mm256_add_pd,
        _mm256_sub_pd,
        _mm256_mul_pd,
        widen_4
    );
    two_registers!(
        Avx512,
        __m512d,
        8,
        _mm512_setzero_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_set1_pd,
        _mm512_add_pd,
        _mm512_sub_pd,
        _mm512_mul_pd,
        widen_8
    );
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::Double;
    use crate::kernels::simd::neon::Neon;

    #[inline(always)]
    unsafe fn zero() -> float64x2_t {
        // SAFETY: the caller vouches for NEON.
        unsafe { vdupq_n_f64(0.0) }
    }

    #[inline(always)]
    unsafe fn widen_2(from: *const f32) -> float64x2_t {
        // SAFETY: the caller vouches for NEON and for the numbers.
        unsafe { vcvt_f64_f32(vld1_f32(from)) }
    }

    two_registers!(
        Neon,
        float64x2_t,
        2,
        zero,
        vld1q_f64,
        vst1q_f64,
        vdupq_n_f64,
        vaddq_f64,
        vsubq_f64,
        vmulq_f64,
        widen_2
    );
}

#[inline(always)]
fn zip(a: [f64; 4], b: [f64; 4], f: impl Fn(f64, f64) -> f64) -> [f64; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl Double for Scalar {
    type D = [f64; 4];

    #[inline(always)]
    fn zeros(self) -> [f64; 4] {
        [0.0; 4]
    }

    #[inline(always)]
    unsafe fn load_double(self, from: *const f64) -> [f64; 4] {
        // SAFETY: the caller vouches for four numbers.
        unsafe { from.cast::<[f64; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_double(self, to: *mut f64, x: [f64; 4]) {
        // SAFETY: the caller vouches for four numbers.
        unsafe { to.cast::<[f64; 4]>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn load_widened(self, from: *const f32) -> [f64; 4] {
        // SAFETY: the caller vouches for four numbers.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }.map(f64::from)
    }

    #[inline(always)]
    fn splat_double(self, x: f64) -> [f64; 4] {
        [x; 4]
    }

    #[inline(always)]
    fn add_double(self, a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub_double(self, a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul_double(self, a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        zip(a, b, |a, b| a * b)
    }
}
