//! 256-bit vectors with fused multiply-add: AVX2, FMA and F16C, which came together.

use std::arch::x86_64::*;

use super::double::{Double, two_registers};
use super::{Operation, Simd};

#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The CPU has the features of `run`.
    #[inline(always)]
    pub(super) unsafe fn assume() -> Self {
        Self(())
    }
}

/// # Safety
/// The CPU has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn run<O: Operation>(operation: O) -> O::Output {
    operation.run(Avx2(()))
}

// SAFETY of every block below: an `Avx2` exists only inside `run`, so the CPU has the instructions; memory is the
// caller's to vouch for where a function is unsafe itself.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: see above.
        unsafe { $call }
    };
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const REGISTERS: usize = 16;

    type F = __m256;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        intrinsic!(_mm256_set1_ps(x))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        intrinsic!(_mm256_loadu_ps(from))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: __m256) {
        intrinsic!(_mm256_storeu_ps(to, x))
    }

    #[inline(always)]
    unsafe fn load_bfloat16(self, from: *const u16) -> __m256 {
        intrinsic!({
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        })
    }

    #[inline(always)]
    unsafe fn load_float16(self, from: *const u16) -> __m256 {
        intrinsic!(_mm256_cvtph_ps(_mm_loadu_si128(from.cast())))
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_div_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_min_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        intrinsic!(_mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        intrinsic!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn round(self, x: __m256) -> __m256 {
        intrinsic!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x))
    }

    #[inline(always)]
    fn pow2(self, n: __m256) -> __m256 {
        intrinsic!({
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        })
    }

    /// The shifted number has n in its lowest bits, and x between 1/2 and 2 takes it into its exponent. Below 2^-126, where
    /// the exponent is 0, the result is not the product, but a denormal or 0 as that is.
    #[inline(always)]
    fn scale2(self, x: __m256, _: __m256, shifted: __m256) -> __m256 {
        intrinsic!({
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent))
        })
    }

    #[inline(always)]
    fn mix_lanes(self, x: __m256) -> __m256 {
        // Each lane and the one beside it, by one, two and four: where that one comes before it, less its own.
        intrinsic!({
            let x = _mm256_fmadd_ps(
                x,
                _mm256_setr_ps(1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0),
                _mm256_permute_ps::<0b10_11_00_01>(x),
            );
            let x = _mm256_fmadd_ps(
                x,
                _mm256_setr_ps(1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0),
                _mm256_permute_ps::<0b01_00_11_10>(x),
            );
            _mm256_fmadd_ps(
                x,
                _mm256_setr_ps(1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0),
                _mm256_permute2f128_ps::<1>(x, x),
            )
        })
    }

    #[inline(always)]
    fn sum(self, x: __m256) -> f32 {
        intrinsic!({
            let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        })
    }

    #[inline(always)]
    fn largest(self, x: __m256) -> f32 {
        intrinsic!({
            let four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        })
    }

    /// A square of 8 by 8, in two strips of four numbers: loads put rows 0 and 4 side by side, and so on, and shuffles
    /// within 128 bits do the rest.
    #[inline(always)]
    unsafe fn interleave(self, rows: *const i8, stride: usize, to: *mut i8, apart: usize) {
        for strip in 0..2 {
            // SAFETY: the caller vouches for 32 bytes of each row and for 8 vectors at `to`.
            unsafe {
                let two = |i: usize| {
                    let part = |row: usize| _mm_loadu_si128(rows.add(row * stride + 16 * strip).cast());
                    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(part(i)), part(i + 4))
                };
                let [a, b, c, d] = [two(0), two(1), two(2), two(3)];
                let (low, high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
                let (low2, high2) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
                let to = to.add(4 * strip * apart);
                _mm256_storeu_si256(to.cast(), _mm256_unpacklo_epi64(low, low2));
                _mm256_storeu_si256(to.add(apart).cast(), _mm256_unpackhi_epi64(low, low2));
                _mm256_storeu_si256(to.add(2 * apart).cast(), _mm256_unpacklo_epi64(high, high2));
                _mm256_storeu_si256(to.add(3 * apart).cast(), _mm256_unpackhi_epi64(high, high2));
            }
        }
    }
}

#[inline(always)]
unsafe fn widen_4(from: *const f32) -> __m256d {
    // SAFETY: the caller vouches for AVX2 and for the numbers.
    unsafe { _mm256_cvtps_pd(_mm_loadu_ps(from)) }
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
