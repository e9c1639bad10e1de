//! Attention in float32: the loop of `mod.rs` with tiles of 6 rows.
//!
//! Scores are scaled, and the maximum subtracted, in the multiply-add before the exponential, which is `2^x`: the scale
//! is multiplied by log2(e) once. Keys that are padding have scores of zero and are hidden with those that the mask
//! hides.

use std::ops::Range;

use super::bias::{BiasRows, HeadBias};
use super::panels::{mask_row, panel_of, panels};
use super::shape::AttentionShape;
use super::task::{SequenceHead, Tasks};
use crate::kernels::math::exp2;
use crate::kernels::prefetch::Prefetch;
use crate::kernels::simd::{MAX_LANES, Operation, Simd};
use crate::kernels::tile::{Float, MicroKernel, tile, with_tile};

/// Query rows at a time, at most: those of a tile.
pub(super) const MAX_ROWS: usize = 6;

/// Numbers that one head with so many keys needs beside its input: transposed keys, values, and rows of scores, all
/// padded to whole vectors of any set.
pub(super) fn memory_for(keys: usize, head_dim: usize) -> usize {
    let (padded, padded_dim) = (keys.next_multiple_of(MAX_LANES), head_dim.next_multiple_of(MAX_LANES));
    padded * head_dim + keys * padded_dim + MAX_ROWS * padded
}

pub(super) struct FloatAttention<'a> {
    pub(super) tasks: Tasks<'a>,
    /// As `memory_for` says.
    pub(super) memory: &'a mut [f32],
    /// As the bias says.
    pub(super) bias_memory: &'a mut [f32],
}

impl Operation for FloatAttention<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for head in self.tasks.heads() {
            let bias = head.bias(self.bias_memory);
            attend(s, &head, bias, self.memory);
        }
    }
}

/// One head, with memory as `memory_for` says.
#[inline(always)]
pub(super) fn attend<S: Simd>(s: S, head: &SequenceHead, mut bias: Option<HeadBias>, memory: &mut [f32]) {
    let (count, head_dim) = (head.keys(), head.shape.head_dim);
    let padded = count.next_multiple_of(S::LANES);
    let padded_dim = head_dim.next_multiple_of(S::LANES);
    let (keys, rest) = memory.split_at_mut(padded * head_dim);
    let (values, scores) = rest.split_at_mut(count * padded_dim);
    for j in 0..count {
        head.prefetch_after(j);
        let value = &mut values[j * padded_dim..][..padded_dim];
        value[..head_dim].copy_from_slice(head.value(j));
        value[head_dim..].fill(0.0);
    }
    pack_keys(s, head, padded, keys);
    for first in head.wanted.clone().step_by(MAX_ROWS) {
        let rows = first..head.wanted.end.min(first + MAX_ROWS);
        let bias = bias.as_mut().map(|bias| bias.rows(rows.clone()));
        // SAFETY: the rows are within the sequence.
        unsafe { attend_rows(s, head, bias, rows, keys, values, scores) };
    }
}

/// Lays the keys out as panels of `[head_dim, width]`, with zeros up to `padded` of them.
#[inline(always)]
fn pack_keys<S: Simd>(s: S, head: &SequenceHead, padded: usize, keys: &mut [f32]) {
    let (count, head_dim) = (head.keys(), head.shape.head_dim);
    for panel in panels(0..padded, Float::<S>::WIDTH, padded) {
        let width = panel.len();
        let to = &mut keys[panel.start * head_dim..panel.end * head_dim];
        for start in panel.clone().step_by(S::LANES) {
            let column = start - panel.start;
            let mut packed = 0;
            if let Some((from, stride)) = head.keys_of(start..start + S::LANES) {
                packed = head_dim / S::LANES * S::LANES;
                for i in (0..packed).step_by(S::LANES) {
                    // SAFETY: as many tokens have numbers from i to i + LANES, each of four bytes, and so has the panel.
                    unsafe {
                        let to = to.as_mut_ptr().add(i * width + column).cast();
                        s.interleave(from.add(4 * i), stride, to, 4 * width);
                    }
                }
            }
            if packed == head_dim {
                continue;
            }
            for j in start..start + S::LANES {
                let to = &mut to[packed * width + j - panel.start..];
                let to = to.iter_mut().step_by(width);
                match j < count {
                    true => to.zip(&head.key(j)[packed..]).for_each(|(to, &from)| *to = from),
                    false => to.for_each(|to| *to = 0.0),
                }
            }
        }
    }
}

/// The output of a few query rows.
///
/// # Safety
/// `rows` are within the sequence; `keys` are panels of `[head_dim, width]`, `values` is `[keys, padded_dim]`.
#[inline(always)]
unsafe fn attend_rows<S: Simd>(
    s: S,
    head: &SequenceHead,
    bias: Option<BiasRows>,
    rows: Range<usize>,
    keys: &[f32],
    values: &[f32],
    scores: &mut [f32],
) {
    let out = head.out;
    let AttentionShape { heads, head_dim, scale, .. } = *head.shape;
    let (hidden, stride) = (heads * head_dim, head.shape.width());
    let padded = head.keys().next_multiple_of(S::LANES);
    let padded_dim = head_dim.next_multiple_of(S::LANES);
    let queries = head.query(rows.start);
    let seen = head.visible_keys_of_any(rows.clone());
    let within =
        panel_of(seen.start, Float::<S>::WIDTH, padded).start..panel_of(seen.end - 1, Float::<S>::WIDTH, padded).end;

    // SAFETY: the queries are rows of the sequence; scores has `padded` numbers for each of them.
    unsafe {
        let (x, panels) = ((queries.as_ptr(), stride), (keys.as_ptr(), padded));
        multiply(s, x, rows.len(), head_dim, panels, within.clone(), scores.as_mut_ptr());
    }

    // Weights are not divided by their sum: the outputs are, which are fewer.
    let mut inverse = [0.0; MAX_ROWS];
    for (i, row) in rows.clone().enumerate() {
        let own = head.visible_keys(row);
        let scores = &mut scores[i * padded..][within.clone()];
        let mut scale = scale;
        if let Some(bias) = bias {
            let scores = &mut scores[own.start - within.start..own.end - within.start];
            scores.iter_mut().zip(bias.row(i, own.clone())).for_each(|(score, bias)| *score = *score * scale + bias);
            scale = 1.0;
        }
        mask_row(scores, within.clone(), own);
        inverse[i] = 1.0 / exponentials(s, scores, scale);
    }

    for column in (0..padded_dim).step_by(Float::<S>::WIDTH) {
        let count = Float::<S>::VECTORS.min((padded_dim - column) / S::LANES);
        // SAFETY: weights are rows of `padded` numbers, of which those from within.start to seen.end are set; the
        // values have as many rows; the output's columns are this head's.
        unsafe {
            with_tile!(Float<S>, rows.len(), count, MR, NV => {
                let a = scores.as_ptr().add(within.start);
                let b = values.as_ptr().add(within.start * padded_dim + column);
                let sums = tile::<Float<S>, MR, NV>(Float(s), seen.end - within.start, (a, padded), (b, padded_dim), Prefetch::NONE);
                for (i, row) in sums.iter().enumerate() {
                    for (j, &sum) in row.iter().enumerate() {
                        let y = s.mul(sum, s.splat(inverse[i]));
                        let to = out.add((rows.start - head.wanted.start + i) * hidden + column + j * S::LANES);
                        match head_dim - column - j * S::LANES {
                            left if left >= S::LANES => s.store(to, y),
                            left => s.store_first(to, y, left),
                        }
                    }
                }
            });
        }
    }
}

/// `out[i, j] = x[i] · column j`, for a few rows `x [rows, head_dim]` that are `stride` numbers apart, for the columns
/// `within`, which are whole panels, and for `out [rows, padded]`.
///
/// # Safety
/// `x` is valid for reads of the rows, the panels for `head_dim` rows of all `padded` columns, `out` for writes; there
/// are 1 to MAX_ROWS rows.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd>(
    s: S,
    x: (*const f32, usize),
    rows: usize,
    head_dim: usize,
    (columns, padded): (*const f32, usize),
    within: Range<usize>,
    out: *mut f32,
) {
    for panel in panels(within, Float::<S>::WIDTH, padded) {
        // SAFETY: a panel is head_dim rows of its width, and lies where those before it end.
        unsafe {
            with_tile!(Float<S>, rows, panel.len() / S::LANES, MR, NV => {
                let b = columns.add(panel.start * head_dim);
                let sums = tile::<Float<S>, MR, NV>(Float(s), head_dim, x, (b, NV * S::LANES), Prefetch::NONE);
                for (i, row) in sums.iter().enumerate() {
                    for (j, &sum) in row.iter().enumerate() {
                        s.store(out.add(i * padded + panel.start + j * S::LANES), sum);
                    }
                }
            });
        }
    }
}

/// Replaces scores by `exp(scale * (score - largest))` and gives their sum. The length is in whole vectors.
#[inline(always)]
fn exponentials<S: Simd>(s: S, scores: &mut [f32], scale: f32) -> f32 {
    let mut largest = s.splat(f32::NEG_INFINITY);
    for chunk in scores.chunks_exact(S::LANES) {
        // SAFETY: a chunk is LANES numbers.
        largest = s.max(largest, unsafe { s.load(chunk.as_ptr()) });
    }
    let scale = scale * std::f32::consts::LOG2_E;
    let shift = s.splat(-scale * s.largest(largest));
    let scale = s.splat(scale);
    let mut sum = s.splat(0.0);
    for chunk in scores.chunks_exact_mut(S::LANES) {
        // SAFETY: a chunk is LANES numbers.
        unsafe {
            let weight = exp2(s, s.mul_add(s.load(chunk.as_ptr()), scale, shift));
            sum = s.add(sum, weight);
            s.store(chunk.as_mut_ptr(), weight);
        }
    }
    s.sum(sum)
}
