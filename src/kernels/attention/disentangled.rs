//! The bias of disentangled attention (DeBERTa: He et al. 2021): besides their contents, a query's content and the
//! key's position score each other, and the key's content and the query's position. Positions are relative: one vector
//! for each bucket of distances.
//!
//! ```text
//! for a head:         of_keys[j, b] = key[j] · queries[b]       for every bucket b that the text reaches
//! for a few rows:     of_queries[i, b] = query[i] · keys[b]     likewise
//!                     bias[i, j] = of_queries[i, bucket(i - j)] + of_keys[j, bucket(i - j)]
//! ```
//!
//! Why it is right: a bias takes one of as many products as there are buckets, so these are computed for all buckets
//! (as tiles), and then looked up; buckets do not fall as the distance grows, so those that a text reaches are a range.
//! Buckets are those of the reference's `make_log_bucket_position`, rounded to float32 at each step as there.

use std::ops::Range;

use super::bias::{Bias, BiasHead, BiasRows};
use super::float::{MAX_ROWS, multiply};
use super::panels::panel_of;
use crate::Result;
use crate::kernels::Isa;
use crate::kernels::aligned::Aligned;
use crate::kernels::simd::{MAX_LANES, Operation, Simd};
use crate::kernels::tile::{Float, MicroKernel};

/// Which distances between a query and a key share a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    /// Each its own, up to `span` on both sides.
    Each { span: usize },
    /// `span` on both sides: up to half of it each its own, then in steps that grow, as many of them up to
    /// `max_distance`.
    Logarithmic { span: usize, max_distance: usize },
}

impl Buckets {
    /// All of them: the distances of both sides and none.
    pub fn count(self) -> usize {
        let (Self::Each { span } | Self::Logarithmic { span, .. }) = self;
        2 * span
    }

    /// The bucket of a query that is `distance` tokens after its key; it does not fall as the distance grows.
    pub fn of(self, distance: isize) -> usize {
        let far = distance.unsigned_abs();
        let (span, step) = match self {
            Self::Each { span } => (span, far),
            Self::Logarithmic { span, max_distance } => {
                let exact = span / 2;
                // Rounded to float32 at each step, as the networks were trained: the result is at the border of a
                // bucket for whole powers.
                let log = |x: f32| f64::from(x).ln() as f32;
                let steps = || log(far as f32 / exact as f32) / log(((max_distance - 1) as f64 / exact as f64) as f32);
                (span, if far <= exact { far } else { (steps() * (exact - 1) as f32).ceil() as usize + exact })
            }
        };
        let bucket = if distance < 0 { span.saturating_sub(step) } else { span.saturating_add(step) };
        bucket.min(2 * span - 1)
    }
}

/// The vectors of all buckets, for every head. The bias of a score is the product of its query with the bucket's vector
/// among `keys`, and that of its key with the bucket's among `queries`.
pub struct DisentangledBias {
    isa: Isa,
    head_dim: usize,
    buckets: Buckets,
    /// `[heads]` times panels of `[head_dim, width]`, a column for each bucket.
    keys: Option<Aligned<f32>>,
    queries: Option<Aligned<f32>>,
}

impl DisentangledBias {
    /// `keys` and `queries [buckets, heads * head_dim]`, multiplied by the scale of the scores; an error where there is
    /// no memory for them.
    pub fn new(
        isa: Isa,
        (heads, head_dim): (usize, usize),
        buckets: Buckets,
        keys: Option<&[f32]>,
        queries: Option<&[f32]>,
    ) -> Result<Self> {
        let packed = |rows: &[f32]| -> Result<Aligned<f32>> {
            assert_eq!(rows.len(), buckets.count() * heads * head_dim, "a vector for each bucket and head");
            let mut panels = Aligned::zeroed(heads * head_dim * padded(buckets))?;
            isa.run(Pack { rows, head_dim, padded: padded(buckets), panels: panels.as_mut_slice() });
            Ok(panels)
        };
        let (keys, queries) = (keys.map(packed).transpose()?, queries.map(packed).transpose()?);
        Ok(Self { isa, head_dim, buckets, keys, queries })
    }

    fn panels<'a>(&self, all: &'a Aligned<f32>, head: usize) -> &'a [f32] {
        let len = self.head_dim * padded(self.buckets);
        &all.as_slice()[head * len..][..len]
    }
}

/// Number of columns of the panels of a head.
fn padded(buckets: Buckets) -> usize {
    buckets.count().next_multiple_of(MAX_LANES)
}

/// What is kept for a head, and for some of its rows.
struct BiasScratch<'a> {
    /// `[2 * len - 1]`: the buckets of distances from `1 - len` to `len - 1`.
    buckets: &'a mut [u32],
    /// `[len, padded]`: products of keys with the positions of queries.
    of_keys: &'a mut [f32],
    /// `[MAX_ROWS, padded]`: products of some queries with the positions of keys.
    of_queries: &'a mut [f32],
    /// `[MAX_ROWS, len]`
    sums: &'a mut [f32],
}

impl<'a> BiasScratch<'a> {
    fn split(memory: &'a mut [f32], len: usize, padded: usize) -> Self {
        let (buckets, rest) = memory.split_at_mut(2 * len - 1);
        let (of_keys, rest) = rest.split_at_mut(len * padded);
        let (of_queries, rest) = rest.split_at_mut(MAX_ROWS * padded);
        Self { buckets: bytemuck::cast_slice_mut(buckets), of_keys, of_queries, sums: &mut rest[..MAX_ROWS * len] }
    }
}

impl Bias for DisentangledBias {
    fn memory_for(&self, len: usize) -> usize {
        2 * len + (len + MAX_ROWS) * padded(self.buckets) + MAX_ROWS * len
    }

    fn prepare(&self, head: BiasHead, memory: &mut [f32]) {
        let BiasHead { len, .. } = head;
        let padded = padded(self.buckets);
        let BiasScratch { buckets, of_keys, .. } = BiasScratch::split(memory, len, padded);
        for (bucket, distance) in buckets.iter_mut().zip(1 - len as isize..) {
            *bucket = self.buckets.of(distance) as u32;
        }
        let Some(queries) = &self.queries else { return };
        let panels = self.panels(queries, head.head);
        for first in (0..len).step_by(MAX_ROWS) {
            let keys = first..len.min(first + MAX_ROWS);
            // From the last of these keys and the first query to the first of them and the last query.
            let reached = buckets[len - keys.end] as usize..=buckets[2 * len - 2 - first] as usize;
            let x = &head.keys[first * head.stride..];
            let out = &mut of_keys[first * padded..][..keys.len() * padded];
            self.isa.run(Multiply { x, stride: head.stride, head_dim: self.head_dim, panels, reached, padded, out });
        }
    }

    fn rows<'a>(&'a self, head: BiasHead, rows: Range<usize>, memory: &'a mut [f32]) -> BiasRows<'a> {
        let BiasHead { len, stride, .. } = head;
        let padded = padded(self.buckets);
        let BiasScratch { buckets, of_keys, of_queries, sums } = BiasScratch::split(memory, len, padded);
        if let Some(keys) = &self.keys {
            // From the first of these queries and the last key to the last of them and the first key.
            let reached = buckets[rows.start] as usize..=buckets[rows.end + len - 2] as usize;
            let (x, out) = (&head.queries[rows.start * stride..], &mut of_queries[..rows.len() * padded]);
            let panels = self.panels(keys, head.head);
            self.isa.run(Multiply { x, stride, head_dim: self.head_dim, panels, reached, padded, out });
        }
        for ((i, row), sums) in rows.enumerate().zip(sums.chunks_exact_mut(len)) {
            // Distances fall from key to key.
            let buckets = buckets[row..row + len].iter().rev().map(|&bucket| bucket as usize);
            match &self.keys {
                None => sums.fill(0.0),
                Some(_) => {
                    let products = &of_queries[i * padded..][..padded];
                    sums.iter_mut().zip(buckets.clone()).for_each(|(sum, bucket)| *sum = products[bucket]);
                }
            }
            if self.queries.is_some() {
                let products = of_keys.chunks_exact(padded);
                let buckets = buckets.zip(products);
                sums.iter_mut().zip(buckets).for_each(|(sum, (bucket, products))| *sum += products[bucket]);
            }
        }
        BiasRows { values: sums, start: 0, step: len as isize }
    }
}

struct Pack<'a> {
    /// `[buckets, heads * head_dim]`
    rows: &'a [f32],
    head_dim: usize,
    padded: usize,
    panels: &'a mut [f32],
}

impl Operation for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { rows, head_dim, padded, panels } = self;
        let heads = panels.len() / (head_dim * padded);
        for (bucket, row) in rows.chunks_exact(heads * head_dim).enumerate() {
            for (head, vector) in row.chunks_exact(head_dim).enumerate() {
                let panel = panel_of(bucket, Float::<S>::WIDTH, padded);
                let to = &mut panels[head * head_dim * padded + panel.start * head_dim + bucket - panel.start..];
                to.iter_mut().step_by(panel.len()).zip(vector).for_each(|(to, &from)| *to = from);
            }
        }
    }
}

/// `out[i, j]`: the product of row `i` of `x` with column `j`, for the columns that are reached and others of their
/// panels.
struct Multiply<'a> {
    x: &'a [f32],
    /// Numbers from row to row.
    stride: usize,
    head_dim: usize,
    panels: &'a [f32],
    reached: std::ops::RangeInclusive<usize>,
    padded: usize,
    /// `[rows, padded]`, at most MAX_ROWS of them.
    out: &'a mut [f32],
}

impl Operation for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, stride, head_dim, panels, reached, padded, out } = self;
        let rows = out.len() / padded;
        let panel = |column| panel_of(column, Float::<S>::WIDTH, padded);
        let within = panel(*reached.start()).start..panel(*reached.end()).end;
        assert!(x.len() >= (rows - 1) * stride + head_dim && panels.len() == head_dim * padded, "sizes are as given");
        // SAFETY: just checked; `out` has `rows` rows, and `within` is whole panels.
        unsafe {
            multiply(s, (x.as_ptr(), stride), rows, head_dim, (panels.as_ptr(), padded), within, out.as_mut_ptr())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{max_difference, numbers};
    use crate::kernels::{AttentionInputs, AttentionShape, Dtype, Mask, Team, attention};

    /// Largest absolute error for values in [-1, 1]; in integers scores are off by up to a hundredth.
    const ERRORS: [(Dtype, f64); 2] = [(Dtype::Float32, 2e-6), (Dtype::Int8, 0.02)];

    const LENGTHS: [usize; 8] = [1, 2, 0, 7, 15, 17, 40, 131];

    fn offsets() -> Vec<u32> {
        let ends = LENGTHS.iter().scan(0, |sum, &len| {
            *sum += len as u32;
            Some(*sum)
        });
        std::iter::once(0).chain(ends).collect()
    }

    /// The definition, in float64, for heads with the vectors of `keys` and `queries`.
    fn reference(shape: &AttentionShape, qkv: &[f32], buckets: Buckets, places: [Option<&[f32]>; 2]) -> Vec<f64> {
        let AttentionShape { heads, head_dim, scale, .. } = *shape;
        let hidden = heads * head_dim;
        let at = |token: usize, part: usize, i: usize| f64::from(qkv[(token * 3 + part) * hidden + i]);
        let mut out = vec![0.0; qkv.len() / 3];
        for pair in offsets().windows(2) {
            let (start, end) = (pair[0] as usize, pair[1] as usize);
            for (query, head) in (start..end).flat_map(|query| (0..heads).map(move |head| (query, head))) {
                let columns = head * head_dim..(head + 1) * head_dim;
                let weight = |key: usize| {
                    let bucket = buckets.of(query as isize - key as isize) * hidden;
                    let place = |part: usize, i: usize| places[part].map_or(0.0, |rows| f64::from(rows[bucket + i]));
                    let terms = columns.clone().map(|i| {
                        let (q, k) = (at(query, 0, i), at(key, 1, i));
                        q * k * f64::from(scale) + q * place(0, i) + k * place(1, i)
                    });
                    terms.sum::<f64>().exp()
                };
                let sum: f64 = (start..end).map(weight).sum();
                for i in columns.clone() {
                    out[query * hidden + i] = (start..end).map(|key| weight(key) * at(key, 2, i)).sum::<f64>() / sum;
                }
            }
        }
        out
    }

    #[test]
    fn buckets_are_the_references() {
        // make_log_bucket_position of transformers 5.23, moved to where it is looked up: the first distance of each
        // step.
        let first = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 20, 25, 32, 40];
        let buckets = Buckets::Logarithmic { span: 16, max_distance: 40 };
        for distance in 0..1000 {
            let step = first.iter().rposition(|&first| first <= distance).unwrap();
            assert_eq!(buckets.of(distance), (16 + step).min(31), "{distance}");
            assert_eq!(buckets.of(-distance), 16 - step, "{distance} before");
        }
        // Those of the published models.
        let buckets = Buckets::Logarithmic { span: 256, max_distance: 512 };
        for (distance, bucket) in [(128, 384), (129, 385), (150, 399), (300, 463), (510, 511), (600, 511), (1000, 511)]
        {
            assert_eq!(buckets.of(distance), bucket, "{distance}");
        }
        for (distance, bucket) in [(-128, 128), (-129, 127), (-300, 49), (-511, 1), (-512, 0), (-1000, 0)] {
            assert_eq!(buckets.of(distance), bucket, "{distance}");
        }
        let each = Buckets::Each { span: 3 };
        assert_eq!([-9, -4, -3, -2, 0, 2, 3, 9].map(|distance| each.of(distance)), [0, 0, 0, 1, 3, 5, 5, 5]);
        assert_eq!((each.of(isize::MIN), each.of(isize::MAX)), (0, 5));
    }

    #[test]
    fn ragged_sequences_match_the_definition_on_every_set() {
        let small = Buckets::Logarithmic { span: 8, max_distance: 30 };
        for (heads, head_dim, buckets) in [
            (1, 1, Buckets::Each { span: 3 }),
            (3, 12, small),
            (2, 26, Buckets::Logarithmic { span: 2, max_distance: 4 }),
            (2, 32, Buckets::Logarithmic { span: 45, max_distance: 64 }),
            (1, 64, Buckets::Each { span: 200 }),
        ] {
            let shape = AttentionShape {
                heads,
                kv_heads: heads,
                head_dim,
                scale: 0.6 / (head_dim as f32).sqrt(),
                mask: Mask::Full,
            };
            let offsets = offsets();
            let qkv = numbers(*offsets.last().unwrap() as usize * shape.width(), 1);
            let places = [2, 3].map(|seed| {
                let numbers = numbers(buckets.count() * heads * head_dim, seed);
                numbers.into_iter().map(|x| x * shape.scale).collect::<Vec<_>>()
            });
            for (with_keys, with_queries) in [(true, true), (true, false), (false, true)] {
                let keys = with_keys.then_some(places[0].as_slice());
                let queries = with_queries.then_some(places[1].as_slice());
                let expected = reference(&shape, &qkv, buckets, [keys, queries]);
                for (isa, (dtype, bound)) in
                    Isa::available().into_iter().flat_map(|isa| ERRORS.map(|error| (isa, error)))
                {
                    let bias = DisentangledBias::new(isa, (heads, head_dim), buckets, keys, queries).unwrap();
                    let mut out = vec![f32::NAN; qkv.len() / 3];
                    let inputs =
                        AttentionInputs { qkv: &qkv, offsets: &offsets, past: &[], bias: Some(&bias), rows: None };
                    attention(isa, dtype, &shape, inputs, &mut out);
                    for (i, (y, expected)) in out.iter().zip(&expected).enumerate() {
                        let error = (f64::from(*y) - expected).abs();
                        let name = isa.name();
                        assert!(error <= bound, "{name} {dtype:?} {shape:?} {buckets:?} element {i}: off by {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_sequence_has_the_same_bits_alone_and_split() {
        let shape = AttentionShape { heads: 3, kv_heads: 3, head_dim: 20, scale: 0.3, mask: Mask::Full };
        let buckets = Buckets::Logarithmic { span: 16, max_distance: 64 };
        let (hidden, places) = (60, numbers(32 * 60, 1));
        let qkv = numbers(390 * 3 * hidden, 9);
        let team = Team::new(2).unwrap();
        for isa in Isa::available() {
            let bias = DisentangledBias::new(isa, (3, 20), buckets, Some(&places), Some(&places)).unwrap();
            let attend = |qkv: &[f32], offsets: &[u32]| {
                let mut out = vec![f32::NAN; qkv.len() / 3];
                let inputs = AttentionInputs { qkv, offsets, past: &[], bias: Some(&bias), rows: None };
                attention(isa, Dtype::Float32, &shape, inputs, &mut out);
                out
            };
            let all = attend(&qkv, &[0, 233, 240, 390]);
            let alone = attend(&qkv[233 * 3 * hidden..240 * 3 * hidden], &[0, 7]);
            assert_eq!(alone, all[233 * hidden..240 * hidden]);
            let shared = team.install(|| attend(&qkv, &[0, 233, 240, 390]));
            assert_eq!(max_difference(&shared, &all), 0.0);
        }
    }
}
