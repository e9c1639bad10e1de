//! CPU kernels on slices: no tensors, no Python.
//!
//! An operation is written once, generic over the [`simd::Simd`] vector type, and compiled once per instruction set;
//! [`Isa`] chooses at run time. A result never depends on how many rows, threads or neighbours there are.

mod activation;
mod aligned;
mod append_buffer;
mod attention;
mod cpu;
mod denormals;
mod embedding;
mod hadamard;
mod isa;
mod math;
mod matrix;
mod mlp;
mod norm;
mod peaks;
mod prefetch;
mod rope;
mod scan;
mod simd;
mod team;
#[cfg(test)]
pub(crate) mod testing;
mod tile;

pub use activation::Activation;
pub use aligned::{scratch_bytes, unset};
pub use append_buffer::{AppendBuffer, Claim};
pub use attention::{
    AttentionInputs, AttentionShape, Bias, BiasHead, BiasRows, Buckets, DisentangledBias, Mask, attention,
};
pub use cpu::{Cache, caches, cpu_name};
pub use denormals::FlushDenormals;
pub use embedding::{EmbeddingTable, embed};
pub use isa::Isa;
pub use matrix::{Dtype, Matrix};
pub use mlp::PackedMlp;
pub use norm::{RowNorm, add_norm, norm};
pub use peaks::measure_peaks;
pub use rope::{RopeAngles, rope};
pub use scan::{Bound, CodesOf, Collect, Metric, Queries, Rows, Stored, Unencodable, code_stride, encode, exact, scan};
pub use team::{STACK_BYTES, Team, parallel_for};
