//! Scaled dot-product attention (Vaswani et al. 2017) over packed sequences.
//!
//! ```text
//! for (sequence, head), each on one thread:
//!     keys -> panels [head_dim, width]; values -> [keys, head_dim]
//!     for a few query rows:
//!         scores = rows · keysᵀ                    as tiles: [rows, keys]
//!         scores = scores * scale + bias           minus infinity where the mask hides a key
//!         weights = exp(scores - max(scores))      a row's maximum first, then its exponentials and their sum
//!         out = (weights · values) / Σ weights
//! ```
//!
//! The softmax takes two passes over whole rows of scores; it is not the online softmax (Milakov and Gimelshein 2018)
//! of FlashAttention (Dao et al. 2022). Like the latter it never holds `[len, len]` scores and divides the outputs,
//! which are fewer than the weights; but it cuts queries alone into blocks and not keys: six rows of scores stay in the
//! cache at any length that a model takes, so that no sum has to be scaled again.
//!
//! Why it is right: subtracting the maximum changes no quotient, all exponentials are at most 1, and one of them is 1,
//! so that nothing overflows and the sum is not zero. A row depends on nothing but its own sequence: its bits are the
//! same in every batch.
//!
//! `shape.rs` says what attends and where it lies, `task.rs` what one thread takes, `bias.rs` what may be added to
//! scores, `panels.rs` how keys are cut; `float.rs` and `int8.rs` are the two arithmetics, `disentangled.rs` is
//! DeBERTa's bias.

mod disentangled;
mod float;
mod int8;

use std::ops::Range;

use crate::kernels::aligned::scratch;
use crate::kernels::{Dtype, Isa, parallel_for};

pub use disentangled::{Buckets, DisentangledBias};

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

#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Of queries.
    pub heads: usize,
    /// Of keys and values, each shared by `heads / kv_heads` neighbouring heads of queries.
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Scores are multiplied by it: usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    pub mask: Mask,
}

impl AttentionShape {
    /// Numbers of a token's queries, keys and values together.
    pub fn width(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }
}

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
    #[inline(always)]
    fn row(self, i: usize, keys: Range<usize>) -> &'a [f32] {
        let start = self.start.wrapping_add_signed(self.step * i as isize);
        &self.values[start + keys.start..start + keys.end]
    }
}

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

/// Writes `out [tokens, heads * head_dim]`, or `[sequences, heads * head_dim]` for one token of each; with [`Dtype::Int8`] in integers unless tokens see only what is before them, else in
/// float32. (Integers have a scale that all values of a text agree on: a token's output would depend on what comes after it.)
pub fn attention(isa: Isa, dtype: Dtype, shape: &AttentionShape, inputs: AttentionInputs, out: &mut [f32]) {
    let AttentionInputs { qkv, offsets, past, bias, rows } = inputs;
    let AttentionShape { heads, kv_heads, head_dim, mask, .. } = *shape;
    let tokens = *offsets.last().expect("offsets start with 0") as usize;
    assert!(offsets.is_sorted(), "offsets are cumulative");
    assert!(heads.is_multiple_of(kv_heads), "heads share keys evenly");
    assert_eq!(qkv.len(), tokens * shape.width(), "qkv holds all tokens");
    assert_eq!(out.len(), rows.map_or(tokens, <[u32]>::len) * heads * head_dim, "out holds all rows");
    let within = |(text, row): (&[u32], &u32)| (text[0]..text[1]).contains(row);
    assert!(
        rows.is_none_or(|rows| rows.len() + 1 == offsets.len() && offsets.windows(2).zip(rows).all(within)),
        "each sequence has one of the rows"
    );
    let past_tokens = past.len() / (2 * kv_heads * head_dim);
    assert!(past.is_empty() || mask == Mask::Causal && bias.is_none(), "only what looks back has a past");
    let sequences = offsets.len() - 1;
    let longest = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0);
    let out = Heads(out.as_mut_ptr());
    let pairs = |pair: &[u32]| {
        let len = (pair[1] - pair[0]) as usize;
        len * (len + past_tokens)
    };
    let pairs: usize = offsets.windows(2).map(pairs).sum();
    let work = 2 * pairs * head_dim / sequences.max(1);
    parallel_for(sequences * heads, work, |tasks| {
        let tasks = Tasks { shape, inputs, past_tokens, out: &out, tasks };
        let keys = past_tokens + longest;
        let bias_memory = bias.map_or(0, |bias| bias.memory_for(longest));
        // Around `run` and not inside it: a closure in there would be compiled without the instruction set.
        match dtype {
            Dtype::Int8 if mask != Mask::Causal => scratch(int8::memory_for(longest, head_dim), |memory| {
                scratch(bias_memory, |bias_memory| isa.run_int8(int8::Int8Attention { tasks, memory, bias_memory }));
            }),
            _ => scratch(float::memory_for(keys, head_dim), |memory| {
                scratch(bias_memory, |bias_memory| isa.run(float::FloatAttention { tasks, memory, bias_memory }));
            }),
        }
    });
}

/// An output that several threads write, each its own heads of its own sequences.
struct Heads(*mut f32);

// SAFETY: `attention` borrows the output mutably for as long as this lives, and gives every thread other heads.
unsafe impl Sync for Heads {}

/// Some (sequence, head) pairs, numbered `sequence * heads + head`.
struct Tasks<'a> {
    shape: &'a AttentionShape,
    inputs: AttentionInputs<'a>,
    past_tokens: usize,
    out: &'a Heads,
    tasks: Range<usize>,
}

/// One head of one sequence.
#[derive(Clone)]
struct SequenceHead<'a> {
    shape: &'a AttentionShape,
    /// Its number.
    head: usize,
    /// Tokens in the sequence.
    len: usize,
    /// Tokens that come before it.
    past: usize,
    /// `[len, width]`
    qkv: &'a [f32],
    /// `[past, 2 * kv_heads * head_dim]`
    past_kv: &'a [f32],
    bias: Option<&'a dyn Bias>,
    /// The tokens whose output is wanted.
    wanted: Range<usize>,
    /// `[wanted, heads * head_dim]`, from this head of the first one on; nobody else writes this head of these tokens.
    out: *mut f32,
}

impl<'a> Tasks<'a> {
    /// The heads of sequences that are not empty.
    #[inline(always)]
    fn heads(&self) -> impl Iterator<Item = SequenceHead<'a>> + use<'a> {
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
    fn keys(&self) -> usize {
        self.past + self.len
    }

    /// The queries of a token of the sequence, `[head_dim]`.
    #[inline(always)]
    fn query(&self, token: usize) -> &'a [f32] {
        self.of_token(token, self.head)
    }

    /// The keys of token `j` of past and sequence, `[head_dim]`.
    #[inline(always)]
    fn key(&self, j: usize) -> &'a [f32] {
        self.shared(j, 0)
    }

    /// The values of token `j` of past and sequence, `[head_dim]`.
    #[inline(always)]
    fn value(&self, j: usize) -> &'a [f32] {
        self.shared(j, 1)
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
    fn bias<'m>(&self, memory: &'m mut [f32]) -> Option<HeadBias<'m>>
    where
        'a: 'm,
    {
        let bias = self.bias?;
        let AttentionShape { heads, kv_heads, head_dim, .. } = *self.shape;
        let queries = &self.qkv[self.head * head_dim..];
        let keys = &self.qkv[(heads + self.head / (heads / kv_heads)) * head_dim..];
        let at = BiasHead { head: self.head, len: self.len, queries, keys, stride: self.shape.width() };
        bias.prepare(at, memory);
        Some(HeadBias { bias, at, memory })
    }

    /// The keys that a query row sees.
    #[inline(always)]
    fn own(&self, row: usize) -> Range<usize> {
        self.shape.mask.keys(self.past + row, self.keys())
    }

    /// The keys that any of the query rows sees.
    #[inline(always)]
    fn seen(&self, rows: Range<usize>) -> Range<usize> {
        self.own(rows.start).start..self.own(rows.end - 1).end
    }
}

/// The bias of a head, prepared.
struct HeadBias<'a> {
    bias: &'a dyn Bias,
    at: BiasHead<'a>,
    memory: &'a mut [f32],
}

impl HeadBias<'_> {
    #[inline(always)]
    fn rows(&mut self, rows: Range<usize>) -> BiasRows<'_> {
        self.bias.rows(self.at, rows, self.memory)
    }
}

/// The columns of the panel of `width` that key `j` lies in; `padded` keys in all.
#[inline(always)]
fn panel_of(j: usize, width: usize, padded: usize) -> Range<usize> {
    let start = j / width * width;
    start..padded.min(start + width)
}

/// The panels of the keys `within`, which are whole panels.
#[inline(always)]
fn panels(within: Range<usize>, width: usize, padded: usize) -> impl Iterator<Item = Range<usize>> {
    within.step_by(width).map(move |start| panel_of(start, width, padded))
}

/// Leaves a row of scores, of the keys in `panels`, only those of `own`.
#[inline(always)]
fn hide_others(scores: &mut [f32], panels: Range<usize>, own: Range<usize>) {
    scores[..own.start - panels.start].fill(f32::NEG_INFINITY);
    scores[own.end - panels.start..].fill(f32::NEG_INFINITY);
}

#[cfg(test)]
mod tests;
