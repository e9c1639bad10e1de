//! Layer normalization (Ba et al. 2016; PyTorch's `LayerNorm`) and root-mean-square normalization (Zhang and Sennrich
//! 2019; transformers' `Qwen3RMSNorm`) of hidden states, alone and of a sum with a residual.
//!
//! ```text
//! layer_norm(x) = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias        var: divided by the width, not by one less
//! rms_norm(x)   = x / sqrt(mean(x²) + eps) * weight                         or, in Gemma, times 1 + weight
//! ```
//!
//! Both compute in float32 whatever the type of the states is: half precision loses the variance, and squares of large
//! states are beyond float16.

use std::borrow::Cow;

use candle_core::{DType, Tensor};

use crate::Result;
use crate::gpu::{NormKind, Normalization};
use crate::kernels::{self, Isa};
use crate::memory::owned;
use crate::nn::loader::tensor;
use crate::nn::{Body, Loader, States};
use crate::profile::{Stage, Work, stage};

/// One of the two normalizations, over the last dimension.
pub struct Norm(pub(super) NormBody);

pub(super) enum NormBody {
    Cpu {
        isa: Isa,
        norm: kernels::RowNorm,
    },
    Portable {
        weight: Tensor,
        /// Only layer normalization has one: zeros where the checkpoint has none.
        bias: Option<Tensor>,
        eps: f32,
    },
    Gpu(Normalization),
}

impl Norm {
    /// Layer normalization with `weight [hidden]` and `bias [hidden]`, or `gamma` and `beta`, as checkpoints converted
    /// from TensorFlow have them.
    pub fn layer_norm(at: &Loader, hidden: usize, eps: f32) -> Result<Self> {
        let weight = at.either(["weight", "gamma"], &[hidden])?;
        let bias = at.either(["bias", "beta"], &[hidden])?;
        Self::new(at.body(), &weight, Some(&bias), eps, true)
    }

    /// Layer normalization with a `weight [hidden]` alone.
    pub fn layer_norm_without_bias(at: &Loader, hidden: usize, eps: f32) -> Result<Self> {
        Self::new(at.body(), &at.values("weight", &[hidden])?, None, eps, true)
    }

    /// Root-mean-square normalization with `weight [hidden]`.
    pub fn rms_norm(at: &Loader, hidden: usize, eps: f32) -> Result<Self> {
        Self::new(at.body(), &at.values("weight", &[hidden])?, None, eps, false)
    }

    /// Root-mean-square normalization by `1 + weight`, `weight [hidden]`, as Gemma has it.
    pub fn offset_rms_norm(at: &Loader, hidden: usize, eps: f32) -> Result<Self> {
        let weight: Vec<f32> = at.values("weight", &[hidden])?.iter().map(|weight| 1.0 + weight).collect();
        Self::new(at.body(), &weight, None, eps, false)
    }

    /// Root-mean-square normalization of `hidden` numbers without a weight.
    pub fn unweighted_rms_norm(body: &Body, hidden: usize, eps: f32) -> Result<Self> {
        Self::new(body, &vec![1.0; hidden], None, eps, false)
    }

    fn new(body: &Body, weight: &[f32], bias: Option<&[f32]>, eps: f32, centred: bool) -> Result<Self> {
        Ok(Self(match body {
            Body::Cpu { isa, .. } => {
                let own = |values| owned(Cow::Borrowed(values), || "the weights of a normalization".to_owned());
                let (weight, bias) = (own(weight)?, bias.map(own).transpose()?);
                let norm = match centred {
                    true => kernels::RowNorm::layer(weight, bias, eps),
                    false => kernels::RowNorm::root_mean_square(weight, eps),
                };
                NormBody::Cpu { isa: *isa, norm }
            }
            Body::Portable { device, .. } => {
                let vector = |values: &[f32]| tensor(values, &[values.len()], device, DType::F32);
                let none = vec![0.0; weight.len()];
                let bias = if centred { Some(vector(bias.unwrap_or(&none))?) } else { None };
                NormBody::Portable { weight: vector(weight)?, bias, eps }
            }
            Body::Gpu { passes, .. } => {
                let kind = if centred { NormKind::Layer } else { NormKind::RootMeanSquare };
                NormBody::Gpu(Normalization::new(passes.context(), kind, weight, bias, eps)?)
            }
        }))
    }

    /// `norm(x)` of `x [tokens, hidden]`.
    pub fn forward(&self, x: &States) -> Result<States> {
        // One is read, one is written.
        let run = || {
            Ok(match &self.0 {
                NormBody::Cpu { isa, norm } => {
                    States::Cpu(x.cpu()?.map(norm.width(), |x, out| kernels::norm(*isa, x, norm, out)))
                }
                NormBody::Gpu(norm) => States::Gpu(x.gpu()?.normalized(norm, None)?),
                portable => States::Portable(portable.apply(x.portable()?)?),
            })
        };
        stage(Stage::Norms, || Work::bytes(2 * x.bytes()), run)
    }

    /// `norm(x + residual)` of `x` and `residual [tokens, hidden]`.
    pub fn add_and_norm(&self, x: &States, residual: &States) -> Result<States> {
        // Two are read, one is written.
        let run = || {
            Ok(match &self.0 {
                NormBody::Cpu { isa, norm } => States::Cpu(x.cpu()?.zip(residual.cpu()?, |x, residual, out| {
                    kernels::add_norm(*isa, x, residual, norm, out);
                })),
                NormBody::Gpu(norm) => States::Gpu(x.gpu()?.normalized(norm, Some(residual.gpu()?))?),
                portable => States::Portable(portable.apply(&(x.portable()? + residual.portable()?)?)?),
            })
        };
        stage(Stage::Norms, || Work::bytes(3 * x.bytes()), run)
    }

    /// The kernel, for a block of a GPU's body.
    pub(super) fn on_gpu(&self) -> &Normalization {
        match &self.0 {
            NormBody::Gpu(norm) => norm,
            NormBody::Cpu { .. } | NormBody::Portable { .. } => unreachable!("{ONE_BODY}"),
        }
    }

    /// The kernel, for a block of the CPU body.
    pub(super) fn kernel(&self) -> &kernels::RowNorm {
        match &self.0 {
            NormBody::Cpu { norm, .. } => norm,
            NormBody::Portable { .. } | NormBody::Gpu(_) => unreachable!("{ONE_BODY}"),
        }
    }
}

const ONE_BODY: &str = "a block and its norms are loaded with one body";

impl NormBody {
    /// The portable body of `norm(x)`, `x [.., hidden]`.
    pub(super) fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let Self::Portable { weight, bias, eps } = self else { unreachable!("kernels have their own") };
        let x32 = x.to_dtype(DType::F32)?.contiguous()?;
        let normed = match bias {
            Some(bias) => candle_nn::ops::layer_norm(&x32, weight, bias, *eps)?,
            None => candle_nn::ops::rms_norm(&x32, weight, *eps)?,
        };
        normed.to_dtype(x.dtype())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree, assert_halves_agree};

    #[test]
    fn bodies_agree_under_either_name() {
        for names in [["weight", "bias"], ["gamma", "beta"]] {
            let checkpoint = Checkpoint::random(&[(names[0], &[40]), (names[1], &[40])]);
            assert_bodies_agree(&checkpoint, |at, x| {
                Norm::layer_norm(at, 40, 1e-7)?.add_and_norm(&x.states([9, 40])?, &x.states([9, 40])?)
            });
        }
    }

    #[test]
    fn bodies_agree_without_bias_and_mean() {
        let checkpoint = Checkpoint::random(&[("weight", &[40])]);
        type Load = fn(&Loader, usize, f32) -> Result<Norm>;
        for load in [Norm::layer_norm_without_bias as Load, Norm::rms_norm, Norm::offset_rms_norm] {
            assert_bodies_agree(&checkpoint, |at, x| load(at, 40, 1e-6)?.forward(&x.states([9, 40])?));
            assert_bodies_agree(&checkpoint, |at, x| {
                load(at, 40, 1e-6)?.add_and_norm(&x.states([9, 40])?, &x.states([9, 40])?)
            });
        }
    }

    #[test]
    fn halves_agree_with_float32() {
        let checkpoint = Checkpoint::random(&[("weight", &[40]), ("bias", &[40])]);
        for load in [Norm::layer_norm, Norm::layer_norm_without_bias, Norm::rms_norm] {
            assert_halves_agree(&checkpoint, |at, x| {
                load(at, 40, 1e-6)?.add_and_norm(&x.states([9, 40])?, &x.states([9, 40])?)
            });
        }
    }

    /// Squares of such numbers are beyond float16's range.
    #[test]
    fn large_states_are_normalized_in_float16() {
        let checkpoint = Checkpoint::random(&[("weight", &[40])]);
        assert_halves_agree(&checkpoint, |at, x| {
            Norm::rms_norm(at, 40, 1e-6)?.forward(&x.states([9, 40])?.scale(32_768.0)?)
        });
    }
}
