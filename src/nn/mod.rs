//! The blocks that models are made of.
//!
//! Each has bodies of the same meaning: one for the CPU over [`crate::kernels`], a portable one made of candle operations,
//! for every device that candle knows, and one that records kernels of [`crate::gpu`] into a pass. What one block gives to the next are [`States`], `[tokens, hidden]`,
//! packed: a block that must know where a text ends takes the batch's [`Layout`]. Networks see no tensor.
//!
//! ```text
//! attention ── flash ── layout ── attention_plan ── padded_batch, upload_buffer, attention_bias
//!                              ── sequences (of flash) ── upload_buffer
//!                              ── rotary_table ── rope_scaling
//! position_bias, alibi, disentangled_bias ── attention_bias
//! rope, embedding ── norm      mlp, experts, convolution ── linear      convolution ── layout
//! mean ── padded_batch, upload_buffer      embedding_bag
//! below all: states (what blocks take and give) ── rows, device_states; loader (tensors of a checkpoint) ── panels, body; device_matrix ── loader; activation; matmul
//! ```
//!
//! A file uses those to its right, and none that stand to its left.

mod activation;
mod alibi;
mod attention;
mod attention_bias;
mod attention_plan;
mod body;
mod convolution;
mod device_matrix;
mod device_states;
mod disentangled_bias;
mod embedding;
mod embedding_bag;
mod experts;
#[cfg(feature = "flash-attn")]
mod flash;
mod layout;
mod linear;
mod loader;
mod matmul;
mod mean;
mod mlp;
mod norm;
mod padded_batch;
mod panels;
mod position_bias;
mod rope;
mod rope_scaling;
mod rotary_table;
mod rows;
#[cfg(feature = "flash-attn")]
mod sequences;
mod states;
mod upload_buffer;

pub use alibi::Alibi;
pub use attention::Attention;
pub use attention_bias::AttentionBias;
pub use body::{Body, active_isa};
pub use convolution::Convolution;
pub use disentangled_bias::DisentangledAttentionBias;
pub use embedding::Embedding;
pub use embedding_bag::{BagTensors, EmbeddingBag};
pub use experts::{Experts, ExpertsParts};
pub use layout::Layout;
pub use linear::Linear;
pub use loader::Loader;
pub use mean::mean;
pub use mlp::{Mlp, MlpParts};
pub use norm::Norm;
pub use position_bias::PositionBias;
pub use rope::{HeadNormalizations, Rope};
pub use rope_scaling::{RopeScaling, RotaryAngles};
pub use rotary_table::RotaryTable;
pub use states::States;

use crate::Error;

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(Box::new(error))
    }
}

#[cfg(test)]
mod testing;
