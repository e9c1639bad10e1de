//! What a product does to each number of its output, as WGSL.
//!
//! The error function is the polynomial of `kernels/math.rs`, off by 4e-7 at most. Functions of `exp` are kept from its
//! overflow: drivers that compile for speed make no infinities, and Metal's `tanh` is not a number from 44 on. What is no
//! number stays none: `clamp` and `max` may give their other operand.

use crate::kernels::{Activation, ERF, ERF_LIMIT};

/// A function `activate` of a number. What is coarse on the CPU is exact here.
pub(crate) fn wgsl(of: Activation) -> String {
    let value = match of {
        Activation::Identity => "x",
        Activation::Gelu | Activation::CoarseGelu => "gelu(x)",
        Activation::GeluTanh => "0.5 * x * (1.0 + curve(0.7978846 * fma(x * x * x, 0.044715, x)))",
        Activation::QuickGelu => "x * logistic(1.702 * x)",
        Activation::Gelu10 => "within(gelu(x), -10.0, 10.0)",
        Activation::Relu => "positive(x)",
        Activation::Relu6 => "within(x, 0.0, 6.0)",
        Activation::ReluSquared => "positive(x) * positive(x)",
        Activation::LeakyRelu => "select(x, 0.01 * x, x < 0.0)",
        Activation::Silu | Activation::CoarseSilu => "x * logistic(x)",
        Activation::Mish => "mish(x)",
        Activation::Tanh => "curve(x)",
        Activation::Sigmoid => "logistic(x)",
        Activation::HardSwish => "x * within(x + 3.0, 0.0, 6.0) / 6.0",
        Activation::Laplace => "0.5 * (1.0 + error_function((x - 0.70710678) * 2.5066273))",
        Activation::SqrtSoftplus => "sqrt(positive(x) + log(1.0 + exp(-abs(x))))",
    };
    let functions = [
        ("positive(", "fn positive(x: f32) -> f32 { return select(x, 0.0, x < 0.0); }\n"),
        ("logistic(", "fn logistic(x: f32) -> f32 { return 1.0 / (1.0 + exp(within(-x, -80.0, 80.0))); }\n"),
        ("curve(", "fn curve(x: f32) -> f32 { return 1.0 - 2.0 / (exp(within(2.0 * x, -40.0, 40.0)) + 1.0); }\n"),
        ("mish(", MISH),
        ("gelu(", "fn gelu(x: f32) -> f32 { return 0.5 * x * (1.0 + error_function(0.70710678 * x)); }\n"),
    ];
    let needed: String = functions.iter().filter(|(name, _)| value.contains(name)).map(|(_, text)| *text).collect();
    let erf =
        if value.contains("gelu(x)") || value.contains("error_function") { error_function() } else { String::new() };
    format!("{WITHIN}{erf}{needed}fn activate(x: f32) -> f32 {{ return {value}; }}\n")
}

const WITHIN: &str = "fn within(x: f32, low: f32, high: f32) -> f32 {
    return select(select(x, low, x < low), high, x > high);
}
";

/// `tanh(log(1 + e)) = (e² + 2e) / (e² + 2e + 2)`; from 20 on it is 1 in float32.
const MISH: &str = "fn mish(x: f32) -> f32 {
    let e = exp(within(x, -80.0, 20.0));
    let n = e * (e + 2.0);
    return x * n / (n + 2.0);
}
";

fn error_function() -> String {
    let [first @ .., last] = ERF;
    let scale = 2.0 / (ERF_LIMIT * ERF_LIMIT);
    let steps: String = first.iter().rev().map(|c| format!("    y = fma(y, u, {c:?});\n")).collect();
    format!(
        "fn error_function(x: f32) -> f32 {{
    let z = within(x, -{ERF_LIMIT:?}, {ERF_LIMIT:?});
    let u = fma(z * z, {scale:?}, -1.0);
    var y = {last:?};
{steps}    return within(z * y, -1.0, 1.0);
}}
"
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const ALL: [Activation; 18] = [
        Activation::Identity,
        Activation::Gelu,
        Activation::CoarseGelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Gelu10,
        Activation::Relu,
        Activation::Relu6,
        Activation::ReluSquared,
        Activation::LeakyRelu,
        Activation::Silu,
        Activation::CoarseSilu,
        Activation::Mish,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::HardSwish,
        Activation::Laplace,
        Activation::SqrtSoftplus,
    ];

    /// Each function in float64, from its definition.
    pub(crate) fn reference(activation: Activation, x: f64) -> f64 {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        let gelu = |x: f64| 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2));
        match activation {
            Activation::Identity => x,
            Activation::Gelu | Activation::CoarseGelu => gelu(x),
            Activation::Gelu10 => gelu(x).clamp(-10.0, 10.0),
            Activation::GeluTanh => {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
            }
            Activation::QuickGelu => x * logistic(1.702 * x),
            Activation::Relu => x.max(0.0),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::ReluSquared => x.max(0.0).powi(2),
            Activation::LeakyRelu => x.max(0.01 * x),
            Activation::Silu | Activation::CoarseSilu => x * logistic(x),
            Activation::Mish => x * x.exp().ln_1p().tanh(),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => logistic(x),
            Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::Laplace => {
                0.5 * (1.0 + erf((x - std::f64::consts::FRAC_1_SQRT_2) / (0.282_095 * std::f64::consts::SQRT_2)))
            }
            Activation::SqrtSoftplus => x.exp().ln_1p().sqrt(),
        }
    }

    /// erf by its series and, from 3 on, its continued fraction: good to 1e-13.
    fn erf(x: f64) -> f64 {
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
}
