//! Numbers that memory holds in four bytes or fewer, and that are float32 once they are loaded.

use bytemuck::Pod;
use half::{bf16, f16};

use crate::kernels::simd::{MAX_LANES, Simd};

/// Numbers that are widened as they are loaded.
pub(super) trait Widen: Pod {
    /// # Safety
    /// `from` is valid for reads of `LANES` numbers.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::F;

    fn widen(self) -> f32;
}

impl Widen for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::F {
        // SAFETY: the caller vouches for the numbers.
        unsafe { s.load(from) }
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Widen for bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const bf16) -> S::F {
        // SAFETY: the caller vouches for the numbers, which are transparent wrappers of their bits.
        unsafe { s.load_bfloat16(from.cast()) }
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

impl Widen for f16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f16) -> S::F {
        // SAFETY: as above.
        unsafe { s.load_float16(from.cast()) }
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

impl Widen for i8 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const i8) -> S::F {
        let mut wide = [0.0; MAX_LANES];
        for (i, wide) in wide[..S::LANES].iter_mut().enumerate() {
            // SAFETY: the caller vouches for the numbers.
            *wide = f32::from(unsafe { *from.add(i) });
        }
        // SAFETY: no set has more lanes.
        unsafe { s.load(wide.as_ptr()) }
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        self.into()
    }
}
