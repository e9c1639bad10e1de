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
pub use attention::{Attention, Bias, BiasHead, BiasRows, Buckets, Disentangled, Inputs, Mask, attention};
pub use cpu::{Cache, caches, cpu_name};
pub use denormals::FlushDenormals;
pub use embedding::{Table, embed};
pub use isa::Isa;
pub use matrix::{Dtype, Matrix};
pub use mlp::Mlp;
pub use norm::{Norm, add_norm, norm};
pub use peaks::measure_peaks;
pub use rope::{Rotations, rope};
pub use scan::{
    Bound, BoundReference, Collector, EncodeError, Metric, QuantizedQueries, RowSelection, StoredRows, code_stride,
    encode, exact_score, scan,
};
pub use team::{STACK_BYTES, Team, parallel_for};
