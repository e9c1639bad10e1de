//! Activation functions in candle's operations, for portable bodies. The coarse ones, which the kernels approximate for
//! bfloat16, are exact here.

use candle_core::{DType, Tensor};

use crate::kernels::Activation;

/// `activation(x)`, of the shape and the type of `x`.
pub(super) fn activate(x: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    let sigmoid = candle_nn::ops::sigmoid;
    match activation {
        Activation::Identity => Ok(x.clone()),
        Activation::Gelu | Activation::CoarseGelu => x.gelu_erf(),
        Activation::Gelu10 => at_most(&at_least(&x.gelu_erf()?, -10.0)?, 10.0),
        Activation::GeluTanh => x.gelu(),
        Activation::QuickGelu => x * sigmoid(&(x * 1.702)?)?,
        Activation::Relu => at_least(x, 0.0),
        Activation::Relu6 => at_most(&at_least(x, 0.0)?, 6.0),
        Activation::ReluSquared => at_least(x, 0.0)?.sqr(),
        Activation::LeakyRelu => x.maximum(&(x * 0.01)?),
        Activation::Silu | Activation::CoarseSilu => x.silu(),
        Activation::Mish => {
            // From here on it is x in that type; e² is within it.
            let limit = if x.dtype() == DType::F16 { 5.0 } else { 20.0 };
            let e = x.minimum(limit)?.exp()?;
            let n = (&e * (&e + 2.0)?)?;
            x * (&n / (&n + 2.0)?)?
        }
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => sigmoid(x),
        Activation::HardSwish => (x * (x + 3.0)?.clamp(0.0, 6.0)?)? / 6.0,
        Activation::Laplace => {
            (((x - std::f64::consts::FRAC_1_SQRT_2)? * (std::f64::consts::FRAC_1_SQRT_2 / 0.282_095))?.erf()? + 1.0)?
                * 0.5
        }
        // max(x, 0) + log(1 + exp(-|x|)), which does not overflow.
        Activation::SqrtSoftplus => (x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?)?.sqrt(),
    }
}

/// The larger of x and `low`; NaN where x is, of which candle's `relu`, `maximum` and `clamp` make a number.
fn at_least(x: &Tensor, low: f64) -> candle_core::Result<Tensor> {
    x.lt(low)?.where_cond(&(x.zeros_like()? + low)?, x)
}

/// The smaller of x and `high`; NaN where x is.
fn at_most(x: &Tensor, high: f64) -> candle_core::Result<Tensor> {
    x.gt(high)?.where_cond(&(x.zeros_like()? + high)?, x)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn not_a_number_stays_none() {
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            for &(name, activation) in Activation::NAMES {
                let x = Tensor::new(&[[-20.0_f32, f32::NAN, 0.5, 9.0]], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                let y = activate(&x, activation).unwrap().to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap();
                let none: Vec<bool> = y[0].iter().map(|y| y.is_nan()).collect();
                assert_eq!(none, [false, true, false, false], "{name} {dtype:?}: {y:?}");
            }
        }
    }
}
