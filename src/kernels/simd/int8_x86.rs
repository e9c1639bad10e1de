//! Products of bytes on x86-64: by the VNNI instructions, which multiply unsigned with signed bytes and add four
//! products at once, else by widening to 16 bits (`vpmaddubsw`, which takes bytes, saturates).

use std::arch::x86_64::*;

use super::avx2::Avx2;
use super::avx512::Avx512;
use super::int8::{Int8, Int8Operation};

/// 256-bit vectors with VNNI, as on clients without AVX-512.
#[derive(Clone, Copy)]
pub(crate) struct AvxVnni(Avx2);

/// 512-bit vectors with VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Vnni(Avx512);

/// # Safety
/// The CPU has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn run_avx2<O: Int8Operation>(operation: O) -> O::Output {
    // SAFETY: the caller vouches for the features.
    operation.run(unsafe { Avx2::assume() })
}

/// # Safety
/// The CPU has AVX2, FMA, F16C and AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(crate) unsafe fn run_avx_vnni<O: Int8Operation>(operation: O) -> O::Output {
    // SAFETY: the caller vouches for the features.
    operation.run(AvxVnni(unsafe { Avx2::assume() }))
}

/// # Safety
/// The CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) unsafe fn run_avx512<O: Int8Operation>(operation: O) -> O::Output {
    // SAFETY: the caller vouches for the features.
    operation.run(unsafe { Avx512::assume() })
}

/// # Safety
/// The CPU has AVX-512 F, BW, DQ, VL and VNNI.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) unsafe fn run_vnni<O: Int8Operation>(operation: O) -> O::Output {
    // SAFETY: the caller vouches for the features.
    operation.run(Vnni(unsafe { Avx512::assume() }))
}

// SAFETY of every block below: a value of each type exists only inside its `run`, so the CPU has the instructions;
// memory is the caller's to vouch for where a function is unsafe itself.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: see above.
        unsafe { $call }
    };
}

/// Eight bytes from eight numbers.
#[inline(always)]
unsafe fn store_8(to: *mut u8, x: __m256) {
    intrinsic!({
        let x = _mm256_cvtps_epi32(x);
        let words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
        _mm_storel_epi64(to.cast(), _mm_packus_epi16(words, words));
    })
}

/// Sixteen bytes from sixteen numbers.
#[inline(always)]
unsafe fn store_16(to: *mut u8, x: __m512) {
    intrinsic!({
        let x = _mm512_max_epi32(_mm512_cvtps_epi32(x), _mm512_setzero_si512());
        _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(x));
    })
}

/// Eight 16-bit integers, the low halves of eight lanes.
#[inline(always)]
unsafe fn store_words_8(to: *mut i16, x: __m256) {
    intrinsic!({
        let low = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0xFFFF));
        let words = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256::<1>(low));
        _mm_storeu_si128(to.cast(), words);
    })
}

/// The low halves of eight lanes of `a`, each before that of `b`.
#[inline(always)]
unsafe fn store_word_pairs_8(to: *mut i16, a: __m256, b: __m256) {
    intrinsic!({
        let low = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0xFFFF));
        let high = _mm256_slli_epi32::<16>(_mm256_castps_si256(b));
        _mm256_storeu_si256(to.cast(), _mm256_or_si256(low, high));
    })
}

/// Sixteen 16-bit integers, the low halves of sixteen lanes.
#[inline(always)]
unsafe fn store_words_16(to: *mut i16, x: __m512) {
    intrinsic!(_mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_castps_si512(x))))
}

/// The low halves of sixteen lanes of `a`, each before that of `b`.
#[inline(always)]
unsafe fn store_word_pairs_16(to: *mut i16, a: __m512, b: __m512) {
    intrinsic!({
        let low = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0xFFFF));
        let high = _mm512_slli_epi32::<16>(_mm512_castps_si512(b));
        _mm512_storeu_si512(to.cast(), _mm512_or_si512(low, high));
    })
}

/// `vpdpwssd`, of which the compiler, given the intrinsic, makes a multiplication and an addition, which take twice as long.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn dpwssd_512(mut sum: __m512i, row: __m512i, columns: __m512i) -> __m512i {
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

/// `vpdpwssd`, of which the compiler, given the intrinsic, makes a multiplication and an addition, which take twice as long.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn dpwssd_256(mut sum: __m256i, row: __m256i, columns: __m256i) -> __m256i {
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
#[inline(always)]
unsafe fn total_8(sum: __m256i) -> i32 {
    intrinsic!({
        let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
        _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<1>(sum)))
    })
}

#[inline(always)]
unsafe fn two(from: *const i16) -> i32 {
    // SAFETY: the caller vouches for two integers.
    unsafe { from.cast::<i32>().read_unaligned() }
}

#[inline(always)]
unsafe fn four(from: *const u8) -> i32 {
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
            intrinsic!(_mm256_setzero_si256())
        }

        #[inline(always)]
        unsafe fn word_row(self, from: *const i16) -> __m256i {
            intrinsic!(_mm256_set1_epi32(two(from)))
        }

        #[inline(always)]
        unsafe fn word_columns(self, from: *const i16) -> __m256i {
            intrinsic!(_mm256_loadu_si256(from.cast()))
        }

        #[inline(always)]
        fn dot_words(self, row: __m256i, columns: __m256i, sum: __m256i) -> __m256i {
            intrinsic!({
                let ($row, $columns, $sum) = (row, columns, sum);
                $dot
            })
        }

        #[inline(always)]
        fn word_floats(self, sum: __m256i) -> __m256 {
            intrinsic!(_mm256_cvtepi32_ps(sum))
        }

        #[inline(always)]
        unsafe fn store_words(self, to: *mut i16, x: __m256) {
            intrinsic!(store_words_8(to, x))
        }

        #[inline(always)]
        unsafe fn store_word_pairs(self, to: *mut i16, a: __m256, b: __m256) {
            intrinsic!(store_word_pairs_8(to, a, b))
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
            intrinsic!(_mm512_setzero_si512())
        }

        #[inline(always)]
        unsafe fn word_row(self, from: *const i16) -> __m512i {
            intrinsic!(_mm512_set1_epi32(two(from)))
        }

        #[inline(always)]
        unsafe fn word_columns(self, from: *const i16) -> __m512i {
            intrinsic!(_mm512_loadu_si512(from.cast()))
        }

        #[inline(always)]
        fn dot_words(self, row: __m512i, columns: __m512i, sum: __m512i) -> __m512i {
            intrinsic!({
                let ($row, $columns, $sum) = (row, columns, sum);
                $dot
            })
        }

        #[inline(always)]
        fn word_floats(self, sum: __m512i) -> __m512 {
            intrinsic!(_mm512_cvtepi32_ps(sum))
        }

        #[inline(always)]
        unsafe fn store_words(self, to: *mut i16, x: __m512) {
            intrinsic!(store_words_16(to, x))
        }

        #[inline(always)]
        unsafe fn store_word_pairs(self, to: *mut i16, a: __m512, b: __m512) {
            intrinsic!(store_word_pairs_16(to, a, b))
        }
    };
}

impl Int8 for Avx2 {
    type Simd = Avx2;
    /// The four bytes, widened, four times.
    type Row = __m256i;
    /// Columns 0 to 3 and 4 to 7, widened.
    type Columns = [__m256i; 2];
    /// Of each of these columns the sum of the first and of the last two products.
    type Sum = [__m256i; 2];

    const ROWS: usize = 2;
    const FLIP: u8 = 0;

    #[inline(always)]
    fn simd(self) -> Avx2 {
        self
    }

    #[inline(always)]
    fn zero(self) -> [__m256i; 2] {
        intrinsic!([_mm256_setzero_si256(); 2])
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u8) -> __m256i {
        intrinsic!(_mm256_cvtepu8_epi16(_mm_set1_epi32(four(from))))
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const i8) -> [__m256i; 2] {
        intrinsic!([
            _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())),
            _mm256_cvtepi8_epi16(_mm_loadu_si128(from.add(16).cast())),
        ])
    }

    #[inline(always)]
    fn dot(self, row: __m256i, columns: [__m256i; 2], sum: [__m256i; 2]) -> [__m256i; 2] {
        intrinsic!([
            _mm256_add_epi32(sum[0], _mm256_madd_epi16(row, columns[0])),
            _mm256_add_epi32(sum[1], _mm256_madd_epi16(row, columns[1])),
        ])
    }

    #[inline(always)]
    fn floats(self, sum: [__m256i; 2]) -> __m256 {
        intrinsic!({
            let columns = _mm256_hadd_epi32(sum[0], sum[1]); // 0 1 4 5 2 3 6 7
            _mm256_cvtepi32_ps(_mm256_permute4x64_epi64::<0b11_01_10_00>(columns))
        })
    }

    #[inline(always)]
    unsafe fn dot_along(self, x: *const u8, w: *const i8, sum: [__m256i; 2]) -> [__m256i; 2] {
        intrinsic!({
            let half = |i: usize| {
                let x = _mm256_cvtepu8_epi16(_mm_loadu_si128(x.add(i).cast()));
                _mm256_madd_epi16(x, _mm256_cvtepi8_epi16(_mm_loadu_si128(w.add(i).cast())))
            };
            [_mm256_add_epi32(sum[0], half(0)), _mm256_add_epi32(sum[1], half(16))]
        })
    }

    #[inline(always)]
    fn total(self, sum: [__m256i; 2]) -> i32 {
        intrinsic!(total_8(_mm256_add_epi32(sum[0], sum[1])))
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, x: __m256) {
        intrinsic!(store_8(to, x))
    }

    words_256!(|row, columns, sum| _mm256_add_epi32(sum, _mm256_madd_epi16(row, columns)));
}

impl Int8 for AvxVnni {
    type Simd = Avx2;
    type Row = __m256i;
    type Columns = __m256i;
    type Sum = __m256i;

    const ROWS: usize = 6;
    const FLIP: u8 = 0;

    #[inline(always)]
    fn simd(self) -> Avx2 {
        self.0
    }

    #[inline(always)]
    fn zero(self) -> __m256i {
        intrinsic!(_mm256_setzero_si256())
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u8) -> __m256i {
        intrinsic!(_mm256_set1_epi32(four(from)))
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const i8) -> __m256i {
        intrinsic!(_mm256_loadu_si256(from.cast()))
    }

    #[inline(always)]
    fn dot(self, row: __m256i, columns: __m256i, sum: __m256i) -> __m256i {
        intrinsic!(_mm256_dpbusd_avx_epi32(sum, row, columns))
    }

    #[inline(always)]
    fn floats(self, sum: __m256i) -> __m256 {
        intrinsic!(_mm256_cvtepi32_ps(sum))
    }

    #[inline(always)]
    unsafe fn dot_along(self, x: *const u8, w: *const i8, sum: __m256i) -> __m256i {
        intrinsic!(_mm256_dpbusd_avx_epi32(sum, _mm256_loadu_si256(x.cast()), _mm256_loadu_si256(w.cast())))
    }

    #[inline(always)]
    fn total(self, sum: __m256i) -> i32 {
        intrinsic!(total_8(sum))
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, x: __m256) {
        intrinsic!(store_8(to, x))
    }

    words_256!(|row, columns, sum| dpwssd_256(sum, row, columns));
}

impl Int8 for Avx512 {
    type Simd = Avx512;
    /// The four bytes, widened, eight times.
    type Row = __m512i;
    /// Columns 0 to 7 and 8 to 15, widened.
    type Columns = [__m512i; 2];
    /// Of each of these columns the sum of the first and of the last two products.
    type Sum = [__m512i; 2];

    const ROWS: usize = 2;
    const FLIP: u8 = 0;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self
    }

    #[inline(always)]
    fn zero(self) -> [__m512i; 2] {
        intrinsic!([_mm512_setzero_si512(); 2])
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u8) -> __m512i {
        intrinsic!(_mm512_cvtepu8_epi16(_mm256_set1_epi32(four(from))))
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const i8) -> [__m512i; 2] {
        intrinsic!([
            _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast())),
            _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.add(32).cast())),
        ])
    }

    #[inline(always)]
    fn dot(self, row: __m512i, columns: [__m512i; 2], sum: [__m512i; 2]) -> [__m512i; 2] {
        intrinsic!([
            _mm512_add_epi32(sum[0], _mm512_madd_epi16(row, columns[0])),
            _mm512_add_epi32(sum[1], _mm512_madd_epi16(row, columns[1])),
        ])
    }

    #[inline(always)]
    fn floats(self, sum: [__m512i; 2]) -> __m512 {
        intrinsic!({
            // Of lanes 2c and 2c + 1 the sum belongs to column c.
            let firsts = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let lasts = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            let firsts = _mm512_permutex2var_epi32(sum[0], firsts, sum[1]);
            let lasts = _mm512_permutex2var_epi32(sum[0], lasts, sum[1]);
            _mm512_cvtepi32_ps(_mm512_add_epi32(firsts, lasts))
        })
    }

    #[inline(always)]
    unsafe fn dot_along(self, x: *const u8, w: *const i8, sum: [__m512i; 2]) -> [__m512i; 2] {
        intrinsic!({
            let half = |i: usize| {
                let x = _mm512_cvtepu8_epi16(_mm256_loadu_si256(x.add(i).cast()));
                _mm512_madd_epi16(x, _mm512_cvtepi8_epi16(_mm256_loadu_si256(w.add(i).cast())))
            };
            [_mm512_add_epi32(sum[0], half(0)), _mm512_add_epi32(sum[1], half(32))]
        })
    }

    #[inline(always)]
    fn total(self, sum: [__m512i; 2]) -> i32 {
        intrinsic!(_mm512_reduce_add_epi32(_mm512_add_epi32(sum[0], sum[1])))
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, x: __m512) {
        intrinsic!(store_16(to, x))
    }

    words_512!(|row, columns, sum| _mm512_add_epi32(sum, _mm512_madd_epi16(row, columns)));
}

impl Int8 for Vnni {
    type Simd = Avx512;
    type Row = __m512i;
    type Columns = __m512i;
    type Sum = __m512i;

    const ROWS: usize = 6;
    const FLIP: u8 = 0;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    fn zero(self) -> __m512i {
        intrinsic!(_mm512_setzero_si512())
    }

    #[inline(always)]
    unsafe fn row(self, from: *const u8) -> __m512i {
        intrinsic!(_mm512_set1_epi32(four(from)))
    }

    #[inline(always)]
    unsafe fn columns(self, from: *const i8) -> __m512i {
        intrinsic!(_mm512_loadu_si512(from.cast()))
    }

    #[inline(always)]
    fn dot(self, row: __m512i, columns: __m512i, sum: __m512i) -> __m512i {
        intrinsic!(_mm512_dpbusd_epi32(sum, row, columns))
    }

    #[inline(always)]
    fn floats(self, sum: __m512i) -> __m512 {
        intrinsic!(_mm512_cvtepi32_ps(sum))
    }

    #[inline(always)]
    unsafe fn dot_along(self, x: *const u8, w: *const i8, sum: __m512i) -> __m512i {
        intrinsic!(_mm512_dpbusd_epi32(sum, _mm512_loadu_si512(x.cast()), _mm512_loadu_si512(w.cast())))
    }

    #[inline(always)]
    fn total(self, sum: __m512i) -> i32 {
        intrinsic!(_mm512_reduce_add_epi32(sum))
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, x: __m512) {
        intrinsic!(store_16(to, x))
    }

    words_512!(|row, columns, sum| dpwssd_512(sum, row, columns));
}
