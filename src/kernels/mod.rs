//! CPU kernels on slices: no tensors, no Python.
//!
//! An operation is written once, generic over the [`simd::Simd`] vector type, and compiled once per instruction set;
//! [`Isa`] chooses at run time. A result never depends on how many rows, threads or neighbours there are.
//!
//! Files import from lines below their own (a folder is drawn as one file, and has no circle within):
//!
//! ```text
//! experts                                               feed-forward blocks, of which each row goes through a few
//! mlp, rope                                             two or three products; queries and keys, turned
//! hamming                                               rows of bits, by `scan`'s selection of rows
//! bag                                                   means of rows of a table
//! matrix, attention, scan, embedding                    operations on packed weights, tokens, rows of a store
//! activation, norm, hadamard, tile                      what they do to a row, or to a tile of a product
//! math, widen, isa, peaks                               functions of a vector; the choice of the set
//! simd                                                  vectors, one type for each instruction set
//! aligned, append_buffer, cpu, denormals, dtype, prefetch, team        memory, caches, threads
//! affinity                                              the CPUs that a thread may use
//! ```

mod activation;
mod affinity;
mod aligned;
mod append_buffer;
mod attention;
mod bag;
mod cpu;
mod denormals;
mod dtype;
mod embedding;
mod experts;
mod hadamard;
mod hamming;
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
mod widen;

pub use activation::Activation;
pub use aligned::{FileBytes, HeldNumbers, scratch_bytes, unset};
pub use append_buffer::{AppendBuffer, Claim};
pub use attention::{
    AttentionInputs, AttentionShape, Bias, BiasHead, BiasRows, Buckets, DisentangledBias, Mask, attention,
};
pub use bag::{WeightedTable, mean_row};
pub use cpu::{Cache, caches, cpu_name};
pub use denormals::FlushDenormals;
pub use dtype::Dtype;
pub use embedding::{DecodeRow, EmbeddingTable, embed};
pub use experts::{PackedExperts, choose, places_by_expert};
pub use hamming::{BitQueries, DistanceCollector, scan_bits, signed_product};
pub use isa::Isa;
pub(crate) use math::{ERF, ERF_LIMIT};
pub use matrix::{Matrix, panel_layout};
pub use mlp::PackedMlp;
pub use norm::{RowNorm, add_norm, norm};
pub use peaks::{float32_peak, measure_peaks};
pub use rope::{HeadNorms, RopeAngles, rope};
pub use scan::{
    Bound, BoundReference, CodeOutput, CodedRows, Collector, EncodeError, FirstLook, MIN_PANEL_QUERIES, Metric,
    QuantizedQueries, RowSelection, StoredRows, coarse_stride, code_stride, encode, encode_coarse, exact_score, scan,
};
pub use team::{STACK_BYTES, Team, parallel_for};
