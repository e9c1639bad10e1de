//! Normalizations of hidden states, alone and of a sum with a residual.

use std::borrow::Cow;

use candle_core::{DType, Tensor};

use crate::Result;
use crate::kernels::{self, Isa};
use crate::memory::owned;
use crate::nn::loader::tensor;
use crate::nn::{Body, Loader, cpu};
use crate::profile::{Stage, Work, stage};

/// Layer normalization, or root-mean-square normalization (Zhang and Sennrich 2019).
pub struct Norm(pub(super) Bodies);

pub(super) enum Bodies {
    Cpu {
        isa: Isa,
        norm: kernels::RowNorm,
    },
    Portable {
        weight: Tensor,
        /// Of layer normalization: zeros where the layer has none.
        bias: Option<Tensor>,
        eps: f32,
    },
}

impl Norm {
    /// Layer normalization: `weight [hidden]` and `bias [hidden]`, or `gamma` and `beta` as TensorFlow's checkpoints named
    /// them.
    pub fn layer(at: &Loader, hidden: usize, eps: f32) -> Result<Self> {
        let weight = at.either(["weight", "gamma"], &[hidden])?;
        let bias = at.either(["bias", "beta"], &[hidden])?;
        Self::new(at, &weight, Some(&bias), eps, true)
    }

    /// Layer normalization with a `weight [hidden]` alone.
    pub fn layer_without_bias(at: &Loader, hidden: usize, eps: f32) -> Result<Self> {
        Self::new(at, &at.values("weight", &[hidden])?, None, eps, true)
    }

    /// `weight [hidden]`
    pub fn root_mean_square(at: &Loader, hidden: usize, eps: f32) -> Result<Self> {
        Self::new(at, &at.values("weight", &[hidden])?, None, eps, false)
    }

    fn new(at: &Loader, weight: &[f32], bias: Option<&[f32]>, eps: f32, centred: bool) -> Result<Self> {
        Ok(Self(match at.body() {
            Body::Cpu { isa, .. } => {
                let own = |values| owned(Cow::Borrowed(values), || "the weights of a normalization".to_owned());
                let (weight, bias) = (own(weight)?, bias.map(own).transpose()?);
                let norm = match centred {
                    true => kernels::RowNorm::layer(weight, bias, eps),
                    false => kernels::RowNorm::root_mean_square(weight, eps),
                };
                Bodies::Cpu { isa: *isa, norm }
            }
            Body::Portable { device, .. } => {
                let vector = |values: &[f32]| tensor(values, &[values.len()], device, DType::F32);
                let none = vec![0.0; weight.len()];
                let bias = if centred { Some(vector(bias.unwrap_or(&none))?) } else { None };
                Bodies::Portable { weight: vector(weight)?, bias, eps }
            }
        }))
    }

    /// `norm(x)` of `x [tokens, hidden]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // One is read, one is written.
        self.counted(x, 2, || match &self.0 {
            Bodies::Cpu { isa, norm } => cpu::map(x, norm.width(), |x, out| kernels::norm(*isa, x, norm, out)),
            portable => portable.apply(x),
        })
    }

    /// `norm(x + residual)` of `x` and `residual [tokens, hidden]`.
    pub fn add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.counted(x, 3, || match &self.0 {
            Bodies::Cpu { isa, norm } => {
                cpu::zip(x, residual, |x, residual, out| kernels::add_norm(*isa, x, residual, norm, out))
            }
            portable => portable.apply(&(x + residual)?),
        })
    }

    /// The kernels' own, for a block whose body is theirs.
    pub(super) fn kernel(&self) -> &kernels::RowNorm {
        match &self.0 {
            Bodies::Cpu { norm, .. } => norm,
            Bodies::Portable { .. } => unreachable!("a block and its norms are loaded with one body"),
        }
    }

    fn counted(&self, x: &Tensor, tensors: usize, run: impl FnOnce() -> candle_core::Result<Tensor>) -> Result<Tensor> {
        let work = || Work::bytes(tensors * x.elem_count() * x.dtype().size_in_bytes());
        Ok(stage(Stage::Norms, work, run)?)
    }
}

impl Bodies {
    /// The portable body, `x [.., hidden]`, in float32: half precision loses the variance.
    pub(super) fn apply(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let Self::Portable { weight, bias, eps } = self else { unreachable!("kernels have their own") };
        let wide = x.to_dtype(DType::F32)?.contiguous()?;
        let normed = match bias {
            Some(bias) => candle_nn::ops::layer_norm(&wide, weight, bias, *eps)?,
            None => candle_nn::ops::rms_norm(&wide, weight, *eps)?,
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
                Norm::layer(at, 40, 1e-7)?.add(&x.tensor(&[9, 40])?, &x.tensor(&[9, 40])?)
            });
        }
    }

    #[test]
    fn bodies_agree_without_bias_and_mean() {
        let checkpoint = Checkpoint::random(&[("weight", &[40])]);
        type Load = fn(&Loader, usize, f32) -> Result<Norm>;
        for load in [Norm::layer_without_bias as Load, Norm::root_mean_square] {
            assert_bodies_agree(&checkpoint, |at, x| load(at, 40, 1e-6)?.forward(&x.tensor(&[9, 40])?));
            assert_bodies_agree(&checkpoint, |at, x| {
                load(at, 40, 1e-6)?.add(&x.tensor(&[9, 40])?, &x.tensor(&[9, 40])?)
            });
        }
    }

    #[test]
    fn halves_agree_with_float32() {
        let checkpoint = Checkpoint::random(&[("weight", &[40]), ("bias", &[40])]);
        for load in [Norm::layer, Norm::layer_without_bias, Norm::root_mean_square] {
            assert_halves_agree(&checkpoint, |at, x| load(at, 40, 1e-6)?.add(&x(&[9, 40])?, &x(&[9, 40])?));
        }
    }

    /// Squares of such numbers are beyond float16's range.
    #[test]
    fn large_states_are_normalized_in_float16() {
        let checkpoint = Checkpoint::random(&[("weight", &[40])]);
        assert_halves_agree(&checkpoint, |at, x| {
            Norm::root_mean_square(at, 40, 1e-6)?.forward(&(x(&[9, 40])? * 32_768.0)?)
        });
    }
}
