//! Bits in vectors of every 64-bit Arm CPU, by `cnt`.

use std::arch::aarch64::*;

use super::{BitOperation, Bits, MAX_BYTE_COUNTS};

/// 128-bit vectors.
#[derive(Clone, Copy)]
pub(crate) struct NeonBits(());

/// # Safety
/// The CPU has NEON.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn run<O: BitOperation>(operation: O) -> O::Output {
    operation.run(NeonBits(()))
}

// SAFETY of every block below: a `NeonBits` exists only inside `run`, so the CPU has the instructions; memory is the
// caller's to vouch for where a function is unsafe itself.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: see above.
        unsafe { $call }
    };
}

impl Bits for NeonBits {
    const WORDS: usize = 2;
    const MAX_COUNTS: usize = MAX_BYTE_COUNTS;

    type V = uint64x2_t;

    #[inline(always)]
    fn zero(self) -> uint64x2_t {
        intrinsic!(vdupq_n_u64(0))
    }

    #[inline(always)]
    fn splat(self, word: u64) -> uint64x2_t {
        intrinsic!(vdupq_n_u64(word))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u64) -> uint64x2_t {
        intrinsic!(vld1q_u64(from))
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const u64, count: usize) -> uint64x2_t {
        intrinsic!(match count {
            0 => vdupq_n_u64(0),
            _ => vcombine_u64(vld1_u64(from), vdup_n_u64(0)),
        })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u64, x: uint64x2_t) {
        intrinsic!(vst1q_u64(to, x))
    }

    #[inline(always)]
    fn count_different(self, a: uint64x2_t, b: uint64x2_t) -> uint64x2_t {
        intrinsic!(vreinterpretq_u64_u8(vcntq_u8(vreinterpretq_u8_u64(veorq_u64(a, b)))))
    }

    #[inline(always)]
    fn add_counts(self, a: uint64x2_t, b: uint64x2_t) -> uint64x2_t {
        intrinsic!(vreinterpretq_u64_u8(vaddq_u8(vreinterpretq_u8_u64(a), vreinterpretq_u8_u64(b))))
    }

    #[inline(always)]
    fn widen(self, counts: uint64x2_t) -> uint64x2_t {
        intrinsic!(vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(vreinterpretq_u8_u64(counts)))))
    }

    #[inline(always)]
    fn add_words(self, a: uint64x2_t, b: uint64x2_t) -> uint64x2_t {
        intrinsic!(vaddq_u64(a, b))
    }

    #[inline(always)]
    fn total(self, words: uint64x2_t) -> u64 {
        intrinsic!(vaddvq_u64(words))
    }

    #[inline(always)]
    fn any_at_most(self, words: uint64x2_t, limit: u64) -> bool {
        intrinsic!({
            let words = vcleq_u64(words, vdupq_n_u64(limit));
            vgetq_lane_u64::<0>(words) | vgetq_lane_u64::<1>(words) != 0
        })
    }
}
