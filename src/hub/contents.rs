//! Which files of a model votive reads: what to download, and when a cached snapshot is whole.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::file::{MAX_INDEX_BYTES, MAX_JSON_BYTES, MAX_TOKENIZER_BYTES, read_file};
use super::folder::inside;
use super::weights::{INDEX, Weights};
use crate::hub::ModelFolder;
use crate::{Error, Result};

pub(super) const MODULES: &str = "modules.json";

/// One entry of modules.json, as far as its files go.
#[derive(Deserialize)]
pub(super) struct Module {
    /// The module's subfolder; "" is the model's own folder.
    #[serde(default)]
    pub(super) path: String,
    /// The dotted name of its class, of which the last part counts.
    #[serde(rename = "type")]
    class: String,
}

impl Module {
    fn class(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }

    fn needs_config(&self) -> bool {
        matches!(self.class(), "Transformer" | "Pooling" | "Dense" | "LayerNorm" | "WordWeights")
    }

    pub(super) fn needs_tokenizer(&self) -> bool {
        matches!(self.class(), "Transformer" | "StaticEmbedding")
    }

    pub(super) fn needs_weights(&self) -> bool {
        matches!(self.class(), "Transformer" | "Dense" | "LayerNorm" | "StaticEmbedding")
    }
}

/// The modules of `folder`; a folder without modules.json is one transformer.
pub(super) fn modules(folder: &ModelFolder) -> Result<Vec<Module>> {
    let Some(path) = folder.file(MODULES)? else {
        return Ok(vec![Module { path: String::new(), class: "Transformer".to_owned() }]);
    };
    let json = read_file(&path, MODULES, MAX_JSON_BYTES)?;
    let modules: Vec<Module> =
        serde_json::from_slice(&json).map_err(|error| Error::model(MODULES, format!("unreadable: {error}")))?;
    for module in &modules {
        let outside = |_| Error::model(MODULES, format!("names {:?}, outside the model's folder", module.path));
        folder.file(&module.path).map_err(outside)?;
    }
    Ok(modules)
}

/// The folders in which a model of `modules` keeps files.
pub(super) fn folders(modules: &[Module]) -> BTreeSet<&str> {
    modules.iter().map(|module| module.path.trim_end_matches('/')).chain([""]).collect()
}

/// Whether votive reads a file of this name, weights apart.
pub(super) fn is_read(name: &str) -> bool {
    const READ: [&str; 6] = [
        "config.json",
        "config_sentence_transformers.json",
        MODULES,
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    // sentence_bert_config.json and its elder names for other architectures.
    READ.contains(&name) || (name.starts_with("sentence_") && name.ends_with("_config.json"))
}

/// The most bytes that votive reads of a file of this name; `None` for weights, which are mapped.
pub(super) fn most_bytes(name: &str) -> Option<u64> {
    match name {
        "tokenizer.json" => Some(MAX_TOKENIZER_BYTES),
        INDEX => Some(MAX_INDEX_BYTES),
        _ => is_read(name).then_some(MAX_JSON_BYTES),
    }
}

/// Errs with the first thing that `folder` lacks, or has and cannot be read.
pub(super) fn check(folder: &ModelFolder) -> Result<()> {
    for module in modules(folder)? {
        let config = module.needs_config().then_some("config.json");
        let tokenizer = module.needs_tokenizer().then_some("tokenizer.json");
        for name in [config, tokenizer].into_iter().flatten() {
            let name = inside(&module.path, name);
            if folder.file(&name)?.is_none() {
                return Err(Error::model(name, "is not there"));
            }
        }
        // Opening maps the files and reads their headers: a truncated shard is as good as none.
        if module.needs_weights() {
            Weights::open(folder, &module.path)?;
        }
    }
    Ok(())
}
