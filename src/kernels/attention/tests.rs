use std::ops::Range;

use super::*;
use crate::kernels::testing::{max_difference, numbers, sizes};

/// Largest absolute error for values in [-1, 1].
const ERROR: f64 = 2e-6;

/// As above in integers: scores are off by up to a hundredth.
const INTEGER_ERROR: f64 = 0.02;

fn offsets(lengths: &[usize]) -> Vec<u32> {
    let sums = lengths.iter().scan(0, |sum, &len| {
        *sum += len as u32;
        Some(*sum)
    });
    std::iter::once(0).chain(sums).collect()
}

/// Sequences without a past or a bias.
fn attend(isa: Isa, dtype: Dtype, shape: &AttentionShape, qkv: &[f32], offsets: &[u32], out: &mut [f32]) {
    attention(isa, dtype, shape, AttentionInputs { qkv, offsets, past: &[], bias: None, rows: None }, out);
}

/// The definition, in float64.
fn reference(shape: &AttentionShape, qkv: &[f32], offsets: &[u32]) -> Vec<f64> {
    let AttentionShape { heads, head_dim, scale, mask, .. } = *shape;
    let hidden = heads * head_dim;
    let at = |token: usize, part: usize, i: usize| f64::from(qkv[token * 3 * hidden + part * hidden + i]);
    let mut out = vec![0.0; qkv.len() / 3];
    for pair in offsets.windows(2) {
        let (start, len) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
        for (query, head) in (0..len).flat_map(|query| (0..heads).map(move |head| (query, head))) {
            let keys = mask.keys(query, len);
            let columns = head * head_dim..(head + 1) * head_dim;
            let score = |key: usize| -> f64 {
                columns.clone().map(|i| at(start + query, 0, i) * at(start + key, 1, i)).sum::<f64>() * f64::from(scale)
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
            for mask in [Mask::Full, Mask::Causal, Mask::Window(0), Mask::Window(7), Mask::CausalWindow(5)] {
                let shape =
                    AttentionShape { heads, kv_heads: heads, head_dim, scale: 2.0 / (head_dim as f32).sqrt(), mask };
                let offsets = offsets(&[1, 0, 2, 15, 16, 17, 6, 63, 64, 65, 130]);
                let qkv = numbers(*offsets.last().unwrap() as usize * 3 * heads * head_dim, head_dim as u64);
                let mut out = vec![f32::NAN; qkv.len() / 3];
                attend(isa, Dtype::Float32, &shape, &qkv, &offsets, &mut out);
                for (i, (y, expected)) in out.iter().zip(reference(&shape, &qkv, &offsets)).enumerate() {
                    let error = (f64::from(*y) - expected).abs();
                    assert!(error <= ERROR, "{} {shape:?} element {i}: off by {error}", isa.name());
                }
            }
        }
    }
}

#[test]
fn integers_are_near_the_definition_on_every_set_and_mask() {
    for isa in Isa::available() {
        for (heads, head_dim) in [(1, 1), (5, 8), (3, 26), (2, 32), (2, 80), (1, 256)] {
            for mask in [Mask::Full, Mask::Causal, Mask::Window(0), Mask::Window(7), Mask::CausalWindow(5)] {
                let shape =
                    AttentionShape { heads, kv_heads: heads, head_dim, scale: 2.0 / (head_dim as f32).sqrt(), mask };
                let offsets = offsets(&[1, 0, 2, 95, 96, 97, 111, 127, 128, 129, 193]);
                let qkv = numbers(*offsets.last().unwrap() as usize * 3 * heads * head_dim, head_dim as u64);
                let mut out = vec![f32::NAN; qkv.len() / 3];
                attend(isa, Dtype::Int8, &shape, &qkv, &offsets, &mut out);
                for (i, (y, expected)) in out.iter().zip(reference(&shape, &qkv, &offsets)).enumerate() {
                    let error = (f64::from(*y) - expected).abs();
                    assert!(error <= INTEGER_ERROR, "{} {shape:?} element {i}: off by {error}", isa.name());
                }
            }
        }
    }
}

#[test]
fn integers_do_not_overflow_in_long_texts() {
    // All keys alike, so that all weights and values are as large as they can be.
    let shape = AttentionShape { heads: 1, kv_heads: 1, head_dim: 4, scale: 0.5, mask: Mask::Full };
    let len = 3 * 512 + 1;
    let qkv = vec![1.0; len * 12];
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; len * 4];
        attend(isa, Dtype::Int8, &shape, &qkv, &[0, len as u32], &mut out);
        assert!(out.iter().all(|y| (y - 1.0).abs() < 1e-5), "{}: {:?}", isa.name(), &out[..4]);
    }
}

#[test]
fn integers_take_extreme_tokens() {
    let shape = AttentionShape { heads: 1, kv_heads: 1, head_dim: 2, scale: 1.0, mask: Mask::Full };
    // Two kinds of tokens, 128 in all: queries, keys and values of each.
    for (tokens, expected) in [
        ([[0.0; 6], [0.0; 6]], [0.0, 0.0]),
        ([[-0.0; 6], [-0.0; 6]], [0.0, 0.0]),
        // Keys far above others; values that differ by forty orders of magnitude.
        ([[30.0, 0.0, 30.0, 0.0, 1e20, 1e-20], [30.0, 0.0, -30.0, 0.0, -1e20, 0.0]], [1e20, 1e-20]),
        // Denormals.
        ([[1e-40, 0.0, 1e-40, 0.0, 1.0, 2.0], [1e-40, 0.0, 0.0, 1e-40, 3.0, 4.0]], [2.0, 3.0]),
    ] {
        let qkv = tokens.concat().repeat(64);
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; 256];
            attend(isa, Dtype::Int8, &shape, &qkv, &[0, 128], &mut out);
            for token in out.chunks(2) {
                for (y, expected) in token.iter().zip(expected) {
                    assert!((y - expected).abs() <= 1e-3 * expected.abs(), "{}: {y}, not {expected}", isa.name());
                }
            }
        }
    }
}

#[test]
fn a_sequence_has_the_same_bits_alone_and_split() {
    let shape = AttentionShape { heads: 3, kv_heads: 3, head_dim: 20, scale: 0.3, mask: Mask::Full };
    let (hidden, offsets) = (60, offsets(&[233, 7, 150]));
    let qkv = numbers(390 * 3 * hidden, 9);
    let team = crate::kernels::Team::new(2).unwrap();
    for (isa, dtype) in Isa::available().into_iter().flat_map(|isa| [(isa, Dtype::Float32), (isa, Dtype::Int8)]) {
        let (mut all, mut alone, mut shared) =
            (vec![0.0; 390 * hidden], vec![0.0; 7 * hidden], vec![0.0; 390 * hidden]);
        attend(isa, dtype, &shape, &qkv, &offsets, &mut all);
        attend(isa, dtype, &shape, &qkv[233 * 3 * hidden..240 * 3 * hidden], &[0, 7], &mut alone);
        assert_eq!(alone, all[233 * hidden..240 * hidden]);
        team.install(|| attend(isa, dtype, &shape, &qkv, &offsets, &mut shared));
        assert_eq!(max_difference(&shared, &all), 0.0);
    }
}

#[test]
fn extreme_scores_give_finite_weights() {
    // One key far above all others, one far below: weights 1 and exactly 0.
    let shape = AttentionShape { heads: 1, kv_heads: 1, head_dim: 1, scale: 1.0, mask: Mask::Full };
    let qkv = [300.0, 300.0, 1.0, 300.0, -300.0, 2.0, 300.0, 1e-40, 3.0];
    for isa in Isa::available() {
        let mut out = [f32::NAN; 3];
        attend(isa, Dtype::Float32, &shape, &qkv, &[0, 3], &mut out);
        assert_eq!(out, [1.0; 3], "{}", isa.name());
    }
}

/// What is no number reaches every query that sees it, and no other one.
#[test]
fn not_a_number_stays_none_on_every_set() {
    let (heads, head_dim, len, bad) = (3, 26, 41, 18);
    let hidden = heads * head_dim;
    let column = head_dim + 5; // Of the second head.
    for (isa, dtype) in Isa::available().into_iter().flat_map(|isa| [(isa, Dtype::Float32), (isa, Dtype::Int8)]) {
        for mask in [Mask::Full, Mask::Causal, Mask::Window(7)] {
            let shape = AttentionShape { heads, kv_heads: heads, head_dim, scale: 0.2, mask };
            for part in 0..3 {
                let mut qkv = numbers(len * 3 * hidden, 7);
                qkv[bad * 3 * hidden + part * hidden + column] = f32::NAN;
                let mut out = vec![0.0; len * hidden];
                attend(isa, dtype, &shape, &qkv, &[0, len as u32], &mut out);
                for (i, y) in out.iter().enumerate() {
                    let (token, at) = (i / hidden, i % hidden);
                    let seen = if part == 0 { token == bad } else { mask.keys(token, len).contains(&bad) };
                    let columns = if part == 2 { column..column + 1 } else { head_dim..2 * head_dim };
                    if part == 2 && !seen && columns.contains(&at) {
                        continue; // A weight of 0 times NaN may be added.
                    }
                    let none = seen && columns.contains(&at);
                    assert!(
                        y.is_nan() == none,
                        "{} {dtype:?} {mask:?} part {part}: {y} at token {token}, column {at}",
                        isa.name()
                    );
                }
            }
        }
    }
}

#[test]
fn random_shapes_are_near_the_definition() {
    for seed in 0..12 {
        let [heads, head_dim, a, b, c, reach] = sizes(6, 120, seed)[..] else { unreachable!() };
        let masks = [Mask::Full, Mask::Causal, Mask::Window(reach), Mask::CausalWindow(reach + 1)];
        let mask = masks[seed as usize % 4];
        let (heads, head_dim) = (heads % 4 + 1, head_dim + 1);
        let shape = AttentionShape { heads, kv_heads: heads, head_dim, scale: 2.0 / (head_dim as f32).sqrt(), mask };
        let offsets = offsets(&[a, b, c, 2 * a]);
        let qkv = numbers(*offsets.last().unwrap() as usize * 3 * heads * head_dim, seed);
        let expected = reference(&shape, &qkv, &offsets);
        for isa in Isa::available() {
            for (dtype, bound) in [(Dtype::Float32, ERROR), (Dtype::Int8, INTEGER_ERROR)] {
                let mut out = vec![f32::NAN; qkv.len() / 3];
                attend(isa, dtype, &shape, &qkv, &offsets, &mut out);
                for (y, expected) in out.iter().zip(&expected) {
                    let error = (f64::from(*y) - expected).abs();
                    assert!(error <= bound, "{} {dtype:?} {shape:?} {offsets:?}: off by {error}", isa.name());
                }
            }
        }
    }
}

/// Random numbers for the definition: heads that share keys, written out as heads that do not.
#[test]
fn shared_keys_and_a_past_match_what_they_stand_for_on_every_set() {
    for (heads, kv_heads, head_dim) in [(4, 2, 16), (6, 1, 10), (6, 3, 33), (3, 3, 8)] {
        for (past, mask) in [
            (0, Mask::Full),
            (0, Mask::Window(5)),
            (0, Mask::Causal),
            (1, Mask::Causal),
            (70, Mask::Causal),
            (70, Mask::CausalWindow(9)),
        ] {
            let shape = AttentionShape { heads, kv_heads, head_dim, scale: 0.4, mask };
            let lengths = [1, 17, 0, 40, 97];
            let offsets = offsets(&lengths);
            let tokens = *offsets.last().unwrap() as usize;
            let qkv = numbers(tokens * shape.width(), 5);
            let kv = numbers(past * 2 * kv_heads * head_dim, 6);
            // Each sequence with the past before it, and every head with keys of its own.
            let spread = |kv: &[f32]| -> Vec<f32> {
                (0..2 * heads)
                    .flat_map(|head| {
                        let from = head / heads * kv_heads + head % heads / (heads / kv_heads);
                        kv[from * head_dim..][..head_dim].to_vec()
                    })
                    .collect()
            };
            let mut whole = Vec::new();
            for text in offsets.windows(2) {
                for kv in kv.chunks(2 * kv_heads * head_dim) {
                    whole.extend(vec![0.5; heads * head_dim].into_iter().chain(spread(kv)));
                }
                for token in
                    qkv[text[0] as usize * shape.width()..text[1] as usize * shape.width()].chunks(shape.width())
                {
                    let (queries, kv) = token.split_at(heads * head_dim);
                    whole.extend(queries.iter().copied().chain(spread(kv)));
                }
            }
            let whole_offsets = super::tests::offsets(&lengths.map(|len| len + past));
            let expected = reference(&AttentionShape { kv_heads: heads, ..shape }, &whole, &whole_offsets);
            let hidden = heads * head_dim;
            for isa in Isa::available() {
                for (dtype, bound) in [(Dtype::Float32, ERROR), (Dtype::Int8, INTEGER_ERROR)] {
                    let mut out = vec![f32::NAN; tokens * hidden];
                    attention(
                        isa,
                        dtype,
                        &shape,
                        AttentionInputs { qkv: &qkv, offsets: &offsets, past: &kv, bias: None, rows: None },
                        &mut out,
                    );
                    let mut rows = out.chunks(hidden);
                    for (text, &len) in lengths.iter().enumerate() {
                        for token in 0..len {
                            let at = (whole_offsets[text] as usize + past + token) * hidden;
                            for (y, expected) in rows.next().unwrap().iter().zip(&expected[at..]) {
                                let error = (f64::from(*y) - expected).abs();
                                assert!(
                                    error <= bound,
                                    "{} {dtype:?} {shape:?} past {past}: off by {error}",
                                    isa.name()
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Numbers that do not depend on the tokens: row `i` lies `step` after row `i - 1`.
struct FixedBias {
    values: Vec<f32>,
    start: usize,
    step: isize,
}

impl Bias for FixedBias {
    fn memory_for(&self, _: usize) -> usize {
        0
    }

    fn prepare(&self, _: BiasHead, _: &mut [f32]) {}

    fn rows<'a>(&'a self, _: BiasHead, rows: Range<usize>, _: &'a mut [f32]) -> BiasRows<'a> {
        let start = self.start.wrapping_add_signed(self.step * rows.start as isize);
        BiasRows { values: &self.values, start, step: self.step }
    }
}

#[test]
fn a_bias_is_added_to_the_scores_on_every_set() {
    // In integers, short texts have their scores in float32.
    for (len, dtype, bound) in [
        (37, Dtype::Float32, ERROR),
        (37, Dtype::Int8, ERROR),
        (109, Dtype::Float32, ERROR),
        (109, Dtype::Int8, INTEGER_ERROR),
    ] {
        let head_dim = 6;
        let qkv = numbers(len * 3 * head_dim, 3);
        for bias in [
            FixedBias { values: numbers(len * len, 4), start: 0, step: len as isize },
            FixedBias { values: numbers(2 * len, 4), start: len, step: -1 },
        ] {
            for mask in [Mask::Full, Mask::Window(4)] {
                let shape = AttentionShape { heads: 1, kv_heads: 1, head_dim, scale: 0.7, mask };
                let at = |token: usize, part: usize, i: usize| f64::from(qkv[(token * 3 + part) * head_dim + i]);
                for isa in Isa::available() {
                    let mut out = vec![f32::NAN; len * head_dim];
                    let inputs = AttentionInputs {
                        qkv: &qkv,
                        offsets: &[0, len as u32],
                        past: &[],
                        bias: Some(&bias),
                        rows: None,
                    };
                    attention(isa, dtype, &shape, inputs, &mut out);
                    for query in 0..len {
                        let weight = |key: usize| {
                            let product: f64 = (0..head_dim).map(|i| at(query, 0, i) * at(key, 1, i)).sum();
                            let index = bias.start as isize + query as isize * bias.step + key as isize;
                            (product * 0.7 + f64::from(bias.values[index as usize])).exp()
                        };
                        let sum: f64 = mask.keys(query, len).map(weight).sum();
                        for i in 0..head_dim {
                            let expected: f64 =
                                mask.keys(query, len).map(|key| weight(key) * at(key, 2, i)).sum::<f64>() / sum;
                            let error = (f64::from(out[query * head_dim + i]) - expected).abs();
                            assert!(error <= bound, "{} {dtype:?} query {query} of {len}: off by {error}", isa.name());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn one_row_of_each_sequence_has_the_bits_that_it_has_among_all() {
    let lengths = [1, 17, 96, 40, 131];
    let offsets = offsets(&lengths);
    let tokens = *offsets.last().unwrap() as usize;
    let bias = FixedBias { values: numbers(2 * 131, 4), start: 130, step: -1 };
    for (mask, bias) in
        [(Mask::Full, None), (Mask::Full, Some(&bias as &dyn Bias)), (Mask::Causal, None), (Mask::Window(7), None)]
    {
        let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 20, scale: 0.4, mask };
        let qkv = numbers(tokens * shape.width(), 8);
        let hidden = 4 * 20;
        for (isa, dtype) in Isa::available().into_iter().flat_map(|isa| [(isa, Dtype::Float32), (isa, Dtype::Int8)]) {
            let inputs = AttentionInputs { qkv: &qkv, offsets: &offsets, past: &[], bias, rows: None };
            let mut all = vec![f32::NAN; tokens * hidden];
            attention(isa, dtype, &shape, inputs, &mut all);
            for place in [0.0, 0.5, 1.0] {
                let row = |text: &[u32]| text[0] + ((text[1] - text[0] - 1) as f32 * place) as u32;
                let rows: Vec<u32> = offsets.windows(2).map(row).collect();
                let mut found = vec![f32::NAN; rows.len() * hidden];
                attention(isa, dtype, &shape, AttentionInputs { rows: Some(&rows), ..inputs }, &mut found);
                let expected: Vec<f32> =
                    rows.iter().flat_map(|&row| &all[row as usize * hidden..][..hidden]).copied().collect();
                assert_eq!(found, expected, "{} {dtype:?} {mask:?}", isa.name());
            }
        }
    }
}
