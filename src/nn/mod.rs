//! The blocks that models are made of.
//!
//! Each has two bodies of the same meaning: a portable one made of candle operations, for every device that candle
//! knows, and one for the CPU over [`crate::kernels`]. Hidden states are tensors `[tokens, hidden]`, packed: a block that
//! must know where a text ends takes the batch's [`Layout`].

mod activation;
mod attention;
mod cpu;
mod disentangled;
mod embedding;
#[cfg(feature = "flash-attn")]
mod flash;
mod layout;
mod linear;
mod loader;
mod mean;
mod mlp;
mod norm;
mod parcel;
mod plan;
mod position_bias;
mod product;
mod rectangles;
mod rope;
mod states;

pub use attention::{Attention, AttentionBias};
pub use disentangled::Disentangled;
pub use embedding::Embedding;
pub use layout::Layout;
pub use linear::Linear;
pub use loader::{Body, Loader, active_isa};
pub use mean::mean;
pub use mlp::{Mlp, MlpParts};
pub use norm::Norm;
pub use position_bias::PositionBias;
pub use rope::{Rope, Rotations};
pub use states::{add, select};

#[cfg(test)]
mod testing;
