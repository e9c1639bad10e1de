//! Attention in integers: the loop of `mod.rs` with queries and keys in bytes with a scale for each token, weights in
//! eleven bits, and values in twelve bits with a scale for each channel of a text. (SageAttention, Zhang et al. 2025,
//! quantizes queries and keys alike, and keeps weights and values wider, too.)
//!
//! ```text
//! q, k = round(127 * x / max |x|)              for each token; q to 63 where `Int8::STEPS` is 128
//! score = scale_q * scale_k * Σ q k * scale    q is held higher, unsigned; as many Σ k are taken off
//! w = round(2048 * 2^(score - max score))
//! v = round(2047 * value / max |value|)        for each channel
//! out = scale_v * Σ w v / Σ w
//! ```
//!
//! Why it is right: `Σ q k` is exact in 32 bits. `Σ w v` is summed for at most `MAX_KEYS` keys in 32 bits, as many as
//! cannot overflow, and these sums are added in float32.
//!
//! On all-MiniLM-L6-v2 all of that moves an embedding's cosine by less than 1e-5. Tried and given up: weights in eight
//! bits, which lose the many small ones of long texts; integers for texts below `MIN_TOKENS`, where packing costs more
//! than it gains; integers under a causal mask, since the scale of values would let a token's output depend on what
//! comes after it.

use std::f32::consts::LOG2_E;
use std::ops::Range;

use bytemuck::Pod;

use super::bias::BiasRows;
use super::float::{self, MAX_ROWS};
use super::panels::{mask_row, panel_of, panels};
use super::shape::AttentionShape;
use super::task::{SequenceHead, Tasks};
use crate::kernels::math::{ROUNDING_SHIFT, coarse_exp2};
use crate::kernels::prefetch::Prefetch;
use crate::kernels::simd::{Int8, Int8Operation, MAX_LANES, Simd};
use crate::kernels::tile::{Bytes, MicroKernel, Words, tile, with_tile};

/// Tokens of a text from which on integers gain more than packing them costs; shorter texts are left to float32.
const MIN_TOKENS: usize = 96;

/// The largest weight, as an integer.
const MAX_WEIGHT: f32 = 2048.0;

/// The largest value, as an integer.
const MAX_VALUE: f32 = 2047.0;

/// Number of keys whose products can be summed in 32 bits, whatever they are: an even one, as keys come in pairs.
const MAX_KEYS: usize = (i32::MAX as u32 / (MAX_WEIGHT as u32 * MAX_VALUE as u32)) as usize / 2 * 2;

/// What one head needs beside its input.
struct Int8Scratch<'a> {
    /// `[len, dim]`: `query_offset` more than the integers, XOR `FLIP`.
    queries: &'a mut [u8],
    /// `[len]`
    query_scales: &'a mut [f32],
    /// Panels of `[head_dim / 4, width, 4]`.
    keys: &'a mut [i8],
    /// `[padded]`: zero beyond the sequence.
    key_scales: &'a mut [f32],
    /// `[padded]`: times the scale, what a query of zeros gives.
    key_shifts: &'a mut [f32],
    /// `[len / 2, dim, 2]`
    values: &'a mut [i16],
    /// `[dim]`
    value_scales: &'a mut [f32],
    /// `[MAX_ROWS, padded]`
    scores: &'a mut [f32],
    /// `[MAX_ROWS, padded]`
    weights: &'a mut [i16],
    /// `[dim]`
    bytes: &'a mut [u8],
}

#[derive(Clone, Copy)]
struct HeadSizes {
    /// Tokens.
    len: usize,
    /// Tokens, in whole vectors.
    padded: usize,
    /// Channels of a head, in whole vectors of any set.
    dim: usize,
}

impl HeadSizes {
    fn new(len: usize, head_dim: usize, lanes: usize) -> Self {
        Self { len, padded: len.next_multiple_of(lanes), dim: head_dim.next_multiple_of(MAX_LANES) }
    }
}

/// Takes `len` numbers from the front of `memory`, and what fills a cache line.
#[inline(always)]
fn take<'a, T: Pod>(memory: &mut &'a mut [f32], len: usize) -> &'a mut [T] {
    let (front, rest) = std::mem::take(memory).split_at_mut(numbers_in(size_of::<T>() * len));
    *memory = rest;
    &mut bytemuck::cast_slice_mut(front)[..len]
}

/// Numbers of float32 in `bytes`, rounded up to whole cache lines.
fn numbers_in(bytes: usize) -> usize {
    bytes.div_ceil(64) * 16
}

/// Numbers that [`Int8Attention`] needs for sequences up to `len`.
pub(super) fn memory_for(len: usize, head_dim: usize) -> usize {
    integers_for(len, head_dim).max(float::memory_for(len.min(MIN_TOKENS), head_dim))
}

fn integers_for(len: usize, head_dim: usize) -> usize {
    let HeadSizes { padded, dim, .. } = HeadSizes::new(len, head_dim, MAX_LANES);
    let pairs = padded.div_ceil(2) * dim;
    [len * dim, padded * dim, 4 * pairs, 4 * padded, 4 * padded, 4 * padded, 4 * dim, dim]
        .into_iter()
        .chain([4 * MAX_ROWS * padded, 2 * MAX_ROWS * padded])
        .map(numbers_in)
        .sum()
}

pub(super) struct Int8Attention<'a> {
    pub(super) tasks: Tasks<'a>,
    /// As `memory_for` says.
    pub(super) memory: &'a mut [f32],
    /// As the bias says.
    pub(super) bias_memory: &'a mut [f32],
}

impl Int8Operation for Int8Attention<'_> {
    type Output = ();

    #[inline(always)]
    fn run<D: Int8>(self, d: D) {
        for head in self.tasks.heads() {
            let mut bias = head.bias(self.bias_memory);
            if head.len < MIN_TOKENS {
                float::attend(d.simd(), &head, bias, self.memory);
                continue;
            }
            let sizes = HeadSizes::new(head.len, head.shape.head_dim, <D::Simd as Simd>::LANES);
            let HeadSizes { len, padded, dim, .. } = sizes;
            let mut rest = &mut *self.memory;
            let mut memory = Int8Scratch {
                queries: take(&mut rest, len * dim),
                query_scales: take(&mut rest, len),
                keys: take(&mut rest, padded * dim),
                key_scales: take(&mut rest, padded),
                key_shifts: take(&mut rest, padded),
                values: take(&mut rest, padded.div_ceil(2) * dim * 2),
                value_scales: take(&mut rest, dim),
                scores: take(&mut rest, MAX_ROWS * padded),
                weights: take(&mut rest, MAX_ROWS * padded),
                bytes: take(&mut rest, dim),
            };
            pack_queries_and_keys(d, &head, sizes, &mut memory);
            pack_values(d, &head, sizes, &mut memory);
            let rows = Bytes::<D>::ROWS;
            for first in head.wanted.clone().step_by(rows) {
                let rows = first..head.wanted.end.min(first + rows);
                let bias = bias.as_mut().map(|bias| bias.rows(rows.clone()));
                // SAFETY: the rows are within the sequence, and the memory was packed for it.
                unsafe { attend_rows(d, &head, bias, sizes, rows, &mut memory) };
            }
        }
    }
}

/// A vector of the `count` numbers at `from`, zero beyond them.
///
/// # Safety
/// `from` is valid for reads of so many numbers, or `LANES` of them where there are more.
#[inline(always)]
unsafe fn load<S: Simd>(s: S, from: *const f32, count: usize) -> S::F {
    // SAFETY: as the caller vouches.
    unsafe { if count >= S::LANES { s.load(from) } else { s.load_first(from, count, 0.0) } }
}

/// What is added to the integers of queries to make them unsigned, and one more than they are at most.
#[inline(always)]
fn query_offset<D: Int8>() -> u8 {
    D::STEPS.div_ceil(2)
}

/// Writes `offset` more than the integers that `values` are, divided by the scale that it gives; the largest is one less
/// than the offset.
///
/// # Safety
/// `bytes` is valid for writes of whole vectors of bytes.
#[inline(always)]
unsafe fn quantize_token<D: Int8>(d: D, values: &[f32], offset: u8, bytes: *mut u8) -> f32 {
    let most = f32::from(offset - 1);
    let s = d.simd();
    let lanes = <D::Simd as Simd>::LANES;
    let zero = s.splat(0.0);
    // Bytes cannot say that a number is none, and the largest one skips it.
    let (mut largest, mut zeros) = (zero, zero);
    for i in (0..values.len()).step_by(lanes) {
        // SAFETY: what is left of the values starts at i.
        let x = unsafe { load(s, values.as_ptr().add(i), values.len() - i) };
        largest = s.max(largest, s.max(x, s.sub(zero, x)));
        zeros = s.add_to_zeros(zeros, x);
    }
    // The smallest number whose inverse is finite added, which is nothing beside any other.
    let largest = s.largest(largest) + 1e-35;
    let inverse = s.splat(most / largest);
    for i in (0..values.len()).step_by(lanes) {
        // SAFETY: as above.
        unsafe {
            let x = load(s, values.as_ptr().add(i), values.len() - i);
            d.store_bytes(bytes.add(i), s.mul_add(x, inverse, s.splat(f32::from(offset))));
        }
    }
    largest / most + s.sum(zeros)
}

#[inline(always)]
fn pack_queries_and_keys<D: Int8>(
    d: D,
    head: &SequenceHead,
    HeadSizes { len, padded, dim }: HeadSizes,
    memory: &mut Int8Scratch,
) {
    // From 128 more than an integer, XOR FLIP, to the integer.
    let sign = u32::from_ne_bytes([0x80 ^ D::FLIP; 4]);
    let groups = head.shape.head_dim.div_ceil(4);
    for j in 0..len {
        head.prefetch_after(j);
        if !head.wanted.contains(&j) {
            continue;
        }
        // SAFETY: a query has `dim` bytes.
        memory.query_scales[j] = unsafe {
            quantize_token(d, head.query(j), query_offset::<D>(), memory.queries[j * dim..][..dim].as_mut_ptr())
        };
    }
    memory.key_scales[len..padded].fill(0.0);
    for panel in panels(0..padded, Bytes::<D>::WIDTH, padded) {
        let keys: &mut [u32] = bytemuck::cast_slice_mut(&mut memory.keys[panel.start * groups * 4..]);
        let keys = &mut keys[..groups * panel.len()];
        for j in panel.clone() {
            if j < len {
                // SAFETY: `bytes` are `dim`.
                memory.key_scales[j] = unsafe { quantize_token(d, head.key(j), 128, memory.bytes.as_mut_ptr()) };
            }
            let bytes: &[u32] = bytemuck::cast_slice(memory.bytes);
            let to = keys[j - panel.start..].iter_mut().step_by(panel.len());
            to.zip(&bytes[..groups]).for_each(|(to, four)| *to = four ^ sign);
        }
    }
    // What the bytes of a query of zeros give instead of nothing.
    let s = d.simd();
    memory.bytes.fill(query_offset::<D>() ^ D::FLIP);
    for panel in panels(0..padded, Bytes::<D>::WIDTH, padded) {
        // SAFETY: the panel has as many groups as the bytes, and the scales and shifts whole vectors.
        unsafe {
            let b = memory.keys.as_ptr().add(panel.start * groups * 4);
            with_tile!(Bytes<D>, 1, panel.len() / Bytes::<D>::LANES, MR, NV => {
                let sums =
                    tile::<Bytes<D>, MR, NV>(Bytes(d), groups, (memory.bytes.as_ptr(), 0), (b, panel.len() * 4), Prefetch::NONE);
                for (j, &sum) in sums[0].iter().enumerate() {
                    let at = panel.start + j * Bytes::<D>::LANES;
                    let shift = s.mul(d.floats(sum), s.load(memory.key_scales.as_ptr().add(at)));
                    s.store(memory.key_shifts.as_mut_ptr().add(at), shift);
                }
            });
        }
    }
}

#[inline(always)]
fn pack_values<D: Int8>(d: D, head: &SequenceHead, HeadSizes { len, dim, .. }: HeadSizes, memory: &mut Int8Scratch) {
    let s = d.simd();
    let lanes = <D::Simd as Simd>::LANES;
    let head_dim = head.shape.head_dim;
    let (zero, round) = (s.splat(0.0), s.splat(ROUNDING_SHIFT));
    for column in (0..dim).step_by(lanes) {
        let count = head_dim.saturating_sub(column);
        let from = |token: usize| head.value(token)[column.min(head_dim)..].as_ptr();
        // Where a value is no number, its channel is none.
        let (mut largest, mut zeros) = (zero, zero);
        for token in 0..len {
            // SAFETY: `count` values are left of the token's.
            let x = unsafe { load(s, from(token), count) };
            largest = s.max(largest, s.max(x, s.sub(zero, x)));
            zeros = s.add_to_zeros(zeros, x);
        }
        // The smallest number whose inverse is finite added, which is nothing beside any other.
        let scale = s.mul_add(largest, s.splat(1.0 / MAX_VALUE), s.splat(1e-37));
        let inverse = s.div(s.splat(1.0), scale);
        // SAFETY: the scales have whole vectors.
        unsafe { s.store(memory.value_scales.as_mut_ptr().add(column), s.add(scale, zeros)) };
        let values = memory.values[2 * column..].as_mut_ptr();
        for token in (0..len).step_by(2) {
            // SAFETY: as above; a pair of tokens has two integers for each of `dim` channels.
            unsafe {
                let a = s.mul_add(load(s, from(token), count), inverse, round);
                let b = match token + 1 < len {
                    true => s.mul_add(load(s, from(token + 1), count), inverse, round),
                    false => round,
                };
                d.store_word_pairs(values.add(token * dim), a, b);
            }
        }
    }
}

/// The output of a few query rows.
///
/// # Safety
/// `rows` are within the sequence and as many as a tile has at most; the memory is packed for the head.
#[inline(always)]
unsafe fn attend_rows<D: Int8>(
    d: D,
    head: &SequenceHead,
    bias: Option<BiasRows>,
    HeadSizes { padded, dim, .. }: HeadSizes,
    rows: Range<usize>,
    memory: &mut Int8Scratch,
) {
    let s = d.simd();
    let lanes = <D::Simd as Simd>::LANES;
    let AttentionShape { heads, head_dim, scale, .. } = *head.shape;
    let hidden = heads * head_dim;
    let groups = head_dim.div_ceil(4);
    let seen = head.visible_keys_of_any(rows.clone());
    let within =
        panel_of(seen.start, Bytes::<D>::WIDTH, padded).start..panel_of(seen.end - 1, Bytes::<D>::WIDTH, padded).end;

    for panel in panels(within.clone(), Bytes::<D>::WIDTH, padded) {
        // SAFETY: the rows have `dim` bytes, the panel has its groups of them, and the scores, scales and shifts
        // `padded` numbers.
        unsafe {
            with_tile!(Bytes<D>, rows.len(), panel.len() / lanes, MR, NV => {
                let a = memory.queries.as_ptr().add(rows.start * dim);
                let b = memory.keys.as_ptr().add(panel.start * groups * 4);
                let sums = tile::<Bytes<D>, MR, NV>(Bytes(d), groups, (a, dim), (b, panel.len() * 4), Prefetch::NONE);
                for (i, row) in sums.iter().enumerate() {
                    let query = s.splat(memory.query_scales[rows.start + i] * scale * LOG2_E);
                    for (j, &sum) in row.iter().enumerate() {
                        let at = panel.start + j * lanes;
                        let key = s.load(memory.key_scales.as_ptr().add(at));
                        let shift = s.load(memory.key_shifts.as_ptr().add(at));
                        let score = s.mul(query, s.sub(s.mul(d.floats(sum), key), shift));
                        s.store(memory.scores.as_mut_ptr().add(i * padded + at), score);
                    }
                }
            });
        }
    }

    // Weights are not divided by their sum: the outputs are, which are fewer.
    let mut inverse = [0.0; MAX_ROWS];
    for (i, row) in rows.clone().enumerate() {
        let own = head.visible_keys(row);
        let scores = &mut memory.scores[i * padded..][within.clone()];
        if let Some(bias) = bias {
            let scores = &mut scores[own.start - within.start..own.end - within.start];
            scores.iter_mut().zip(bias.row(i, own.clone())).for_each(|(score, bias)| *score += bias * LOG2_E);
        }
        mask_row(scores, within.clone(), own);
        inverse[i] = 1.0 / quantized_weights(d, scores, &mut memory.weights[i * padded..][within.clone()]);
    }

    for column in (0..dim).step_by(Words::<D>::WIDTH) {
        let count = Words::<D>::VECTORS.min((dim - column) / lanes);
        for keys in (within.start..seen.end).step_by(MAX_KEYS) {
            let pairs = (seen.end - keys).min(MAX_KEYS).div_ceil(2);
            // SAFETY: rows of weights have `padded` integers, and there is a pair of values for each two; the output's
            // columns are this head's.
            unsafe {
                with_tile!(Words<D>, rows.len(), count, MR, NV => {
                    let a = memory.weights.as_ptr().add(keys);
                    let b = memory.values.as_ptr().add(keys * dim + 2 * column);
                    let sums = tile::<Words<D>, MR, NV>(Words(d), pairs, (a, padded), (b, 2 * dim), Prefetch::NONE);
                    for (i, row) in sums.iter().enumerate() {
                        for (j, &sum) in row.iter().enumerate() {
                            let column = column + j * lanes;
                            let scale = s.load(memory.value_scales.as_ptr().add(column));
                            let mut y = s.mul(s.mul(d.word_floats(sum), s.splat(inverse[i])), scale);
                            let to = head.out.add((rows.start - head.wanted.start + i) * hidden + column.min(head_dim));
                            let left = lanes.min(head_dim.saturating_sub(column));
                            if keys > within.start {
                                y = s.add(y, s.load_first(to, left, 0.0));
                            }
                            s.store_first(to, y, left);
                        }
                    }
                });
            }
        }
    }
}

/// Weights from 0 to [`MAX_WEIGHT`] of the scores, which are logarithms to the base of 2; gives their sum.
#[inline(always)]
fn quantized_weights<D: Int8>(d: D, scores: &[f32], weights: &mut [i16]) -> f32 {
    let s = d.simd();
    let lanes = <D::Simd as Simd>::LANES;
    let mut largest = s.splat(f32::NEG_INFINITY);
    for chunk in scores.chunks_exact(lanes) {
        // SAFETY: a chunk is LANES numbers.
        largest = s.max(largest, unsafe { s.load(chunk.as_ptr()) });
    }
    let largest = s.splat(s.largest(largest));
    let (round, max_weight) = (s.splat(ROUNDING_SHIFT), s.splat(MAX_WEIGHT));
    let mut sum = s.splat(0.0);
    for (chunk, to) in scores.chunks_exact(lanes).zip(weights.chunks_exact_mut(lanes)) {
        // SAFETY: both chunks are LANES numbers.
        unsafe {
            let weight = coarse_exp2(s, s.sub(s.load(chunk.as_ptr()), largest));
            let weight = s.mul_add(weight, max_weight, round);
            sum = s.add(sum, s.sub(weight, round));
            d.store_words(to.as_mut_ptr(), weight);
        }
    }
    s.sum(sum)
}
