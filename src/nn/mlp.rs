//! The feed-forward block of a transformer layer (Vaswani et al. 2017), plain or with a gate (GLU variants: Shazeer
//! 2020).

use crate::Result;
use crate::gpu::Product;
use crate::kernels::{self, Activation};
use crate::nn::device_matrix::DeviceMatrix;
use crate::nn::linear::work_on_gpu;
use crate::nn::{Body, Linear, Loader, States};
use crate::profile::{Stage, stage};

/// `down(activation(up(x)))`, or `down(activation(gate(x)) * up(x))` where there is a gate.
pub enum Mlp {
    Cpu {
        mlp: kernels::PackedMlp,
        hidden: usize,
    },
    Portable {
        up: Linear,
        gate: Option<Linear>,
        down: Linear,
    },
    /// `up` with the gate in it, where there is one.
    Gpu {
        up: Product,
        activation: Activation,
        down: Linear,
    },
}

/// The tensors of an [`Mlp`].
pub struct MlpParts<'a> {
    /// `weight [intermediate, hidden]`
    pub up: Loader<'a>,
    /// `weight [intermediate, hidden]`
    pub gate: Option<Loader<'a>>,
    /// `weight [hidden, intermediate]`
    pub down: Loader<'a>,
    /// Whether `up` and `gate` have a `bias`, too.
    pub up_bias: bool,
    /// Whether `down` has one.
    pub down_bias: bool,
}

impl Mlp {
    pub fn load(parts: MlpParts, hidden: usize, intermediate: usize, activation: Activation) -> Result<Self> {
        let MlpParts { up, gate, down, up_bias, down_bias } = parts;
        // What it takes has few large numbers, and its errors add up in the sum that all layers share.
        let down = down.sensitive();
        Ok(match up.body().clone() {
            Body::Cpu { isa, dtype } => {
                let first = |at| Loader::matrix(isa, dtype, &[at], [intermediate, hidden], up_bias, 0);
                let gate = gate.map(first).transpose()?;
                let of_down = down.body().dtype();
                let (up, down) =
                    (first(up)?, Loader::matrix(isa, of_down, &[down], [hidden, intermediate], down_bias, 0)?);
                Self::Cpu { mlp: kernels::PackedMlp::new(up, gate, activation, down), hidden }
            }
            Body::Gpu { passes, types, .. } => {
                let first = |at| DeviceMatrix::load(&[at], [intermediate, hidden], up_bias);
                let (up, gate) = (first(up)?, gate.map(first).transpose()?);
                let up = match &gate {
                    None => Product::new(passes.context(), types, up.parts())?,
                    Some(gate) => Product::gated(passes.context(), types, [gate.parts(), up.parts()])?,
                };
                let down = Linear::load(Stage::MlpDown, &[down], hidden, intermediate, down_bias)?;
                Self::Gpu { up, activation, down }
            }
            Body::Portable { .. } => {
                let first = |at| Linear::load(Stage::MlpUp, &[at], intermediate, hidden, up_bias);
                let (up, gate) = match gate {
                    None => (first(up)?.with_activation(activation), None),
                    Some(gate) => (first(up)?, Some(first(gate)?.with_activation(activation))),
                };
                Self::Portable {
                    up,
                    gate,
                    down: Linear::load(Stage::MlpDown, &[down], hidden, intermediate, down_bias)?,
                }
            }
        })
    }

    /// `x [tokens, hidden]` to the same shape.
    pub fn forward(&self, x: &States) -> Result<States> {
        match self {
            Self::Cpu { mlp, hidden } => Ok(States::Cpu(x.cpu()?.map(*hidden, |x, out| mlp.apply(x, out)))),
            Self::Gpu { up, activation, down } => {
                let run = || x.gpu()?.product(up, *activation);
                down.forward(&States::Gpu(stage(Stage::MlpUp, || work_on_gpu(up, x.count()), run)?))
            }
            Self::Portable { up, gate, down } => {
                let y = up.forward(x)?;
                let y = match gate {
                    Some(gate) => States::Portable((gate.forward(x)?.portable()? * y.portable()?)?),
                    None => y,
                };
                down.forward(&y)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree, assert_halves_agree};

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
                let parts =
                    MlpParts { up: at.at("up"), gate: None, down: at.at("down"), up_bias: true, down_bias: true };
                Mlp::load(parts, 24, 67, activation)?.forward(&x.states([5, 24])?)
            });
        }
    }

    #[test]
    fn bodies_agree_with_a_gate() {
        let checkpoint = Checkpoint::random(&[("wide.weight", &[134, 24]), ("down.weight", &[24, 67])]);
        assert_bodies_agree(&checkpoint, |at, x| {
            let wide = |rows| at.at("wide").rows(rows, 134);
            let parts = MlpParts {
                up: wide(67..134),
                gate: Some(wide(0..67)),
                down: at.at("down"),
                up_bias: false,
                down_bias: false,
            };
            Mlp::load(parts, 24, 67, Activation::Silu)?.forward(&x.states([5, 24])?)
        });
    }

    #[test]
    fn halves_agree_with_float32() {
        let checkpoint = Checkpoint::random(&[("wide.weight", &[134, 24]), ("down.weight", &[24, 67])]);
        assert_halves_agree(&checkpoint, |at, x| {
            let wide = |rows| at.at("wide").rows(rows, 134);
            let parts = MlpParts {
                up: wide(67..134),
                gate: Some(wide(0..67)),
                down: at.at("down"),
                up_bias: false,
                down_bias: false,
            };
            Mlp::load(parts, 24, 67, Activation::Silu)?.forward(&x.states([5, 24])?)
        });
    }
}
