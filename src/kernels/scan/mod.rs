//! The kernels of exact search: a byte for each number of a vector, bounds on what the bytes leave out, and exact
//! scores.
//!
//! `encode` makes codes and bounds of rows, `coarse` codes of half a byte, `queries` both of queries; `look` rules rows
//! out by coarse codes; `panel` multiplies codes and passes on the rows that may be among the best; `exact` computes the
//! scores that decide. The search that uses them, and the proof that its answer is exact, is `store::search`.

mod coarse;
mod encode;
mod exact;
mod first_look;
mod look;
mod panel;
mod queries;
mod row_sums;

#[cfg(test)]
mod tests;

pub use coarse::{coarse_stride, encode_coarse};
pub use encode::{BoundReference, CodeOutput, EncodeError, encode};
pub use exact::{StoredRows, exact_score};
pub use first_look::FirstLook;
pub use panel::{CodedRows, Collector, RowSelection, scan};
pub use queries::{MIN_PANEL_QUERIES, QuantizedQueries};

/// How alike two vectors are; larger is more alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The cosine of the angle between them; 0 where either is zero.
    Cosine,
    Dot,
    /// Their Euclidean distance, negative.
    L2,
}

/// What the codes of a row mean, and how far a product with them can be from one with the row `x`.
///
/// `x` is here the row as its metric sees it: of length 1 under [`Metric::Cosine`].
#[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Bound {
    /// `x` is about `scale * codes`.
    pub scale: f32,
    /// At least the length of `x - scale * codes`, and of what rounding adds.
    pub error: f32,
    /// At least the length of `scale * codes`.
    pub norm: f32,
    /// Under [`Metric::L2`] at most half the square of the length of `x`, else 0.
    pub half_square: f32,
    /// Sum of the codes.
    pub sum: f32,
    /// The vector itself is about `step * codes`.
    pub step: f32,
}

/// Bytes from one row of codes to the next: whole cache lines, zero beyond the dimension.
pub fn code_stride(dimension: usize) -> usize {
    dimension.next_multiple_of(64)
}

/// Partial sums that every sum over a row is made of, on every instruction set, so that it has the same bits on all:
/// number i is added to partial sum i mod 16.
const PARTIAL_SUMS: usize = 16;

/// Vector registers that these take on the set with the fewest lanes.
const MAX_REGISTERS_PER_STEP: usize = 4;
