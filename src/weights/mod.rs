//! Weights: what `model.safetensors` or `pytorch_model.bin` hold, by the tensors' names, read from memory-mapped files.
//!
//! Above `files`, which opens what lies in a model's folder; below `nn`, which packs the numbers. Who uses whom:
//!
//! ```text
//! mod (Weights) ─→ weight ─→ tensor_file ─→ safetensors, pytorch, gguf_extents ─→ extent ─→ ggml_rows
//!   │ (also gguf_extents)         │                            └──→ gguf_names, gguf
//!   │                             └───────→ mmap
//!   ├─→ integers ─→ extent
//!   ├─→ stored ─→ quantization, panel_file, weight, extent, blocks
//!   ├─→ index ─→ entries (also of safetensors)
//!   ├─→ unsupported ─→ index, pytorch
//!   ├─→ task_adapters ─→ weight, low_rank
//!   ├─→ quantization ─→ weight ─→ codes ─→ affine, micro_scaled, packed, scaled ─→ group_factors, small_floats
//!   │                               └───→ ggml_rows ─→ blocks ─→ k_blocks ─→ block_parts
//!   ├─→ panel_file, panel_writer ─→ panel_index ─→ tensor_file, extent, blocks
//!   └─→ adapter ─→ adapter_config, weight ─→ low_rank
//! ```

mod adapter;
mod adapter_config;
mod affine;
mod block_parts;
mod blocks;
mod codes;
mod entries;
mod extent;
mod ggml_rows;
mod gguf;
mod gguf_extents;
mod gguf_names;
mod group_factors;
mod index;
mod integers;
mod k_blocks;
mod low_rank;
mod micro_scaled;
mod mmap;
mod packed;
mod panel_file;
mod panel_index;
mod panel_writer;
mod pytorch;
mod quantization;
mod safetensors;
mod scaled;
mod small_floats;
mod stored;
mod task_adapters;
mod tensor_file;
mod unsupported;
mod weight;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::blocks::BlockType;
use self::gguf_extents::{dense_extents, extents};
use self::low_rank::LowRank;
use self::panel_index::PREFIX;
use self::tensor_file::TensorFile;
use self::unsupported::no_weights;
use crate::files::{MAX_JSON_BYTES, ModelFolder, inside};
use crate::{Error, Result};

pub(crate) use adapter::{ADAPTER_WEIGHTS, Adapter};
pub(crate) use adapter_config::{ADAPTER_FILE, AdapterConfig};
pub use affine::Affine;
pub use codes::Codes;
pub(crate) use gguf::{GgufFile, GgufHeader, Metadata};
pub(crate) use gguf_names::DENSE_PARTS;
pub(crate) use index::{PANEL_FILE, SINGLE, WEIGHT_FILES, is_index, read_index};
pub use micro_scaled::MicroKind;
pub use panel_index::{PanelIndex, PanelMatrix};
pub use panel_writer::PanelWriter;
pub use quantization::{MlxScheme, Quantization, QuantizationMethod};
pub use stored::StoredTensor;
pub(crate) use unsupported::unsupported;
pub use weight::{HalfPrecision, Weight};

#[cfg(target_endian = "big")]
compile_error!("files of weights are little-endian and are read in place");

/// Endings of the names of the scales of quantized tensors, which votive does not read.
const SCALES: [&str; 2] = ["_scale", "_scale_inv"];

/// What training puts before the name of each tensor: PyTorch's DataParallel, classes that hold a model as `model`, and
/// sentence-transformers when it saves a Transformer module, or all modules, as PyTorch does.
pub(crate) const WRAPPERS: [&str; 4] = ["module", "model", "auto_model", "0.auto_model"];

/// Packed bytes after which the files' pages are released.
const RELEASE_BYTES: usize = 32 << 20;

/// All tensors of a model, by name. The files are mapped: bytes are read when a tensor is.
pub struct Weights {
    /// The file that stands for the whole in messages: the only one, or the index.
    source: String,
    files: Vec<TensorFile>,
    /// For each tensor, its file's place in `files`.
    file_of: BTreeMap<String, usize>,
    /// What an adapter adds to tensors.
    sums: BTreeMap<String, LowRank>,
    quantization: Option<Quantization>,
    /// What was packed before.
    panels: Option<PanelIndex>,
    /// Keeps what is packed now.
    panel_writer: Option<PanelWriter>,
    packed_bytes: AtomicUsize,
    parameters: AtomicUsize,
}

/// Whether `folder` has weights other than a GGUF file's in its subfolder `path`.
pub(crate) fn has_weights(folder: &ModelFolder, path: &str) -> Result<bool> {
    let mut files = WEIGHT_FILES.into_iter().filter(|_| !folder.names_gguf(path));
    files.try_fold(false, |has, name| Ok(has || folder.has(&inside(path, name))?))
}

impl Weights {
    /// Opens the first of [`WEIGHT_FILES`] in `subfolder` ("" for the root) of `folder`, with the adapter there, if there is one.
    pub fn open(folder: &ModelFolder, subfolder: &str) -> Result<Self> {
        let weights = Self::open_base(folder, subfolder)?;
        match Adapter::open(folder, subfolder)? {
            Some(adapter) => weights.with_adapter(adapter),
            None => Ok(weights),
        }
    }

    fn open_base(folder: &ModelFolder, subfolder: &str) -> Result<Self> {
        for name in WEIGHT_FILES.into_iter().filter(|_| !folder.names_gguf(subfolder)) {
            let source = inside(subfolder, name);
            match folder.file(&source)? {
                Some(path) if is_index(name) => return Self::open_shards(folder, subfolder, source, &path),
                Some(path) => {
                    let mut file = TensorFile::open(&path, source.clone())?;
                    let panels = (name == PANEL_FILE).then(|| PanelIndex::read(&mut file)).transpose()?;
                    return Ok(Self { panels, ..Self::join(source, vec![file])? });
                }
                None => {}
            }
        }
        let gguf = folder.gguf(subfolder)?;
        let Some((name, _)) = gguf.first() else {
            return Self::open_dense(folder, subfolder)?.ok_or_else(|| no_weights(folder, subfolder));
        };
        let (name, config) = (name.clone(), inside(subfolder, "config.json"));
        let Some(json) = folder.read(&config, MAX_JSON_BYTES)? else {
            return Err(Error::model(config, format!("is not there, and {name} does not say what the model is")));
        };
        let network =
            serde_json::from_slice(&json).map_err(|error| Error::model(config, format!("unreadable: {error}")))?;
        Self::join(name, TensorFile::open_gguf(gguf, |header, parts| extents(header, &network, parts))?)
    }

    /// The Dense module in `subfolder` whose tensors are in the network's GGUF file; None where they are not.
    fn open_dense(folder: &ModelFolder, subfolder: &str) -> Result<Option<Self>> {
        let path = subfolder.trim_end_matches('/');
        let Some((_, names)) = DENSE_PARTS.iter().find(|(module, _)| *module == path) else { return Ok(None) };
        let gguf = if has_weights(folder, "")? { Vec::new() } else { folder.gguf("")? };
        let Some((name, _)) = gguf.first().cloned() else { return Ok(None) };
        let files = TensorFile::open_gguf(gguf, |header, parts| Ok(dense_extents(header, names, parts)))?;
        let has_tensors = files.iter().any(|file| !file.tensors.is_empty());
        if has_tensors { Self::join(name, files).map(Some) } else { Ok(None) }
    }

    fn open_shards(folder: &ModelFolder, subfolder: &str, index: String, path: &Path) -> Result<Self> {
        let weight_map = read_index(path, &index)?;
        let mut files = Vec::new();
        for shard in weight_map.values().collect::<BTreeSet<_>>() {
            let name = inside(subfolder, shard);
            let outside = |_| Error::model(&index, format!("names {shard:?}, which is outside the model's folder"));
            match folder.file(&name).map_err(outside)? {
                Some(path) => files.push(TensorFile::open(&path, name)?),
                None => return Err(Error::model(index, format!("names {shard:?}, and there is no such file"))),
            }
        }

        let weights = Self::join(index, files)?;
        for (tensor, shard) in &weight_map {
            let found = weights.file_of.get(tensor).map(|&file| weights.files[file].name.as_str());
            if found != Some(inside(subfolder, shard).as_str()) {
                let message = format!("says that tensor {tensor:?} is in {shard:?}, and it is not");
                return Err(Error::model(weights.source, message).about_tensor(tensor));
            }
        }
        Ok(weights)
    }

    fn join(source: String, files: Vec<TensorFile>) -> Result<Self> {
        let mut file_of = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            for name in file.tensors.keys() {
                if let Some(other) = file_of.insert(name.clone(), index) {
                    let other = &files[other].name;
                    return Err(Error::model_tensor(&file.name, name, format_args!("is also in {other}")));
                }
            }
        }
        Ok(Self {
            source,
            files,
            file_of,
            sums: BTreeMap::new(),
            quantization: None,
            panels: None,
            panel_writer: None,
            packed_bytes: AtomicUsize::new(0),
            parameters: AtomicUsize::new(0),
        })
    }

    fn with_adapter(mut self, adapter: Adapter) -> Result<Self> {
        let shape = |name: &str| Some(&self.files[*self.file_of.get(name)?].tensors[name].shape[..]);
        let changes = adapter.changes(shape, &self.names().collect::<Vec<_>>())?;
        self.file_of.extend(changes.replaced.tensors.keys().map(|name| (name.clone(), self.files.len())));
        self.files.push(changes.replaced);
        self.sums = changes.sums;
        Ok(self)
    }

    /// Whether the files hold weights as codes: by what the configuration says, or in blocks, as those of GGUF files are.
    pub fn is_quantized(&self) -> bool {
        let types = self.files.iter().flat_map(|file| file.tensors.values()).filter_map(|extent| extent.ggml);
        let mut blocks = types.filter_map(|ggml| BlockType::numbered(ggml.id));
        self.quantization.is_some() || blocks.any(|block| block.numbers > 1)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.file_of.contains_key(name) || self.is_packed(name) || self.packed_shape(name).is_some()
    }

    /// The names of all tensors, those that are in panels alone included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let packed = self.panels.iter().flat_map(|panels| panels.packed.keys());
        self.file_of.keys().filter(|name| !name.starts_with(PREFIX)).chain(packed).map(String::as_str)
    }

    /// The shape of a tensor that is in panels alone.
    fn packed_shape(&self, name: &str) -> Option<&[usize]> {
        self.panels.as_ref()?.packed.get(name).map(Vec::as_slice)
    }

    /// The same tensors, of which `writer` keeps the matrices that are packed.
    pub fn with_panel_writer(self, writer: PanelWriter) -> Self {
        Self { panel_writer: Some(writer), ..self }
    }

    /// What keeps the matrices that are packed.
    pub fn panel_writer(&self) -> Option<&PanelWriter> {
        self.panel_writer.as_ref()
    }

    /// Writes what was kept, for kernels with that layout and a model of that type, to [`PANEL_FILE`].
    pub fn write_panels(mut self, layout: String, dtype: String) -> Result<()> {
        let writer = self.panel_writer.take().expect("the caller has set one");
        writer.finish(&self, layout, dtype)
    }

    /// The tensor `name`; an error names the file when it is absent, of another shape or not of a float type.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Weight<'_>> {
        let weight = self.get_any(name)?;
        if weight.shape() != shape {
            let message = format!("has shape {:?}; the model's config needs {shape:?}", weight.shape());
            return Err(weight.error(message));
        }
        Ok(weight)
    }

    /// The tensor `name`, of whatever shape.
    pub fn get_any(&self, name: &str) -> Result<Weight<'_>> {
        if let Some(weight) = self.coded(name)? {
            return Ok(weight.plus(self.sums.get(name)));
        }
        let Some((name, &index)) = self.file_of.get_key_value(name) else {
            if self.packed_shape(name).is_some() {
                let message = format!(
                    "has tensor {name:?} in panels of {} alone, and other numbers of it are asked for; load the original model",
                    self.panels.as_ref().map_or("", |panels| &panels.dtype)
                );
                return Err(Error::model(&self.source, message).about_tensor(name));
            }
            let some = self.names().next().map(|first| format!(" such as {first:?}")).unwrap_or_default();
            let message = format!("has no tensor {name:?} among its {}{some}", self.file_of.len());
            return Err(Error::model(&self.source, message).about_tensor(name));
        };
        let weight = Weight::new(&self.files[index], name)?.plus(self.sums.get(name));
        if let Some(scale) = SCALES.map(|ending| format!("{name}{ending}")).into_iter().find(|name| self.contains(name))
        {
            return Err(weight.error(format_args!("is quantized: its numbers are to be multiplied by {scale:?}")));
        }
        Ok(weight)
    }

    /// Counts bytes of memory that weights were packed into. The files' pages are released now and then, so that both are never
    /// there as a whole.
    pub fn count_packed(&self, bytes: usize) {
        let before = self.packed_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before / RELEASE_BYTES != (before + bytes) / RELEASE_BYTES {
            self.release();
        }
    }

    /// Counts numbers of a tensor that a network is made of.
    pub fn count_parameters(&self, name: &str, numbers: usize) {
        if let Some(writer) = &self.panel_writer {
            writer.note_read(name, numbers);
        }
        self.parameters.fetch_add(numbers, Ordering::Relaxed);
    }

    /// Numbers that the network is made of, however the files hold them.
    pub fn parameters(&self) -> usize {
        self.parameters.load(Ordering::Relaxed)
    }

    /// Bytes of memory that weights were packed into, outside of the files.
    pub fn packed_bytes(&self) -> usize {
        self.packed_bytes.load(Ordering::Relaxed)
    }

    /// Takes the files' pages out of this process's memory, for after the weights have been packed elsewhere. Reading
    /// a tensor again brings its pages back.
    pub fn release(&self) {
        for file in &self.files {
            file.release();
        }
    }
}

#[cfg(test)]
mod adapter_tests;
#[cfg(test)]
mod blocks_tests;
#[cfg(test)]
mod quantization_tests;
#[cfg(test)]
mod tests;
