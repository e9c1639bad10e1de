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
    /// Itself and what comes before it, so many tokens together.
    CausalWindow(usize),
}

impl Mask {
    /// The keys that the query at `position` of `len` sees.
    pub fn keys(self, position: usize, len: usize) -> Range<usize> {
        let [before, behind] = self.reach();
        let first = before.map_or(0, |before| position.saturating_sub(before));
        first..behind.map_or(len, |behind| position.saturating_add(behind + 1).min(len))
    }

    /// Whether a token sees nothing of what comes after it.
    pub fn is_causal(self) -> bool {
        matches!(self, Mask::Causal | Mask::CausalWindow(_))
    }

    /// How far before and behind it a token sees; None for all that is there.
    pub fn reach(self) -> [Option<usize>; 2] {
        match self {
            Mask::Full => [None, None],
            Mask::Causal => [None, Some(0)],
            Mask::Window(reach) => [Some(reach); 2],
            Mask::CausalWindow(tokens) => [Some(tokens - 1), Some(0)],
        }
    }
}

/// Heads of an attention, their size, and what they see.
#[derive(Debug, Clone, Copy, PartialEq)]
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
