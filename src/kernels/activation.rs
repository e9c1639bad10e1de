//! Activation functions, by the names that model configurations use, on vectors; `math.rs` has the functions that they
//! are made of.
//!
//! GELU: Hendrycks and Gimpel 2016. SiLU: Elfwing et al. 2018, swish: Ramachandran et al. 2017. Mish: Misra 2019,
//! without a logarithm: `tanh(log(1 + e)) = (e² + 2e) / (e² + 2e + 2)`. Squared ReLU: So et al. 2021. The tests compare
//! each with its definition in float64.

use crate::kernels::Isa;
use crate::kernels::math::{coarse_erf, coarse_silu, erf, exp, sigmoid, silu, tanh};
use crate::kernels::simd::{MAX_LANES, Operation, Simd};

/// What a product's epilogue does to each element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Identity,
    /// `x Φ(x)`, with the exact error function.
    Gelu,
    /// GELU for results that are rounded to eight bits: off by up to 2e-4.
    CoarseGelu,
    /// GELU by its tanh approximation.
    GeluTanh,
    /// `x sigmoid(1.702 x)`.
    QuickGelu,
    /// GELU clipped to [-10, 10].
    Gelu10,
    Relu,
    Relu6,
    /// `max(x, 0)²`.
    ReluSquared,
    /// Slope 0.01 below zero.
    LeakyRelu,
    Silu,
    /// SiLU for results that are rounded to eight bits: off by up to 1e-4 of a number, or 1e-4.
    CoarseSilu,
    /// `x tanh(log(1 + exp(x)))`.
    Mish,
    Tanh,
    Sigmoid,
    /// `x clip(x + 3, 0, 6) / 6`.
    HardSwish,
    /// The cumulative distribution of a normal variable with mean √½ and deviation 0.282095.
    Laplace,
    /// `√log(1 + exp(x))`.
    SqrtSoftplus,
}

impl Activation {
    /// Names of transformers' `ACT2FN`. Those that it knows and this table lacks have parameters of their own.
    pub const NAMES: &[(&str, Activation)] = &[
        ("gelu", Activation::Gelu),
        ("gelu_python", Activation::Gelu),
        ("gelu_new", Activation::GeluTanh),
        ("gelu_fast", Activation::GeluTanh),
        ("gelu_accurate", Activation::GeluTanh),
        ("gelu_pytorch_tanh", Activation::GeluTanh),
        ("gelu_python_tanh", Activation::GeluTanh),
        ("gelu_10", Activation::Gelu10),
        ("quick_gelu", Activation::QuickGelu),
        ("relu", Activation::Relu),
        ("relu6", Activation::Relu6),
        ("relu2", Activation::ReluSquared),
        ("leaky_relu", Activation::LeakyRelu),
        ("silu", Activation::Silu),
        ("swish", Activation::Silu),
        ("mish", Activation::Mish),
        ("tanh", Activation::Tanh),
        ("sigmoid", Activation::Sigmoid),
        ("linear", Activation::Identity),
        ("hardswish", Activation::HardSwish),
        ("laplace", Activation::Laplace),
        ("sqrtsoftplus", Activation::SqrtSoftplus),
    ];

    /// The function of that name; None for a name that [`Self::NAMES`] lacks.
    pub fn named(name: &str) -> Option<Activation> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|&(_, activation)| activation)
    }

    /// The same for results that are rounded to eight bits.
    pub(super) fn coarse(self) -> Activation {
        match self {
            Activation::Gelu => Activation::CoarseGelu,
            Activation::Silu => Activation::CoarseSilu,
            other => other,
        }
    }

    /// Applies the function to every element.
    pub fn apply(self, isa: Isa, values: &mut [f32]) {
        isa.run(Apply { activation: self, values });
    }

    #[inline(always)]
    pub(super) fn apply_to_slice<S: Simd>(self, s: S, values: &mut [f32]) {
        let mut chunks = values.chunks_exact_mut(S::LANES);
        for chunk in &mut chunks {
            // SAFETY: reads and writes the LANES numbers of `chunk`.
            unsafe { s.store(chunk.as_mut_ptr(), self.apply_to_vector(s, s.load(chunk.as_ptr()))) };
        }
        let rest = chunks.into_remainder();
        if rest.is_empty() {
            return;
        }
        // SAFETY: reads and writes `rest.len()` numbers of `rest`.
        unsafe {
            let x = s.load_first(rest.as_ptr(), rest.len(), 0.0);
            s.store_first(rest.as_mut_ptr(), self.apply_to_vector(s, x), rest.len());
        }
    }

    #[inline(always)]
    fn apply_to_vector<S: Simd>(self, s: S, x: S::F) -> S::F {
        let zero = s.splat(0.0);
        let one = s.splat(1.0);
        let half = s.splat(0.5);
        match self {
            Activation::Identity => x,
            Activation::Gelu => gelu(s, x),
            Activation::CoarseGelu => {
                let half = s.mul(half, x);
                s.mul_add(half, coarse_erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2))), half)
            }
            Activation::Gelu10 => s.clamp(gelu(s, x), -10.0, 10.0),
            Activation::GeluTanh => {
                let cubed = s.mul(s.mul(x, x), x);
                let inner = s.mul(s.splat(0.797_884_6), s.mul_add(cubed, s.splat(0.044_715), x));
                s.mul(s.mul(half, x), s.add(one, tanh(s, inner)))
            }
            Activation::QuickGelu => s.mul(x, sigmoid(s, s.mul(x, s.splat(1.702)))),
            Activation::Relu => s.max(zero, x),
            Activation::Relu6 => s.clamp(x, 0.0, 6.0),
            Activation::ReluSquared => {
                let positive = s.max(zero, x);
                s.mul(positive, positive)
            }
            Activation::LeakyRelu => s.max(x, s.mul(x, s.splat(0.01))),
            Activation::Silu => silu(s, x),
            Activation::CoarseSilu => coarse_silu(s, x),
            Activation::Mish => {
                // tanh(log(1 + e)) = (e² + 2e) / (e² + 2e + 2); from 20 on it is 1 in float32.
                let e = exp(s, s.min(s.splat(20.0), x));
                let n = s.mul(e, s.add(e, s.splat(2.0)));
                s.mul(x, s.div(n, s.add(n, s.splat(2.0))))
            }
            Activation::Tanh => tanh(s, x),
            Activation::Sigmoid => sigmoid(s, x),
            Activation::HardSwish => {
                let gate = s.clamp(s.add(x, s.splat(3.0)), 0.0, 6.0);
                s.mul(s.mul(x, gate), s.splat(1.0 / 6.0))
            }
            Activation::Laplace => {
                let z = s.mul(
                    s.sub(x, s.splat(std::f32::consts::FRAC_1_SQRT_2)),
                    s.splat(std::f32::consts::FRAC_1_SQRT_2 / 0.282_095),
                );
                s.mul_add(erf(s, z), half, half)
            }
            Activation::SqrtSoftplus => {
                let mut lanes = [0.0f32; MAX_LANES];
                // SAFETY: no set has more than 16 lanes.
                unsafe {
                    s.store(lanes.as_mut_ptr(), x);
                    // Rare enough for the standard library's logarithm. From 20 on, softplus is x in float32.
                    lanes[..S::LANES].iter_mut().for_each(|x| *x = if *x > 20.0 { *x } else { x.exp().ln_1p() }.sqrt());
                    s.load(lanes.as_ptr())
                }
            }
        }
    }
}

#[inline(always)]
fn gelu<S: Simd>(s: S, x: S::F) -> S::F {
    let half = s.mul(s.splat(0.5), x);
    s.mul_add(half, erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2))), half)
}

struct Apply<'a> {
    activation: Activation,
    values: &'a mut [f32],
}

impl Operation for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.activation.apply_to_slice(s, self.values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each function in float64, from its definition.
    fn reference(activation: Activation, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let gelu_tanh =
            |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
        match activation {
            Activation::Identity => x,
            // Values of erf are covered by `erf_at_known_points`.
            Activation::Gelu | Activation::CoarseGelu | Activation::Gelu10 | Activation::Laplace => f64::NAN,
            Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::SqrtSoftplus => x.exp().ln_1p().sqrt(),
            Activation::GeluTanh => gelu_tanh(x),
            Activation::QuickGelu => x * sigmoid(1.702 * x),
            Activation::Relu => x.max(0.0),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::ReluSquared => x.max(0.0).powi(2),
            Activation::LeakyRelu => x.max(0.01 * x),
            Activation::Silu | Activation::CoarseSilu => x * sigmoid(x),
            Activation::Mish => x * x.exp().ln_1p().tanh(),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => sigmoid(x),
        }
    }

    #[test]
    fn every_function_follows_its_definition() {
        let xs: Vec<f32> = (-3001..=3001).map(|i| i as f32 / 100.0).collect();
        for isa in Isa::available() {
            for &(name, activation) in Activation::NAMES {
                let mut ys = xs.clone();
                activation.apply(isa, &mut ys);
                for (&x, &y) in xs.iter().zip(&ys) {
                    let expected = reference(activation, f64::from(x));
                    if !expected.is_nan() {
                        let bound = 4e-7 * expected.abs().max(f64::from(x.abs())).max(1.0);
                        assert!((f64::from(y) - expected).abs() <= bound, "{}: {name}({x}) = {y}", isa.name());
                    }
                }
            }
        }
    }

    #[test]
    fn not_a_number_stays_none() {
        for isa in Isa::available() {
            let functions = Activation::NAMES.iter().flat_map(|&(_, activation)| [activation, activation.coarse()]);
            for activation in functions {
                for len in [1, 7, 16, 19] {
                    let mut values = vec![0.5; len];
                    values[len / 2] = f32::NAN;
                    activation.apply(isa, &mut values);
                    for (i, y) in values.iter().enumerate() {
                        assert_eq!(y.is_nan(), i == len / 2, "{}: {activation:?} gives {y} at {i}", isa.name());
                    }
                }
            }
        }
    }

    #[test]
    fn the_coarse_gelu_is_near_the_exact_one() {
        let xs: Vec<f32> = (-6000..=6000).map(|i| i as f32 / 500.0).collect();
        for isa in Isa::available() {
            let (mut exact, mut coarse) = (xs.clone(), xs.clone());
            Activation::Gelu.apply(isa, &mut exact);
            Activation::Gelu.coarse().apply(isa, &mut coarse);
            for ((x, a), b) in xs.iter().zip(&exact).zip(&coarse) {
                assert!((a - b).abs() <= 2e-4 * x.abs().max(4.0) / 4.0, "{}: gelu({x}) = {b}, not {a}", isa.name());
            }
        }
    }

    #[test]
    fn erf_at_known_points() {
        // x Φ(x) to ten digits.
        let points =
            [(-3.0, -0.0040496941), (-1.0, -0.1586552539), (0.5, 0.3457312307), (2.0, 1.9544997361), (20.0, 20.0)];
        for isa in Isa::available() {
            for (x, expected) in points {
                let mut y = [x as f32];
                Activation::Gelu.apply(isa, &mut y);
                assert!((f64::from(y[0]) - expected).abs() < 4e-7, "{}: gelu({x}) = {}", isa.name(), y[0]);
            }
            let mut y = [20.0];
            Activation::Gelu10.apply(isa, &mut y);
            assert_eq!(y, [10.0]);
            // Half at the mean; 0.8413447461 one deviation above it.
            let mut y = [std::f32::consts::FRAC_1_SQRT_2, 0.989_202];
            Activation::Laplace.apply(isa, &mut y);
            assert!((y[0] - 0.5).abs() < 1e-6 && (y[1] - 0.841_344_7).abs() < 1e-6, "{}: {y:?}", isa.name());
        }
    }
}
