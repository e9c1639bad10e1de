//! What a GGUF file says of its model, as the files that other models have beside their weights: config.json, modules.json and the
//! config.json of each module, tokenizer.json and tokenizer_config.json, of which a folder has some, all or none. Its own count.
//!
//! Above `weights`, which reads the file; below `hub`, which has a model's folder completed here. So every check of `config` and `text`
//! holds for what is made here, too. Who uses whom:
//!
//! ```text
//! mod ─→ network (config.json) ─→ modules ─→ keys
//!  └───→ tokenizer ─→ byte_pairs, unigram, word_pieces ─→ vocabulary ─→ keys
//! ```

mod byte_pairs;
mod keys;
mod modules;
mod network;
mod tokenizer;
mod unigram;
mod vocabulary;
mod word_pieces;

use serde_json::Value;

use crate::Result;
use crate::files::ModelFolder;
use crate::gguf::keys::GgufKeys;
use crate::weights::{GgufFile, has_weights};

const CONFIG: &str = "config.json";
const MODULES: &str = "modules.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// `folder` with what it lacks of a model's files, if its weights are in a GGUF file. `has_tokenizer`: whether it has one.
pub(crate) fn complete(folder: ModelFolder, has_tokenizer: bool) -> Result<ModelFolder> {
    if has_weights(&folder, "")? {
        return Ok(folder);
    }
    let parts = folder.gguf("")?;
    if parts.is_empty() {
        return Ok(folder);
    }
    let lacks = |name: &str| folder.has(name).map(|has| !has);
    let [lacks_config, lacks_modules] = [lacks(CONFIG)?, lacks(MODULES)?];
    let file = GgufFile::open(parts)?;
    let header = file.header()?;
    let keys = GgufKeys::new(&header)?;
    let mut made: Vec<(String, Vec<u8>)> = Vec::new();
    let mut make = |name: &str, value: Value| made.push((name.to_owned(), value.to_string().into_bytes()));
    let mut notes = Vec::from_iter(network::note(&keys));
    if lacks_config {
        make(CONFIG, network::config(&keys)?);
    }
    if lacks_modules {
        modules::listed(&keys)?.into_iter().for_each(|(name, value)| make(&name, value));
    }
    if !has_tokenizer {
        make(TOKENIZER, tokenizer::tokenizer(&keys)?);
        make(TOKENIZER_CONFIG, tokenizer::config(&keys)?);
        notes.extend(tokenizer::note(&keys)?);
    }
    Ok(folder.with_made(made).with_notes(notes))
}
