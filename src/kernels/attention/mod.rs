//! Scaled dot-product attention over packed sequences.
//!
//! For each sequence and head the keys are transposed into panels and the values packed beside them; then a few query rows at a
//! time compute their scores, turn them into weights and take the weighted sum of the values. Only so many rows of scores exist,
//! so the work stays in the cache at any length.

mod float;
mod int8;

use std::ops::Range;

use crate::kernels::aligned::scratch;
use crate::kernels::{Dtype, Isa, split};

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
pub struct Attention {
    pub heads: usize,
    pub head_dim: usize,
    /// Scores are multiplied by it: usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    pub mask: Mask,
}

/// `qkv [tokens, 3 * heads * head_dim]` (queries, keys and values of a token one after the other) to
/// `out [tokens, heads * head_dim]`. `offsets [sequences + 1]` are cumulative lengths; no token sees another sequence.
/// With [`Dtype::Int8`] in integers, else in float32.
pub fn attention(isa: Isa, dtype: Dtype, shape: &Attention, qkv: &[f32], offsets: &[u32], out: &mut [f32]) {
    let hidden = shape.heads * shape.head_dim;
    let tokens = *offsets.last().expect("offsets start with 0") as usize;
    assert!(offsets.is_sorted(), "offsets are cumulative");
    assert!(qkv.len() == 3 * tokens * hidden && out.len() == tokens * hidden, "qkv and out hold all tokens");
    let sequences = offsets.len() - 1;
    let longest = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0);
    let out = Heads(out.as_mut_ptr());
    let pairs: usize = offsets.windows(2).map(|pair| ((pair[1] - pair[0]) as usize).pow(2)).sum();
    let work = 2 * pairs * shape.head_dim / sequences.max(1);
    split(sequences * shape.heads, work, |tasks| {
        let tasks = Tasks { shape, qkv, offsets, out: &out, tasks };
        // Around `run` and not inside it: a closure in there would be compiled without the instruction set.
        match dtype {
            Dtype::Int8 => scratch(int8::memory_for(longest, shape.head_dim), |memory| {
                isa.run_int8(int8::Attend { tasks, memory });
            }),
            _ => scratch(float::memory_for(longest, shape.head_dim), |memory| {
                isa.run(float::Attend { tasks, memory });
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
    shape: &'a Attention,
    qkv: &'a [f32],
    offsets: &'a [u32],
    out: &'a Heads,
    tasks: Range<usize>,
}

/// One head of one sequence.
#[derive(Clone, Copy)]
struct Head<'a> {
    shape: &'a Attention,
    /// Tokens in the sequence.
    len: usize,
    /// `[len, 3 * heads * head_dim]`, from this head's queries of the first token on.
    qkv: &'a [f32],
    /// `[len, heads * head_dim]`, from this head of the first token on; nobody else writes this head of these tokens.
    out: *mut f32,
}

impl<'a> Tasks<'a> {
    /// The heads of sequences that are not empty.
    #[inline(always)]
    fn heads(&self) -> impl Iterator<Item = Head<'a>> + use<'a> {
        let Self { shape, qkv, offsets, out, .. } = *self;
        let Attention { heads, head_dim, .. } = *shape;
        self.tasks.clone().filter_map(move |task| {
            let (start, end) = (offsets[task / heads] as usize, offsets[task / heads + 1] as usize);
            let column = task % heads * head_dim;
            (start < end).then(|| Head {
                shape,
                len: end - start,
                qkv: &qkv[start * 3 * heads * head_dim + column..end * 3 * heads * head_dim],
                // SAFETY: the token and the column are within the output.
                out: unsafe { out.0.add(start * heads * head_dim + column) },
            })
        })
    }
}

impl<'a> Head<'a> {
    /// Of a token the queries (0), the keys (1) or the values (2), `[head_dim]`.
    #[inline(always)]
    fn part(self, token: usize, part: usize) -> &'a [f32] {
        let hidden = self.shape.heads * self.shape.head_dim;
        &self.qkv[(token * 3 + part) * hidden..][..self.shape.head_dim]
    }

    /// The keys that any of the query rows sees.
    #[inline(always)]
    fn seen(self, rows: Range<usize>) -> Range<usize> {
        let mask = self.shape.mask;
        mask.keys(rows.start, self.len).start..mask.keys(rows.end - 1, self.len).end
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
