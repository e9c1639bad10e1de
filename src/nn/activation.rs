//! Activation functions in candle's operations, for portable bodies. The coarse ones, which the kernels approximate for
//! bfloat16, are exact here.

use candle_core::Tensor;

use crate::kernels::Activation;

/// `activation(x)`, of the shape and the type of `x`.
pub(super) fn activate(x: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    let sigmoid = candle_nn::ops::sigmoid;
    match activation {
        Activation::Identity => Ok(x.clone()),
        Activation::Gelu | Activation::CoarseGelu => x.gelu_erf(),
        Activation::Gelu10 => x.gelu_erf()?.clamp(-10.0, 10.0),
        Activation::GeluTanh => x.gelu(),
        Activation::QuickGelu => x * sigmoid(&(x * 1.702)?)?,
        Activation::Relu => x.relu(),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::ReluSquared => x.relu()?.sqr(),
        Activation::LeakyRelu => x.maximum(&(x * 0.01)?),
        Activation::Silu | Activation::CoarseSilu => x.silu(),
        Activation::Mish => {
            let e = x.minimum(20.0)?.exp()?;
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
