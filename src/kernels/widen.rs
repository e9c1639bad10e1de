//! Numbers that memory holds in four bytes or two, and that are float32 once they are loaded.

use bytemuck::Pod;
use half::{bf16, f16};

use crate::kernels::simd::Simd;

/// Numbers that are widened as they are loaded.
pub(super) trait Widen: Pod {
    /// # Safety
    /// `from` is valid for reads of `LANES` numbers.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::F;
}

impl Widen for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::F {
        // SAFETY: the caller vouches for the numbers.
        unsafe { s.load(from) }
    }
}

impl Widen for bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const bf16) -> S::F {
        // SAFETY: the caller vouches for the numbers, which are transparent wrappers of their bits.
        unsafe { s.load_bfloat16(from.cast()) }
    }
}

impl Widen for f16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f16) -> S::F {
        // SAFETY: as above.
        unsafe { s.load_float16(from.cast()) }
    }
}
