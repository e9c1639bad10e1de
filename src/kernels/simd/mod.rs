//! Vectors over the instruction sets: of float32 here, of bytes in [`int8`], of half a byte in [`ladder`], of bits in [`bits`].
//!
//! A type that implements [`Simd`] is a token: it is only made inside the `run` of its set, so holding one proves that
//! the CPU has the instructions, and its arithmetic is safe to call. Everything between `run` and an intrinsic must be
//! `#[inline(always)]`, or the compiler emits a call per instruction.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(super) mod bf16_x86;
pub(super) mod bits;
pub(super) mod double;
pub(super) mod int8;
pub(super) mod ladder;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
mod scalar;

pub(super) use bits::{BitOperation, Bits};
use double::Double;
pub(super) use int8::{Int8, Int8Operation, WeightProducts};
pub(super) use ladder::{LADDER, Ladder, LadderOperation, MAGNITUDES};
pub(super) use scalar::Scalar;

/// Work that is compiled once per instruction set.
pub(crate) trait Operation {
    type Output;

    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// No set has more numbers in a vector.
pub(super) const MAX_LANES: usize = 16;

pub(crate) trait Simd: Double {
    /// Numbers in a vector.
    const LANES: usize;
    /// Vector registers: a tile of accumulators has to fit.
    const REGISTERS: usize;

    type F: Copy;

    fn splat(self, x: f32) -> Self::F;

    /// # Safety
    /// `from` is valid for reads of `LANES` numbers; no alignment is asked for.
    unsafe fn load(self, from: *const f32) -> Self::F;

    /// # Safety
    /// `to` is valid for writes of `LANES` numbers.
    unsafe fn store(self, to: *mut f32, x: Self::F);

    /// Numbers in bfloat16, widened.
    ///
    /// # Safety
    /// `from` is valid for reads of `LANES` numbers.
    unsafe fn load_bfloat16(self, from: *const u16) -> Self::F;

    /// Numbers in float16, widened.
    ///
    /// # Safety
    /// `from` is valid for reads of `LANES` numbers.
    unsafe fn load_float16(self, from: *const u16) -> Self::F;

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// The smaller of each pair; NaN where `b` is NaN. Where `a` is, some sets give `b`: what may be NaN comes second.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;

    /// The larger of each pair, with NaN as in [`Self::min`].
    fn max(self, a: Self::F, b: Self::F) -> Self::F;

    /// x, but at least `low` and at most `high`; NaN where x is.
    #[inline(always)]
    fn clamp(self, x: Self::F, low: f32, high: f32) -> Self::F {
        self.min(self.splat(high), self.max(self.splat(low), x))
    }

    /// Zeros as long as all x that are added to them are finite, and else NaN.
    #[inline(always)]
    fn add_to_zeros(self, zeros: Self::F, x: Self::F) -> Self::F {
        self.mul_add(x, self.splat(0.0), zeros)
    }

    /// `a * b + c`, rounded once where the set can.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;

    /// To the nearest integer, as a float.
    fn round(self, x: Self::F) -> Self::F;

    /// `2^n` for an integer-valued `n` in -127..=127; -127 gives 0.
    fn pow2(self, n: Self::F) -> Self::F;

    /// `x * 2^n` for an integer-valued `n` in -127..=0, and `n` with [`ROUNDING_SHIFT`] added; for -127 it may be 0, and is
    /// where x is 1.
    ///
    /// [`ROUNDING_SHIFT`]: crate::kernels::math::ROUNDING_SHIFT
    #[inline(always)]
    fn scale2(self, x: Self::F, n: Self::F, shifted: Self::F) -> Self::F {
        let _ = shifted;
        self.mul(x, self.pow2(n))
    }

    /// The Hadamard matrix of `LANES` rows times x, in any order of additions.
    fn mix_lanes(self, x: Self::F) -> Self::F;

    /// The sum of all lanes, always in the same order.
    fn sum(self, x: Self::F) -> f32;

    /// The largest lane.
    fn largest(self, x: Self::F) -> f32;

    /// Writes `LANES` vectors, `apart` bytes from one to the next: the n-th has of each row the n-th four bytes.
    ///
    /// # Safety
    /// `LANES` rows, `stride` bytes from one to the next, are valid for reads of four bytes for each lane, and `to` for
    /// writes of the vectors.
    #[inline(always)]
    unsafe fn interleave(self, rows: *const i8, stride: usize, to: *mut i8, apart: usize) {
        for n in 0..Self::LANES {
            for lane in 0..Self::LANES {
                // SAFETY: n and lane are below LANES.
                unsafe {
                    let four = rows.add(lane * stride + 4 * n).cast::<[i8; 4]>().read();
                    to.add(n * apart + 4 * lane).cast::<[i8; 4]>().write(four);
                }
            }
        }
    }

    /// The first `count <= LANES` numbers; the other lanes are `fill`.
    ///
    /// # Safety
    /// `from` is valid for reads of `count` numbers.
    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize, fill: f32) -> Self::F {
        let mut lanes = [fill; MAX_LANES];
        // SAFETY: the caller vouches for `count` numbers; no set has more than 16 lanes.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
            self.load(lanes.as_ptr())
        }
    }

    /// Writes the first `count <= LANES` lanes.
    ///
    /// # Safety
    /// `to` is valid for writes of `count` numbers.
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, x: Self::F, count: usize) {
        let mut lanes = [0.0; MAX_LANES];
        // SAFETY: no set has more than 16 lanes; the caller vouches for `count` numbers.
        unsafe {
            self.store(lanes.as_mut_ptr(), x);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
        }
    }
}
