//! Typed views of a model's JSON files.
//!
//! Rules and defaults are those of sentence-transformers 6.2 and transformers 5. Unknown keys are ignored; a value of
//! the wrong type, or out of range, is an [`Error::Model`](crate::Error::Model) that names file and key. Who uses whom, `json` apart,
//! which all do:
//!
//! ```text
//! sentence_transformers, cross_encoder ─→ modules ─→ router, and pooling, dense ─→ features (also of modules)
//!   │         (the latter also uses the former: both read one file)
//!   ├─→ static_embedding ─→ transformer, modules, architecture, tokenizer
//!   ├─→ task_adapters (also of transformer) ─→ architecture
//!   └─→ transformer ─→ architecture ─→ quantization;  chat_template
//!            └─→ tokenizer ─→ tokenizer_class ─→ special_tokens, class_name
//!                    └─→ layers (also of tokenizer_class and special_tokens)
//! ```

mod architecture;
mod chat_template;
mod class_name;
mod cross_encoder;
mod dense;
mod features;
mod json;
mod layers;
mod modules;
mod pooling;
mod quantization;
mod router;
mod sentence_transformers;
mod special_tokens;
mod static_embedding;
mod task_adapters;
#[cfg(test)]
pub(crate) mod testing;
mod tokenizer;
mod tokenizer_class;
mod transformer;

pub use architecture::Architecture;
pub use chat_template::ChatTemplateConfig;
pub use cross_encoder::{CrossEncoderConfig, Scoring};
pub use dense::DenseConfig;
pub use json::Object;
pub use modules::{LogitScoreConfig, Module, TanhCodes, WordWeightsConfig};
pub use pooling::{PoolingConfig, PoolingMode};
pub use router::Router;
pub use sentence_transformers::{Route, SentenceTransformersConfig, SimilarityFunction};
pub use special_tokens::SpecialTokens;
pub use task_adapters::TaskAdapter;
pub use tokenizer::{TokenizerConfig, TruncationSide};
pub use tokenizer_class::{SpecialTokenLayout, Splitting, TokenizerClass, VocabularyFile};
pub use transformer::{StaticRules, TransformerConfig, TransformerTask};
