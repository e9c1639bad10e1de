//! 512-bit vectors: AVX-512 F, BW, DQ and VL, which every server CPU with AVX-512 has.

use std::arch::x86_64::*;

use super::double::{Double, two_registers};
use super::{Operation, Simd};

#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The CPU has the features of `run`.
    #[inline(always)]
    pub(super) unsafe fn assume() -> Self {
        Self(())
    }
}

/// # Safety
/// The CPU has these features.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) unsafe fn run<O: Operation>(operation: O) -> O::Output {
    operation.run(Avx512(()))
}

// SAFETY of every block below: an `Avx512` exists only inside `run`, so the CPU has the instructions; memory is the
// caller's to vouch for where a function is unsafe itself.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: see above.
        unsafe { $call }
    };
}

/// The lowest `count` of 16 lanes.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    debug_assert!(count <= 16);
    ((1u32 << count) - 1) as __mmask16
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const REGISTERS: usize = 32;

    type F = __m512;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        intrinsic!(_mm512_set1_ps(x))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        intrinsic!(_mm512_loadu_ps(from))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: __m512) {
        intrinsic!(_mm512_storeu_ps(to, x))
    }

    #[inline(always)]
    unsafe fn load_bfloat16(self, from: *const u16) -> __m512 {
        intrinsic!({
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        })
    }

    #[inline(always)]
    unsafe fn load_float16(self, from: *const u16) -> __m512 {
        intrinsic!(_mm512_cvtph_ps(_mm256_loadu_si256(from.cast())))
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        intrinsic!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn round(self, x: __m512) -> __m512 {
        intrinsic!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x))
    }

    #[inline(always)]
    fn pow2(self, n: __m512) -> __m512 {
        intrinsic!({
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        })
    }

    #[inline(always)]
    fn scale2(self, x: __m512, n: __m512, _: __m512) -> __m512 {
        intrinsic!(_mm512_scalef_ps(x, n))
    }

    #[inline(always)]
    fn mix_lanes(self, x: __m512) -> __m512 {
        // Each lane and the one beside it, by one, two, four and eight: where that one comes before it, less its own.
        intrinsic!({
            let x = _mm512_mask_sub_ps(
                _mm512_add_ps(x, _mm512_permute_ps::<0b10_11_00_01>(x)),
                0xAAAA,
                _mm512_permute_ps::<0b10_11_00_01>(x),
                x,
            );
            let x = _mm512_mask_sub_ps(
                _mm512_add_ps(x, _mm512_permute_ps::<0b01_00_11_10>(x)),
                0xCCCC,
                _mm512_permute_ps::<0b01_00_11_10>(x),
                x,
            );
            let other = _mm512_shuffle_f32x4::<0b10_11_00_01>(x, x);
            let x = _mm512_mask_sub_ps(_mm512_add_ps(x, other), 0xF0F0, other, x);
            let other = _mm512_shuffle_f32x4::<0b01_00_11_10>(x, x);
            _mm512_mask_sub_ps(_mm512_add_ps(x, other), 0xFF00, other, x)
        })
    }

    #[inline(always)]
    fn sum(self, x: __m512) -> f32 {
        intrinsic!(_mm512_reduce_add_ps(x))
    }

    #[inline(always)]
    fn largest(self, x: __m512) -> f32 {
        intrinsic!(_mm512_reduce_max_ps(x))
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize, fill: f32) -> __m512 {
        intrinsic!(_mm512_mask_loadu_ps(_mm512_set1_ps(fill), first(count), from))
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, x: __m512, count: usize) {
        intrinsic!(_mm512_mask_storeu_ps(to, first(count), x))
    }

    /// A square of 16 by 16, in four strips of four numbers: loads put rows 0, 4, 8 and 12 side by side, and so on, and
    /// shuffles within 128 bits do the rest.
    #[inline(always)]
    unsafe fn interleave(self, rows: *const i8, stride: usize, to: *mut i8, apart: usize) {
        for strip in 0..4 {
            // SAFETY: the caller vouches for 64 bytes of each row and for 16 vectors at `to`.
            unsafe {
                let four = |i: usize| {
                    let part = |row: usize| _mm_loadu_si128(rows.add(row * stride + 16 * strip).cast());
                    let x = _mm512_castsi128_si512(part(i));
                    let x = _mm512_inserti32x4::<1>(x, part(i + 4));
                    let x = _mm512_inserti32x4::<2>(x, part(i + 8));
                    _mm512_inserti32x4::<3>(x, part(i + 12))
                };
                let [a, b, c, d] = [four(0), four(1), four(2), four(3)];
                let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
                let (low2, high2) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
                let to = to.add(4 * strip * apart);
                _mm512_storeu_si512(to.cast(), _mm512_unpacklo_epi64(low, low2));
                _mm512_storeu_si512(to.add(apart).cast(), _mm512_unpackhi_epi64(low, low2));
                _mm512_storeu_si512(to.add(2 * apart).cast(), _mm512_unpacklo_epi64(high, high2));
                _mm512_storeu_si512(to.add(3 * apart).cast(), _mm512_unpackhi_epi64(high, high2));
            }
        }
    }
}

#[inline(always)]
unsafe fn widen_8(from: *const f32) -> __m512d {
    // SAFETY: the caller vouches for AVX-512 and for the numbers.
    unsafe { _mm512_cvtps_pd(_mm256_loadu_ps(from)) }
}

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
