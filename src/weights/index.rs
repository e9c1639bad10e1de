//! The files that weights may be in, and the index that says which of several files holds which tensor.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::entries::{Entries, PARSED_BYTES_PER_BYTE};
use crate::files::{MAX_INDEX_BYTES, read_file};
use crate::memory::room;
use crate::{Error, Result};

/// Weights that were packed before: see `panel_index.rs`.
pub(crate) const PANEL_FILE: &str = "panels.safetensors";
/// The usual one.
pub(crate) const SINGLE: &str = "model.safetensors";
/// The files that weights may be in, the first that is there: itself, or those that an index names.
pub(crate) const WEIGHT_FILES: [&str; 5] =
    [PANEL_FILE, SINGLE, "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: Entries<String>,
}

/// The index at `path`, called `name` in messages: for each tensor, its file.
pub(crate) fn read_index(path: &Path, name: &str) -> Result<BTreeMap<String, String>> {
    let json = read_file(path, name, MAX_INDEX_BYTES)?;
    room(json.len().saturating_mul(PARSED_BYTES_PER_BYTE), || format!("the entries of {name}"))?;
    let ShardIndex { weight_map: Entries(weight_map) } =
        serde_json::from_slice(&json).map_err(|error| Error::model(name, format!("unreadable: {error}")))?;
    Ok(weight_map)
}

/// Whether `name`, one of [`WEIGHT_FILES`], names the files that hold weights.
pub(crate) fn is_index(name: &str) -> bool {
    name.ends_with(".json")
}
