//! Which files of a model votive reads: what to download, and when a cached snapshot is whole.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::files::{MAX_INDEX_BYTES, MAX_JSON_BYTES, MAX_TOKENIZER_BYTES, ModelFolder, inside, read_file};
use crate::weights::{ADAPTER_FILE, Adapter, GgufFile, WEIGHT_FILES, Weights, has_weights, is_index, read_index};
use crate::{Error, Result};

pub(super) const MODULES: &str = "modules.json";

/// What a network is.
pub(super) const CONFIG: &str = "config.json";

/// What is wanted of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Model,
    /// The network in its root, which an adapter changes: no modules, and a tokenizer where there is one.
    Network,
    /// All of it but the network: how the vectors of tokens become one.
    Description,
}

/// One entry of modules.json, as far as its files go.
#[derive(Deserialize)]
pub(super) struct ModuleFiles {
    /// The module's subfolder; "" is the model's own folder.
    #[serde(default)]
    pub(super) path: String,
    /// The dotted name of its class, of which the last part counts.
    #[serde(rename = "type")]
    class: String,
}

impl ModuleFiles {
    /// One by itself, in the model's own folder.
    fn alone(class: &str) -> Vec<Self> {
        vec![Self { path: String::new(), class: class.to_owned() }]
    }

    fn class(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }

    pub(super) fn needs_config(&self) -> bool {
        matches!(self.class(), "Transformer" | NETWORK | "Pooling" | "Dense" | "LayerNorm" | "WordWeights")
    }

    pub(super) fn needs_tokenizer(&self) -> bool {
        matches!(self.class(), "Transformer" | "StaticEmbedding")
    }

    pub(super) fn needs_weights(&self) -> bool {
        matches!(self.class(), "Transformer" | NETWORK | "Dense" | "LayerNorm" | "StaticEmbedding")
    }

    /// Whether it has modules of its own.
    pub(super) fn is_router(&self) -> bool {
        matches!(self.class(), "Router" | "Asym")
    }

    /// The modules of a Router, as far as its file is there.
    fn routed(&self, folder: &ModelFolder) -> Result<Vec<Self>> {
        let path = self.path.trim_end_matches('/');
        for name in ROUTER_FILES.map(|name| inside(path, name)) {
            let Some(found) = folder.file(&name)?.filter(|_| self.is_router()) else { continue };
            let json = read_file(&found, &name, MAX_JSON_BYTES)?;
            let RouterFile { types } =
                serde_json::from_slice(&json).map_err(|error| Error::model(&name, format!("unreadable: {error}")))?;
            return Ok(types.into_iter().map(|(id, class)| Self { path: inside(path, &id), class }).collect());
        }
        Ok(Vec::new())
    }

    pub(super) fn is_pooling(&self) -> bool {
        self.class() == "Pooling"
    }

    /// Whether an adapter may lie in its folder.
    pub(super) fn is_transformer(&self) -> bool {
        self.class() == "Transformer"
    }
}

/// The names of the file that says which modules a Router has, the first that is there.
pub(super) const ROUTER_FILES: [&str; 2] = ["router_config.json", CONFIG];

/// What a Router's file says of its modules.
#[derive(Deserialize)]
struct RouterFile {
    /// The class of each module by its subfolder.
    types: BTreeMap<String, String>,
}

/// A class by which no modules.json lists a network: [`Wanted::Network`].
const NETWORK: &str = "AutoModel";

/// The modules of `folder` of which something is wanted; a folder without modules.json is one transformer.
pub(super) fn modules(folder: &ModelFolder, wanted: Wanted) -> Result<Vec<ModuleFiles>> {
    if wanted == Wanted::Network {
        return Ok(ModuleFiles::alone(NETWORK));
    }
    let Some(json) = folder.read(MODULES, MAX_JSON_BYTES)? else {
        return Ok(if wanted == Wanted::Description { Vec::new() } else { ModuleFiles::alone("Transformer") });
    };
    let mut modules: Vec<ModuleFiles> =
        serde_json::from_slice(&json).map_err(|error| Error::model(MODULES, format!("unreadable: {error}")))?;
    let is_inside = |module: &ModuleFiles| {
        let outside = |_| Error::model(MODULES, format!("names {:?}, outside the model's folder", module.path));
        folder.file(&module.path).map_err(outside).map(drop)
    };
    for i in 0..modules.len() {
        is_inside(&modules[i])?;
        let routed = modules[i].routed(folder)?;
        routed.iter().try_for_each(is_inside)?;
        modules.extend(routed);
    }
    if wanted == Wanted::Description {
        modules.retain(|module| !module.is_transformer());
    }
    Ok(modules)
}

/// The folders in which a model of `modules` keeps files.
pub(super) fn folders(modules: &[ModuleFiles]) -> BTreeSet<&str> {
    modules.iter().map(|module| module.path.trim_end_matches('/')).chain([""]).collect()
}

/// A tokenizer by itself.
const TOKENIZER: &str = "tokenizer.json";

/// What a tokenizer is made of where there is no tokenizer.json, depending on its class.
const VOCABULARIES: [&str; 5] = ["vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spm.model", "spiece.model"];

/// Whether a folder that `has` such files has a tokenizer.
pub(super) fn has_tokenizer(has: impl Fn(&str) -> bool) -> bool {
    has(TOKENIZER) || VOCABULARIES.into_iter().any(has)
}

/// Whether votive reads a file of this name, weights apart, in a folder that `has` such files.
pub(super) fn is_read(name: &str, has: impl Fn(&str) -> bool) -> bool {
    [ADAPTER_FILE, CONFIG].contains(&name) || is_description(name) || is_of_tokenizer(name, has)
}

/// Whether a file of this name, in the root of a model, says how vectors are made.
pub(super) fn is_description(name: &str) -> bool {
    // The last are sentence_bert_config.json and its elder names for other architectures.
    [MODULES, "config_sentence_transformers.json", ROUTER_FILES[0]].contains(&name)
        || name.starts_with("sentence_") && name.ends_with("_config.json")
}

/// Names of the files that hold the weights in the subfolder `path`, and of their index.
pub(super) fn weights_in(folder: &ModelFolder, path: &str) -> Result<BTreeSet<String>> {
    for name in WEIGHT_FILES {
        let source = inside(path, name);
        let Some(found) = folder.file(&source)? else { continue };
        let shards = if is_index(name) { read_index(&found, &source)? } else { BTreeMap::new() };
        return Ok(shards.into_values().chain([name.to_owned()]).collect());
    }
    Ok(BTreeSet::new())
}

/// Whether config.json says that the weights are quantized.
pub(super) fn is_quantized(folder: &ModelFolder) -> bool {
    let config = folder.file(CONFIG).ok().flatten().and_then(|path| read_file(&path, CONFIG, MAX_JSON_BYTES).ok());
    let config: Option<Map<String, Value>> = config.and_then(|json| serde_json::from_slice(&json).ok());
    config.is_some_and(|config| ["quantization", "quantization_config"].iter().any(|key| config.contains_key(*key)))
}

/// Whether a tokenizer is made of a file of this name, in a folder that `has` such files.
pub(super) fn is_of_tokenizer(name: &str, has: impl Fn(&str) -> bool) -> bool {
    const READ: [&str; 5] =
        ["added_tokens.json", "chat_template.jinja", "special_tokens_map.json", TOKENIZER, "tokenizer_config.json"];
    let is_vocabulary = VOCABULARIES.contains(&name) || name == "merges.txt";
    READ.contains(&name) || is_vocabulary && !has(TOKENIZER)
}

/// The most bytes that votive reads of a file of this name; `None` for weights, which are mapped.
pub(super) fn most_bytes(name: &str) -> Option<u64> {
    match name {
        "merges.txt" => Some(MAX_TOKENIZER_BYTES),
        name if name == TOKENIZER || VOCABULARIES.contains(&name) => Some(MAX_TOKENIZER_BYTES),
        name if name.ends_with(".index.json") => Some(MAX_INDEX_BYTES),
        _ => is_read(name, |_| false).then_some(MAX_JSON_BYTES),
    }
}

/// Errs with the first thing that is wanted of `folder` and that it lacks, or has and cannot be read.
pub(super) fn check(folder: &ModelFolder, wanted: Wanted) -> Result<()> {
    for module in modules(folder, wanted)? {
        let has = |name: &str| matches!(folder.has(&inside(&module.path, name)), Ok(true));
        // What an adapter's folder lacks is the base model's.
        if module.is_transformer() && has(ADAPTER_FILE) {
            Adapter::open(folder, &module.path)?;
            if !WEIGHT_FILES.into_iter().any(has) {
                continue;
            }
        }
        let gguf = if has_weights(folder, &module.path)? { Vec::new() } else { folder.gguf(&module.path)? };
        if !gguf.is_empty() {
            GgufFile::open(gguf)?.header()?;
            continue;
        }
        if module.is_router() && !ROUTER_FILES.into_iter().any(has) {
            return Err(Error::model(inside(&module.path, ROUTER_FILES[0]), "is not there"));
        }
        let config = module.needs_config().then_some(CONFIG);
        let tokenizer = (module.needs_tokenizer() && !has_tokenizer(has)).then_some(TOKENIZER);
        for name in [config, tokenizer].into_iter().flatten() {
            let name = inside(&module.path, name);
            // What a quantized model lacks may be its base model's.
            if !folder.has(&name)? && (module.is_transformer() || !is_quantized(folder)) {
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
