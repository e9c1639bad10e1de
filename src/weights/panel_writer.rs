//! Writes the file of `panel_index.rs`, while a model is loaded.
//!
//! ```text
//! for each matrix of integers that is packed:   its buffers go to a file without a name
//! when the model is loaded:                     tensors that were read otherwise, or not at all, go there, too;
//!                                               header, and all of that, into panels.safetensors
//! ```
//!
//! So no matrix is in memory more often than the model has it, and the header, which comes first, is written last.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use safetensors::Dtype;
use serde::Serialize;
use serde_json::json;

use super::Weights;
use super::panel_index::{BlockTensor, Checksums, PREFIX, PanelIndex, PanelMatrix};
use crate::{Error, Result};

/// Bytes of a line, with which each buffer starts.
const LINE: usize = 64;

/// Collects the matrices of a model that is being loaded.
pub struct PanelWriter {
    folder: PathBuf,
    collected: Mutex<Collected>,
}

struct Collected {
    spool: BufWriter<File>,
    bytes: usize,
    matrices: BTreeMap<String, PanelMatrix>,
    tensors: BTreeMap<String, WrittenTensor>,
    /// Numbers of each of the model's tensors that were read, and those of them that were packed.
    read: BTreeMap<String, usize>,
    packed: BTreeMap<String, usize>,
}

/// An entry of the header.
#[derive(Serialize)]
struct WrittenTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
    #[serde(skip)]
    checksums: Vec<u32>,
}

impl PanelWriter {
    /// One that will write into `folder`, which is there.
    pub fn new(folder: &Path) -> Result<Self> {
        let spool = tempfile::tempfile_in(folder).map_err(|source| Error::io(folder, source))?;
        let collected = Collected {
            spool: BufWriter::new(spool),
            bytes: 0,
            matrices: BTreeMap::new(),
            tensors: BTreeMap::new(),
            read: BTreeMap::new(),
            packed: BTreeMap::new(),
        };
        Ok(Self { folder: folder.to_owned(), collected: Mutex::new(collected) })
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_read(&self, name: &str, numbers: usize) {
        *self.lock().read.entry(name.to_owned()).or_default() += numbers;
    }

    /// Keeps the `buffers` of a matrix, which `tensors` were packed into: their names, and how many numbers of each.
    pub fn add(&self, key: &str, matrix: PanelMatrix, tensors: &[(String, usize)], buffers: &[&[u8]]) -> Result<()> {
        let mut collected = self.lock();
        for (name, numbers) in tensors {
            *collected.packed.entry(name.clone()).or_default() += numbers;
        }
        // What is loaded twice is packed alike.
        if collected.matrices.insert(key.to_owned(), matrix).is_some() {
            return Ok(());
        }
        let bytes = buffers.iter().map(|buffer| buffer.len().next_multiple_of(LINE)).sum();
        let pieces = buffers.iter().flat_map(|&buffer| {
            let padding = buffer.len().next_multiple_of(LINE) - buffer.len();
            [buffer, &[0; LINE][..padding]]
        });
        let write = collected.write(format!("{PREFIX}{key}"), Dtype::U8, vec![bytes], pieces);
        write.map_err(|source| Error::io(&self.folder, source))
    }

    /// Writes `panels.safetensors`: the matrices, and what else there is of `weights`.
    pub(super) fn finish(self, weights: &Weights, layout: String, dtype: String) -> Result<()> {
        let Self { folder, collected } = self;
        let mut collected = collected.into_inner().unwrap_or_else(PoisonError::into_inner);
        let io = |source| Error::io(&folder, source);
        let mut packed = BTreeMap::new();
        for (name, numbers) in &collected.packed {
            let weight = weights.get_any(name)?;
            let is_whole = *numbers >= weight.shape().iter().product();
            // What is looked up as well, or packed in part, stays.
            if is_whole && collected.read.get(name) == Some(numbers) {
                packed.insert(name.clone(), weight.shape().to_vec());
            }
        }
        let mut parts = Vec::new();
        for name in packed.keys().filter(|name| weights.coded(name).is_ok_and(|coded| coded.is_some())) {
            let path = name.strip_suffix("weight").unwrap_or(name);
            parts.extend(weights.file_of.keys().filter(|part| part.starts_with(path) && !part.ends_with(".bias")));
        }
        let mut others: Vec<_> = weights.file_of.keys().filter(|name| !packed.contains_key(*name)).collect();
        others.retain(|name| !parts.contains(name));

        let mut blocks = BTreeMap::new();
        let mut contents = Vec::new();
        for name in others {
            contents.push((name, content(weights, name, &mut blocks)?));
        }
        // Large numbers first, so that all of them are aligned.
        contents.sort_by_key(|(_, content)| std::cmp::Reverse(content.dtype.bitsize()));
        for (name, TensorContent { dtype, shape, bytes }) in contents {
            collected.write(name.clone(), dtype, shape, [&*bytes]).map_err(io)?;
        }

        let Collected { spool, matrices, tensors, .. } = collected;
        let checksums = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.checksums.clone())).collect();
        let index = PanelIndex { layout, dtype, matrices, packed, blocks, checksums };
        let header = header(&index, &tensors).map_err(|source| io(source.into()))?;
        let mut spool = spool.into_inner().map_err(|error| io(error.into_error()))?;
        spool.rewind().map_err(io)?;
        let path = folder.join(super::PANEL_FILE);
        let mut write = || {
            let mut file = File::create_new(&path)?;
            file.write_all(&header)?;
            io::copy(&mut spool, &mut file)?;
            file.sync_all()
        };
        write().map_err(|source| Error::io(&path, source))
    }
}

/// A tensor that is written as it is.
struct TensorContent<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

/// What is written of the tensor `name`, with how its bytes are read where they are ggml's.
fn content<'a>(
    weights: &'a Weights,
    name: &str,
    blocks: &mut BTreeMap<String, BlockTensor>,
) -> Result<TensorContent<'a>> {
    let file = &weights.files[weights.file_of[name]];
    let extent = &file.tensors[name];
    if weights.sums.contains_key(name) || extent.strides.is_some() {
        let values = weights.get_any(name)?.to_f32()?;
        let bytes = Cow::Owned(bytemuck::cast_slice(&values).to_vec());
        return Ok(TensorContent { dtype: Dtype::F32, shape: extent.shape.clone(), bytes });
    }
    let bytes = file.bytes(extent);
    let mut shape = extent.shape.clone();
    if let Some(ggml) = extent.ggml {
        let block = BlockTensor { id: ggml.id, arrangement: ggml.arrangement, shape };
        blocks.insert(name.to_owned(), block);
        shape = vec![bytes.len()];
    }
    Ok(TensorContent { dtype: extent.dtype, shape, bytes: Cow::Borrowed(bytes) })
}

impl Collected {
    fn write<'a>(
        &mut self,
        name: String,
        dtype: Dtype,
        shape: Vec<usize>,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        let start = self.bytes;
        let mut checksums = Checksums::default();
        for piece in pieces {
            self.spool.write_all(piece)?;
            checksums.add(piece);
            self.bytes += piece.len();
        }
        let data_offsets = [start, self.bytes];
        self.tensors.insert(name, WrittenTensor { dtype, shape, data_offsets, checksums: checksums.finish() });
        Ok(())
    }
}

/// The file's first bytes: whole lines, so that those of the data are.
fn header(index: &PanelIndex, tensors: &BTreeMap<String, WrittenTensor>) -> serde_json::Result<Vec<u8>> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), json!({ "votive": serde_json::to_string(index)? }));
    for (name, tensor) in tensors {
        header.insert(name.clone(), serde_json::to_value(tensor)?);
    }
    let mut json = serde_json::to_vec(&header)?;
    const LENGTH: usize = size_of::<u64>();
    json.resize((LENGTH + json.len()).next_multiple_of(LINE) - LENGTH, b' ');
    Ok([&(json.len() as u64).to_le_bytes()[..], &json].concat())
}
