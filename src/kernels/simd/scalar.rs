//! Plain Rust: the reference, and what runs where nothing else can.

use super::Simd;
use super::double::Double;

#[derive(Clone, Copy)]
pub(crate) struct Scalar;

/// Four lanes, so that the compiler may use whatever its baseline has.
type Lanes = [f32; 4];

#[inline(always)]
fn zip<T: Copy>(a: [T; 4], b: [T; 4], f: impl Fn(T, T) -> T) -> [T; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl Simd for Scalar {
    const LANES: usize = 4;
    const REGISTERS: usize = 16;

    type F = Lanes;

    #[inline(always)]
    fn splat(self, x: f32) -> Lanes {
        [x; 4]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Lanes {
        // SAFETY: the caller vouches for four numbers.
        unsafe { from.cast::<Lanes>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, x: Lanes) {
        // SAFETY: the caller vouches for four numbers.
        unsafe { to.cast::<Lanes>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn load_bfloat16(self, from: *const u16) -> Lanes {
        // SAFETY: the caller vouches for four numbers.
        unsafe { from.cast::<[u16; 4]>().read_unaligned() }.map(|x| f32::from_bits(u32::from(x) << 16))
    }

    #[inline(always)]
    unsafe fn load_float16(self, from: *const u16) -> Lanes {
        // SAFETY: the caller vouches for four numbers.
        unsafe { from.cast::<[u16; 4]>().read_unaligned() }.map(|x| half::f16::from_bits(x).to_f32())
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn min(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn mul_add(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        // Two roundings: without the instruction, `f32::mul_add` is a call into libm.
        self.add(self.mul(a, b), c)
    }

    #[inline(always)]
    fn round(self, x: Lanes) -> Lanes {
        // Adding 1.5 * 2^23 leaves no bits for a fraction.
        const SHIFT: f32 = 12_582_912.0;
        x.map(|x| (x + SHIFT) - SHIFT)
    }

    #[inline(always)]
    fn pow2(self, n: Lanes) -> Lanes {
        n.map(|n| f32::from_bits(((n as i32 + 127) as u32) << 23))
    }

    #[inline(always)]
    fn mix_lanes(self, x: Lanes) -> Lanes {
        let [a, b, c, d] = [x[0] + x[1], x[0] - x[1], x[2] + x[3], x[2] - x[3]];
        [a + c, b + d, a - c, b - d]
    }

    #[inline(always)]
    fn sum(self, x: Lanes) -> f32 {
        (x[0] + x[2]) + (x[1] + x[3])
    }

    #[inline(always)]
    fn largest(self, x: Lanes) -> f32 {
        x.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

impl Double for Scalar {
    type D = [f64; 4];

    #[inline(always)]
    fn zeros(self) -> [f64; 4] {
        [0.0; 4]
    }

    #[inline(always)]
    unsafe fn load_double(self, from: *const f64) -> [f64; 4] {
        // SAFETY: the caller vouches for four numbers.
        unsafe { from.cast::<[f64; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_double(self, to: *mut f64, x: [f64; 4]) {
        // SAFETY: the caller vouches for four numbers.
        unsafe { to.cast::<[f64; 4]>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn load_widened(self, from: *const f32) -> [f64; 4] {
        // SAFETY: the caller vouches for four numbers.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }.map(f64::from)
    }

    #[inline(always)]
    fn splat_double(self, x: f64) -> [f64; 4] {
        [x; 4]
    }

    #[inline(always)]
    fn add_double(self, a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub_double(self, a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul_double(self, a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
        zip(a, b, |a, b| a * b)
    }
}
