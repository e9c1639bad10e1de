//! The architectures, and the registry that picks one.

mod bert;
mod distilbert;
mod electra;
mod head;
mod modernbert;
mod mpnet;
mod post_norm;
mod registry;
mod roberta;
#[cfg(test)]
mod testing;

use candle_core::Tensor;

pub use head::Head;
pub use registry::{Source, load, load_head};

use crate::Result;
use crate::text::{PackedBatch, Wanted};

/// A network that maps packed tokens to hidden states.
pub trait Encoder: Send + Sync {
    /// Width of a hidden state.
    fn hidden_size(&self) -> usize;

    /// Rows of the embedding table: every token id is below it.
    fn vocab_size(&self) -> usize;

    /// Hidden states of what is `wanted` of `batch`: `[tokens, hidden]`, or `[texts, hidden]` for one token of each text.
    /// `pulse` is called between layers; its error ends the pass.
    fn forward(&self, batch: &PackedBatch, wanted: Wanted, pulse: &dyn Fn() -> Result<()>) -> Result<Tensor>;
}
