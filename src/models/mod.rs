//! The architectures, and the registry that picks one.
//!
//! ```text
//! registry ── bert, ernie, roberta, distilbert, electra, mpnet, deberta, nomic_bert, gte, jina_v2, jina_v3 ── post_norm
//!          ── modernbert, t5, xlm_roberta_xl ── pre_norm (their layer)
//!          ── qwen, llama, gemma, embedding_gemma2, eurobert ── decoder_head ── decoder (their network)
//!          ── static_embedding (a table and no network)
//!          ── family (what the registry knows of one) ── head (from hidden states to scores) ── source
//! decoder ── per_layer_inputs, decoder_config, pre_norm ── rotary ── layer_type
//! post_norm, pre_norm ── input_tables (words, positions, types, tasks) ── ids      all ── source
//! post_norm, xlm_roberta_xl ── post_norm_config      mpnet, t5 ── distance_buckets
//! ```
//!
//! Only the registry knows all families; a family reads config.json and the checkpoint through `source`, and no family
//! knows another. This file has what the rest of the crate sees of a network. How to add a family: see registry.rs.

mod bert;
mod deberta;
mod decoder;
mod decoder_config;
mod decoder_head;
mod distance_buckets;
mod distilbert;
mod electra;
mod embedding_gemma2;
mod ernie;
mod eurobert;
mod family;
mod gemma;
mod gte;
mod head;
mod ids;
mod input_tables;
mod jina_v2;
mod jina_v3;
mod layer_type;
mod llama;
mod modernbert;
mod mpnet;
mod nomic_bert;
mod per_layer_inputs;
mod post_norm;
mod post_norm_config;
mod pre_norm;
mod qwen;
mod registry;
mod roberta;
mod rotary;
mod source;
mod static_embedding;
mod t5;
#[cfg(test)]
mod testing;
mod xlm_roberta_xl;

pub use family::ModelKind;
pub use head::ScoreHead;
pub use registry::{half_dtype, kind_of, load, load_head, load_logit_head, supported_kinds};
pub use source::Source;

use crate::nn::{EmbeddingBag, States};
use crate::text::{PackedBatch, TokenSelection};
use crate::{CancelCheck, Result};

/// A network that maps packed tokens to hidden states.
pub trait Encoder: Send + Sync {
    /// Width of a hidden state.
    fn hidden_size(&self) -> usize;

    /// Rows of the embedding table: every token id is below it.
    fn vocab_size(&self) -> usize;

    /// Hidden states of what is `wanted` of `batch`: `[tokens, hidden]`, or `[texts, hidden]` for one token of each
    /// text. `check_cancel` is called between layers; its error ends the pass.
    fn forward(&self, batch: &PackedBatch, wanted: TokenSelection, check_cancel: CancelCheck<'_>) -> Result<States>;

    /// Hidden state `[1, hidden]` of a token to which attention shows nothing: what transformers gives for an input
    /// without tokens, which stands in a batch as padding alone. None for a network that does not say.
    fn padding_state(&self, _token: u32) -> Result<Option<States>> {
        Ok(None)
    }

    /// The table that a text's embedding is a mean of rows of, where there is no network and the CPU's kernels compute.
    fn bag(&self) -> Option<&EmbeddingBag> {
        None
    }

    /// The same network, where its tokens see only what comes before them.
    fn decoder(&self) -> Option<&dyn Decoder> {
        None
    }
}

/// A network whose tokens see only what comes before them: texts that begin alike can share what is computed of the
/// beginning.
pub trait Decoder: Send + Sync {
    /// What the tokens after `prefix`, a single text, see of it.
    fn prefill(&self, prefix: &PackedBatch, check_cancel: CancelCheck<'_>) -> Result<KvCache>;

    /// As [`Encoder::forward`], of texts that each go on where `past` ends; `batch` holds what they have beside it, and
    /// counts its positions from 0.
    fn forward_from(
        &self,
        past: &KvCache,
        batch: &PackedBatch,
        wanted: TokenSelection,
        check_cancel: CancelCheck<'_>,
    ) -> Result<States>;
}

/// The beginning of texts.
#[derive(Default)]
pub struct KvCache {
    tokens: usize,
    /// For each layer, its keys and values as attention takes them, `[tokens, 2 * kv_heads * head_dim]`.
    layers: Vec<States>,
}
