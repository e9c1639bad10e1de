//! GGUF files: where their tensors lie, and what they say of the model (llama.cpp's `ggml/src/gguf.cpp`).
//!
//! ```text
//! "GGUF", version u32 (2, 3), tensors u64, keys u64
//! each key:       name, type u32, value                   a string is its length u64 and its bytes; an array: type u32, length u64
//! each tensor:    name, dimensions u32, length u64 of each (the innermost first), type u32, offset u64
//! padding, then the tensors in this order, each padded to a multiple of the alignment
//! ```
//!
//! Files are little-endian. Lengths are compared with the bytes that are left before anything is kept, and values of keys stay
//! in the file until they are asked for. `mod` uses `metadata`, and both read through `reader`.

mod metadata;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use memmap2::Mmap;

use super::blocks::BlockType;
use super::mmap;
use crate::memory::room;
use crate::{Error, Result};

pub(crate) use metadata::Metadata;
use reader::Reader;

/// The beginning of a file.
const MAGIC: &[u8] = b"GGUF";
/// The key of the number that offsets are multiples of.
const ALIGNMENT: &str = "general.alignment";
/// The key of the number of files that a model is split into.
const SPLIT: &str = "split.count";
/// The keys of the number of a part, from 0, and of the number of tensors in all parts.
const SPLIT_PART: &str = "split.no";
const SPLIT_TENSORS: &str = "split.tensors.count";
/// The largest alignment: far above those in use.
const MAX_ALIGNMENT: u64 = 1 << 20;
/// Most keys and most tensors of a file.
const MAX_ENTRIES: u64 = 1 << 16;
/// The longest name of a tensor.
const MAX_NAME_BYTES: usize = 256;
/// Bytes of memory that a tensor's entry takes, at most.
const ENTRY_BYTES: usize = 512;

/// A mapped file, or the files that one is split into.
pub(crate) struct GgufFile {
    /// Names relative to the model's folder, and contents.
    parts: Vec<(String, Mmap)>,
}

impl GgufFile {
    /// Opens the parts of a file in their order, or the only one.
    pub(crate) fn open(parts: Vec<(String, PathBuf)>) -> Result<Self> {
        let parts = parts.into_iter().map(|(name, path)| Ok((name, mmap::map(&path)?)));
        Ok(Self { parts: parts.collect::<Result<_>>()? })
    }

    /// The keys of the first part, which has them, and the tensors of all.
    ///
    /// # Errors
    /// [`Error::Model`] where a part is not readable, or none of this file in its place.
    pub(crate) fn header(&self) -> Result<GgufHeader<'_>> {
        let headers = self.parts.iter().map(|(name, map)| GgufHeader::read(name, map));
        join(headers.collect::<Result<_>>()?)
    }

    pub(super) fn into_parts(self) -> Vec<(String, Mmap)> {
        self.parts
    }
}

/// One header of those of all parts.
fn join(parts: Vec<GgufHeader<'_>>) -> Result<GgufHeader<'_>> {
    let count = parts.len();
    let mut parts = parts.into_iter().enumerate();
    let Some((_, mut whole)) = parts.next() else {
        return Err(Error::Internal { message: "a file without parts".to_owned() });
    };
    whole.check_part(0, count)?;
    for (place, part) in parts {
        part.check_part(place, count)?;
        for (name, tensor) in part.tensors {
            let twice =
                Error::model_tensor(part.name, &name, format_args!("is also in a part before, of {}", whole.name));
            if whole.tensors.insert(name, GgufTensor { part: place, ..tensor }).is_some() {
                return Err(twice);
            }
        }
    }
    let tensors = whole.tensors.len();
    match whole.metadata.integer(SPLIT_TENSORS)?.filter(|_| count > 1) {
        Some(expected) if expected != tensors as u64 => {
            Err(whole.metadata.error(SPLIT_TENSORS, format!("is {expected}, and the files have {tensors}")))
        }
        _ => Ok(whole),
    }
}

/// What a file says of itself.
pub(crate) struct GgufHeader<'a> {
    pub(super) name: &'a str,
    pub(crate) metadata: Metadata<'a>,
    pub(super) tensors: BTreeMap<String, GgufTensor>,
}

/// Where a tensor lies, and in which type.
#[derive(Debug)]
pub(super) struct GgufTensor {
    /// As files number it.
    pub(super) type_id: u32,
    /// The outermost dimension first.
    pub(super) shape: Vec<usize>,
    /// In the file; empty where the type is not known.
    pub(super) bytes: Range<usize>,
    /// The place of its file among those that the model is split into.
    pub(super) part: usize,
}

impl<'a> GgufHeader<'a> {
    /// Length of each dimension of a tensor, the outermost first; None if there is no such tensor.
    pub(crate) fn shape(&self, tensor: &str) -> Option<&[usize]> {
        self.tensors.get(tensor).map(|tensor| &tensor.shape[..])
    }

    /// What is wrong with a tensor; `message` goes on from its name.
    pub(crate) fn tensor_error(&self, tensor: &str, message: impl std::fmt::Display) -> Error {
        Error::model_tensor(self.name, tensor, message)
    }

    /// Reads the header of `file`, called `name` in messages, and checks that its tensors lie in the file one after the other.
    pub(crate) fn read(name: &'a str, file: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(file);
        let damaged = |message: String| Error::model(name, message);
        let [tensors, keys] = counts(&mut reader).map_err(damaged)?;
        let metadata = Metadata::read(name, &mut reader, keys)?;
        let alignment = match metadata.integer(ALIGNMENT)?.unwrap_or(32) {
            alignment if alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT => alignment as usize,
            other => return Err(metadata.error(ALIGNMENT, format!("expected a power of two, found {other}"))),
        };
        room(tensors.saturating_mul(ENTRY_BYTES), || format!("the tensors of {name}"))?;
        let mut infos = Vec::new();
        for i in 0..tensors {
            let info = TensorInfo::read(&mut reader);
            infos.push(info.map_err(|message| Error::model(name, format!("tensor {i} of {tensors}: {message}")))?);
        }
        let start = reader.position().next_multiple_of(alignment);
        let tensors = locate(name, infos, start, file.len(), alignment)?;
        Ok(Self { name, metadata, tensors })
    }
}

impl GgufHeader<'_> {
    /// An error where the file is not the part at this place of so many.
    fn check_part(&self, place: usize, count: usize) -> Result<()> {
        let files = self.metadata.integer(SPLIT)?.unwrap_or(1);
        if files != count as u64 {
            let message = format!(
                "the model is split into {files} files, and by its name into {count}; llama.cpp names them \
                 \"NAME-00001-of-{files:05}.gguf\" and so on"
            );
            return Err(self.metadata.error(SPLIT, message));
        }
        match self.metadata.integer(SPLIT_PART)?.unwrap_or(0) {
            part if part == place as u64 => Ok(()),
            part => Err(self.metadata.error(SPLIT_PART, format!("is {part}, and by its name the file is {place}"))),
        }
    }
}

/// How many tensors there are, and how many keys.
fn counts(reader: &mut Reader) -> Result<[usize; 2], String> {
    if reader.take(MAGIC.len()) != Ok(MAGIC) {
        return Err("is no GGUF file: it does not begin with \"GGUF\"".to_owned());
    }
    match reader.u32()? {
        2 | 3 => {}
        version if version & 0xffff == 0 && version != 0 => {
            return Err("is big-endian; votive reads little-endian files".to_owned());
        }
        version => return Err(format!("is of version {version} of the format; versions 2 and 3 are read")),
    }
    let mut count = |what: &str| match reader.u64()? {
        count if count <= MAX_ENTRIES => Ok(count as usize),
        count => Err(format!("claims {count} {what}; at most {MAX_ENTRIES} are read")),
    };
    Ok([count("tensors")?, count("keys")?])
}

/// A tensor's entry.
struct TensorInfo<'a> {
    name: &'a str,
    type_id: u32,
    shape: Vec<usize>,
    offset: u64,
}

impl<'a> TensorInfo<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, String> {
        let name = reader.text(MAX_NAME_BYTES)?;
        let dimensions = reader.u32()?;
        if dimensions > 4 {
            return Err(format!("{name:?} has {dimensions} dimensions; the format has up to 4"));
        }
        let mut shape = Vec::with_capacity(4);
        for _ in 0..dimensions {
            let length = reader.u64()?;
            shape.push(usize::try_from(length).map_err(|_| format!("{name:?} has a dimension of {length}"))?);
        }
        shape.reverse();
        Ok(Self { name, type_id: reader.u32()?, shape, offset: reader.u64()? })
    }

    /// Bytes of the tensor, of a type that is known; an error says what is wrong with its shape.
    fn size(&self, block: &BlockType) -> Result<usize, String> {
        let BlockType { name, numbers, bytes, .. } = block;
        let shape = &self.shape;
        if !shape.last().unwrap_or(&1).is_multiple_of(*numbers) {
            return Err(format!(
                "of {name} {shape:?} has rows that are no multiple of {numbers}, as those of {name} are"
            ));
        }
        let count = shape.iter().try_fold(1_usize, |count, &length| count.checked_mul(length));
        let size = count.and_then(|count| (count / numbers).checked_mul(*bytes));
        size.ok_or_else(|| format!("of {name} {shape:?} has an impossible size"))
    }
}

/// Turns offsets, relative to `start`, into places in a file of so many bytes.
fn locate(
    file: &str,
    infos: Vec<TensorInfo>,
    start: usize,
    bytes: usize,
    alignment: usize,
) -> Result<BTreeMap<String, GgufTensor>> {
    let mut tensors = BTreeMap::new();
    // Where the next tensor begins; None behind one whose type, and so whose size, is not known.
    let mut next = Some(start);
    let mut least = start;
    for info in infos {
        let error = |message: &dyn std::fmt::Display| Error::model_tensor(file, info.name, message);
        let place = usize::try_from(info.offset).ok().and_then(|offset| start.checked_add(offset));
        let Some(place) = place.filter(|place| (place - start).is_multiple_of(alignment)) else {
            let message = format_args!("begins at byte {} of the data, no multiple of {alignment}", info.offset);
            return Err(error(&message));
        };
        if next.is_some_and(|next| next != place) || place < least {
            let expected = next.unwrap_or(least) - start;
            let message = format_args!("begins at byte {} of the data and not at {expected}", info.offset);
            return Err(error(&message));
        }
        let size = BlockType::numbered(info.type_id).map(|block| info.size(block)).transpose();
        let size = size.map_err(|message| error(&message))?;
        let end = place.checked_add(size.unwrap_or(0)).filter(|&end| end <= bytes);
        let Some(end) = end else {
            let message = format_args!(
                "has {} bytes from byte {place} on, and the file has {bytes}: truncated?",
                size.unwrap_or(0)
            );
            return Err(error(&message));
        };
        least = end.next_multiple_of(alignment);
        next = size.map(|_| least);
        let tensor = GgufTensor { type_id: info.type_id, shape: info.shape, bytes: place..end, part: 0 };
        if tensors.insert(info.name.to_owned(), tensor).is_some() {
            return Err(Error::model_tensor(file, info.name, "is there twice"));
        }
    }
    Ok(tensors)
}
