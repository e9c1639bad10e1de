//! State dicts that `torch.save` wrote: where each of their tensors lies. Nothing that a file names is ever run.
//!
//! Since PyTorch 1.6 a file is a zip archive of a pickle, `data.pkl`, which names the tensors, and of a file of bytes for each
//! storage, `data/0` and so on. Before, it was five pickles, the fourth of which names the tensors, and then the storages.
//!
//! `mod` uses `archive` and `pickle`, and `pickle` uses `value`.

mod archive;
mod pickle;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::extent::Extent;
use crate::Error;
use archive::ZipArchive;
use pickle::Pickle;
use value::{PickleValue, PickledStorage, PickledTensor, bytes_of};

/// What files from before PyTorch 1.6 start with: protocol 2, and a number of ten bytes.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The longest pickle that is read of an archive; of real ones thousands of tensors take less than a megabyte.
const MAX_PICKLE_BYTES: usize = 64 << 20;

/// The tensors of the state dict in `file`.
pub(super) fn read_state_dict(file: &[u8]) -> Result<BTreeMap<String, Extent>, Refusal> {
    if file.starts_with(b"PK") {
        read_archive(file)
    } else if file.starts_with(MAGIC) {
        read_stream(file)
    } else {
        Err("is no file of torch.save's".into())
    }
}

/// Why a file is not read.
pub(super) struct Refusal {
    reason: String,
    /// The tensor that the reason is about, where it is about one.
    tensor: Option<String>,
}

impl Refusal {
    fn of_tensor(name: &str, reason: String) -> Self {
        Self { reason, tensor: Some(name.to_owned()) }
    }

    /// The error for the file at `path`, called `name` in messages.
    pub(super) fn error(self, name: &str, path: &Path) -> Error {
        let Self { reason, tensor } = self;
        let message = format!(
            "{reason}. votive reads the tensors of state dicts and runs nothing that a file names. {}",
            conversion(path)
        );
        match tensor {
            Some(tensor) => Error::model(name, message).about_tensor(tensor),
            None => Error::model(name, message),
        }
    }
}

impl<R: Into<String>> From<R> for Refusal {
    fn from(reason: R) -> Self {
        Self { reason: reason.into(), tensor: None }
    }
}

/// How to make safetensors of the file at `path`.
pub(super) fn conversion(path: &Path) -> String {
    let (source, target) = (path.display().to_string(), path.with_file_name("model.safetensors").display().to_string());
    format!(
        "To convert it, where PyTorch is installed:\n\
         import torch, safetensors.torch\n\
         safetensors.torch.save_file({{k: v.contiguous().clone() for k, v in torch.load({source:?}, \
         map_location=\"cpu\", weights_only=True).items()}}, {target:?}, metadata={{\"format\": \"pt\"}})"
    )
}

fn read_archive(file: &[u8]) -> Result<BTreeMap<String, Extent>, Refusal> {
    let archive = ZipArchive::read(file)?;
    let root = archive.root().ok_or("is a zip archive and not of torch.save's: it has no data.pkl in one folder")?;
    let entry = |name: &str| archive.entry(&format!("{root}/{name}"));
    if entry("byteorder").is_some_and(|order| &file[order] != b"little") {
        return Err("holds big-endian numbers".into());
    }
    let pickle = entry("data.pkl").filter(|range| range.len() <= MAX_PICKLE_BYTES).ok_or("its data.pkl is overlong")?;
    let pickle = Pickle::read(&file[pickle])?;
    tensors(&pickle, |storage| entry(&format!("data/{}", storage.key)))
}

fn read_stream(file: &[u8]) -> Result<BTreeMap<String, Extent>, Refusal> {
    let mut rest = &file[MAGIC.len()..];
    let mut next = || {
        let pickle = Pickle::read(rest)?;
        rest = &rest[pickle.length..];
        Ok::<_, String>(pickle)
    };
    let (version, machine, state_dict, keys) = (next()?, next()?, next()?, next()?);
    if !matches!(version.value, PickleValue::Integer(1001)) {
        return Err("is of a version that votive does not know".into());
    }
    let is_little = |[key, value]: &[PickleValue; 2]| {
        matches!((key, value), (PickleValue::Text("little_endian"), PickleValue::Bool(true)))
    };
    if !machine.dict(machine.value).is_some_and(|entries| entries.iter().any(is_little)) {
        return Err("holds big-endian numbers".into());
    }

    let storages: BTreeMap<_, _> = state_dict.values.storages.iter().map(|storage| (storage.key, storage)).collect();
    let PickleValue::List(keys_list) = keys.value else { return Err("has no list of its storages".into()) };
    let mut places = BTreeMap::new();
    for key in &keys.values.lists[keys_list] {
        let PickleValue::Text(key) = key else { return Err("has a storage without a name".into()) };
        let storage = storages.get(key).ok_or_else(|| format!("has a storage {key:?} that no tensor uses"))?;
        let (length, bytes) = rest.split_first_chunk::<8>().ok_or("ends before its storages do: truncated?")?;
        let needed = storage.bytes().filter(|&needed| needed <= bytes.len());
        let needed = needed.ok_or("ends before its storages do: truncated?")?;
        if u64::from_le_bytes(*length) != storage.length as u64 {
            return Err(format!("says two lengths of its storage {key:?}").into());
        }
        let start = file.len() - bytes.len();
        places.insert(*key, start..start + needed);
        rest = &bytes[needed..];
    }
    tensors(&state_dict, |storage| places.get(storage.key).cloned())
}

/// The tensors of a pickled dict, or of the dict `state_dict` in it, where training scripts keep other things beside it.
/// `place` says where in the file a storage is.
fn tensors<'a>(
    pickle: &Pickle<'a>,
    place: impl Fn(&PickledStorage<'a>) -> Option<Range<usize>>,
) -> Result<BTreeMap<String, Extent>, Refusal> {
    let dict = |value| pickle.dict(value).ok_or("holds no dict of tensors");
    let is_tensor = |[_, value]: &[PickleValue; 2]| matches!(value, PickleValue::Tensor(_));
    let mut entries = dict(pickle.value)?;
    if !entries.iter().any(is_tensor) {
        let inner = entries.iter().find(|[key, _]| matches!(key, PickleValue::Text("state_dict")));
        entries = dict(inner.ok_or("holds no dict of tensors")?[1])?;
    }

    let mut tensors = BTreeMap::new();
    for [key, value] in entries {
        let &PickleValue::Tensor(tensor) = value else { continue };
        let PickleValue::Text(name) = key else { return Err("holds a tensor without a name".into()) };
        let tensor = &pickle.values.tensors[tensor];
        let storage = &pickle.values.storages[tensor.storage];
        let extent = place(storage)
            .filter(|range| storage.bytes().is_some_and(|bytes| bytes <= range.len()))
            .ok_or_else(|| Refusal::of_tensor(name, format!("lacks the bytes of tensor {name:?}: truncated?")))
            .and_then(|range| {
                let bytes = range.start..range.start + storage.bytes().unwrap_or_default();
                view(tensor, bytes)
                    .ok_or_else(|| Refusal::of_tensor(name, format!("tensor {name:?} reaches beyond its storage")))
            })?;
        if tensors.insert((*name).to_owned(), extent).is_some() {
            return Err(Refusal::of_tensor(name, format!("two tensors are named {name:?}")));
        }
    }
    if tensors.is_empty() {
        return Err("holds no tensors".into());
    }
    Ok(tensors)
}

/// The part of a storage's `bytes` that `tensor` reads.
fn view(tensor: &PickledTensor, bytes: Range<usize>) -> Option<Extent> {
    let PickledTensor { dtype, offset, shape, strides, .. } = tensor;
    let width = bytes_of(*dtype);
    let mut span = 1_usize;
    let mut dense = 1_usize;
    let mut is_dense = true;
    for (&length, &stride) in shape.iter().zip(strides).rev() {
        is_dense &= length == 1 || stride == dense;
        dense = dense.checked_mul(length)?;
        span = span.checked_add(length.saturating_sub(1).checked_mul(stride)?)?;
    }
    if dense == 0 {
        return Some(Extent::dense(*dtype, shape.clone(), bytes.start..bytes.start));
    }
    let start = bytes.start.checked_add(offset.checked_mul(width)?)?;
    let end = start.checked_add(span.checked_mul(width)?)?;
    let extent = Extent::dense(*dtype, shape.clone(), start..end);
    let strides = if is_dense { None } else { Some(strides.clone()) };
    (end <= bytes.end).then_some(Extent { strides, ..extent })
}
