//! The architectures, and the registry that picks one.

mod bert;
mod registry;

use candle_core::Tensor;

pub use registry::load;

use crate::Result;
use crate::text::PackedBatch;

/// A network that maps packed tokens to hidden states.
pub trait Encoder: Send + Sync {
    /// Width of a hidden state.
    fn hidden_size(&self) -> usize;

    /// Rows of the embedding table: every token id is below it.
    fn vocab_size(&self) -> usize;

    /// `[tokens, hidden]` for the tokens of `batch`. `pulse` is called between layers; its error ends the pass.
    fn forward(&self, batch: &PackedBatch, pulse: &dyn Fn() -> Result<()>) -> Result<Tensor>;
}
