//! exp, erf and what is made of them, on vectors.
//!
//! ```text
//! exp(x):    n = round(x / ln 2); r = x - n ln 2, in two parts (Cody and Waite 1980); (1 + r + r² P(r)) * 2^n
//! exp2(x):   n = round(x); (1 + r P(r)) * 2^n for r = x - n
//! erf(z):    z P(2 z² / L² - 1) for |z| <= L, beyond it ±1
//! tanh(x) = 1 - 2 / (exp(2 x) + 1); sigmoid(x) = 1 / (1 + exp(-x)); silu(x) from exp(-|x|), so that nothing overflows
//! ```
//!
//! Polynomials are weighted least-squares fits made minimax by reweighting (Lawson 1961) in float64, rounded to
//! float32. The bounds below hold on every set: the tests check them. Coarse functions have shorter polynomials, for
//! results that are rounded to few bits anyway.

use crate::kernels::simd::Simd;

/// Largest relative error of [`exp`] on [-87, 88].
#[cfg(test)]
const EXP_RELATIVE_ERROR: f64 = 1.5e-7;

/// Largest relative error of [`exp2`] on [-126, 0].
#[cfg(test)]
const EXP2_RELATIVE_ERROR: f64 = 2e-7;

/// Largest relative error of [`coarse_exp2`] on [-126, 0].
#[cfg(test)]
const COARSE_EXP2_RELATIVE_ERROR: f64 = 1.1e-4;

/// Largest absolute error of [`erf`] anywhere.
#[cfg(test)]
const ERF_ERROR: f64 = 4e-7;

/// Largest absolute error of [`coarse_erf`] anywhere.
#[cfg(test)]
const COARSE_ERF_ERROR: f64 = 1.5e-4;

/// Largest absolute error of [`tanh`] and [`sigmoid`] anywhere.
#[cfg(test)]
const TANH_ERROR: f64 = 3e-7;

/// Largest error of [`silu`], absolute or relative to its argument.
#[cfg(test)]
const SILU_ERROR: f64 = 3e-7;

/// As above, of [`coarse_silu`].
#[cfg(test)]
const COARSE_SILU_ERROR: f64 = 1e-4;

/// `(exp(r) - 1 - r) / r²` on [-ln(2)/2, ln(2)/2].
const EXP: [f32; 5] = [0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_745, 0.001_381_454];

/// `(2^r - 1) / r` on [-1/2, 1/2].
#[expect(clippy::approx_constant, reason = "fitted, and not quite that constant")]
const EXP2: [f32; 5] = [0.693_147, 0.240_222_42, 0.055_507_336, 0.009_671_513, 0.001_326_472_7];
const COARSE_EXP2: [f32; 3] = [0.693_282_9, 0.242_210_95, 0.055_008_93];

/// Numbers this large have no bits for a fraction; those beside it have 22 for an integer.
pub(super) const ROUNDING_SHIFT: f32 = 12_582_912.0;

/// `erf(z) / z` in powers of `2 z² / ERF_LIMIT² - 1`, for |z| <= ERF_LIMIT.
pub(crate) const ERF: [f32; 15] = [
    0.372_107_63,
    -0.185_641_2,
    0.137_739_52,
    -0.111_185_5,
    0.090_832_53,
    -0.072_516_28,
    0.055_057_92,
    -0.038_936_477,
    0.026_688_188,
    -0.018_339_438,
    0.009_958_154,
    -0.003_293_799_4,
    0.002_359_787_2,
    -0.002_697_743_7,
    0.001_024_597_7,
];

/// As `ERF`, for |z| <= COARSE_ERF_LIMIT.
const COARSE_ERF: [f32; 8] = [
    0.502_490_1,
    -0.240_146_1,
    0.158_395_71,
    -0.102_115_57,
    0.059_815_03,
    -0.035_913_333,
    0.021_700_226,
    -0.007_116_040_7,
];

/// From here on erf is 1 to within 8e-5.
const COARSE_ERF_LIMIT: f32 = 2.8;

/// From here on erf is 1 to within 8e-8.
pub(crate) const ERF_LIMIT: f32 = 3.8;

#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::F, coefficients: [f32; N]) -> S::F {
    let mut y = s.splat(coefficients[N - 1]);
    for &c in coefficients[..N - 1].iter().rev() {
        y = s.mul_add(y, x, s.splat(c));
    }
    y
}

/// e^x; 0 (not a denormal) below -87.7, finite above 88.7.
#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.clamp(x, -88.0, 88.7);
    let n = s.min(s.splat(127.0), s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E))));
    // ln(2) in two parts: the first has few bits, so that n times it is exact.
    let r = s.mul_add(n, s.splat(-0.693_359_4), x);
    let r = s.mul_add(n, s.splat(2.121_944_4e-4), r);
    let q = polynomial(s, r, EXP);
    let p = s.mul_add(s.mul_add(q, r, s.splat(1.0)), r, s.splat(1.0));
    s.mul(p, s.pow2(n))
}

/// 2^x for x <= 0; nothing (or a denormal) below -126.5.
#[inline(always)]
pub(super) fn exp2<S: Simd>(s: S, x: S::F) -> S::F {
    exp2_by(s, x, EXP2)
}

/// [`exp2`] for weights that are rounded to eleven bits.
#[inline(always)]
pub(super) fn coarse_exp2<S: Simd>(s: S, x: S::F) -> S::F {
    exp2_by(s, x, COARSE_EXP2)
}

#[inline(always)]
fn exp2_by<S: Simd, const N: usize>(s: S, x: S::F, coefficients: [f32; N]) -> S::F {
    let x = s.max(s.splat(-127.0), x);
    // Adding 1.5 * 2^23 leaves no bits for a fraction.
    let shifted = s.add(x, s.splat(ROUNDING_SHIFT));
    let n = s.sub(shifted, s.splat(ROUNDING_SHIFT));
    let r = s.sub(x, n);
    let p = s.mul_add(polynomial(s, r, coefficients), r, s.splat(1.0));
    s.scale2(p, n, shifted)
}

#[inline(always)]
pub(super) fn erf<S: Simd>(s: S, z: S::F) -> S::F {
    let z = s.clamp(z, -ERF_LIMIT, ERF_LIMIT);
    let u = s.mul_add(s.mul(z, z), s.splat(2.0 / (ERF_LIMIT * ERF_LIMIT)), s.splat(-1.0));
    let y = s.mul(z, polynomial(s, u, ERF));
    s.clamp(y, -1.0, 1.0)
}

/// [`erf`] to within 1.5e-4.
#[inline(always)]
pub(super) fn coarse_erf<S: Simd>(s: S, z: S::F) -> S::F {
    let z = s.clamp(z, -COARSE_ERF_LIMIT, COARSE_ERF_LIMIT);
    let u = s.mul_add(s.mul(z, z), s.splat(2.0 / (COARSE_ERF_LIMIT * COARSE_ERF_LIMIT)), s.splat(-1.0));
    s.mul(z, polynomial(s, u, COARSE_ERF))
}

#[inline(always)]
pub(super) fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.div(s.splat(1.0), s.add(s.splat(1.0), e))
}

/// `x sigmoid(x)`.
#[inline(always)]
pub(super) fn silu<S: Simd>(s: S, x: S::F) -> S::F {
    silu_by(s, x, EXP2)
}

/// [`silu`] to within 1e-4.
#[inline(always)]
pub(super) fn coarse_silu<S: Simd>(s: S, x: S::F) -> S::F {
    silu_by(s, x, COARSE_EXP2)
}

/// `max(x, 0) + min(x, 0) e`, over `1 + e`, where `e` is `exp(-|x|)`: nothing overflows.
#[inline(always)]
fn silu_by<S: Simd, const N: usize>(s: S, x: S::F, coefficients: [f32; N]) -> S::F {
    let zero = s.splat(0.0);
    let (positive, negative) = (s.max(zero, x), s.min(zero, x));
    let magnitude = s.sub(negative, positive);
    let e = exp2_by(s, s.mul(magnitude, s.splat(std::f32::consts::LOG2_E)), coefficients);
    s.div(s.mul_add(negative, e, positive), s.add(s.splat(1.0), e))
}

#[inline(always)]
pub(super) fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let e = exp(s, s.add(x, x));
    s.sub(s.splat(1.0), s.div(s.splat(2.0), s.add(e, s.splat(1.0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use crate::kernels::simd::Operation;

    struct Evaluate<'a> {
        function: VectorFunction,
        values: &'a mut [f32],
    }

    #[derive(Clone, Copy)]
    enum VectorFunction {
        Exp,
        Exp2,
        CoarseExp2,
        Erf,
        CoarseErf,
        Sigmoid,
        Tanh,
        Silu,
        CoarseSilu,
    }

    impl Operation for Evaluate<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for chunk in self.values.chunks_mut(S::LANES) {
                // SAFETY: reads and writes `chunk.len()` numbers of `chunk`.
                unsafe {
                    let x = s.load_first(chunk.as_ptr(), chunk.len(), 0.0);
                    let y = match self.function {
                        VectorFunction::Exp => exp(s, x),
                        VectorFunction::Exp2 => exp2(s, x),
                        VectorFunction::CoarseExp2 => coarse_exp2(s, x),
                        VectorFunction::Erf => erf(s, x),
                        VectorFunction::CoarseErf => coarse_erf(s, x),
                        VectorFunction::Sigmoid => sigmoid(s, x),
                        VectorFunction::Tanh => tanh(s, x),
                        VectorFunction::Silu => silu(s, x),
                        VectorFunction::CoarseSilu => coarse_silu(s, x),
                    };
                    s.store_first(chunk.as_mut_ptr(), y, chunk.len());
                }
            }
        }
    }

    /// Arguments and results over [low, high] for every instruction set.
    fn sample(function: VectorFunction, low: f32, high: f32, mut check: impl FnMut(&str, f64, f64)) {
        let xs: Vec<f32> = (0..=200_003).map(|i| low + (high - low) * (i as f32 / 200_003.0)).collect();
        for isa in Isa::available() {
            let mut ys = xs.clone();
            isa.run(Evaluate { function, values: &mut ys });
            xs.iter().zip(&ys).for_each(|(&x, &y)| check(isa.name(), f64::from(x), f64::from(y)));
        }
    }

    /// erf by its series and, from 3 on, its continued fraction: good to 1e-13.
    fn erf_reference(x: f64) -> f64 {
        let z = x.abs();
        let value = if z < 3.0 {
            let (mut term, mut sum) = (z, z);
            for n in 1..120 {
                term *= -z * z / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * std::f64::consts::FRAC_2_SQRT_PI
        } else {
            let fraction = (1..200).rev().fold(z, |f, n| z + f64::from(n) / 2.0 / f);
            1.0 - (-z * z).exp() / fraction / std::f64::consts::PI.sqrt()
        };
        value.copysign(x)
    }

    #[test]
    fn exp_is_within_its_bound() {
        sample(VectorFunction::Exp, -87.0, 88.0, |isa, x, y| {
            assert!((y / x.exp() - 1.0).abs() <= EXP_RELATIVE_ERROR, "{isa}: exp({x}) = {y}");
        });
    }

    #[test]
    fn exp_far_out_is_zero_or_finite() {
        sample(VectorFunction::Exp, -1e4, -88.0, |isa, x, y| assert_eq!(y, 0.0, "{isa}: exp({x})"));
        sample(VectorFunction::Exp, 88.8, 1e4, |isa, x, y| assert!(y > 3e38 && y.is_finite(), "{isa}: exp({x}) = {y}"));
    }

    #[test]
    fn exp2_is_within_its_bound() {
        for (function, bound) in
            [(VectorFunction::Exp2, EXP2_RELATIVE_ERROR), (VectorFunction::CoarseExp2, COARSE_EXP2_RELATIVE_ERROR)]
        {
            sample(function, -126.0, 0.0, |isa, x, y| {
                assert!((y / x.exp2() - 1.0).abs() <= bound, "{isa}: exp2({x}) = {y}");
            });
            sample(function, -1e9, -126.5, |isa, x, y| assert!((0.0..2e-38).contains(&y), "{isa}: exp2({x}) = {y}"));
        }
    }

    #[test]
    fn erf_is_within_its_bound() {
        sample(VectorFunction::Erf, -6.0, 6.0, |isa, x, y| {
            assert!((y - erf_reference(x)).abs() <= ERF_ERROR, "{isa}: erf({x}) = {y}");
            assert!(y.abs() <= 1.0);
        });
        sample(VectorFunction::CoarseErf, -6.0, 6.0, |isa, x, y| {
            assert!((y - erf_reference(x)).abs() <= COARSE_ERF_ERROR, "{isa}: erf({x}) = {y}");
        });
    }

    #[test]
    fn sigmoid_and_tanh_are_within_their_bound() {
        sample(VectorFunction::Tanh, -50.0, 50.0, |isa, x, y| {
            assert!((y - x.tanh()).abs() <= TANH_ERROR, "{isa}: tanh({x}) = {y}");
        });
        sample(VectorFunction::Sigmoid, -100.0, 100.0, |isa, x, y| {
            assert!((y - 1.0 / (1.0 + (-x).exp())).abs() <= TANH_ERROR, "{isa}: sigmoid({x}) = {y}");
        });
    }

    #[test]
    fn silu_is_within_its_bound() {
        for (function, bound) in [(VectorFunction::Silu, SILU_ERROR), (VectorFunction::CoarseSilu, COARSE_SILU_ERROR)] {
            sample(function, -100.0, 100.0, |isa, x, y| {
                let error = (y - x / (1.0 + (-x).exp())).abs();
                assert!(error <= bound * x.abs().max(1.0), "{isa}: silu({x}) = {y}");
            });
            sample(function, -1e30, -100.0, |isa, x, y| assert!(y.abs() < 1e-6, "{isa}: silu({x}) = {y}"));
            sample(function, 100.0, 3e38, |isa, x, y| assert_eq!(y, x, "{isa}"));
        }
    }
}
