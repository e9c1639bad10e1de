//! Products of bytes on 64-bit Arm.

use std::arch::aarch64::*;

use super::int8::{Int8, Int8Operation};
use super::neon::Neon;

/// # Safety
/// The CPU has NEON.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn run_neon<O: Int8Operation>(operation: O) -> O::Output {
    // SAFETY: the caller vouches for the feature.
    operation.run(unsafe { Neon::assume() })
}

// SAFETY of every block below: a value of each type exists only inside its `run`, so the CPU has the instructions;
// memory is the caller's to vouch for where a function is unsafe itself.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: see above.
        unsafe { $call }
    };
}

/// Four bytes from four numbers, XOR 0x80.
#[inline(always)]
unsafe fn store_4(to: *mut u8, x: float32x4_t, flip: u32) {
    intrinsic!({
        let words = vqmovun_s32(vcvtnq_s32_f32(x));
        let bytes = vqmovn_u16(vcombine_u16(words, words));
        let four = vget_lane_u32::<0>(vreinterpret_u32_u8(bytes)) ^ flip;
        to.cast::<u32>().write_unaligned(four);
    })
}

impl Int8 for Neon {
    type Simd = Neon;
    /// The four bytes, four times.
    type Row = int8x16_t;
    type Columns = int8x16_t;
    /// Of columns 0 and 1, and of 2 and 3, the sums of the first and of the last two products.
    type Sum = [int32x4_t; 2];

    const ROWS: usize = 2;
    const FLIP: u8 = 0x80;

    #[inline(always)]
    fn simd(self) -> Neon {
        self
    }

    #[inline(always)]
    fn zero(self) -> [int32x4_t; 2] {
        intrinsic!([vdupq_n_s32(0); 2])
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u8) -> int8x16_t {
        intrinsic!(vreinterpretq_s8_u32(vdupq_n_u32(from.cast::<u32>().read_unaligned())))
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const i8) -> int8x16_t {
        intrinsic!(vld1q_s8(from))
    }

    #[inline(always)]
    fn dot(self, row: int8x16_t, columns: int8x16_t, sum: [int32x4_t; 2]) -> [int32x4_t; 2] {
        intrinsic!([
            vpadalq_s16(sum[0], vmull_s8(vget_low_s8(row), vget_low_s8(columns))),
            vpadalq_s16(sum[1], vmull_high_s8(row, columns)),
        ])
    }

    #[inline(always)]
    fn floats(self, sum: [int32x4_t; 2]) -> float32x4_t {
        intrinsic!(vcvtq_f32_s32(vpaddq_s32(sum[0], sum[1])))
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, x: float32x4_t) {
        intrinsic!(store_4(to, x, 0x8080_8080))
    }

    /// Of columns 0 and 1, and of 2 and 3, the products with the first and the second integer.
    type WordSum = [int32x4_t; 2];
    type WordRow = int16x8_t;
    type WordColumns = int16x8_t;

    #[inline(always)]
    fn zero_words(self) -> [int32x4_t; 2] {
        intrinsic!([vdupq_n_s32(0); 2])
    }

    #[inline(always)]
    unsafe fn word_row(self, from: *const i16) -> int16x8_t {
        intrinsic!(vreinterpretq_s16_u32(vdupq_n_u32(from.cast::<u32>().read_unaligned())))
    }

    #[inline(always)]
    unsafe fn word_columns(self, from: *const i16) -> int16x8_t {
        intrinsic!(vld1q_s16(from))
    }

    #[inline(always)]
    fn dot_words(self, row: int16x8_t, columns: int16x8_t, sum: [int32x4_t; 2]) -> [int32x4_t; 2] {
        intrinsic!([vmlal_s16(sum[0], vget_low_s16(row), vget_low_s16(columns)), vmlal_high_s16(sum[1], row, columns),])
    }

    #[inline(always)]
    fn word_floats(self, sum: [int32x4_t; 2]) -> float32x4_t {
        intrinsic!(vcvtq_f32_s32(vpaddq_s32(sum[0], sum[1])))
    }

    #[inline(always)]
    unsafe fn store_words(self, to: *mut i16, x: float32x4_t) {
        intrinsic!(vst1_s16(to, vmovn_s32(vreinterpretq_s32_f32(x))))
    }

    #[inline(always)]
    unsafe fn store_word_pairs(self, to: *mut i16, a: float32x4_t, b: float32x4_t) {
        intrinsic!({
            let (a, b) = (vmovn_s32(vreinterpretq_s32_f32(a)), vmovn_s32(vreinterpretq_s32_f32(b)));
            vst1q_s16(to, vcombine_s16(vzip1_s16(a, b), vzip2_s16(a, b)));
        })
    }
}
