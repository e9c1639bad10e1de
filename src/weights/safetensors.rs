//! The header of a safetensors file: where each of its tensors lies.
//!
//! The format: 8 bytes of header length, a JSON object of tensors (dtype, shape, data_offsets), then the tensors' bytes
//! without holes. The header is read here rather than by the safetensors crate because the crate keeps the last of two
//! entries with one name, and does not say which tensor a wrong size belongs to.

use std::collections::BTreeMap;

use safetensors::tensor::TensorInfo;

use super::entries::{Entries, PARSED_BYTES_PER_BYTE};
use super::extent::Extent;
use crate::memory::room;
use crate::{Error, Result};

/// The longest header that the format allows.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The tensors that the header of `file`, called `name` in messages, declares, after checking that they fill the file exactly.
pub(super) fn read_header(name: &str, file: &[u8]) -> Result<BTreeMap<String, Extent>> {
    let (header, data) = split_header(file).map_err(|message| Error::model(name, message))?;
    room(header.len().saturating_mul(PARSED_BYTES_PER_BYTE), || format!("the header of {name}"))?;
    let Entries(tensors) =
        serde_json::from_slice(header).map_err(|error| Error::model(name, format!("unreadable header: {error}")))?;
    locate(name, tensors, 8 + header.len(), data.len())
}

/// The header of `file`, and the tensors' bytes.
pub(super) fn split_header(file: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let Some((length, rest)) = file.split_first_chunk::<8>() else {
        return Err(format!("{} bytes are no safetensors file: its header alone takes 8", file.len()));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(format!("claims a header of {length} bytes; the format allows {MAX_HEADER_BYTES}"));
    }
    let length = length as usize;
    if length > rest.len() {
        return Err(format!("claims a header of {length} bytes and has {} left: truncated?", rest.len()));
    }
    Ok(rest.split_at(length))
}

/// Turns the header's offsets, relative to the tensors' `data_bytes` bytes at `data_start`, into places in `file`.
fn locate(
    file: &str,
    tensors: BTreeMap<String, TensorInfo>,
    data_start: usize,
    data_bytes: usize,
) -> Result<BTreeMap<String, Extent>> {
    let mut ordered: Vec<_> = tensors.iter().collect();
    ordered.sort_by_key(|(_, info)| info.data_offsets);
    let mut covered = 0;
    for (name, info) in ordered {
        let (start, end) = info.data_offsets;
        if start < covered {
            let message = format!("overlaps the one before it, at byte {start} of the data");
            return Err(Error::model_tensor(file, name, message));
        }
        if start > covered {
            let message = format!("no tensor covers bytes {covered} to {start} of the data, before tensor {name:?}");
            return Err(Error::model(file, message));
        }
        if end > data_bytes {
            let message = format!("ends at byte {end} of the data and the file has {data_bytes}: truncated?");
            return Err(Error::model_tensor(file, name, message));
        }
        let wrong_size =
            |what| Error::model_tensor(file, name, format_args!("of {} {:?} {what}", info.dtype, info.shape));
        let needed = byte_size(info).ok_or_else(|| wrong_size("has an impossible size".to_owned()))?;
        if end.checked_sub(start) != Some(needed) {
            return Err(wrong_size(format!("needs {needed} bytes, its offsets are {start} and {end}")));
        }
        covered = end;
    }
    if covered != data_bytes {
        return Err(Error::model(file, format!("has {data_bytes} bytes of data and tensors for {covered}")));
    }
    let place = |info: TensorInfo| {
        let (start, end) = info.data_offsets;
        Extent::dense(info.dtype, info.shape, data_start + start..data_start + end)
    };
    Ok(tensors.into_iter().map(|(name, info)| (name, place(info))).collect())
}

fn byte_size(info: &TensorInfo) -> Option<usize> {
    let bits = info.shape.iter().try_fold(info.dtype.bitsize(), |bits, &length| bits.checked_mul(length))?;
    bits.is_multiple_of(8).then_some(bits / 8)
}
