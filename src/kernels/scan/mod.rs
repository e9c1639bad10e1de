//! Exact search over rows of vectors: codes of a byte per number that say which rows may be among the best, with a bound on
//! what each code leaves out, and exact scores for those.

mod encode;
mod exact;
mod panel;
mod queries;

#[cfg(test)]
mod tests;

pub use encode::{CodesOf, Unencodable, encode};
pub use exact::{Stored, exact};
pub use panel::{Collect, Rows, scan};
pub use queries::Queries;

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
    /// Of the codes.
    pub sum: f32,
    /// The vector itself is about `step * codes`.
    pub step: f32,
}

/// Bytes from one row of codes to the next: whole cache lines, zero beyond the dimension.
pub fn code_stride(dimension: usize) -> usize {
    dimension.next_multiple_of(64)
}

/// Numbers that are computed with side by side, on every instruction set, so that sums have the same bits on all.
const SIDE_BY_SIDE: usize = 16;

/// Vectors that these take on the set with the fewest lanes.
const MAX_VECTORS: usize = 4;
