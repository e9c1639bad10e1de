//! Scaled dot-product attention over packed sequences.
//!
//! For each sequence and head the keys are transposed into panels and the values copied beside them; then a few query rows at a
//! time compute their scores, turn them into weights in place and take the weighted sum of the values. At most
//! `ROWS` rows of scores exist, so the work stays in the cache at any length.

use std::ops::Range;

use crate::kernels::aligned::scratch;
use crate::kernels::math::exp;
use crate::kernels::simd::{MOST_LANES, Operation, Simd};
use crate::kernels::tile::{ROWS, tile, vectors, with_tile};
use crate::kernels::{Isa, split};

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
    fn keys(self, position: usize, len: usize) -> Range<usize> {
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
pub fn attention(isa: Isa, shape: &Attention, qkv: &[f32], offsets: &[u32], out: &mut [f32]) {
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
        // Around `run` and not inside it: a closure in there would be compiled without the instruction set.
        scratch(memory_for(longest, shape.head_dim), |memory| {
            isa.run(Attend { shape, qkv, offsets, out: &out, tasks, memory });
        });
    });
}

/// Numbers that one head of `len` tokens needs beside its input: transposed keys, values, and rows of scores, all padded to whole
/// vectors of any set.
fn memory_for(len: usize, head_dim: usize) -> usize {
    let (padded, padded_dim) = (len.next_multiple_of(MOST_LANES), head_dim.next_multiple_of(MOST_LANES));
    padded * head_dim + len * padded_dim + ROWS * padded
}

/// An output that several threads write, each its own heads of its own sequences.
struct Heads(*mut f32);

// SAFETY: `attention` borrows the output mutably for as long as this lives, and gives every thread other heads.
unsafe impl Sync for Heads {}

/// Some (sequence, head) pairs, numbered `sequence * heads + head`.
struct Attend<'a> {
    shape: &'a Attention,
    qkv: &'a [f32],
    offsets: &'a [u32],
    out: &'a Heads,
    tasks: Range<usize>,
    /// As `memory_for` says.
    memory: &'a mut [f32],
}

impl Operation for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let heads = self.shape.heads;
        for task in self.tasks.clone() {
            let (start, end) = (self.offsets[task / heads] as usize, self.offsets[task / heads + 1] as usize);
            if start < end {
                self.head(s, start..end, task % heads);
            }
        }
    }
}

impl Attend<'_> {
    /// One head of the sequence at `tokens`.
    #[inline(always)]
    fn head<S: Simd>(&mut self, s: S, tokens: Range<usize>, head: usize) {
        let Attention { heads, head_dim, .. } = *self.shape;
        let hidden = heads * head_dim;
        let len = tokens.len();
        let padded = len.next_multiple_of(S::LANES);
        let padded_dim = head_dim.next_multiple_of(S::LANES);
        let sequence = &self.qkv[tokens.start * 3 * hidden..tokens.end * 3 * hidden];
        // SAFETY: the tokens are within the output, and this head of theirs is this call's alone.
        let out = unsafe { self.out.0.add(tokens.start * hidden + head * head_dim) };
        let Self { shape, memory, .. } = self;
        let (keys, rest) = memory.split_at_mut(padded * head_dim);
        let (values, scores) = rest.split_at_mut(len * padded_dim);
        for (j, row) in sequence.chunks_exact(3 * hidden).enumerate() {
            let part = |i: usize| &row[i * hidden + head * head_dim..][..head_dim];
            let panel = panel_of::<S>(j, padded);
            let to = &mut keys[panel.start * head_dim + j - panel.start..];
            to.iter_mut().step_by(panel.len()).zip(part(1)).for_each(|(to, &from)| *to = from);
            let value = &mut values[j * padded_dim..][..padded_dim];
            value[..head_dim].copy_from_slice(part(2));
            value[head_dim..].fill(0.0);
        }
        for j in len..padded {
            let panel = panel_of::<S>(j, padded);
            let to = &mut keys[panel.start * head_dim + j - panel.start..];
            to.iter_mut().step_by(panel.len()).take(head_dim).for_each(|to| *to = 0.0);
        }
        for first in (0..len).step_by(ROWS) {
            let rows = first..len.min(first + ROWS);
            let queries = &sequence[first * 3 * hidden + head * head_dim..];
            // SAFETY: the rows are within the sequence.
            unsafe { attend_rows(s, shape, rows, len, queries, keys, values, scores, out) };
        }
    }
}

/// The output of a few query rows.
///
/// # Safety
/// `queries` starts at this head of the first row; `keys` are panels of `[head_dim, width]`, `values` is
/// `[len, padded_dim]`, `out` points to this head of the sequence's first token.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the inner loop's state, all of it")]
unsafe fn attend_rows<S: Simd>(
    s: S,
    shape: &Attention,
    rows: Range<usize>,
    len: usize,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    scores: &mut [f32],
    out: *mut f32,
) {
    let Attention { heads, head_dim, scale, mask } = *shape;
    let hidden = heads * head_dim;
    let padded = len.next_multiple_of(S::LANES);
    let padded_dim = head_dim.next_multiple_of(S::LANES);
    let seen = mask.keys(rows.start, len).start..mask.keys(rows.end - 1, len).end;
    let panels = panel_of::<S>(seen.start, padded).start..panel_of::<S>(seen.end - 1, padded).end;

    let mut column = panels.start;
    while column < panels.end {
        let panel = panel_of::<S>(column, padded);
        // SAFETY: a panel is head_dim rows of its width; scores has `padded` numbers for each row.
        unsafe {
            with_tile!(S, rows.len(), panel.len() / S::LANES, MR, NV => {
                let b = keys.as_ptr().add(panel.start * head_dim);
                let sums = tile::<S, MR, NV>(s, head_dim, (queries.as_ptr(), 3 * hidden), (b, NV * S::LANES));
                for (i, row) in sums.iter().enumerate() {
                    for (j, &sum) in row.iter().enumerate() {
                        s.store(scores.as_mut_ptr().add(i * padded + panel.start + j * S::LANES), sum);
                    }
                }
            });
        }
        column = panel.end;
    }

    // Weights are not divided by their sum: the outputs are, which are fewer.
    let mut inverse = [0.0; ROWS];
    for (i, row) in rows.clone().enumerate() {
        let own = mask.keys(row, len);
        let scores = &mut scores[i * padded..][panels.clone()];
        scores[..own.start - panels.start].fill(f32::NEG_INFINITY);
        scores[own.end - panels.start..].fill(f32::NEG_INFINITY);
        inverse[i] = 1.0 / exponentials(s, scores, scale);
    }

    for column in (0..padded_dim).step_by(vectors::<S>() * S::LANES) {
        let count = vectors::<S>().min((padded_dim - column) / S::LANES);
        // SAFETY: weights are rows of `padded` numbers, of which those from panels.start to seen.end are set; the values have as
        // many rows; the output's columns are this head's.
        unsafe {
            with_tile!(S, rows.len(), count, MR, NV => {
                let a = scores.as_ptr().add(panels.start);
                let b = values.as_ptr().add(panels.start * padded_dim + column);
                let sums = tile::<S, MR, NV>(s, seen.end - panels.start, (a, padded), (b, padded_dim));
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

/// The columns of the panel of keys that key `j` lies in; `padded` keys in all.
#[inline(always)]
fn panel_of<S: Simd>(j: usize, padded: usize) -> Range<usize> {
    let width = vectors::<S>() * S::LANES;
    let start = j / width * width;
    start..padded.min(start + width)
}

/// Replaces scores by `exp(scale * (score - largest))` and gives their sum. The length is in whole vectors.
#[inline(always)]
fn exponentials<S: Simd>(s: S, scores: &mut [f32], scale: f32) -> f32 {
    let mut largest = s.splat(f32::NEG_INFINITY);
    for chunk in scores.chunks_exact(S::LANES) {
        // SAFETY: a chunk is LANES numbers.
        largest = s.max(largest, unsafe { s.load(chunk.as_ptr()) });
    }
    let shift = s.splat(-scale * s.largest(largest));
    let scale = s.splat(scale);
    let mut sum = s.splat(0.0);
    for chunk in scores.chunks_exact_mut(S::LANES) {
        // SAFETY: a chunk is LANES numbers.
        unsafe {
            let weight = exp(s, s.mul_add(s.load(chunk.as_ptr()), scale, shift));
            sum = s.add(sum, weight);
            s.store(chunk.as_mut_ptr(), weight);
        }
    }
    s.sum(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, worst};

    /// Largest absolute error for values in [-1, 1].
    const ERROR: f64 = 2e-6;

    fn offsets(lengths: &[usize]) -> Vec<u32> {
        let sums = lengths.iter().scan(0, |sum, &len| {
            *sum += len as u32;
            Some(*sum)
        });
        std::iter::once(0).chain(sums).collect()
    }

    /// The definition, in float64.
    fn reference(shape: &Attention, qkv: &[f32], offsets: &[u32]) -> Vec<f64> {
        let Attention { heads, head_dim, scale, mask } = *shape;
        let hidden = heads * head_dim;
        let at = |token: usize, part: usize, i: usize| f64::from(qkv[token * 3 * hidden + part * hidden + i]);
        let mut out = vec![0.0; qkv.len() / 3];
        for pair in offsets.windows(2) {
            let (start, len) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
            for (query, head) in (0..len).flat_map(|query| (0..heads).map(move |head| (query, head))) {
                let keys = mask.keys(query, len);
                let columns = head * head_dim..(head + 1) * head_dim;
                let score = |key: usize| -> f64 {
                    columns.clone().map(|i| at(start + query, 0, i) * at(start + key, 1, i)).sum::<f64>()
                        * f64::from(scale)
                };
                let largest = keys.clone().map(score).fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = keys.clone().map(|key| (score(key) - largest).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for i in columns {
                    let value: f64 = keys.clone().zip(&weights).map(|(key, w)| w * at(start + key, 2, i)).sum();
                    out[(start + query) * hidden + i] = value / sum;
                }
            }
        }
        out
    }

    #[test]
    fn ragged_sequences_match_the_definition_on_every_set_and_mask() {
        for isa in Isa::available() {
            for (heads, head_dim) in [(1, 1), (5, 8), (3, 26), (2, 32), (2, 80)] {
                for mask in [Mask::Full, Mask::Causal, Mask::Window(0), Mask::Window(7)] {
                    let shape = Attention { heads, head_dim, scale: 2.0 / (head_dim as f32).sqrt(), mask };
                    let offsets = offsets(&[1, 0, 2, 15, 16, 17, 6, 63, 64, 65, 130]);
                    let qkv = numbers(*offsets.last().unwrap() as usize * 3 * heads * head_dim, head_dim as u64);
                    let mut out = vec![f32::NAN; qkv.len() / 3];
                    attention(isa, &shape, &qkv, &offsets, &mut out);
                    for (i, (y, expected)) in out.iter().zip(reference(&shape, &qkv, &offsets)).enumerate() {
                        let error = (f64::from(*y) - expected).abs();
                        assert!(error <= ERROR, "{} {shape:?} element {i}: off by {error}", isa.name());
                    }
                }
            }
        }
    }

    #[test]
    fn a_sequence_has_the_same_bits_alone_and_split() {
        let shape = Attention { heads: 3, head_dim: 20, scale: 0.3, mask: Mask::Full };
        let (hidden, offsets) = (60, offsets(&[233, 7, 150]));
        let qkv = numbers(390 * 3 * hidden, 9);
        let crew = crate::kernels::Crew::new(2).unwrap();
        for isa in Isa::available() {
            let (mut all, mut alone, mut shared) =
                (vec![0.0; 390 * hidden], vec![0.0; 7 * hidden], vec![0.0; 390 * hidden]);
            attention(isa, &shape, &qkv, &offsets, &mut all);
            attention(isa, &shape, &qkv[233 * 3 * hidden..240 * 3 * hidden], &[0, 7], &mut alone);
            assert_eq!(alone, all[233 * hidden..240 * hidden]);
            crew.lead(|| attention(isa, &shape, &qkv, &offsets, &mut shared));
            assert_eq!(worst(&shared, &all), 0.0);
        }
    }

    #[test]
    fn extreme_scores_give_finite_weights() {
        // One key far above all others, one far below: weights 1 and exactly 0.
        let shape = Attention { heads: 1, head_dim: 1, scale: 1.0, mask: Mask::Full };
        let qkv = [300.0, 300.0, 1.0, 300.0, -300.0, 2.0, 300.0, 1e-40, 3.0];
        for isa in Isa::available() {
            let mut out = [f32::NAN; 3];
            attention(isa, &shape, &qkv, &[0, 3], &mut out);
            assert_eq!(out, [1.0; 3], "{}", isa.name());
        }
    }
}
