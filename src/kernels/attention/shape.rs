//! What attends: heads, their sizes, and which tokens see which.

use std::ops::Range;

/// Which tokens of its own sequence a token sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    Full,
    /// Itself and what comes before it.
    Causal,
    /// Those at most this far away, on both sides.
    Window(usize),
}

impl Mask {
    /// The keys that the query at `position` of `len` sees.
    pub fn keys(self, position: usize, len: usize) -> Range<usize> {
        match self {
            Mask::Full => 0..len,
            Mask::Causal => 0..position + 1,
            Mask::Window(reach) => position.saturating_sub(reach)..position.saturating_add(reach + 1).min(len),
        }
    }
}

/// Heads of an attention, their size, and what they see.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values, each shared by `heads / kv_heads` neighbouring heads of queries.
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Factor of the scores: usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    pub mask: Mask,
}

impl AttentionShape {
    /// Numbers of a token's queries, keys and values together.
    pub fn width(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }
}
