//! The weights of int4, and unpacking them to bytes: the same integers on every set.
//!
//! A weight is a code of four bits; sixteen weights of a channel share a rung of four bits (`matrix/int4.rs`). They stand
//! for `LADDER[rung][code]`:
//!
//! ```text
//! (LEVELS[code] * FACTORS[rung] + 2^14) >> 15        FACTORS[rung] = min(32767, round(2^15 / 1.08^rung))
//! ```
//!
//! That is what one instruction gives for the product of two 16-bit integers (`vpmulhrsw`, `sqrdmulh`); AVX-512 VBMI looks up
//! all of `LADDER`, without its signs, in two registers. Both are the same, since no product lies between two integers:
//! a weight and its opposite differ in the sign alone.

#[cfg(target_arch = "aarch64")]
pub(in crate::kernels) mod neon;
#[cfg(target_arch = "x86_64")]
pub(in crate::kernels) mod x86;

use super::Scalar;

/// What codes stand for on the first rung: Lloyd and Max's levels of normally distributed numbers, the largest of them 127.
const LEVELS: [i8; 16] = [6, 18, 30, 44, 58, 75, 96, 127, -6, -18, -30, -44, -58, -75, -96, -127];

/// Codes of numbers that are not negative: those of their opposites are as many higher.
pub(in crate::kernels) const MAGNITUDES: usize = 8;

/// In 2^-15.
const FACTORS: [i16; 16] =
    [32767, 30341, 28093, 26012, 24085, 22301, 20649, 19120, 17704, 16392, 15178, 14054, 13013, 12049, 11156, 10330];

/// What each code stands for on each rung.
pub(in crate::kernels) const LADDER: [[i8; 16]; 16] = {
    let mut ladder = [[0; 16]; 16];
    let mut at = 0;
    while at < 256 {
        let (rung, code) = (at / 16, at % 16);
        ladder[rung][code] = ((LEVELS[code] as i32 * FACTORS[rung] as i32 + (1 << 14)) >> 15) as i8;
        at += 1;
    }
    ladder
};

/// Work on codes that is compiled once per instruction set.
pub(crate) trait LadderOperation {
    type Output;

    fn run<L: Ladder>(self, l: L) -> Self::Output;
}

/// Like [`Simd`](super::Simd), a proof that the CPU has the instructions.
pub(crate) trait Ladder: Copy {
    /// Columns in a vector, of which each has four weights: as many as the set's vectors of float32 have numbers.
    const LANES: usize;

    /// The rungs of a vector's columns.
    type Rungs: Copy;

    /// Two rungs of each column: those in the lower bits, and those in the upper bits of its byte.
    ///
    /// # Safety
    /// `from` is valid for reads of `LANES` bytes.
    unsafe fn rungs(self, from: *const u8) -> [Self::Rungs; 2];

    /// Writes four weights of each column to `to[0]`, of the lower bits of `codes`, and as many to `to[1]`, of the upper bits.
    ///
    /// # Safety
    /// `codes` is valid for reads of four bytes for each lane, both of `to` for as many writes.
    unsafe fn unpack(self, codes: *const u8, rungs: Self::Rungs, to: [*mut i8; 2]);
}

impl Ladder for Scalar {
    const LANES: usize = 4;

    type Rungs = [u8; 4];

    #[inline(always)]
    unsafe fn rungs(self, from: *const u8) -> [[u8; 4]; 2] {
        // SAFETY: the caller vouches for four bytes.
        let bytes = unsafe { from.cast::<[u8; 4]>().read() };
        [bytes.map(|byte| byte & 15), bytes.map(|byte| byte >> 4)]
    }

    #[inline(always)]
    unsafe fn unpack(self, codes: *const u8, rungs: [u8; 4], to: [*mut i8; 2]) {
        for i in 0..16 {
            let weights = &LADDER[rungs[i / 4] as usize];
            // SAFETY: the caller vouches for sixteen bytes of each.
            unsafe {
                let code = *codes.add(i);
                *to[0].add(i) = weights[usize::from(code & 15)];
                *to[1].add(i) = weights[usize::from(code >> 4)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;

    #[test]
    fn the_ladder_is_what_its_formula_says() {
        for (rung, weights) in LADDER.iter().enumerate() {
            let factor = (32768.0 / 1.08_f64.powi(rung as i32)).round().min(32767.0);
            for (&level, &weight) in LEVELS.iter().zip(weights) {
                assert_eq!(f64::from(weight), (f64::from(level) * factor / 32768.0).round());
            }
            let (positive, negative) = weights.split_at(MAGNITUDES);
            assert!(positive.iter().zip(negative).all(|(a, b)| *a == -b), "opposites differ in the sign alone");
            assert!(positive.is_sorted_by(|a, b| a < b));
        }
    }

    struct UnpackAll<'a> {
        rungs: &'a [u8],
        codes: &'a [u8],
        to: &'a mut [i8],
    }

    impl LadderOperation for UnpackAll<'_> {
        type Output = usize;

        fn run<L: Ladder>(self, l: L) -> usize {
            let bytes = 4 * L::LANES;
            for at in (0..self.codes.len()).step_by(bytes) {
                // SAFETY: a whole vector of codes starts at `at`, with a rung for every fourth byte; `to` is twice as long.
                unsafe {
                    let rungs = l.rungs(self.rungs.as_ptr().add(at / 4));
                    let to = self.to.as_mut_ptr().add(2 * at);
                    let codes = self.codes.as_ptr().add(at);
                    l.unpack(codes, rungs[at / bytes % 2], [to, to.add(bytes)]);
                }
            }
            L::LANES
        }
    }

    #[test]
    fn every_set_unpacks_every_code_on_every_rung() {
        // Both halves of a byte take every value, and so do those of the rungs beside each.
        let rungs: Vec<u8> = (0..1 << 14).map(|i: usize| (i / 64 + i % 64 * 5) as u8).collect();
        let codes: Vec<u8> = (0..1 << 16).map(|i: usize| (i % 256 * 7 + i / 256) as u8).collect();
        for isa in Isa::available() {
            let mut unpacked = vec![0; 2 * codes.len()];
            let lanes = isa.run_ladder(UnpackAll { rungs: &rungs, codes: &codes, to: &mut unpacked });
            let bytes = 4 * lanes;
            let mut seen = [[false; 16]; 16];
            for (at, &code) in codes.iter().enumerate() {
                let (vector, within) = (at / bytes, at % bytes);
                let rung = usize::from(rungs[at / 4] >> (vector % 2 * 4) & 15);
                for (half, code) in [usize::from(code & 15), usize::from(code >> 4)].into_iter().enumerate() {
                    let found = unpacked[(2 * vector + half) * bytes + within];
                    assert_eq!(found, LADDER[rung][code], "{} {rung} {code}", isa.name());
                    seen[rung][code] = true;
                }
            }
            assert_eq!(seen, [[true; 16]; 16]);
        }
    }
}
