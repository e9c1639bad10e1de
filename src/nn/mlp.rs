//! The feed-forward block of a transformer layer.

use candle_core::Tensor;

use crate::Result;
use crate::kernels::{self, Activation};
use crate::nn::{Body, Linear, Loader, cpu};

/// `down(activation(up(x)))`.
pub enum Mlp {
    Cpu { mlp: kernels::Mlp, hidden: usize },
    Portable { up: Linear, activation: Activation, down: Linear },
}

impl Mlp {
    /// `up` has `weight [wide, hidden]`, `down` has `weight [hidden, wide]`; both have a bias.
    pub fn load(up: Loader, down: Loader, hidden: usize, wide: usize, activation: Activation) -> Result<Self> {
        Ok(match up.body() {
            Body::Cpu { isa, dtype } => {
                let up = Loader::matrix(*isa, *dtype, &[up], wide, hidden, true)?;
                let down = Loader::matrix(*isa, *dtype, &[down], hidden, wide, true)?;
                Self::Cpu { mlp: kernels::Mlp::new(up, activation, down), hidden }
            }
            Body::Portable { .. } => Self::Portable {
                up: Linear::load(&[up], wide, hidden, true)?,
                activation,
                down: Linear::load(&[down], hidden, wide, true)?,
            },
        })
    }

    /// `x [tokens, hidden]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Cpu { mlp, hidden } => Ok(cpu::map(x, *hidden, |x, out| mlp.apply(x, out))?),
            Self::Portable { up, activation, down } => down.forward(&activate(&up.forward(x)?, *activation)?),
        }
    }
}

/// [`Activation`] in candle's operations.
fn activate(x: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
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
        Activation::Silu => x.silu(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree};

    #[test]
    fn bodies_agree_for_every_activation() {
        let checkpoint = Checkpoint::random(&[
            ("up.weight", &[67, 24]),
            ("up.bias", &[67]),
            ("down.weight", &[24, 67]),
            ("down.bias", &[24]),
        ]);
        for &(_, activation) in Activation::NAMES {
            assert_bodies_agree(&checkpoint, |at, x| {
                Mlp::load(at.at("up"), at.at("down"), 24, 67, activation)?.forward(&x.tensor(&[5, 24])?)
            });
        }
    }
}
