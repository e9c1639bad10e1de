//! What may be added to the scores of attention, a few rows at a time.

use std::ops::Range;

/// Added to the scores, for each head, after they are multiplied by the scale.
pub trait Bias: Sync {
    /// Numbers that have to be held for a head of `len` tokens.
    fn memory_for(&self, len: usize) -> usize;

    /// Called once for a head of a sequence, before its rows are asked for with the same memory.
    fn prepare(&self, head: BiasHead, memory: &mut [f32]);

    /// Where the numbers of a few of the head's queries lie, no more than a tile has rows, for each of `len` keys.
    fn rows<'a>(&'a self, head: BiasHead, rows: Range<usize>, memory: &'a mut [f32]) -> BiasRows<'a>;
}

/// What a [`Bias`] may depend on.
#[derive(Debug, Clone, Copy)]
pub struct BiasHead<'a> {
    pub head: usize,
    /// Tokens of the sequence.
    pub len: usize,
    /// `[len, stride]`, of which the first `head_dim` are the head's.
    pub queries: &'a [f32],
    pub keys: &'a [f32],
    pub stride: usize,
}

/// A matrix `[rows, len]` whose row `i` starts at `start + i * step`.
#[derive(Debug, Clone, Copy)]
pub struct BiasRows<'a> {
    pub values: &'a [f32],
    pub start: usize,
    pub step: isize,
}

impl<'a> BiasRows<'a> {
    /// The `rows` of a head of `len` tokens whose bias depends on nothing but the offset of a key from its query, of which
    /// `values [2 * len - 1]` has each. A query's own position moves up by one from row to row, so that a row starts one
    /// number before the last one.
    pub fn by_distance(values: &'a [f32], len: usize, rows: Range<usize>) -> Self {
        Self { values, start: len - 1 - rows.start, step: -1 }
    }

    #[inline(always)]
    pub(super) fn row(self, i: usize, keys: Range<usize>) -> &'a [f32] {
        let start = self.start.wrapping_add_signed(self.step * i as isize);
        &self.values[start + keys.start..start + keys.end]
    }
}

/// The bias of a head, prepared.
pub(super) struct HeadBias<'a> {
    bias: &'a dyn Bias,
    at: BiasHead<'a>,
    memory: &'a mut [f32],
}

impl<'a> HeadBias<'a> {
    /// Prepares the bias of a head in `memory`, as much as the bias says.
    #[inline(always)]
    pub(super) fn prepare(bias: &'a dyn Bias, at: BiasHead<'a>, memory: &'a mut [f32]) -> Self {
        bias.prepare(at, memory);
        Self { bias, at, memory }
    }

    #[inline(always)]
    pub(super) fn rows(&mut self, rows: Range<usize>) -> BiasRows<'_> {
        self.bias.rows(self.at, rows, self.memory)
    }
}
