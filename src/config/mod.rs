//! Typed views of a model's JSON files.
//!
//! Rules and defaults are those of sentence-transformers 6.2 and transformers 5. Unknown keys are ignored; a value of
//! the wrong type, or out of range, is an [`Error::Model`](crate::Error::Model) that names file and key.

mod architecture;
mod chat_template;
mod cross_encoder;
mod dense;
mod json;
mod modules;
mod pooling;
mod sentence_transformers;
mod special_tokens;
#[cfg(test)]
pub(crate) mod testing;
mod tokenizer;
mod tokenizer_class;
mod transformer;

use crate::Result;

pub use architecture::Architecture;
pub use chat_template::ChatTemplateConfig;
pub use cross_encoder::{CrossEncoderConfig, Scoring};
pub use dense::DenseConfig;
pub use json::Object;
pub use modules::{LogitScoreConfig, Module, WordWeightsConfig};
pub use pooling::{PoolingConfig, PoolingMode};
pub use sentence_transformers::{SentenceTransformersConfig, SimilarityFunction};
pub use special_tokens::SpecialTokens;
pub use tokenizer::{TokenizerConfig, TruncationSide};
pub use tokenizer_class::{Splitting, Template, TokenizerClass, VocabularyFile};
pub use transformer::{Task, TransformerConfig};

/// Beyond any module's width.
const MAX_FEATURES: usize = 1 << 20;

/// A module may read and write other features than the embedding of the text; that is not supported, but for one: what a
/// cross-encoder's last module writes.
fn refuse_other_features(file: &Object, scores: bool) -> Result<()> {
    for (key, scores) in [("module_input_name", false), ("module_output_name", scores)] {
        let supported = |name: &str| name == "sentence_embedding" || scores && name == "scores";
        if let Some(name) = file.text(key)?.filter(|name| !supported(name)) {
            return Err(file.error(key, format!("\"{name}\" is not supported; \"sentence_embedding\" is")));
        }
    }
    Ok(())
}
