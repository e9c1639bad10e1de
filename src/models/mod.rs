//! The architectures, and the registry that picks one.

mod bert;
mod deberta;
mod distilbert;
mod electra;
mod head;
mod modernbert;
mod mpnet;
mod post_norm;
mod qwen;
mod registry;
mod roberta;
#[cfg(test)]
mod testing;

use candle_core::Tensor;

pub use head::Head;
pub use registry::{Source, load, load_head, load_logit_head, narrow};

use crate::text::{PackedBatch, TokenSelection};
use crate::{CancelCheck, Result};

/// A network that maps packed tokens to hidden states.
pub trait Encoder: Send + Sync {
    /// Width of a hidden state.
    fn hidden_size(&self) -> usize;

    /// Rows of the embedding table: every token id is below it.
    fn vocab_size(&self) -> usize;

    /// Hidden states of what is `wanted` of `batch`: `[tokens, hidden]`, or `[texts, hidden]` for one token of each text.
    /// `check_cancel` is called between layers; its error ends the pass.
    fn forward(&self, batch: &PackedBatch, wanted: TokenSelection, check_cancel: CancelCheck<'_>) -> Result<Tensor>;

    /// Hidden state `[1, hidden]` of a token to which attention shows nothing: what transformers gives for an input without tokens,
    /// which stands in a batch as padding alone. None for a network that does not say.
    fn padding_state(&self, _token: u32) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// The same network, where its tokens see only what comes before them.
    fn decoder(&self) -> Option<&dyn Decoder> {
        None
    }
}

/// A network whose tokens see only what comes before them: texts that begin alike can share what is computed of the beginning.
pub trait Decoder: Send + Sync {
    /// What the tokens after `prefix`, a single text, see of it.
    fn remember(&self, prefix: &PackedBatch, check_cancel: CancelCheck<'_>) -> Result<Past>;

    /// As [`Encoder::forward`], of texts that each go on where `past` ends; `batch` holds what they have beside it, and counts
    /// its positions from 0.
    fn resume(
        &self,
        past: &Past,
        batch: &PackedBatch,
        wanted: TokenSelection,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Tensor>;
}

/// The beginning of texts.
#[derive(Default)]
pub struct Past {
    tokens: usize,
    /// For each layer, its keys and values as attention takes them, `[tokens, 2 * kv_heads * head_dim]`.
    layers: Vec<Tensor>,
}
