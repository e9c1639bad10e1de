//! Static embeddings: a table of one row for each token, and whose rules make the tokens.
//!
//! ```text
//!                          sentence-transformers            model2vec
//! asked for by             modules.json                     config.json alone, with a table named "embeddings"
//! unknown tokens           count                            are dropped, after the cut
//! greatest length          that of tokenizer.json, if any   `max_length`, else 512 tokens; before that, so many times the
//!                                                           median length of the vocabulary's tokens in characters
//! normalization            a module                         `normalize`
//! ```
//!
//! Reference: sentence-transformers' `StaticEmbedding` and model2vec's `StaticModel`. Neither adds special tokens, and neither reads
//! a file but tokenizer.json for its tokens. A folder that model2vec writes has a modules.json, too, which counts here.

use crate::Result;
use crate::config::architecture::STATIC_TYPE;
use crate::config::tokenizer::max_length;
use crate::config::{Module, Object, StaticRules, TransformerConfig};
use crate::files::ModelFolder;
use crate::weights::Weights;

/// The table in model2vec's files.
const TABLE: &str = "embeddings";

/// The greatest length that model2vec assumes, in tokens.
const MAX_LENGTH: usize = 512;

/// The first module of a modules.json, with the subfolder `path`.
pub(super) fn listed(path: String) -> TransformerConfig {
    TransformerConfig::of_static(path, Object::empty(), StaticRules::SentenceTransformers, None)
}

/// The static embedding of a folder without modules.json, and what follows it; None where the folder has a network.
pub(super) fn unlisted(folder: &ModelFolder) -> Result<Option<(TransformerConfig, Vec<Module>)>> {
    let Some(config) = Object::read(folder, "config.json")? else { return Ok(None) };
    let is_static = match config.text("model_type")? {
        Some(name) => name == STATIC_TYPE,
        None => Weights::open(folder, "").is_ok_and(|weights| weights.contains(TABLE)),
    };
    if !is_static {
        return Ok(None);
    }
    let length = if config.contains("max_length") { max_length(&config, "max_length")? } else { Some(MAX_LENGTH) };
    let mut modules = vec![Module::StaticEmbedding];
    modules.extend(config.boolean("normalize")?.unwrap_or(false).then_some(Module::Normalize));
    Ok(Some((TransformerConfig::of_static(String::new(), config, StaticRules::Model2vec, length), modules)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::folder;

    fn read(config: &str) -> Result<Option<(TransformerConfig, Vec<Module>)>> {
        let (_root, folder) = folder(&[("config.json", config)]);
        unlisted(&folder)
    }

    #[test]
    fn config_json_alone_has_the_rules_of_model2vec() {
        for (config, length, normalizes) in [
            (r#"{"model_type": "model2vec"}"#, Some(512), false),
            (r#"{"model_type": "model2vec", "max_length": 16, "normalize": true}"#, Some(16), true),
            (r#"{"model_type": "model2vec", "max_length": null, "normalize": null}"#, None, false),
        ] {
            let (transformer, modules) = read(config).unwrap().unwrap();
            assert_eq!(transformer.static_rules, Some(StaticRules::Model2vec));
            assert_eq!((transformer.max_seq_length, modules.contains(&Module::Normalize)), (length, normalizes));
            assert_eq!(modules[0], Module::StaticEmbedding);
        }
    }

    #[test]
    fn a_folder_with_a_network_is_none() {
        assert_eq!(read(r#"{"model_type": "bert", "normalize": true}"#).unwrap(), None);
        // There are no weights that would say what it is.
        assert_eq!(read(r#"{"normalize": true}"#).unwrap(), None);
        let (_root, folder) = folder(&[]);
        assert_eq!(unlisted(&folder).unwrap(), None);
    }

    #[test]
    fn wrong_types_are_named() {
        for (key, value) in [("max_length", "0"), ("max_length", "[]"), ("normalize", "1")] {
            let config = format!(r#"{{"model_type": "model2vec", "{key}": {value}}}"#);
            let message = read(&config).unwrap_err().to_string();
            assert!(message.starts_with(&format!("config.json: {key}: expected")), "{message}");
        }
    }
}
