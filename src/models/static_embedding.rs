//! Static embeddings (Reimers and Gurevych; Tulkens and van Dongen 2024: "Model2Vec"; references: sentence-transformers'
//! `StaticEmbedding` and model2vec's `StaticModel`): a table, and no network.
//!
//! ```text
//! row(id) = table[mapping[id]] * weights[id]        mapping: of a quantized vocabulary; weights: of model2vec, where it has any
//! text    = mean of row(id) over its tokens, without special ones; zeros where there are none
//! ```
//!
//! sentence-transformers calls the table `embedding.weight`, model2vec `embeddings`; where a file has both, the former counts alone.
//! A table of int8 has no scale: its numbers are the embedding. What tokens are: see `config/static_embedding.rs`.
//!
//! Tokenizing takes nearly all of the time, so that the engine has no passes of these: it asks for the [bag](Encoder::bag), and
//! computes a text's mean right behind its tokens, on the same thread.

use crate::kernels::Dtype;
use crate::models::Encoder;
use crate::models::family::{Family, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::source::Source;
use crate::nn::{BagTensors, EmbeddingBag, States};
use crate::text::{PackedBatch, TokenSelection};
use crate::{CancelCheck, Result};

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "Static embeddings",
        model_types: &["model2vec"],
        embedders: &[
            "potion-base",
            "potion-retrieval-32M",
            "potion-multilingual-128M",
            "static-retrieval-mrl-en-v1",
            "static-similarity-mrl-multilingual-v1",
        ],
        rerankers: &[],
        limits: "also told by `StaticEmbedding` in `modules.json`; a table and no network",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

struct StaticEmbedding(EmbeddingBag);

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let at = &source.at;
    let own = |name| at.contains(name).then_some(name);
    let tensors = match at.contains("embedding.weight") {
        true => BagTensors { table: "embedding.weight", mapping: None, weights: None },
        false => BagTensors { table: "embeddings", mapping: own("mapping"), weights: own("weights") },
    };
    Ok(Box::new(StaticEmbedding(EmbeddingBag::load(at, &tensors)?)))
}

fn head(source: &Source, _: usize) -> Result<ScoreHead> {
    Err(source.config.error("model_type", "a static embedding gives no scores; use Embedder"))
}

impl Encoder for StaticEmbedding {
    fn hidden_size(&self) -> usize {
        self.0.width()
    }

    fn vocab_size(&self) -> usize {
        self.0.ids()
    }

    fn forward(&self, batch: &PackedBatch, wanted: TokenSelection, _: CancelCheck<'_>) -> Result<States> {
        debug_assert_eq!(wanted, TokenSelection::All, "a mean takes all tokens");
        self.0.rows(&batch.ids)
    }

    fn bag(&self) -> Option<&EmbeddingBag> {
        Some(&self.0).filter(|bag| bag.is_on_kernels())
    }
}
