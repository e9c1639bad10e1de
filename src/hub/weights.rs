//! A model's weights by name, read from memory-mapped safetensors.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfFloatVecExt;
use half::{bf16, f16};
use safetensors::Dtype;
use serde::Deserialize;

use super::file::{MAX_INDEX_BYTES, read_file};
use super::safetensors::{Entries, Extent, TensorFile};
use crate::hub::{ModelFolder, inside};
use crate::{Error, Result};

#[cfg(target_endian = "big")]
compile_error!("safetensors files are little-endian and are read in place");

pub(super) const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// All tensors of a model, by name. Bytes stay in the page cache until somebody reads them.
pub struct Weights {
    /// The file that stands for the whole in messages: the only one, or the index.
    source: String,
    files: Vec<TensorFile>,
    /// For each tensor, its file's place in `files`.
    file_of: BTreeMap<String, usize>,
    held: AtomicUsize,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: Entries<String>,
}

impl Weights {
    /// Opens `model.safetensors`, or the files that `model.safetensors.index.json` names, in `subfolder` ("" for the
    /// root) of `folder`.
    pub fn open(folder: &ModelFolder, subfolder: &str) -> Result<Self> {
        let single = inside(subfolder, SINGLE);
        if let Some(path) = folder.file(&single)? {
            let file = TensorFile::open(&path, single.clone())?;
            return Self::join(single, vec![file]);
        }
        let index = inside(subfolder, INDEX);
        match folder.file(&index)? {
            Some(path) => Self::open_shards(folder, subfolder, index, &path),
            None => Err(no_safetensors(folder, subfolder)),
        }
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
                return Err(Error::model(
                    weights.source,
                    format!("says that tensor {tensor:?} is in {shard:?}, and it is not"),
                ));
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
                    return Err(Error::model(&file.name, format!("tensor {name:?} is also in {other}")));
                }
            }
        }
        Ok(Self { source, files, file_of, held: AtomicUsize::new(0) })
    }

    pub fn contains(&self, name: &str) -> bool {
        self.file_of.contains_key(name)
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.file_of.keys().map(String::as_str)
    }

    /// The tensor `name`; an error names the file when it is absent, of another shape or not of a float type.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Weight<'_>> {
        let weight = self.get_any(name)?;
        if weight.shape() != shape {
            let message = format!("tensor {name:?} has shape {:?}; the model's config needs {shape:?}", weight.shape());
            return Err(Error::model(weight.file, message));
        }
        Ok(weight)
    }

    /// The tensor `name`, of whatever shape.
    pub fn get_any(&self, name: &str) -> Result<Weight<'_>> {
        let Some((name, &index)) = self.file_of.get_key_value(name) else {
            let some = self.names().next().map(|first| format!(" such as {first:?}")).unwrap_or_default();
            let message = format!("has no tensor {name:?} among its {}{some}", self.file_of.len());
            return Err(Error::model(&self.source, message));
        };
        let file = &self.files[index];
        let Extent { dtype, shape, .. } = &file.tensors[name];
        if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            let message = format!("tensor {name:?} has dtype {dtype}; accepted are F32, F16 and BF16");
            return Err(Error::model(&file.name, message));
        }
        Ok(Weight { file: &file.name, name, dtype: *dtype, shape, bytes: file.bytes(&file.tensors[name]) })
    }

    /// Counts bytes that somebody holds weights in from now on.
    pub fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that weights are held in outside of the files.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Takes the files' pages out of this process's memory, for after the weights have been packed elsewhere. Reading
    /// a tensor again brings its pages back.
    pub fn release(&self) {
        for file in &self.files {
            file.release();
        }
    }
}

/// The index at `path`, called `name` in messages: for each tensor, its file.
pub(super) fn read_index(path: &Path, name: &str) -> Result<BTreeMap<String, String>> {
    let json = read_file(path, name, MAX_INDEX_BYTES)?;
    let Index { weight_map: Entries(weight_map) } =
        serde_json::from_slice(&json).map_err(|error| Error::model(name, format!("unreadable: {error}")))?;
    Ok(weight_map)
}

/// Says what is there instead of safetensors, and what to do about it.
fn no_safetensors(folder: &ModelFolder, subfolder: &str) -> Error {
    let path = folder.root().join(subfolder);
    let mut names: Vec<String> = fs::read_dir(&path)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    Error::model(inside(subfolder, SINGLE), unsupported(&names, &path.display().to_string()))
}

/// What to say of a folder whose files, `names`, hold no safetensors. `place` is where a user would convert them.
pub(super) fn unsupported(names: &[String], place: &str) -> String {
    const PICKLED: [&str; 4] = [".bin", ".pt", ".pth", ".ckpt"];
    const OTHERS: [&str; 6] = [".safetensors", ".h5", ".msgpack", ".onnx", ".ot", ".gguf"];
    let ends_with = |endings: &[&str], name: &str| endings.iter().any(|ending| name.ends_with(ending));
    let pickled: Vec<&str> = names.iter().map(String::as_str).filter(|name| ends_with(&PICKLED, name)).collect();
    let others: Vec<&str> = names.iter().map(String::as_str).filter(|name| ends_with(&OTHERS, name)).collect();
    if let Some(first) = pickled.first() {
        let (source, target) = (format!("{place}/{first}"), format!("{place}/{SINGLE}"));
        format!(
            "not there, only {}. PyTorch's pickle format can run any code when it is opened, so votive reads \
             safetensors only. To convert, where PyTorch is installed:\n\
             import torch, safetensors.torch\n\
             safetensors.torch.save_file({{k: v.contiguous().clone() for k, v in torch.load({source:?}, \
             map_location=\"cpu\", weights_only=True).items()}}, {target:?}, metadata={{\"format\": \"pt\"}})",
            pickled.join(", ")
        )
    } else if others.is_empty() {
        format!("not there, nor {INDEX}: {place} holds no weights at all")
    } else {
        format!("not there, nor {INDEX}, only {}; votive reads safetensors only", others.join(", "))
    }
}

/// One tensor: its shape and its bytes, still in the mapped file.
#[derive(Debug)]
pub struct Weight<'a> {
    file: &'a str,
    name: &'a str,
    dtype: Dtype,
    shape: &'a [usize],
    bytes: &'a [u8],
}

/// A float type of two bytes that weights can be held in.
pub trait Half: Pod + Display {
    /// As users know it.
    const NAME: &'static str;
    /// As files know it.
    const DTYPE: Dtype;
    /// Its largest number.
    const LARGEST: f32;

    fn rounded(values: &[f32]) -> Vec<Self>;
    fn is_finite(self) -> bool;
}

impl Half for bf16 {
    const NAME: &'static str = "bfloat16";
    const DTYPE: Dtype = Dtype::BF16;
    const LARGEST: f32 = bf16::MAX.to_f32_const();

    fn rounded(values: &[f32]) -> Vec<Self> {
        Vec::from_f32_slice(values)
    }

    fn is_finite(self) -> bool {
        bf16::is_finite(self)
    }
}

impl Half for f16 {
    const NAME: &'static str = "float16";
    const DTYPE: Dtype = Dtype::F16;
    const LARGEST: f32 = f16::MAX.to_f32_const();

    fn rounded(values: &[f32]) -> Vec<Self> {
        Vec::from_f32_slice(values)
    }

    fn is_finite(self) -> bool {
        f16::is_finite(self)
    }
}

impl<'a> Weight<'a> {
    pub fn shape(&self) -> &[usize] {
        self.shape
    }

    /// Only the `rows` of the first dimension, all of them there.
    pub fn rows(mut self, rows: Range<usize>) -> Self {
        let row = self.bytes.len() / self.shape[0].max(1);
        self.bytes = &self.bytes[rows.start * row..rows.end * row];
        self
    }

    /// The values as float32, row-major: borrowed from the map where they are float32 and aligned. NaN and Inf are
    /// errors that name the tensor and the file.
    pub fn to_f32(&self) -> Result<Cow<'a, [f32]>> {
        let values = self.widened();
        self.check(&values, f32::is_finite, "")?;
        Ok(values)
    }

    /// As [`Self::to_f32`], of values that are going to be rounded to `H`: those beyond its range are errors, too.
    pub fn to_f32_for<H: Half>(&self) -> Result<Cow<'a, [f32]>> {
        let values = self.widened();
        let beyond = format!("; the largest number in dtype {:?} is {}", H::NAME, H::LARGEST);
        self.check(&values, |value| value.abs() <= H::LARGEST, &beyond)?;
        Ok(values)
    }

    /// Whether the file's values are of this type.
    pub fn holds<H: Half>(&self) -> bool {
        self.dtype == H::DTYPE
    }

    /// The values in a type of two bytes: those of the file where it holds that type, else rounded to it.
    pub fn to_half<H: Half>(&self) -> Result<Cow<'a, [H]>> {
        if self.holds::<H>() {
            let values = elements(self.bytes);
            self.check(&values, H::is_finite, "")?;
            return Ok(values);
        }
        Ok(Cow::Owned(H::rounded(&self.to_f32_for::<H>()?)))
    }

    fn widened(&self) -> Cow<'a, [f32]> {
        match self.dtype {
            Dtype::F16 => Cow::Owned(elements::<f16>(self.bytes).to_f32_vec()),
            Dtype::BF16 => Cow::Owned(elements::<bf16>(self.bytes).to_f32_vec()),
            _ => elements(self.bytes),
        }
    }

    fn check<T: Copy + Display>(&self, values: &[T], accepted: impl Fn(T) -> bool, why: &str) -> Result<()> {
        // One pass without a branch per value; the search for the culprit is only made when there is one.
        if !values.iter().fold(true, |all, &value| all & accepted(value)) {
            let index = values.iter().position(|&value| !accepted(value)).unwrap_or_default();
            let message = format!("tensor {:?} holds {} at element {index}{why}", self.name, values[index]);
            return Err(Error::model(self.file, message));
        }
        Ok(())
    }
}

/// `bytes` as numbers: borrowed when aligned, and the format aligns tensors to 8 bytes only by habit.
fn elements<T: Pod>(bytes: &[u8]) -> Cow<'_, [T]> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(aligned) => Cow::Borrowed(aligned),
        Err(_) => Cow::Owned(bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()),
    }
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
