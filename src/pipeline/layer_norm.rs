//! The module `LayerNorm` of sentence-transformers: layer normalization (Ba et al. 2016) of sentence embeddings.

use crate::files::{ModelFolder, inside};
use crate::kernels::{Isa, RowNorm, norm};
use crate::memory::owned;
use crate::nn::active_isa;
use crate::weights::Weights;
use crate::{Error, Result};

/// Added to a variance: PyTorch's default, which the module does not change.
const EPS: f32 = 1e-5;

pub(super) struct LayerNorm {
    isa: Isa,
    norm: RowNorm,
}

impl LayerNorm {
    /// Loads `norm.weight` and `norm.bias` from `path`, for vectors of width `input`, which `width` must be.
    pub(super) fn load(folder: &ModelFolder, path: &str, width: usize, input: usize) -> Result<Self> {
        if width != input {
            let message = format!("{width}, but the module before it gives {input}");
            return Err(Error::model_key(inside(path, "config.json"), "dimension", message));
        }
        let weights = Weights::open(folder, path)?;
        let tensor = |name| {
            let weight = weights.get(name, &[width])?;
            owned(weight.to_f32()?, || weight.what())
        };
        let norm = RowNorm::layer(tensor("norm.weight")?, Some(tensor("norm.bias")?), EPS);
        Ok(Self { isa: active_isa()?, norm })
    }

    /// `x [texts, width]` to the same shape.
    pub(super) fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        norm(self.isa, x, &self.norm, &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::{assert_close, folder};

    // torch.nn.LayerNorm(3) with these weights, in float32.
    #[test]
    fn rows_are_normalized() {
        let tensors = [("norm.weight", &[3][..], &[2.0, -0.5, 1.0][..]), ("norm.bias", &[3], &[0.25, 1.0, 0.0])];
        let (_root, folder) = folder(&[("3_LayerNorm", &tensors)]);
        let norm = LayerNorm::load(&folder, "3_LayerNorm", 3, 3).unwrap();
        let expected = [2.0279965, 1.6984987, 0.507999, -2.5784216, 0.6464473, 0.70710546];
        assert_close(&norm.apply(&[1.0, -2.0, 0.5, 0.5, 4.0, 4.0]), &expected);

        let message = LayerNorm::load(&folder, "3_LayerNorm", 3, 4).err().unwrap().to_string();
        assert_eq!(message, "3_LayerNorm/config.json: dimension: 3, but the module before it gives 4");
        let message = LayerNorm::load(&folder, "3_LayerNorm", 4, 4).err().unwrap().to_string();
        assert!(message.starts_with("3_LayerNorm/model.safetensors: ") && message.contains("norm.weight"), "{message}");
    }
}
