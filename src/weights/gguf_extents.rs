//! The tensors of a GGUF file as transformers has them: by its names, with its rows.

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde::Deserialize;

use super::extent::{Extent, GgmlType};
use super::ggml_rows::Arrangement;
use super::gguf::{GgufHeader, GgufTensor};
use super::gguf_names::{Difference, KNOWN, PartNames};
use crate::{Error, Result};

/// What config.json says that names and rows depend on.
#[derive(Deserialize)]
pub(super) struct NamedNetwork {
    model_type: String,
    pad_token_id: Option<usize>,
}

/// Types that need no decoding.
const PLAIN: [(u32, Dtype); 4] = [(0, Dtype::F32), (1, Dtype::F16), (28, Dtype::F64), (30, Dtype::BF16)];
/// The padding token of RoBERTa and its kin, where config.json does not say.
const PADDING: usize = 1;

/// Places of the tensors by the names that a network of config.json's kind has, for each of so many parts of the file.
pub(super) fn extents(
    header: GgufHeader,
    network: &NamedNetwork,
    parts: usize,
) -> Result<Vec<BTreeMap<String, Extent>>> {
    let GgufHeader { name: file, metadata, tensors } = header;
    let model_type = network.model_type.as_str();
    let Some(names) = PartNames::of(model_type) else {
        let known: Vec<_> = KNOWN.iter().flat_map(|names| names.model_types).copied().collect();
        let message = format!("{model_type:?} has no names for the tensors of {file}; known are {}", known.join(", "));
        return Err(Error::model_key("config.json", "model_type", message));
    };
    let architecture = metadata.text("general.architecture")?.unwrap_or_default();
    if !names.architectures.contains(&architecture) {
        let message = format!("{architecture:?} is no {model_type:?}, which config.json says the model is");
        return Err(metadata.error("general.architecture", message));
    }
    refuse_incomplete(file, model_type, &tensors)?;

    // How many rows of queries or keys a head has.
    let head = |key: &str, rows: usize| -> Result<usize> {
        let key = format!("{architecture}.attention.{key}");
        let heads = usize::try_from(metadata.integer(&key)?.unwrap_or_default()).unwrap_or_default();
        match rows.checked_div(heads) {
            Some(head) if head > 0 && head * heads == rows && head.is_multiple_of(2) => Ok(head),
            _ => Err(metadata.error(&key, format!("{heads} does not divide {rows} rows into even parts"))),
        }
    };
    let mut extents: Vec<_> = (0..parts).map(|_| BTreeMap::new()).collect();
    for (name, tensor) in tensors {
        let error = |message: &dyn std::fmt::Display| Error::model_tensor(file, &name, message);
        let Some((part, own_name)) = names.tensor(&name) else {
            return Err(error(&format_args!("is of no part that votive knows in a {model_type}")));
        };
        if own_name.is_empty() {
            continue;
        }
        let GgufTensor { type_id, mut shape, bytes, part: place } = tensor;
        // Dimensions of 1 are left out of a file where no others are before them.
        if shape.len() == 1 && own_name.ends_with(".weight") && !part.ends_with("norm") {
            shape.insert(0, 1);
        }
        let arrangement = match (names.difference, part) {
            (Difference::Positions, "position_embd") => {
                Arrangement::After { zeros: network.pad_token_id.unwrap_or(PADDING).saturating_add(1) }
            }
            (Difference::Interleaved, "attn_q") => {
                Arrangement::Interleaved { head: head("head_count", shape.first().copied().unwrap_or_default())? }
            }
            (Difference::Interleaved, "attn_k") => {
                let rows = shape.first().copied().unwrap_or_default();
                let key = format!("{architecture}.attention.head_count_kv");
                let key = if metadata.contains(&key) { "head_count_kv" } else { "head_count" };
                Arrangement::Interleaved { head: head(key, rows)? }
            }
            (Difference::Norms, part) if part.ends_with("norm") => Arrangement::LessOne,
            _ => Arrangement::Same,
        };
        if let (Arrangement::After { zeros }, Some(rows)) = (arrangement, shape.first_mut()) {
            *rows = rows.checked_add(zeros).ok_or_else(|| error(&"has too many rows"))?;
        }
        let plain = PLAIN.iter().find(|(id, _)| *id == type_id && arrangement == Arrangement::Same);
        let extent = match plain {
            Some(&(_, dtype)) => Extent::dense(dtype, shape, bytes),
            None => Extent::of_ggml(GgmlType { id: type_id, arrangement }, shape, bytes),
        };
        extents[place].insert(own_name, extent);
    }
    Ok(extents)
}

/// An error where a part is missing that llama.cpp's converter leaves out, and without which scores would be wrong.
fn refuse_incomplete(file: &str, model_type: &str, tensors: &BTreeMap<String, GgufTensor>) -> Result<()> {
    if model_type == "bert" && tensors.contains_key("cls.output.weight") && !tensors.contains_key("cls.weight") {
        let message = "is BERT's classifier, and the layer before it (the pooler) is missing: llama.cpp's converter leaves it out. \
            Scores cannot be computed; use the original's safetensors";
        return Err(Error::model_tensor(file, "cls.output.weight", message));
    }
    Ok(())
}
