//! The tensors of a GGUF file as transformers has them: by its names, with its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use safetensors::Dtype;
use serde::Deserialize;

use super::extent::{Extent, GgmlType};
use super::ggml_rows::Arrangement;
use super::gguf::{GgufHeader, GgufTensor};
use super::gguf_names::{Difference, EXPERTS_DOWN, EXPERTS_UP, KNOWN, PartNames};
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

/// Places of tensors by their names, for each part of a file.
pub(super) type PartExtents = Vec<BTreeMap<String, Extent>>;

/// Places of the tensors by the names that a network of config.json's kind has, for each of so many parts of the file.
pub(super) fn extents(header: GgufHeader, network: &NamedNetwork, parts: usize) -> Result<PartExtents> {
    let GgufHeader { name: file, metadata, tensors } = header;
    let model_type = network.model_type.as_str();
    let known: BTreeSet<_> = KNOWN.iter().flat_map(|names| names.model_types).copied().collect();
    if !known.contains(model_type) {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        let message = format!("{model_type:?} has no names for the tensors of {file}; known are {known}");
        return Err(Error::model_key("config.json", "model_type", message));
    }
    let architecture = metadata.text("general.architecture")?.unwrap_or_default();
    let has_part = |part: &str| tensors.contains_key(&format!("blk.0.{part}.weight"));
    let Some(names) = PartNames::of(model_type, architecture, has_part) else {
        let message = format!("{architecture:?} is no {model_type:?}, which config.json says the model is");
        return Err(metadata.error("general.architecture", message));
    };
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
        if shape.len() == 1 && own_name.ends_with(".weight") && !part.contains("norm") {
            shape.insert(0, 1);
        }
        // Rows of all experts, one after the other.
        if [EXPERTS_UP, EXPERTS_DOWN].contains(&part)
            && let [experts, rows, columns] = shape[..]
        {
            let rows = experts.checked_mul(rows).ok_or_else(|| error(&"has too many rows"))?;
            shape = vec![rows, columns];
        }
        if let (Some(block), &[.., width]) = (own_name.strip_suffix("router.layer.weight"), &shape[..]) {
            extents[place].insert(format!("{block}experts.bias"), zeros(width));
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
        extents[place].insert(own_name, extent(type_id, arrangement, shape, bytes));
    }
    Ok(extents)
}

/// Places of `linear.weight` and `linear.bias` of a Dense module, which is a part of the file's by one of these names.
pub(super) fn dense_extents(header: GgufHeader, names: &[&str], parts: usize) -> PartExtents {
    let mut extents: Vec<_> = (0..parts).map(|_| BTreeMap::new()).collect();
    for (name, GgufTensor { type_id, mut shape, bytes, part: place }) in header.tensors {
        let Some((_, kind)) = name.rsplit_once('.').filter(|(part, _)| names.contains(part)) else { continue };
        if shape.len() == 1 && kind == "weight" {
            shape.insert(0, 1);
        }
        extents[place].insert(format!("linear.{kind}"), extent(type_id, Arrangement::Same, shape, bytes));
    }
    extents
}

fn extent(type_id: u32, arrangement: Arrangement, shape: Vec<usize>, bytes: Range<usize>) -> Extent {
    let plain = PLAIN.iter().find(|(id, _)| *id == type_id && arrangement == Arrangement::Same);
    match plain {
        Some(&(_, dtype)) => Extent::dense(dtype, shape, bytes),
        None => Extent::of_ggml(GgmlType { id: type_id, arrangement }, shape, bytes),
    }
}

/// A bias that llama.cpp's converter leaves out.
fn zeros(length: usize) -> Extent {
    const F32: u32 = PLAIN[0].0;
    Extent::of_ggml(GgmlType { id: F32, arrangement: Arrangement::After { zeros: length } }, vec![length], 0..0)
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
