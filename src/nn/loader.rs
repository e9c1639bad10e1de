//! Reading a block's weights in the form that its body wants.

use std::borrow::Cow;

use candle_core::{DType, Device, Tensor};

use crate::Result;
use crate::hub::{Weight, Weights};
use crate::kernels::{Dtype, Isa, Matrix};

/// Which body the blocks of a model get.
#[derive(Debug, Clone)]
pub enum Body {
    /// Kernels of this instruction set, matrices in `dtype`; everything else is float32.
    Cpu { isa: Isa, dtype: Dtype },
    /// candle's operations, weights and activations in `dtype`.
    Portable { device: Device, dtype: DType },
}

impl Body {
    /// Of the weights.
    pub fn dtype_name(&self) -> &'static str {
        match self {
            Self::Cpu { dtype, .. } => dtype.name(),
            Self::Portable { dtype: DType::F32, .. } => Dtype::Float32.name(),
            Self::Portable { dtype: DType::BF16, .. } => Dtype::Bfloat16.name(),
            Self::Portable { dtype, .. } => dtype.as_str(),
        }
    }
}

/// A place in a checkpoint: names are relative to `prefix`.
#[derive(Clone)]
pub struct Loader<'a> {
    weights: &'a Weights,
    body: &'a Body,
    prefix: String,
}

impl<'a> Loader<'a> {
    pub fn new(weights: &'a Weights, body: &'a Body) -> Self {
        Self { weights, body, prefix: String::new() }
    }

    /// The place `name` below this one.
    pub fn at(&self, name: &str) -> Self {
        Self { prefix: self.full(name), ..self.clone() }
    }

    pub fn body(&self) -> &'a Body {
        self.body
    }

    pub fn contains(&self, name: &str) -> bool {
        self.weights.contains(&self.full(name))
    }

    /// The tensor `name`, row-major.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Cow<'a, [f32]>> {
        self.tensor(name, shape)?.to_f32()
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Weight<'a>> {
        self.weights.get(&self.full(name), shape)
    }

    /// The first of `names` that is there: checkpoints of some age have other names for the same thing.
    pub fn either(&self, names: [&str; 2], shape: &[usize]) -> Result<Cow<'a, [f32]>> {
        self.values(if self.contains(names[1]) { names[1] } else { names[0] }, shape)
    }

    fn full(&self, name: &str) -> String {
        match self.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}.{name}"),
        }
    }

    /// `weight [n, k]` and, where `bias`, `bias [n]` of each part, packed one after the other.
    pub(super) fn matrix(isa: Isa, dtype: Dtype, parts: &[Self], n: usize, k: usize, bias: bool) -> Result<Matrix> {
        // All of them before any memory is taken: sizes that only the configuration claims end here.
        let weights: Vec<_> = parts.iter().map(|part| part.tensor("weight", &[n, k])).collect::<Result<_>>()?;
        let mut matrix = Matrix::zeroed(isa, dtype, parts.len() * n, k);
        for (i, (part, weight)) in parts.iter().zip(weights).enumerate() {
            let bias = if bias { Some(part.values("bias", &[n])?) } else { None };
            matrix.set_rows(i * n, &weight.to_f32()?, bias.as_deref());
        }
        Ok(matrix)
    }
}

/// Values as a tensor of a portable body.
pub(super) fn tensor(values: &[f32], shape: &[usize], device: &Device, dtype: DType) -> Result<Tensor> {
    Ok(Tensor::from_slice(values, shape, device)?.to_dtype(dtype)?)
}
