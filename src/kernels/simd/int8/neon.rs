//! Products of bytes on 64-bit Arm: by the instructions that add four products at once, else by widening to 16 bits.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Int8, Int8Operation, WeightProducts};
use crate::kernels::simd::neon::Neon;

/// With dot products of signed bytes, which every CPU from Armv8.4 on has and some before.
#[derive(Clone, Copy)]
pub(crate) struct Dotprod(Neon);

/// With dot products of unsigned and signed bytes, which every CPU from Armv8.6 on has and some before.
#[derive(Clone, Copy)]
pub(crate) struct I8mm(Neon);

/// # Safety
/// The CPU has NEON.
#[target_feature(enable = "neon")]
pub(crate) unsafe fn run_neon<O: Int8Operation>(operation: O) -> O::Output {
    // SAFETY: the caller vouches for the feature.
    operation.run(unsafe { Neon::assume() })
}

/// # Safety
/// The CPU has NEON and dotprod.
#[target_feature(enable = "neon,dotprod")]
pub(crate) unsafe fn run_dotprod<O: Int8Operation>(operation: O) -> O::Output {
    // SAFETY: the caller vouches for the features.
    operation.run(Dotprod(unsafe { Neon::assume() }))
}

/// # Safety
/// The CPU has NEON, dotprod and i8mm.
#[target_feature(enable = "neon,dotprod,i8mm")]
pub(crate) unsafe fn run_i8mm<O: Int8Operation>(operation: O) -> O::Output {
    // SAFETY: the caller vouches for the features.
    operation.run(I8mm(unsafe { Neon::assume() }))
}

// SAFETY of every block below: a value of each type exists only inside its `run`, so the CPU has the instructions;
// memory is the caller's to vouch for where a function is unsafe itself.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: see above.
        unsafe { $call }
    };
}

#[inline(always)]
unsafe fn four_bytes(from: *const u8) -> u32 {
    // SAFETY: the caller vouches for four bytes.
    unsafe { from.cast::<u32>().read_unaligned() }
}

/// What all three sets do alike: storing bytes, products with levels and of 16-bit integers.
macro_rules! common {
    () => {
        #[inline(always)]
        unsafe fn dot_levels(self, query: *const i8, rows: [*const u8; 4], bytes: usize) -> [i32; 4] {
            intrinsic!({
                let mut sums = [vdupq_n_s32(0); 4];
                for at in (0..bytes).step_by(32) {
                    for (sum, row) in sums.iter_mut().zip(rows) {
                        // Of at most 15 and 127: eight products come to 15,240.
                        let mut words = vdupq_n_s16(0);
                        for at in [at, at + 16] {
                            let levels = vld1q_u8(row.add(at));
                            let lower = vreinterpretq_s8_u8(vandq_u8(levels, vdupq_n_u8(15)));
                            let upper = vreinterpretq_s8_u8(vshrq_n_u8::<4>(levels));
                            // The second 16 bytes of a row's 32 belong to the second 16 of a query's 32.
                            let from = query.add(at + at / 32 * 32);
                            for (levels, query) in [(lower, vld1q_s8(from)), (upper, vld1q_s8(from.add(32)))] {
                                words = vmlal_s8(words, vget_low_s8(levels), vget_low_s8(query));
                                words = vmlal_high_s8(words, levels, query);
                            }
                        }
                        *sum = vpadalq_s16(*sum, words);
                    }
                }
                sums.map(|sum| vaddvq_s32(sum))
            })
        }

        #[inline(always)]
        unsafe fn store_bytes(self, to: *mut u8, x: float32x4_t) {
            intrinsic!({
                let words = vqmovun_s32(vcvtnq_s32_f32(x));
                let bytes = vqmovn_u16(vcombine_u16(words, words));
                let four = vget_lane_u32::<0>(vreinterpret_u32_u8(bytes)) ^ u32::from_ne_bytes([Self::FLIP; 4]);
                to.cast::<u32>().write_unaligned(four);
            })
        }

        type WordSum = int32x4_t;
        /// The two integers, twice.
        type WordRow = int16x4_t;
        /// The first integers of all columns, then the second ones: so a column has one sum and not two, and the sums
        /// of six rows fit in the registers.
        type WordColumns = int16x8_t;

        #[inline(always)]
        fn zero_words(self) -> int32x4_t {
            intrinsic!(vdupq_n_s32(0))
        }

        #[inline(always)]
        unsafe fn word_row(self, from: *const i16) -> int16x4_t {
            intrinsic!(vreinterpret_s16_u32(vdup_n_u32(four_bytes(from.cast()))))
        }

        #[inline(always)]
        unsafe fn word_columns(self, from: *const i16) -> int16x8_t {
            // The compiler splits up shifts to the same end, and then the registers do not suffice.
            const APART: [u8; 16] = [0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15];
            intrinsic!(vreinterpretq_s16_s8(vqtbl1q_s8(vld1q_s8(from.cast()), vld1q_u8(APART.as_ptr()))))
        }

        #[inline(always)]
        fn dot_words(self, row: int16x4_t, columns: int16x8_t, sum: int32x4_t) -> int32x4_t {
            intrinsic!({
                let sum = vmlal_lane_s16::<0>(sum, vget_low_s16(columns), row);
                vmlal_high_lane_s16::<1>(sum, columns, row)
            })
        }

        #[inline(always)]
        fn word_floats(self, sum: int32x4_t) -> float32x4_t {
            intrinsic!(vcvtq_f32_s32(sum))
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
    };
}

impl Int8 for Neon {
    type Simd = Neon;
    /// The four bytes, four times.
    type Row = int8x16_t;
    type Columns = int8x16_t;
    /// Sums of the first and of the last two products, of columns 0 and 1 and of columns 2 and 3.
    type Sum = [int32x4_t; 2];

    const ROWS: usize = 2;
    const STEPS: u8 = 255;
    const WEIGHTS: WeightProducts = WeightProducts::UNBOUND;
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
        intrinsic!(vreinterpretq_s8_u32(vdupq_n_u32(four_bytes(from))))
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
    unsafe fn dot_along(self, x: *const u8, w: *const i8, sum: [int32x4_t; 2]) -> [int32x4_t; 2] {
        intrinsic!(self.dot(vld1q_s8(x.cast()), vld1q_s8(w), sum))
    }

    #[inline(always)]
    fn total(self, sum: [int32x4_t; 2]) -> i32 {
        intrinsic!(vaddvq_s32(vaddq_s32(sum[0], sum[1])))
    }

    #[inline(always)]
    fn floats(self, sum: [int32x4_t; 2]) -> float32x4_t {
        intrinsic!(vcvtq_f32_s32(vpaddq_s32(sum[0], sum[1])))
    }

    common!();
}

/// A set with an instruction that adds four products. It is written in assembly, as its intrinsic is not stable yet;
/// this compiles only where it is inlined into the set's `run`, elsewhere the assembler does not know the instruction.
macro_rules! dot_product {
    ($set:ident, $flip:literal, $instruction:literal, $along:literal) => {
        impl Int8 for $set {
            type Simd = Neon;
            /// The four bytes are the lowest: the instruction takes them from there for all columns.
            type Row = int8x8_t;
            type Columns = int8x16_t;
            type Sum = int32x4_t;

            const ROWS: usize = 6;
            const STEPS: u8 = 255;
    const WEIGHTS: WeightProducts = WeightProducts::UNBOUND;
    const FLIP: u8 = $flip;

            #[inline(always)]
            fn simd(self) -> Neon {
                self.0
            }

            #[inline(always)]
            fn zero(self) -> int32x4_t {
                intrinsic!(vdupq_n_s32(0))
            }

            #[inline(always)]
            unsafe fn row(self, from: *const u8) -> int8x8_t {
                intrinsic!(vcreate_s8(four_bytes(from).into()))
            }

            #[inline(always)]
            unsafe fn columns(self, from: *const i8) -> int8x16_t {
                intrinsic!(vld1q_s8(from))
            }

            #[inline(always)]
            fn dot(self, row: int8x8_t, columns: int8x16_t, mut sum: int32x4_t) -> int32x4_t {
                intrinsic!(asm!(
                    $instruction,
                    sum = inout(vreg) sum,
                    columns = in(vreg) columns,
                    row = in(vreg) row,
                    options(pure, nomem, nostack, preserves_flags)
                ));
                sum
            }

            #[inline(always)]
            unsafe fn dot_along(self, x: *const u8, w: *const i8, mut sum: int32x4_t) -> int32x4_t {
                intrinsic!(asm!(
                    $along,
                    sum = inout(vreg) sum,
                    x = in(vreg) vld1q_u8(x),
                    w = in(vreg) vld1q_s8(w),
                    options(pure, nomem, nostack, preserves_flags)
                ));
                sum
            }

            #[inline(always)]
            fn total(self, sum: int32x4_t) -> i32 {
                intrinsic!(vaddvq_s32(sum))
            }

            #[inline(always)]
            fn floats(self, sum: int32x4_t) -> float32x4_t {
                intrinsic!(vcvtq_f32_s32(sum))
            }

            common!();
        }
    };
}

dot_product!(Dotprod, 0x80, "sdot {sum:v}.4s, {columns:v}.16b, {row:v}.4b[0]", "sdot {sum:v}.4s, {x:v}.16b, {w:v}.16b");
dot_product!(I8mm, 0, "sudot {sum:v}.4s, {columns:v}.16b, {row:v}.4b[0]", "usdot {sum:v}.4s, {x:v}.16b, {w:v}.16b");
