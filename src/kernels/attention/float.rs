//! Attention in float32.

use std::ops::Range;

use super::{Attention, Head, Tasks, hide_others, panel_of, panels};
use crate::kernels::math::exp2;
use crate::kernels::prefetch::Ahead;
use crate::kernels::simd::{MOST_LANES, Operation, Simd};
use crate::kernels::tile::{Float, Terms, tile, with_tile};

/// Query rows at a time.
const ROWS: usize = 6;

/// Numbers that one head of `len` tokens needs beside its input: transposed keys, values, and rows of scores, all padded to whole
/// vectors of any set.
pub(super) fn memory_for(len: usize, head_dim: usize) -> usize {
    let (padded, padded_dim) = (len.next_multiple_of(MOST_LANES), head_dim.next_multiple_of(MOST_LANES));
    padded * head_dim + len * padded_dim + ROWS * padded
}

pub(super) struct Attend<'a> {
    pub(super) tasks: Tasks<'a>,
    /// As `memory_for` says.
    pub(super) memory: &'a mut [f32],
}

impl Operation for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for head in self.tasks.heads() {
            attend(s, head, self.memory);
        }
    }
}

/// One head, with memory as `memory_for` says.
#[inline(always)]
pub(super) fn attend<S: Simd>(s: S, head: Head, memory: &mut [f32]) {
    let (len, head_dim) = (head.len, head.shape.head_dim);
    let padded = len.next_multiple_of(S::LANES);
    let padded_dim = head_dim.next_multiple_of(S::LANES);
    let (keys, rest) = memory.split_at_mut(padded * head_dim);
    let (values, scores) = rest.split_at_mut(len * padded_dim);
    for j in 0..len {
        let panel = panel_of(j, Float::<S>::WIDTH, padded);
        let to = &mut keys[panel.start * head_dim + j - panel.start..];
        to.iter_mut().step_by(panel.len()).zip(head.part(j, 1)).for_each(|(to, &from)| *to = from);
        let value = &mut values[j * padded_dim..][..padded_dim];
        value[..head_dim].copy_from_slice(head.part(j, 2));
        value[head_dim..].fill(0.0);
    }
    for j in len..padded {
        let panel = panel_of(j, Float::<S>::WIDTH, padded);
        let to = &mut keys[panel.start * head_dim + j - panel.start..];
        to.iter_mut().step_by(panel.len()).take(head_dim).for_each(|to| *to = 0.0);
    }
    for first in (0..len).step_by(ROWS) {
        // SAFETY: the rows are within the sequence.
        unsafe { attend_rows(s, head, first..len.min(first + ROWS), keys, values, scores) };
    }
}

/// The output of a few query rows.
///
/// # Safety
/// `rows` are within the sequence; `keys` are panels of `[head_dim, width]`, `values` is `[len, padded_dim]`.
#[inline(always)]
unsafe fn attend_rows<S: Simd>(s: S, head: Head, rows: Range<usize>, keys: &[f32], values: &[f32], scores: &mut [f32]) {
    let Head { len, out, .. } = head;
    let Attention { heads, head_dim, scale, mask } = *head.shape;
    let hidden = heads * head_dim;
    let padded = len.next_multiple_of(S::LANES);
    let padded_dim = head_dim.next_multiple_of(S::LANES);
    let queries = head.part(rows.start, 0);
    let seen = head.seen(rows.clone());
    let within =
        panel_of(seen.start, Float::<S>::WIDTH, padded).start..panel_of(seen.end - 1, Float::<S>::WIDTH, padded).end;

    for panel in panels(within.clone(), Float::<S>::WIDTH, padded) {
        // SAFETY: a panel is head_dim rows of its width; scores has `padded` numbers for each row.
        unsafe {
            with_tile!(Float<S>, rows.len(), panel.len() / S::LANES, MR, NV => {
                let b = keys.as_ptr().add(panel.start * head_dim);
                let sums = tile::<Float<S>, MR, NV>(Float(s), head_dim, (queries.as_ptr(), 3 * hidden), (b, NV * S::LANES), Ahead::NOTHING);
                for (i, row) in sums.iter().enumerate() {
                    for (j, &sum) in row.iter().enumerate() {
                        s.store(scores.as_mut_ptr().add(i * padded + panel.start + j * S::LANES), sum);
                    }
                }
            });
        }
    }

    // Weights are not divided by their sum: the outputs are, which are fewer.
    let mut inverse = [0.0; ROWS];
    for (i, row) in rows.clone().enumerate() {
        let own = mask.keys(row, len);
        let scores = &mut scores[i * padded..][within.clone()];
        hide_others(scores, within.clone(), own);
        inverse[i] = 1.0 / exponentials(s, scores, scale);
    }

    for column in (0..padded_dim).step_by(Float::<S>::WIDTH) {
        let count = Float::<S>::VECTORS.min((padded_dim - column) / S::LANES);
        // SAFETY: weights are rows of `padded` numbers, of which those from within.start to seen.end are set; the values have as
        // many rows; the output's columns are this head's.
        unsafe {
            with_tile!(Float<S>, rows.len(), count, MR, NV => {
                let a = scores.as_ptr().add(within.start);
                let b = values.as_ptr().add(within.start * padded_dim + column);
                let sums = tile::<Float<S>, MR, NV>(Float(s), seen.end - within.start, (a, padded), (b, padded_dim), Ahead::NOTHING);
                for (i, row) in sums.iter().enumerate() {
                    for (j, &sum) in row.iter().enumerate() {
                        let y = s.mul(sum, s.splat(inverse[i]));
                        let to = out.add((rows.start + i) * hidden + column + j * S::LANES);
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
