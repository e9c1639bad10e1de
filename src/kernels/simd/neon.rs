//! 128-bit vectors of every 64-bit Arm CPU.

use std::arch::aarch64::*;

use super::double::{Double, two_registers};
use super::{Operation, Simd};

#[derive(Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// # Safety
    /// The CPU has NEON.
    #[inline(always)]
    pub(super) unsafe fn assume() -> Self {
        Self(())
    }
}

/// # Safety
/// The CPU has NEON.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn run<O: Operation>(operation: O) -> O::Output {
    operation.run(Neon(()))
}

// SAFETY of every block below: a `Neon` exists only inside `run`, so the CPU has the instructions; memory is the
// caller's to vouch for where a function is unsafe itself.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: see above.
        unsafe { $call }
    };
}

impl Simd for Neon {
    const LANES: usize = 4;
    const REGISTERS: usize = 32;

    type F = float32x4_t;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        intrinsic!(vdupq_n_f32(x))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> float32x4_t {
        intrinsic!(vld1q_f32(from))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: float32x4_t) {
        intrinsic!(vst1q_f32(to, x))
    }

    #[inline(always)]
    unsafe fn load_bfloat16(self, from: *const u16) -> float32x4_t {
        intrinsic!(vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from))))
    }

    #[inline(always)]
    unsafe fn load_float16(self, from: *const u16) -> float32x4_t {
        intrinsic!({
            let narrow = vld1_u16(from);
            let wide: float32x4_t;
            // The intrinsic takes a type that is not stable yet.
            std::arch::asm!(
                "fcvtl {wide:v}.4s, {narrow:v}.4h",
                wide = lateout(vreg) wide,
                narrow = in(vreg) narrow,
                options(pure, nomem, nostack, preserves_flags)
            );
            wide
        })
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        intrinsic!(vaddq_f32(a, b))
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        intrinsic!(vsubq_f32(a, b))
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        intrinsic!(vmulq_f32(a, b))
    }

    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        intrinsic!(vdivq_f32(a, b))
    }

    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        intrinsic!(vminq_f32(a, b))
    }

    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        intrinsic!(vmaxq_f32(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        intrinsic!(vfmaq_f32(c, a, b))
    }

    #[inline(always)]
    fn round(self, x: float32x4_t) -> float32x4_t {
        intrinsic!(vrndnq_f32(x))
    }

    #[inline(always)]
    fn pow2(self, n: float32x4_t) -> float32x4_t {
        intrinsic!({
            let exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
        })
    }

    #[inline(always)]
    fn mix_lanes(self, x: float32x4_t) -> float32x4_t {
        const SIGNS: [[f32; 4]; 2] = [[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]];
        intrinsic!({
            let x = vfmaq_f32(vrev64q_f32(x), x, vld1q_f32(SIGNS[0].as_ptr()));
            vfmaq_f32(vextq_f32::<2>(x, x), x, vld1q_f32(SIGNS[1].as_ptr()))
        })
    }

    #[inline(always)]
    fn sum(self, x: float32x4_t) -> f32 {
        intrinsic!(vaddvq_f32(x))
    }

    #[inline(always)]
    fn largest(self, x: float32x4_t) -> f32 {
        intrinsic!(vmaxvq_f32(x))
    }

    #[inline(always)]
    unsafe fn interleave(self, rows: *const i8, stride: usize, to: *mut i8, apart: usize) {
        // SAFETY: the caller vouches for 16 bytes of each row and for 4 vectors at `to`.
        unsafe {
            let load = |i: usize| vreinterpretq_s32_s8(vld1q_s8(rows.add(i * stride)));
            let (first, second) = (vtrnq_s32(load(0), load(1)), vtrnq_s32(load(2), load(3)));
            let low = |a, b| vreinterpretq_s8_s32(vcombine_s32(vget_low_s32(a), vget_low_s32(b)));
            let high = |a, b| vreinterpretq_s8_s32(vcombine_s32(vget_high_s32(a), vget_high_s32(b)));
            vst1q_s8(to, low(first.0, second.0));
            vst1q_s8(to.add(apart), low(first.1, second.1));
            vst1q_s8(to.add(2 * apart), high(first.0, second.0));
            vst1q_s8(to.add(3 * apart), high(first.1, second.1));
        }
    }
}

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

two_registers!(Neon, float64x2_t, 2, zero, vld1q_f64, vst1q_f64, vdupq_n_f64, vaddq_f64, vsubq_f64, vmulq_f64, widen_2);
