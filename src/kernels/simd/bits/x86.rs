//! Bits in vectors of x86-64: by a shuffle as a table of nibbles, or by AVX-512 VPOPCNTDQ.

use std::arch::x86_64::*;

use super::{BitOperation, Bits, MAX_BYTE_COUNTS};

/// 256-bit vectors, by `vpshufb`.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Bits(());

/// 512-bit vectors, by `vpshufb`.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Bits(());

/// 512-bit vectors, by `vpopcntq`.
#[derive(Clone, Copy)]
pub(crate) struct Vpopcntdq(());

/// # Safety
/// The CPU has AVX2 and POPCNT.
#[target_feature(enable = "avx2,popcnt")]
pub(crate) unsafe fn run_avx2<O: BitOperation>(operation: O) -> O::Output {
    operation.run(Avx2Bits(()))
}

/// # Safety
/// The CPU has AVX-512 F and BW, and POPCNT.
#[target_feature(enable = "avx2,popcnt,avx512f,avx512bw")]
pub(crate) unsafe fn run_avx512<O: BitOperation>(operation: O) -> O::Output {
    operation.run(Avx512Bits(()))
}

/// # Safety
/// The CPU has AVX-512 F, BW and VPOPCNTDQ, and POPCNT.
#[target_feature(enable = "avx2,popcnt,avx512f,avx512bw,avx512vpopcntdq")]
pub(crate) unsafe fn run_vpopcntdq<O: BitOperation>(operation: O) -> O::Output {
    operation.run(Vpopcntdq(()))
}

/// How many bits each nibble has.
const NIBBLES: [i8; 16] = [0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4];

// SAFETY of every block below: each type exists only inside its `run`, so the CPU has the instructions; memory is the
// caller's to vouch for where a function is unsafe itself.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: see above.
        unsafe { $call }
    };
}

impl Bits for Avx2Bits {
    const WORDS: usize = 4;
    const MAX_COUNTS: usize = MAX_BYTE_COUNTS;

    type V = __m256i;

    #[inline(always)]
    fn zero(self) -> __m256i {
        intrinsic!(_mm256_setzero_si256())
    }

    #[inline(always)]
    fn splat(self, word: u64) -> __m256i {
        intrinsic!(_mm256_set1_epi64x(word as i64))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u64) -> __m256i {
        intrinsic!(_mm256_loadu_si256(from.cast()))
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const u64, count: usize) -> __m256i {
        intrinsic!({
            let mask = _mm256_cmpgt_epi64(_mm256_set1_epi64x(count as i64), _mm256_setr_epi64x(0, 1, 2, 3));
            _mm256_maskload_epi64(from.cast(), mask)
        })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u64, x: __m256i) {
        intrinsic!(_mm256_storeu_si256(to.cast(), x))
    }

    #[inline(always)]
    fn count_different(self, a: __m256i, b: __m256i) -> __m256i {
        intrinsic!({
            let nibbles = _mm256_broadcastsi128_si256(_mm_loadu_si128(NIBBLES.as_ptr().cast()));
            let low = _mm256_set1_epi8(0x0F);
            let x = _mm256_xor_si256(a, b);
            let lower = _mm256_shuffle_epi8(nibbles, _mm256_and_si256(x, low));
            let upper = _mm256_shuffle_epi8(nibbles, _mm256_and_si256(_mm256_srli_epi16::<4>(x), low));
            _mm256_add_epi8(lower, upper)
        })
    }

    #[inline(always)]
    fn add_counts(self, a: __m256i, b: __m256i) -> __m256i {
        intrinsic!(_mm256_add_epi8(a, b))
    }

    #[inline(always)]
    fn widen(self, counts: __m256i) -> __m256i {
        intrinsic!(_mm256_sad_epu8(counts, _mm256_setzero_si256()))
    }

    #[inline(always)]
    fn add_words(self, a: __m256i, b: __m256i) -> __m256i {
        intrinsic!(_mm256_add_epi64(a, b))
    }

    #[inline(always)]
    fn total(self, words: __m256i) -> u64 {
        intrinsic!({
            let two = _mm_add_epi64(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_cvtsi128_si64(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two))) as u64
        })
    }

    #[inline(always)]
    fn any_at_most(self, words: __m256i, limit: u64) -> bool {
        intrinsic!({
            let more = _mm256_cmpgt_epi64(words, _mm256_set1_epi64x(limit as i64));
            _mm256_movemask_epi8(more) != -1
        })
    }
}

/// What both kinds of 512-bit vectors share.
macro_rules! bits_512 {
    () => {
        const WORDS: usize = 8;

        type V = __m512i;

        #[inline(always)]
        fn zero(self) -> __m512i {
            intrinsic!(_mm512_setzero_si512())
        }

        #[inline(always)]
        fn splat(self, word: u64) -> __m512i {
            intrinsic!(_mm512_set1_epi64(word as i64))
        }

        #[inline(always)]
        unsafe fn load(self, from: *const u64) -> __m512i {
            intrinsic!(_mm512_loadu_si512(from.cast()))
        }

        #[inline(always)]
        unsafe fn load_first(self, from: *const u64, count: usize) -> __m512i {
            intrinsic!(_mm512_maskz_loadu_epi64((1 << count) - 1, from.cast()))
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut u64, x: __m512i) {
            intrinsic!(_mm512_storeu_si512(to.cast(), x))
        }

        #[inline(always)]
        fn add_words(self, a: __m512i, b: __m512i) -> __m512i {
            intrinsic!(_mm512_add_epi64(a, b))
        }

        #[inline(always)]
        fn total(self, words: __m512i) -> u64 {
            intrinsic!(_mm512_reduce_add_epi64(words)) as u64
        }

        #[inline(always)]
        fn any_at_most(self, words: __m512i, limit: u64) -> bool {
            intrinsic!(_mm512_cmple_epu64_mask(words, _mm512_set1_epi64(limit as i64))) != 0
        }
    };
}

impl Bits for Avx512Bits {
    const MAX_COUNTS: usize = MAX_BYTE_COUNTS;

    bits_512!();

    #[inline(always)]
    fn count_different(self, a: __m512i, b: __m512i) -> __m512i {
        intrinsic!({
            let nibbles = _mm512_broadcast_i32x4(_mm_loadu_si128(NIBBLES.as_ptr().cast()));
            let low = _mm512_set1_epi8(0x0F);
            let x = _mm512_xor_si512(a, b);
            let lower = _mm512_shuffle_epi8(nibbles, _mm512_and_si512(x, low));
            let upper = _mm512_shuffle_epi8(nibbles, _mm512_and_si512(_mm512_srli_epi16::<4>(x), low));
            _mm512_add_epi8(lower, upper)
        })
    }

    #[inline(always)]
    fn add_counts(self, a: __m512i, b: __m512i) -> __m512i {
        intrinsic!(_mm512_add_epi8(a, b))
    }

    #[inline(always)]
    fn widen(self, counts: __m512i) -> __m512i {
        intrinsic!(_mm512_sad_epu8(counts, _mm512_setzero_si512()))
    }
}

impl Bits for Vpopcntdq {
    const MAX_COUNTS: usize = usize::MAX;

    bits_512!();

    #[inline(always)]
    fn count_different(self, a: __m512i, b: __m512i) -> __m512i {
        intrinsic!(_mm512_popcnt_epi64(_mm512_xor_si512(a, b)))
    }

    #[inline(always)]
    fn add_counts(self, a: __m512i, b: __m512i) -> __m512i {
        intrinsic!(_mm512_add_epi64(a, b))
    }

    #[inline(always)]
    fn widen(self, counts: __m512i) -> __m512i {
        counts
    }
}
