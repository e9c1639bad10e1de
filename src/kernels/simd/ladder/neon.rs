//! Unpacking int4 on 64-bit Arm: a lookup of levels, and a multiplication that rounds.

use std::arch::aarch64::*;

use super::{FACTORS, LEVELS, Ladder, LadderOperation};

/// 128-bit vectors.
#[derive(Clone, Copy)]
pub(crate) struct NeonLadder(());

/// # Safety
/// The CPU has NEON.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn run<O: LadderOperation>(operation: O) -> O::Output {
    operation.run(NeonLadder(()))
}

const FOUR_TIMES: [u8; 16] = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3];

// SAFETY of every block below: the type exists only inside `run`, so the CPU has NEON; memory is the caller's to vouch for.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: see above.
        unsafe { $call }
    };
}

impl NeonLadder {
    /// The factors of the columns of rungs, each of them four times.
    #[inline(always)]
    fn factors(self, rungs: uint8x16_t) -> [int16x8_t; 2] {
        intrinsic!({
            // The lower bytes of all factors, and the upper ones.
            let bytes = vld2q_u8(FACTORS.as_ptr().cast());
            let (lower, upper) = (vqtbl1q_u8(bytes.0, rungs), vqtbl1q_u8(bytes.1, rungs));
            [vreinterpretq_s16_u8(vzip1q_u8(lower, upper)), vreinterpretq_s16_u8(vzip2q_u8(lower, upper))]
        })
    }

    #[inline(always)]
    fn weights(self, codes: uint8x16_t, factors: [int16x8_t; 2]) -> int8x16_t {
        intrinsic!({
            let levels = vqtbl1q_s8(vld1q_s8(LEVELS.as_ptr()), codes);
            let lower = vqrdmulhq_s16(vmovl_s8(vget_low_s8(levels)), factors[0]);
            let upper = vqrdmulhq_s16(vmovl_high_s8(levels), factors[1]);
            vmovn_high_s16(vmovn_s16(lower), upper)
        })
    }
}

impl Ladder for NeonLadder {
    const LANES: usize = 4;

    type Rungs = [int16x8_t; 2];

    #[inline(always)]
    unsafe fn rungs(self, from: *const u8) -> [[int16x8_t; 2]; 2] {
        intrinsic!({
            let four = vreinterpretq_u8_u32(vdupq_n_u32(from.cast::<u32>().read_unaligned()));
            let bytes = vqtbl1q_u8(four, vld1q_u8(FOUR_TIMES.as_ptr()));
            [self.factors(vandq_u8(bytes, vdupq_n_u8(15))), self.factors(vshrq_n_u8::<4>(bytes))]
        })
    }

    #[inline(always)]
    unsafe fn unpack(self, codes: *const u8, factors: [int16x8_t; 2], to: [*mut i8; 2]) {
        intrinsic!({
            let codes = vld1q_u8(codes);
            vst1q_s8(to[0], self.weights(vandq_u8(codes, vdupq_n_u8(15)), factors));
            vst1q_s8(to[1], self.weights(vshrq_n_u8::<4>(codes), factors));
        })
    }
}
