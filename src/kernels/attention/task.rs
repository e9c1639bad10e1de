//! What one thread takes of an attention: some heads of some sequences, and where their numbers lie.

use std::ops::Range;

use super::bias::{Bias, BiasHead, HeadBias};
use super::shape::AttentionShape;
use crate::kernels::prefetch::prefetch;

/// How many tokens ahead of those that are packed the memory is asked for. Without it a third of the time of a text of 256
/// tokens, with heads of 32, went to waiting here.
const TOKENS_AHEAD: usize = 8;

/// What tokens attend with, and to.
#[derive(Clone, Copy)]
pub struct AttentionInputs<'a> {
    /// `[tokens, (heads + 2 * kv_heads) * head_dim]`: queries, keys and values of a token one after the other.
    pub qkv: &'a [f32],
    /// `[sequences + 1]`: cumulative lengths; no token sees another sequence.
    pub offsets: &'a [u32],
    /// `[past, 2 * kv_heads * head_dim]`: keys and values of tokens that come before each of the sequences.
    pub past: &'a [f32],
    pub bias: Option<&'a dyn Bias>,
    /// `[sequences]`: the token of each whose output is wanted, where that is one; no sequence is empty then.
    pub rows: Option<&'a [u32]>,
}

/// An output that several threads write, each its own heads of its own sequences.
pub(super) struct HeadsOutput(pub(super) *mut f32);

// SAFETY: `attention` borrows the output mutably for as long as this lives, and gives every thread other heads.
unsafe impl Sync for HeadsOutput {}

/// Some (sequence, head) pairs, numbered `sequence * heads + head`.
pub(super) struct Tasks<'a> {
    pub(super) shape: &'a AttentionShape,
    pub(super) inputs: AttentionInputs<'a>,
    pub(super) past_tokens: usize,
    pub(super) out: &'a HeadsOutput,
    pub(super) tasks: Range<usize>,
}

/// One head of one sequence.
#[derive(Clone)]
pub(super) struct SequenceHead<'a> {
    pub(super) shape: &'a AttentionShape,
    /// Its number.
    pub(super) head: usize,
    /// Tokens in the sequence.
    pub(super) len: usize,
    /// Tokens that come before it.
    past: usize,
    /// `[len, width]`
    qkv: &'a [f32],
    /// `[past, 2 * kv_heads * head_dim]`
    past_kv: &'a [f32],
    bias: Option<&'a dyn Bias>,
    /// The tokens whose output is wanted.
    pub(super) wanted: Range<usize>,
    /// `[wanted, heads * head_dim]`, from this head of the first one on; no other thread writes this head of these
    /// tokens.
    pub(super) out: *mut f32,
}

impl<'a> Tasks<'a> {
    /// The heads of sequences that are not empty.
    #[inline(always)]
    pub(super) fn heads(&self) -> impl Iterator<Item = SequenceHead<'a>> + use<'a> {
        let Self { shape, inputs: AttentionInputs { qkv, offsets, past, bias, rows }, past_tokens, out, .. } = *self;
        let AttentionShape { heads, head_dim, .. } = *shape;
        let width = shape.width();
        self.tasks.clone().filter_map(move |task| {
            let (sequence, head) = (task / heads, task % heads);
            let (start, end) = (offsets[sequence] as usize, offsets[sequence + 1] as usize);
            let (first, wanted) = match rows {
                None => (start, 0..end - start),
                Some(rows) => (sequence, rows[sequence] as usize - start..rows[sequence] as usize - start + 1),
            };
            (start < end).then(|| SequenceHead {
                shape,
                head,
                len: end - start,
                past: past_tokens,
                qkv: &qkv[start * width..end * width],
                past_kv: past,
                bias,
                wanted,
                // SAFETY: the row and the column are within the output.
                out: unsafe { out.0.add((first * heads + head) * head_dim) },
            })
        })
    }
}

impl<'a> SequenceHead<'a> {
    /// Tokens that are seen or hidden by the mask.
    #[inline(always)]
    pub(super) fn keys(&self) -> usize {
        self.past + self.len
    }

    /// The queries of a token of the sequence, `[head_dim]`.
    #[inline(always)]
    pub(super) fn query(&self, token: usize) -> &'a [f32] {
        self.of_token(token, self.head)
    }

    /// The keys of token `j` of past and sequence, `[head_dim]`.
    #[inline(always)]
    pub(super) fn key(&self, j: usize) -> &'a [f32] {
        self.shared(j, 0)
    }

    /// The values of token `j` of past and sequence, `[head_dim]`.
    #[inline(always)]
    pub(super) fn value(&self, j: usize) -> &'a [f32] {
        self.shared(j, 1)
    }

    /// Where the keys of some tokens of the sequence lie, and the bytes from one token to the next; None where one of them
    /// comes before the sequence.
    #[inline(always)]
    pub(super) fn keys_of(&self, tokens: Range<usize>) -> Option<(*const i8, usize)> {
        let stride = size_of::<f32>() * self.shape.width();
        (self.past <= tokens.start && tokens.end <= self.keys())
            .then(|| (self.key(tokens.start).as_ptr().cast(), stride))
    }

    /// Asks the memory for what a later token of the sequence has for this head: it lies far from this one's, where no CPU
    /// looks for it by itself.
    #[inline(always)]
    pub(super) fn prefetch_after(&self, token: usize) {
        let AttentionShape { heads, kv_heads, head_dim, .. } = *self.shape;
        let shared = heads + self.head / (heads / kv_heads);
        let later = self.qkv.as_ptr().wrapping_add((token + TOKENS_AHEAD) * self.shape.width());
        for column in [self.head, shared, shared + kv_heads] {
            for number in (0..head_dim).step_by(16) {
                prefetch(later.wrapping_add(column * head_dim + number).cast());
            }
        }
    }

    #[inline(always)]
    fn shared(&self, j: usize, part: usize) -> &'a [f32] {
        let AttentionShape { heads, kv_heads, head_dim, .. } = *self.shape;
        let column = part * kv_heads + self.head / (heads / kv_heads);
        match j.checked_sub(self.past) {
            Some(token) => self.of_token(token, heads + column),
            None => &self.past_kv[(j * 2 * kv_heads + column) * head_dim..][..head_dim],
        }
    }

    #[inline(always)]
    fn of_token(&self, token: usize, column: usize) -> &'a [f32] {
        let head_dim = self.shape.head_dim;
        &self.qkv[token * self.shape.width() + column * head_dim..][..head_dim]
    }

    /// What is added to the scores, with memory as the bias says.
    #[inline(always)]
    pub(super) fn bias<'m>(&self, memory: &'m mut [f32]) -> Option<HeadBias<'m>>
    where
        'a: 'm,
    {
        let bias = self.bias?;
        let AttentionShape { heads, kv_heads, head_dim, .. } = *self.shape;
        let queries = &self.qkv[self.head * head_dim..];
        let keys = &self.qkv[(heads + self.head / (heads / kv_heads)) * head_dim..];
        let at = BiasHead { head: self.head, len: self.len, queries, keys, stride: self.shape.width() };
        Some(HeadBias::prepare(bias, at, memory))
    }

    /// The keys that a query row sees.
    #[inline(always)]
    pub(super) fn visible_keys(&self, row: usize) -> Range<usize> {
        self.shape.mask.keys(self.past + row, self.keys())
    }

    /// The keys that any of the query rows sees.
    #[inline(always)]
    pub(super) fn visible_keys_of_any(&self, rows: Range<usize>) -> Range<usize> {
        self.visible_keys(rows.start).start..self.visible_keys(rows.end - 1).end
    }
}
