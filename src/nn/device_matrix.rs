//! Matrices of a checkpoint on their way to a GPU.

use std::borrow::Cow;

use crate::Result;
use crate::gpu::MatrixParts;
use crate::nn::Loader;

/// Some layers of the same input as one matrix.
pub(super) struct DeviceMatrix<'a> {
    weight: Cow<'a, [f32]>,
    bias: Option<Cow<'a, [f32]>>,
    shape: [usize; 2],
}

impl<'a> DeviceMatrix<'a> {
    /// `weight [n, k]` and, where `bias`, `bias [n]` of each part, one after the other.
    pub(super) fn load(parts: &[Loader<'a>], [n, k]: [usize; 2], bias: bool) -> Result<Self> {
        let weight = joined(parts.iter().map(|part| part.weights("weight", &[n, k])))?;
        let bias = bias.then(|| joined(parts.iter().map(|part| part.values("bias", &[n])))).transpose()?;
        Ok(Self { weight, bias, shape: [parts.len() * n, k] })
    }

    pub(super) fn parts(&self) -> MatrixParts<'_> {
        MatrixParts { weight: &self.weight, bias: self.bias.as_deref(), shape: self.shape }
    }
}

fn joined<'a>(parts: impl ExactSizeIterator<Item = Result<Cow<'a, [f32]>>>) -> Result<Cow<'a, [f32]>> {
    let mut parts = parts;
    if parts.len() == 1 {
        return parts.next().expect("there is one");
    }
    let mut all = Vec::new();
    parts.try_for_each(|part| part.map(|part| all.extend_from_slice(&part)))?;
    Ok(all.into())
}
