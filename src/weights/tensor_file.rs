//! One mapped file of weights: where each of its tensors lies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use super::extent::Extent;
use super::gguf::{GgufFile, GgufHeader};
use super::gguf_extents::PartExtents;
use super::{mmap, pytorch, safetensors as header};
use crate::{Error, Result};

/// A mapped file and its tensors.
pub(super) struct TensorFile {
    /// The file's name relative to the model's folder.
    pub(super) name: String,
    pub(super) tensors: BTreeMap<String, Extent>,
    map: Arc<Mmap>,
}

impl TensorFile {
    /// Maps the file and finds its tensors: safetensors by the name's ending, else what `torch.save` wrote.
    pub(super) fn open(path: &Path, name: String) -> Result<Self> {
        let map = Arc::new(mmap::map(path)?);
        let tensors = if name.ends_with(".safetensors") {
            header::read_header(&name, &map)?
        } else {
            pytorch::read_state_dict(&map).map_err(|refusal| refusal.error(&name, path))?
        };
        Ok(Self { name, tensors, map })
    }

    /// Maps the parts of a GGUF file; `extents` gives the tensors of so many.
    pub(super) fn open_gguf(
        parts: Vec<(String, PathBuf)>,
        extents: impl FnOnce(GgufHeader, usize) -> Result<PartExtents>,
    ) -> Result<Vec<Self>> {
        let count = parts.len();
        let file = GgufFile::open(parts)?;
        let tensors = extents(file.header()?, count)?;
        let parts = file.into_parts().into_iter().zip(tensors);
        Ok(parts.map(|((name, map), tensors)| Self { name, tensors, map: Arc::new(map) }).collect())
    }

    pub(super) fn bytes(&self, extent: &Extent) -> &[u8] {
        &self.map[extent.bytes.clone()]
    }

    /// The header of a safetensors file.
    pub(super) fn header(&self) -> Result<&[u8]> {
        header::split_header(&self.map).map(|(header, _)| header).map_err(|message| Error::model(&self.name, message))
    }

    /// The file's bytes, for whoever keeps them mapped.
    pub(super) fn map(&self) -> Arc<Mmap> {
        self.map.clone()
    }

    pub(super) fn release(&self) {
        mmap::release(&self.map);
    }
}
