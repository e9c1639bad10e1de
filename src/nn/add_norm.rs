//! The residual connection and the layer normalization after it.

use candle_core::{D, DType, Tensor};

use crate::Result;
use crate::kernels::{Isa, LayerNorm, add_layer_norm};
use crate::nn::loader::tensor;
use crate::nn::{Body, Loader, cpu};
use crate::profile::{Stage, Work, stage};

/// `norm(x + residual)`.
pub struct AddNorm(pub(super) Norm);

/// A layer normalization with weight and bias.
pub(super) enum Norm {
    Cpu { isa: Isa, norm: LayerNorm },
    Portable { weight: Tensor, bias: Tensor, eps: f32 },
}

impl Norm {
    /// `weight [hidden]` and `bias [hidden]`, or `gamma` and `beta` as TensorFlow's checkpoints named them.
    pub(super) fn load(at: &Loader, hidden: usize, eps: f32) -> Result<Self> {
        let weight = at.either(["weight", "gamma"], &[hidden])?;
        let bias = at.either(["bias", "beta"], &[hidden])?;
        Ok(match at.body() {
            Body::Cpu { isa, .. } => {
                Self::Cpu { isa: *isa, norm: LayerNorm::new(weight.into_owned(), bias.into_owned(), eps) }
            }
            // Norms stay in float32: half precision loses the variance.
            Body::Portable { device, .. } => Self::Portable {
                weight: tensor(&weight, &[hidden], device, DType::F32)?,
                bias: tensor(&bias, &[hidden], device, DType::F32)?,
                eps,
            },
        })
    }

    /// The portable body, `x [tokens, hidden]`.
    pub(super) fn portable(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> candle_core::Result<Tensor> {
        let wide = x.to_dtype(DType::F32)?;
        let centred = wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + f64::from(eps))?.sqrt()?;
        centred.broadcast_div(&deviation)?.broadcast_mul(weight)?.broadcast_add(bias)?.to_dtype(x.dtype())
    }
}

impl AddNorm {
    /// `weight [hidden]` and `bias [hidden]`.
    pub fn load(at: &Loader, hidden: usize, eps: f32) -> Result<Self> {
        Norm::load(at, hidden, eps).map(Self)
    }

    /// `x` and `residual [tokens, hidden]` to the same shape.
    pub fn forward(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        // Two are read, one is written.
        let work = || Work::bytes(3 * x.elem_count() * x.dtype().size_in_bytes());
        let run = || match &self.0 {
            Norm::Cpu { isa, norm } => {
                cpu::zip(x, residual, |x, residual, out| add_layer_norm(*isa, x, residual, norm, out))
            }
            Norm::Portable { weight, bias, eps } => Norm::portable(&(x + residual)?, weight, bias, *eps),
        };
        Ok(stage(Stage::Norms, work, run)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree};

    #[test]
    fn bodies_agree_under_either_name() {
        for names in [["weight", "bias"], ["gamma", "beta"]] {
            let checkpoint = Checkpoint::random(&[(names[0], &[40]), (names[1], &[40])]);
            assert_bodies_agree(&checkpoint, |at, x| {
                AddNorm::load(at, 40, 1e-7)?.forward(&x.tensor(&[9, 40])?, &x.tensor(&[9, 40])?)
            });
        }
    }
}
