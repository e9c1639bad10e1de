//! The linear layer (PyTorch's `Linear`), one or several of the same input at once.

use candle_core::Tensor;

use crate::Result;
use crate::gpu::{MatrixParts, Product};
use crate::kernels::{Activation, AttentionShape, Matrix};
use crate::nn::activation::activate;
use crate::nn::device_matrix::DeviceMatrix;
use crate::nn::loader::tensor;
use crate::nn::matmul::matmul;
use crate::nn::{Body, Loader, States};
use crate::profile::{Arithmetic, Stage, Work, stage};

/// `activation(x · weightᵀ + bias)`.
pub struct Linear {
    /// The stage that a profile counts it in.
    stage: Stage,
    body: LinearBody,
    activation: Activation,
}

enum LinearBody {
    Cpu(Matrix),
    /// `weight [n, k]`, `bias [n]`.
    Portable {
        weight: Tensor,
        bias: Option<Tensor>,
    },
    Gpu(Product),
}

impl Linear {
    /// Several layers of the same input as one: each of `parts` has `weight [n, k]` and, where `bias`, `bias [n]`, and
    /// gives the next `n` columns of the output.
    pub fn load(stage: Stage, parts: &[Loader], n: usize, k: usize, bias: bool) -> Result<Self> {
        Ok(Self { stage, body: LinearBody::load(parts, [n, k], bias, 0)?, activation: Activation::Identity })
    }

    /// As [`Self::load`], of queries, keys and values for attention of that shape. What errors values have all tokens get,
    /// so they are held in the type of what is sensitive to them.
    pub fn qkv(parts: &[Loader], n: usize, k: usize, bias: bool, shape: &AttentionShape) -> Result<Self> {
        let body = LinearBody::load(parts, [n, k], bias, shape.kv_heads * shape.head_dim)?;
        Ok(Self { stage: Stage::Qkv, body, activation: Activation::Identity })
    }

    /// A layer of `weight [n, k]`, row-major, and `bias [n]` that are no tensors of a checkpoint.
    pub(super) fn of_values(
        stage: Stage,
        body: &Body,
        weight: &[f32],
        bias: &[f32],
        [n, k]: [usize; 2],
    ) -> Result<Self> {
        let body = match body {
            Body::Cpu { isa, dtype } => LinearBody::Cpu(Matrix::new(*isa, *dtype, weight, Some(bias), n, k)?),
            Body::Portable { device, dtype } => LinearBody::Portable {
                weight: tensor(weight, &[n, k], device, *dtype)?,
                bias: Some(tensor(bias, &[n], device, *dtype)?),
            },
            Body::Gpu { passes, types, .. } => {
                let parts = MatrixParts { weight, bias: Some(bias), shape: [n, k] };
                LinearBody::Gpu(Product::new(passes.context(), *types, parts)?)
            }
        };
        Ok(Self { stage, body, activation: Activation::Identity })
    }

    /// The same layer, followed by `activation`.
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// `x [tokens, k]` to `[tokens, n]`.
    pub fn forward(&self, x: &States) -> Result<States> {
        stage(self.stage, || self.body.work(x.count()), || self.body.forward(x, self.activation))
    }
}

/// What a product on a GPU does for so many tokens.
pub(super) fn work_on_gpu(product: &Product, tokens: usize) -> Work {
    let [n, k] = product.shape();
    let weights = product.matrices() * n * k;
    Work::multiply_adds(Arithmetic::Float32, tokens * weights, 4 * (weights + tokens * (n + k)))
}

impl LinearBody {
    fn load(parts: &[Loader], [n, k]: [usize; 2], bias: bool, sensitive: usize) -> Result<Self> {
        let (device, dtype) = match parts[0].body() {
            Body::Cpu { isa, dtype } => {
                return Ok(Self::Cpu(Loader::matrix(*isa, *dtype, parts, [n, k], bias, sensitive)?));
            }
            Body::Portable { device, dtype } => (device, *dtype),
            Body::Gpu { passes, types, .. } => {
                let matrix = DeviceMatrix::load(parts, [n, k], bias)?;
                return Ok(Self::Gpu(Product::new(passes.context(), *types, matrix.parts())?));
            }
        };
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for part in parts {
            weights.push(tensor(&part.weights("weight", &[n, k])?, &[n, k], device, dtype)?);
            if bias {
                biases.push(tensor(&part.weights("bias", &[n])?, &[n], device, dtype)?);
            }
        }
        let bias = if bias { Some(Tensor::cat(&biases, 0)?) } else { None };
        Ok(Self::Portable { weight: Tensor::cat(&weights, 0)?, bias })
    }

    fn work(&self, tokens: usize) -> Work {
        match self {
            Self::Cpu(matrix) => matrix.work(tokens),
            Self::Portable { weight, .. } => {
                let (n, k) = (weight.dims()[0], weight.dims()[1]);
                let bytes = weight.dtype().size_in_bytes() * (n * k + tokens * (n + k));
                Work::multiply_adds(Arithmetic::Float32, tokens * n * k, bytes)
            }
            Self::Gpu(product) => work_on_gpu(product, tokens),
        }
    }

    fn forward(&self, x: &States, activation: Activation) -> Result<States> {
        Ok(match self {
            Self::Cpu(matrix) => States::Cpu(x.cpu()?.map(matrix.n(), |x, out| matrix.apply(x, activation, out))),
            Self::Portable { weight, bias } => {
                let y = matmul(x.portable()?, &weight.t()?)?;
                let y = match bias {
                    Some(bias) => y.broadcast_add(bias)?,
                    None => y,
                };
                States::Portable(activate(&y, activation)?)
            }
            Self::Gpu(product) => States::Gpu(x.gpu()?.product(product, activation)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree, assert_halves_agree};

    #[test]
    fn bodies_agree() {
        let checkpoint = Checkpoint::random(&[
            ("q.weight", &[13, 40]),
            ("q.bias", &[13]),
            ("k.weight", &[13, 40]),
            ("k.bias", &[13]),
        ]);
        for bias in [true, false] {
            assert_bodies_agree(&checkpoint, |at, x| {
                let linear = Linear::load(Stage::Qkv, &[at.at("q"), at.at("k")], 13, 40, bias)?;
                linear.with_activation(Activation::Tanh).forward(&x.states([7, 40])?)
            });
            // Some rows of a tensor, and in float32 what others hold in less.
            assert_bodies_agree(&checkpoint, |at, x| {
                let part = at.at("q").rows(3..11, 13).in_float32();
                Linear::load(Stage::Qkv, &[part], 8, 40, bias)?.forward(&x.states([7, 40])?)
            });
        }
    }

    #[test]
    fn halves_agree_with_float32() {
        let checkpoint = Checkpoint::random(&[("weight", &[13, 40]), ("bias", &[13])]);
        assert_halves_agree(&checkpoint, |at, x| {
            Linear::load(Stage::Qkv, std::slice::from_ref(at), 13, 40, true)?
                .with_activation(Activation::Gelu)
                .forward(&x.states([7, 40])?)
        });
    }
}
