//! What weight files hold, as their headers say it: each tensor, or each matrix that is quantized, and how its numbers are stored.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};

use super::Weights;
use super::blocks::BlockType;
use super::extent::Extent;
use super::panel_index::PREFIX;
use super::quantization::PARTS;
use super::weight::FLOATS;
use crate::{Error, Result};

/// A tensor as a file holds it, or a matrix made of several.
#[derive(Debug, PartialEq, Eq)]
pub struct StoredTensor {
    pub name: String,
    /// Length of each dimension of its numbers, whatever codes they are.
    pub shape: Vec<usize>,
    /// As the format calls it: "F32", "Q4_K", "affine 4 bits, group 64".
    pub storage: String,
    /// With scales and the like.
    pub bytes: usize,
    /// Whether a network may be made of its numbers; others are positions and the like.
    pub is_weight: bool,
}

impl Weights {
    /// Writes all tensors in float32 to a file of safetensors.
    pub fn write_safetensors(&self, path: &Path) -> Result<()> {
        let tensors = self.names().map(|name| Ok((name, self.get_any(name)?))).collect::<Result<Vec<_>>>()?;
        let values = tensors.iter().map(|(_, weight)| weight.to_f32()).collect::<Result<Vec<_>>>()?;
        let views = tensors.iter().zip(&values).map(|((name, weight), values)| {
            let bytes = bytemuck::cast_slice(values);
            let view = TensorView::new(Dtype::F32, weight.shape().to_vec(), bytes);
            Ok((*name, view.map_err(|error| weight.error(error))?))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        serialize_to_file(views, None, path).map_err(|error| Error::io(path, io::Error::other(error)))
    }

    /// The names of the files, in the order of their opening.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// How many tensors an adapter adds to.
    pub fn merged(&self) -> usize {
        self.sums.len()
    }

    /// All that the files hold, by name. An error where the parts of a quantized matrix do not fit each other, as when it is read.
    pub fn stored(&self) -> Result<Vec<StoredTensor>> {
        let mut stored = Vec::new();
        let mut matrices = BTreeSet::new();
        for (name, &file) in &self.file_of {
            let path = PARTS.iter().find_map(|end| name.strip_suffix(end));
            if let Some(matrix) = path.map(|path| format!("{path}.weight"))
                && let Some(weight) = self.coded(&matrix)?
                && let Some(codes) = weight.codes()
            {
                let (shape, storage, bytes) = (weight.shape().to_vec(), codes.storage(), codes.bytes());
                if matrices.insert(matrix.clone()) {
                    stored.push(StoredTensor { name: matrix, shape, storage, bytes, is_weight: true });
                }
                continue;
            }
            let matrix = name.strip_prefix(PREFIX).and_then(|key| Some((key, self.panels()?.matrices.get(key)?)));
            if let Some((key, matrix)) = matrix {
                stored.push(StoredTensor {
                    name: key.to_owned(),
                    shape: matrix.shape.to_vec(),
                    storage: format!("{} panels", matrix.dtype),
                    bytes: self.files[file].tensors[name].bytes.len(),
                    is_weight: true,
                });
                continue;
            }
            let Extent { dtype, shape, bytes, ggml, .. } = &self.files[file].tensors[name];
            let storage = match ggml {
                None => dtype.to_string(),
                Some(ggml) => BlockType::numbered(ggml.id)
                    .map_or_else(|| format!("ggml's type {}", ggml.id), |block| block.name.to_owned()),
            };
            // Static embeddings have tables of bytes.
            let is_weight = ggml.is_some() || FLOATS.contains(dtype) || *dtype == Dtype::I8;
            stored.push(StoredTensor {
                name: name.clone(),
                shape: shape.clone(),
                storage,
                bytes: bytes.len(),
                is_weight,
            });
        }
        Ok(stored)
    }
}
