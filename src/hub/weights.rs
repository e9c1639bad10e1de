//! A model's weights by name, read from memory-mapped safetensors.

use std::borrow::Cow;

use crate::Result;
use crate::hub::ModelFolder;

/// All tensors of a model, by name. Bytes stay in the page cache until somebody reads them.
pub struct Weights {}

impl Weights {
    /// Opens `model.safetensors`, or the files that `model.safetensors.index.json` names, in `subfolder` ("" for the
    /// root) of `folder`.
    pub fn open(folder: &ModelFolder, subfolder: &str) -> Result<Self> {
        let _ = (folder, subfolder);
        todo!()
    }

    pub fn contains(&self, name: &str) -> bool {
        let _ = name;
        todo!()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    /// The tensor `name`; an error names the file when it is absent, of another shape or not of a float type.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Weight<'_>> {
        let _ = (name, shape);
        todo!()
    }

    /// The tensor `name`, of whatever shape.
    pub fn get_any(&self, name: &str) -> Result<Weight<'_>> {
        let _ = name;
        todo!()
    }
}

/// One tensor: its shape and its bytes, still in the mapped file.
pub struct Weight<'a> {
    shape: Vec<usize>,
    _bytes: &'a [u8],
}

impl<'a> Weight<'a> {
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values as float32, row-major: borrowed from the map where they are float32 and aligned. NaN and Inf are
    /// errors that name the tensor and the file.
    pub fn to_f32(&self) -> Result<Cow<'a, [f32]>> {
        todo!()
    }
}
