//! The blocks that models are made of.
//!
//! Each has two bodies of the same meaning: a portable one made of candle operations, for every device that candle
//! knows, and one for the CPU over [`crate::kernels`]. Hidden states are tensors `[tokens, hidden]`, packed: a block that
//! must know where a text ends takes the cumulative lengths.

mod activation;
mod attention;
mod cpu;
mod disentangled;
mod embedding;
mod linear;
mod loader;
mod mlp;
mod norm;
mod position_bias;
mod rope;

pub use attention::{Attention, AttentionBias};
pub use disentangled::Disentangled;
pub use embedding::Embedding;
pub use linear::Linear;
pub use loader::{Body, Loader, active_isa};
pub use mlp::{Mlp, MlpParts};
pub use norm::Norm;
pub use position_bias::PositionBias;
pub use rope::{Rope, Rotations};
pub use states::{add, select};

mod states;
#[cfg(test)]
mod testing;
