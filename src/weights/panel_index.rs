//! Weights that were packed for the CPU's kernels before, in a file that is mapped as it is.
//!
//! ```text
//! panels.safetensors
//!     panels:KEY      U8: the buffers of a matrix of integers, each padded to whole lines (`Matrix::buffers` of the kernels).
//!                     KEY names the tensors that were packed into it
//!     other tensors   as the original has them: what is not multiplied in integers
//!     __metadata__    votive: the JSON of `PanelIndex`
//! ```
//!
//! The bytes of other tensors may be ggml's blocks, whose type and shape the index says. Questions about tensors that are in panels
//! alone are answered as the original answers them, so that a family finds the same network.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::blocks::BlockType;
use super::extent::{Extent, GgmlType};
use super::ggml_rows::Arrangement;
use super::tensor_file::TensorFile;
use crate::{Error, Result};

/// What the names of matrices begin with.
pub(super) const PREFIX: &str = "panels:";

/// Bytes that a checksum is of.
pub(super) const CHECKED_BYTES: usize = 8 << 20;

/// What a file says of its panels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PanelIndex {
    /// How the kernels lay out matrices: panels are for those that say the same.
    pub layout: String,
    /// The type that the model was packed in.
    pub dtype: String,
    /// By key.
    pub matrices: BTreeMap<String, PanelMatrix>,
    /// Shapes of the tensors that are in panels alone.
    pub(super) packed: BTreeMap<String, Vec<usize>>,
    /// Tensors whose bytes are ggml's.
    pub(super) blocks: BTreeMap<String, BlockTensor>,
    /// CRC-32C of each [`CHECKED_BYTES`] of each tensor.
    pub(super) checksums: BTreeMap<String, Vec<u32>>,
}

/// A matrix of integers in panels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanelMatrix {
    pub dtype: String,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// The last rows, such whose errors weigh most.
    pub sensitive: usize,
}

/// How the bytes of a tensor become numbers, where they are ggml's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BlockTensor {
    pub(super) id: u32,
    pub(super) arrangement: Arrangement,
    pub(super) shape: Vec<usize>,
}

/// The part of a header that says what a file is.
#[derive(Deserialize)]
struct PanelHeader {
    #[serde(rename = "__metadata__")]
    metadata: PanelText,
}

#[derive(Deserialize)]
struct PanelText {
    votive: String,
}

impl PanelIndex {
    /// What the `header` of the file `file` says, with the places of the blocks set among its tensors.
    pub(super) fn read(file: &mut TensorFile) -> Result<Self> {
        let error = |message: String| Error::model(&file.name, message);
        let PanelHeader { metadata } = serde_json::from_slice(file.header()?)
            .map_err(|cause| error(format!("says nothing of its panels: {cause}")))?;
        let index: Self = serde_json::from_str(&metadata.votive)
            .map_err(|cause| error(format!("unreadable metadata \"votive\": {cause}")))?;
        let matrices: BTreeSet<String> = index.matrices.keys().map(|key| format!("{PREFIX}{key}")).collect();
        for (name, extent) in &file.tensors {
            if index.checksums.get(name).map(Vec::len) != Some(extent.bytes.len().div_ceil(CHECKED_BYTES)) {
                return Err(Error::model_tensor(&file.name, name, "has no checksum for all of its bytes"));
            }
            if name.starts_with(PREFIX) != matrices.contains(name) {
                return Err(Error::model_tensor(&file.name, name, "is in panels, and the metadata does not say how"));
            }
        }
        if let Some(missing) = matrices.iter().find(|name| !file.tensors.contains_key(*name)) {
            return Err(error(format!("says that tensor {missing:?} is there, and it is not")));
        }
        for (name, block) in &index.blocks {
            let places = |place: &str| Error::model_tensor(&file.name, name, place);
            let extent = file.tensors.get(name).ok_or_else(|| places("is not there, and the metadata says how"))?;
            let blocks = block.extent(extent).ok_or_else(|| places("has other bytes than ggml's blocks of it take"))?;
            file.tensors.insert(name.clone(), blocks);
        }
        Ok(index)
    }
}

impl BlockTensor {
    /// The tensor whose bytes are those of `extent`; None where it takes other bytes.
    fn extent(&self, extent: &Extent) -> Option<Extent> {
        let &Self { id, arrangement, ref shape } = self;
        let block = BlockType::numbered(id)?;
        let (&columns, rows) = match &shape[..] {
            // One number for each row of the matrix that it belongs to.
            rows @ [_] if arrangement != Arrangement::Same && block.numbers == 1 => (&1, rows),
            shape => shape.split_last()?,
        };
        let rows = rows.iter().try_fold(1_usize, |all, &rows| all.checked_mul(rows))?;
        let stored = match arrangement {
            Arrangement::Same | Arrangement::LessOne => rows,
            Arrangement::Interleaved { head } => {
                (head > 0 && head.is_multiple_of(2) && rows.is_multiple_of(head)).then_some(rows)?
            }
            Arrangement::After { zeros } => rows.checked_sub(zeros)?,
        };
        let bytes = (columns / block.numbers).checked_mul(block.bytes)?.checked_mul(stored)?;
        let is_right = columns.is_multiple_of(block.numbers) && extent.bytes.len() == bytes;
        is_right.then(|| Extent::of_ggml(GgmlType { id, arrangement }, shape.clone(), extent.bytes.clone()))
    }
}

/// The checksums of a tensor's bytes, as [`Weights::verify`](super::Weights::verify) compares them.
#[derive(Default)]
pub(super) struct Checksums {
    done: Vec<u32>,
    last: u32,
    /// Bytes that `last` is of.
    bytes: usize,
}

impl Checksums {
    pub(super) fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(CHECKED_BYTES - self.bytes));
            self.last = crc32c::crc32c_append(self.last, now);
            self.bytes += now.len();
            if self.bytes == CHECKED_BYTES {
                self.done.push(self.last);
                (self.last, self.bytes) = (0, 0);
            }
            bytes = rest;
        }
    }

    pub(super) fn finish(mut self) -> Vec<u32> {
        if self.bytes > 0 {
            self.done.push(self.last);
        }
        self.done
    }
}
