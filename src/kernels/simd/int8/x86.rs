//! What the sets of x86-64 share for products of bytes: storing integers, and the methods on 16-bit integers.

use std::arch::x86_64::*;

/// Eight bytes from eight numbers.
///
/// # Safety
/// The CPU has AVX2; `to` is valid for writes of eight bytes.
#[inline(always)]
pub(super) unsafe fn store_8(to: *mut u8, x: __m256) {
    // SAFETY: the caller vouches for AVX2 and for eight bytes.
    unsafe {
        let x = _mm256_cvtps_epi32(x);
        let words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
        _mm_storel_epi64(to.cast(), _mm_packus_epi16(words, words));
    }
}

/// Sixteen bytes from sixteen numbers.
///
/// # Safety
/// The CPU has AVX-512; `to` is valid for writes of sixteen bytes.
#[inline(always)]
pub(super) unsafe fn store_16(to: *mut u8, x: __m512) {
    // SAFETY: the caller vouches for AVX-512 and for sixteen bytes.
    unsafe {
        let x = _mm512_max_epi32(_mm512_cvtps_epi32(x), _mm512_setzero_si512());
        _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(x));
    }
}

/// Eight 16-bit integers, the low halves of eight lanes.
///
/// # Safety
/// The CPU has AVX2; `to` is valid for writes of eight integers.
#[inline(always)]
pub(super) unsafe fn store_words_8(to: *mut i16, x: __m256) {
    // SAFETY: the caller vouches for AVX2 and for eight integers.
    unsafe {
        let low = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0xFFFF));
        let words = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256::<1>(low));
        _mm_storeu_si128(to.cast(), words);
    }
}

/// The low halves of eight lanes of `a`, each before that of `b`.
///
/// # Safety
/// The CPU has AVX2; `to` is valid for writes of sixteen integers.
#[inline(always)]
pub(super) unsafe fn store_word_pairs_8(to: *mut i16, a: __m256, b: __m256) {
    // SAFETY: the caller vouches for AVX2 and for sixteen integers.
    unsafe {
        let low = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0xFFFF));
        let high = _mm256_slli_epi32::<16>(_mm256_castps_si256(b));
        _mm256_storeu_si256(to.cast(), _mm256_or_si256(low, high));
    }
}

/// Sixteen 16-bit integers, the low halves of sixteen lanes.
///
/// # Safety
/// The CPU has AVX-512; `to` is valid for writes of sixteen integers.
#[inline(always)]
pub(super) unsafe fn store_words_16(to: *mut i16, x: __m512) {
    // SAFETY: the caller vouches for AVX-512 and for sixteen integers.
    unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_castps_si512(x))) }
}

/// The low halves of sixteen lanes of `a`, each before that of `b`.
///
/// # Safety
/// The CPU has AVX-512; `to` is valid for writes of 32 integers.
#[inline(always)]
pub(super) unsafe fn store_word_pairs_16(to: *mut i16, a: __m512, b: __m512) {
    // SAFETY: the caller vouches for AVX-512 and for 32 integers.
    unsafe {
        let low = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0xFFFF));
        let high = _mm512_slli_epi32::<16>(_mm512_castps_si512(b));
        _mm512_storeu_si512(to.cast(), _mm512_or_si512(low, high));
    }
}

/// `vpdpwssd`, of which the compiler, given the intrinsic, makes a multiplication and an addition, which take twice as
/// long.
///
/// # Safety
/// The CPU has AVX-512 VNNI.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn dpwssd_512(mut sum: __m512i, row: __m512i, columns: __m512i) -> __m512i {
    // SAFETY: computes in registers alone; the caller vouches for the features.
    unsafe {
        std::arch::asm!(
            "vpdpwssd {sum}, {row}, {columns}",
            sum = inout(zmm_reg) sum,
            row = in(zmm_reg) row,
            columns = in(zmm_reg) columns,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// `vpdpwssd`, of which the compiler, given the intrinsic, makes a multiplication and an addition, which take twice as
/// long.
///
/// # Safety
/// The CPU has AVX-VNNI.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
pub(super) unsafe fn dpwssd_256(mut sum: __m256i, row: __m256i, columns: __m256i) -> __m256i {
    // SAFETY: computes in registers alone; the caller vouches for the features.
    unsafe {
        std::arch::asm!(
            "{{vex}} vpdpwssd {sum}, {row}, {columns}",
            sum = inout(ymm_reg) sum,
            row = in(ymm_reg) row,
            columns = in(ymm_reg) columns,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// The sum of eight lanes.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
pub(super) unsafe fn total_8(sum: __m256i) -> i32 {
    // SAFETY: the caller vouches for AVX2.
    unsafe {
        let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
        _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<1>(sum)))
    }
}

/// See [`super::Int8::dot_levels`]. Of at most 15 and 127, products of four times 32 bytes come to 8 * 2 * 15 * 127 =
/// 30,480 in a lane of 16 bits.
///
/// # Safety
/// The CPU has AVX2; the rows are valid for reads of `bytes` bytes, a multiple of 32, the query for twice as many.
#[inline(always)]
pub(super) unsafe fn dot_levels_256(query: *const i8, rows: [*const u8; 4], bytes: usize) -> [i32; 4] {
    // SAFETY: the caller vouches for AVX2 and for the bytes.
    unsafe {
        let mask = _mm256_set1_epi8(15);
        let mut sums = [_mm256_setzero_si256(); 4];
        for start in (0..bytes).step_by(4 * 32) {
            let mut words = [_mm256_setzero_si256(); 4];
            for at in (start..bytes.min(start + 4 * 32)).step_by(32) {
                let lower_query = _mm256_loadu_si256(query.add(2 * at).cast());
                let upper_query = _mm256_loadu_si256(query.add(2 * at + 32).cast());
                for (words, row) in words.iter_mut().zip(rows) {
                    let levels = _mm256_loadu_si256(row.add(at).cast());
                    let lower = _mm256_maddubs_epi16(_mm256_and_si256(levels, mask), lower_query);
                    let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(levels), mask);
                    let upper = _mm256_maddubs_epi16(upper, upper_query);
                    *words = _mm256_add_epi16(*words, _mm256_add_epi16(lower, upper));
                }
            }
            for (sum, words) in sums.iter_mut().zip(words) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
            }
        }
        let pairs = [_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3])];
        let halves = _mm256_hadd_epi32(pairs[0], pairs[1]);
        let totals = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
        std::mem::transmute::<__m128i, [i32; 4]>(totals)
    }
}

/// # Safety
/// `from` is valid for reads of two integers.
#[inline(always)]
pub(super) unsafe fn two(from: *const i16) -> i32 {
    // SAFETY: the caller vouches for two integers.
    unsafe { from.cast::<i32>().read_unaligned() }
}

/// # Safety
/// `from` is valid for reads of four bytes.
#[inline(always)]
pub(super) unsafe fn four(from: *const u8) -> i32 {
    // SAFETY: the caller vouches for four bytes.
    unsafe { from.cast::<i32>().read_unaligned() }
}

/// The methods on 16-bit integers of a set of 256 bits, of which only the product is the set's own.
macro_rules! words_256 {
    (|$row:ident, $columns:ident, $sum:ident| $dot:expr) => {
        type WordSum = __m256i;
        type WordRow = __m256i;
        type WordColumns = __m256i;

        #[inline(always)]
        fn zero_words(self) -> __m256i {
            // SAFETY: `self` proves that the CPU has AVX2.
            unsafe { _mm256_setzero_si256() }
        }

        #[inline(always)]
        unsafe fn word_row(self, from: *const i16) -> __m256i {
            // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for two integers.
            unsafe { _mm256_set1_epi32(two(from)) }
        }

        #[inline(always)]
        unsafe fn word_columns(self, from: *const i16) -> __m256i {
            // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for 16 integers.
            unsafe { _mm256_loadu_si256(from.cast()) }
        }

        #[inline(always)]
        fn dot_words(self, row: __m256i, columns: __m256i, sum: __m256i) -> __m256i {
            // SAFETY: `self` proves that the CPU has AVX2 and what the product needs.
            unsafe {
                let ($row, $columns, $sum) = (row, columns, sum);
                $dot
            }
        }

        #[inline(always)]
        fn word_floats(self, sum: __m256i) -> __m256 {
            // SAFETY: `self` proves that the CPU has AVX2.
            unsafe { _mm256_cvtepi32_ps(sum) }
        }

        #[inline(always)]
        unsafe fn store_words(self, to: *mut i16, x: __m256) {
            // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for 8 integers.
            unsafe { store_words_8(to, x) }
        }

        #[inline(always)]
        unsafe fn store_word_pairs(self, to: *mut i16, a: __m256, b: __m256) {
            // SAFETY: `self` proves that the CPU has AVX2; the caller vouches for 16 integers.
            unsafe { store_word_pairs_8(to, a, b) }
        }
    };
}

/// The methods on 16-bit integers of a set of 512 bits, of which only the product is the set's own.
macro_rules! words_512 {
    (|$row:ident, $columns:ident, $sum:ident| $dot:expr) => {
        type WordSum = __m512i;
        type WordRow = __m512i;
        type WordColumns = __m512i;

        #[inline(always)]
        fn zero_words(self) -> __m512i {
            // SAFETY: `self` proves that the CPU has AVX-512.
            unsafe { _mm512_setzero_si512() }
        }

        #[inline(always)]
        unsafe fn word_row(self, from: *const i16) -> __m512i {
            // SAFETY: `self` proves that the CPU has AVX-512; the caller vouches for two integers.
            unsafe { _mm512_set1_epi32(two(from)) }
        }

        #[inline(always)]
        unsafe fn word_columns(self, from: *const i16) -> __m512i {
            // SAFETY: `self` proves that the CPU has AVX-512; the caller vouches for 32 integers.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }

        #[inline(always)]
        fn dot_words(self, row: __m512i, columns: __m512i, sum: __m512i) -> __m512i {
            // SAFETY: `self` proves that the CPU has AVX-512 and what the product needs.
            unsafe {
                let ($row, $columns, $sum) = (row, columns, sum);
                $dot
            }
        }

        #[inline(always)]
        fn word_floats(self, sum: __m512i) -> __m512 {
            // SAFETY: `self` proves that the CPU has AVX-512.
            unsafe { _mm512_cvtepi32_ps(sum) }
        }

        #[inline(always)]
        unsafe fn store_words(self, to: *mut i16, x: __m512) {
            // SAFETY: `self` proves that the CPU has AVX-512; the caller vouches for 16 integers.
            unsafe { store_words_16(to, x) }
        }

        #[inline(always)]
        unsafe fn store_word_pairs(self, to: *mut i16, a: __m512, b: __m512) {
            // SAFETY: `self` proves that the CPU has AVX-512; the caller vouches for 32 integers.
            unsafe { store_word_pairs_16(to, a, b) }
        }
    };
}
pub(super) use {words_256, words_512};
