//! Unpacking int4 on x86-64: by a shuffle as a table of levels and a multiplication that rounds, or by AVX-512 VBMI, whose
//! lookup in 128 bytes knows all products.
//!
//! Instructions for 64 weights of AVX-512, beside loads and stores: 9 and 6, of which one port of Intel's takes 5 and 2 (the
//! lookup, widening, narrowing).

use std::arch::x86_64::*;

use super::{FACTORS, LADDER, LEVELS, Ladder, LadderOperation, MAGNITUDES};

/// 256-bit vectors, by multiplications.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Ladder(());

/// 512-bit vectors, by multiplications.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Ladder(());

/// 512-bit vectors, by lookups.
#[derive(Clone, Copy)]
pub(crate) struct VbmiLadder(());

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn run_avx2<O: LadderOperation>(operation: O) -> O::Output {
    operation.run(Avx2Ladder(()))
}

/// # Safety
/// The CPU has AVX-512 F and BW.
#[target_feature(enable = "avx2,avx512f,avx512bw")]
pub(crate) unsafe fn run_avx512<O: LadderOperation>(operation: O) -> O::Output {
    operation.run(Avx512Ladder(()))
}

/// # Safety
/// The CPU has AVX-512 F, BW and VBMI.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vbmi")]
pub(crate) unsafe fn run_vbmi<O: LadderOperation>(operation: O) -> O::Output {
    operation.run(VbmiLadder(()))
}

/// Of sixteen bytes in each of four lanes, the four of the lane, each four times.
const FOUR_TIMES: [u8; 64] = {
    let mut places = [0; 64];
    let mut at = 0;
    while at < 64 {
        places[at] = (at / 4) as u8;
        at += 1;
    }
    places
};

/// The lower bytes of the factors, and the upper ones.
const FACTOR_BYTES: [[i8; 16]; 2] = {
    let mut bytes = [[0; 16]; 2];
    let mut rung = 0;
    while rung < 16 {
        (bytes[0][rung], bytes[1][rung]) = (FACTORS[rung] as i8, (FACTORS[rung] >> 8) as i8);
        rung += 1;
    }
    bytes
};

/// Of each rung what the codes of numbers that are not negative stand for.
const POSITIVE: [i8; 128] = {
    let mut weights = [0; 128];
    let mut at = 0;
    while at < 128 {
        weights[at] = LADDER[at / MAGNITUDES][at % MAGNITUDES];
        at += 1;
    }
    weights
};

// SAFETY of every block below: each type exists only inside its `run`, so the CPU has the instructions; memory is the
// caller's to vouch for.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: see above.
        unsafe { $call }
    };
}

#[inline(always)]
fn table_256(bytes: &[i8; 16]) -> __m256i {
    intrinsic!(_mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast())))
}

#[inline(always)]
fn table_512(bytes: &[i8; 16]) -> __m512i {
    intrinsic!(_mm512_broadcast_i32x4(_mm_loadu_si128(bytes.as_ptr().cast())))
}

impl Avx2Ladder {
    /// The factors of rungs, each of them four times, in the order in which widening puts bytes.
    #[inline(always)]
    fn factors(self, rungs: __m256i) -> [__m256i; 2] {
        intrinsic!({
            let lower = _mm256_shuffle_epi8(table_256(&FACTOR_BYTES[0]), rungs);
            let upper = _mm256_shuffle_epi8(table_256(&FACTOR_BYTES[1]), rungs);
            [_mm256_unpacklo_epi8(lower, upper), _mm256_unpackhi_epi8(lower, upper)]
        })
    }

    #[inline(always)]
    fn weights(self, codes: __m256i, factors: [__m256i; 2]) -> __m256i {
        intrinsic!({
            let levels = _mm256_shuffle_epi8(table_256(&LEVELS), codes);
            let signs = _mm256_cmpgt_epi8(_mm256_setzero_si256(), levels);
            _mm256_packs_epi16(
                _mm256_mulhrs_epi16(_mm256_unpacklo_epi8(levels, signs), factors[0]),
                _mm256_mulhrs_epi16(_mm256_unpackhi_epi8(levels, signs), factors[1]),
            )
        })
    }
}

impl Ladder for Avx2Ladder {
    const LANES: usize = 8;

    type Rungs = [__m256i; 2];

    #[inline(always)]
    unsafe fn rungs(self, from: *const u8) -> [[__m256i; 2]; 2] {
        intrinsic!({
            let bytes = _mm256_set1_epi64x(from.cast::<i64>().read_unaligned());
            let bytes = _mm256_shuffle_epi8(bytes, _mm256_loadu_si256(FOUR_TIMES.as_ptr().cast()));
            let mask = _mm256_set1_epi8(15);
            [
                self.factors(_mm256_and_si256(bytes, mask)),
                self.factors(_mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask)),
            ]
        })
    }

    #[inline(always)]
    unsafe fn unpack(self, codes: *const u8, factors: [__m256i; 2], to: [*mut i8; 2]) {
        intrinsic!({
            let (codes, mask) = (_mm256_loadu_si256(codes.cast()), _mm256_set1_epi8(15));
            let lower = self.weights(_mm256_and_si256(codes, mask), factors);
            let upper = self.weights(_mm256_and_si256(_mm256_srli_epi16::<4>(codes), mask), factors);
            _mm256_storeu_si256(to[0].cast(), lower);
            _mm256_storeu_si256(to[1].cast(), upper);
        })
    }
}

/// Sixteen bytes, each four times.
///
/// # Safety
/// The CPU has AVX-512 F and BW; `from` is valid for reads of sixteen bytes.
#[inline(always)]
unsafe fn four_times_512(from: *const u8) -> __m512i {
    intrinsic!(_mm512_shuffle_epi8(
        _mm512_broadcast_i32x4(_mm_loadu_si128(from.cast())),
        _mm512_loadu_si512(FOUR_TIMES.as_ptr().cast())
    ))
}

impl Avx512Ladder {
    /// As of [`Avx2Ladder`].
    #[inline(always)]
    fn factors(self, rungs: __m512i) -> [__m512i; 2] {
        intrinsic!({
            let lower = _mm512_shuffle_epi8(table_512(&FACTOR_BYTES[0]), rungs);
            let upper = _mm512_shuffle_epi8(table_512(&FACTOR_BYTES[1]), rungs);
            [_mm512_unpacklo_epi8(lower, upper), _mm512_unpackhi_epi8(lower, upper)]
        })
    }

    #[inline(always)]
    fn weights(self, codes: __m512i, factors: [__m512i; 2]) -> __m512i {
        intrinsic!({
            let levels = _mm512_shuffle_epi8(table_512(&LEVELS), codes);
            let signs = _mm512_movm_epi8(_mm512_movepi8_mask(levels));
            _mm512_packs_epi16(
                _mm512_mulhrs_epi16(_mm512_unpacklo_epi8(levels, signs), factors[0]),
                _mm512_mulhrs_epi16(_mm512_unpackhi_epi8(levels, signs), factors[1]),
            )
        })
    }
}

impl Ladder for Avx512Ladder {
    const LANES: usize = 16;

    type Rungs = [__m512i; 2];

    #[inline(always)]
    unsafe fn rungs(self, from: *const u8) -> [[__m512i; 2]; 2] {
        intrinsic!({
            let (bytes, mask) = (four_times_512(from), _mm512_set1_epi8(15));
            [
                self.factors(_mm512_and_si512(bytes, mask)),
                self.factors(_mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask)),
            ]
        })
    }

    #[inline(always)]
    unsafe fn unpack(self, codes: *const u8, factors: [__m512i; 2], to: [*mut i8; 2]) {
        intrinsic!({
            let (codes, mask) = (_mm512_loadu_si512(codes.cast()), _mm512_set1_epi8(15));
            let lower = self.weights(_mm512_and_si512(codes, mask), factors);
            let upper = self.weights(_mm512_and_si512(_mm512_srli_epi16::<4>(codes), mask), factors);
            _mm512_storeu_si512(to[0].cast(), lower);
            _mm512_storeu_si512(to[1].cast(), upper);
        })
    }
}

impl VbmiLadder {
    /// `codes` with bits above the lowest three that do not matter, the sign of each, and where its rung starts in
    /// `POSITIVE`.
    #[inline(always)]
    fn weights(self, codes: __m512i, signs: __mmask64, rungs: __m512i) -> __m512i {
        intrinsic!({
            let places = _mm512_or_si512(_mm512_and_si512(codes, _mm512_set1_epi8(7)), rungs);
            let tables = POSITIVE.as_ptr().cast::<__m512i>();
            let positive =
                _mm512_permutex2var_epi8(_mm512_loadu_si512(tables), places, _mm512_loadu_si512(tables.add(1)));
            _mm512_mask_sub_epi8(positive, signs, _mm512_setzero_si512(), positive)
        })
    }
}

impl Ladder for VbmiLadder {
    const LANES: usize = 16;

    /// Eight times the rungs.
    type Rungs = __m512i;

    #[inline(always)]
    unsafe fn rungs(self, from: *const u8) -> [__m512i; 2] {
        intrinsic!({
            let (bytes, mask) = (four_times_512(from), _mm512_set1_epi8(15 << 3));
            [
                _mm512_and_si512(_mm512_slli_epi16::<3>(bytes), mask),
                _mm512_and_si512(_mm512_srli_epi16::<1>(bytes), mask),
            ]
        })
    }

    #[inline(always)]
    unsafe fn unpack(self, codes: *const u8, rungs: __m512i, to: [*mut i8; 2]) {
        intrinsic!({
            let codes = _mm512_loadu_si512(codes.cast());
            let lower = self.weights(codes, _mm512_movepi8_mask(_mm512_slli_epi16::<4>(codes)), rungs);
            let upper = self.weights(_mm512_srli_epi16::<4>(codes), _mm512_movepi8_mask(codes), rungs);
            _mm512_storeu_si512(to[0].cast(), lower);
            _mm512_storeu_si512(to[1].cast(), upper);
        })
    }
}
