use super::*;
use crate::kernels::testing::{numbers, sizes, worst};

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
            for mask in [Mask::Full, Mask::Causal, Mask::Window(0), Mask::Window(7)] {
                let shape = Attention { heads, head_dim, scale: 2.0 / (head_dim as f32).sqrt(), mask };
                let offsets = offsets(&[1, 0, 2, 15, 16, 17, 6, 63, 64, 65, 130]);
                let qkv = numbers(*offsets.last().unwrap() as usize * 3 * heads * head_dim, head_dim as u64);
                let mut out = vec![f32::NAN; qkv.len() / 3];
                attention(isa, Dtype::Float32, &shape, &qkv, &offsets, &mut out);
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
            for mask in [Mask::Full, Mask::Causal, Mask::Window(0), Mask::Window(7)] {
                let shape = Attention { heads, head_dim, scale: 2.0 / (head_dim as f32).sqrt(), mask };
                let offsets = offsets(&[1, 0, 2, 95, 96, 97, 111, 127, 128, 129, 193]);
                let qkv = numbers(*offsets.last().unwrap() as usize * 3 * heads * head_dim, head_dim as u64);
                let mut out = vec![f32::NAN; qkv.len() / 3];
                attention(isa, Dtype::Int8, &shape, &qkv, &offsets, &mut out);
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
    let shape = Attention { heads: 1, head_dim: 4, scale: 0.5, mask: Mask::Full };
    let len = 3 * 512 + 1;
    let qkv = vec![1.0; len * 12];
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; len * 4];
        attention(isa, Dtype::Int8, &shape, &qkv, &[0, len as u32], &mut out);
        assert!(out.iter().all(|y| (y - 1.0).abs() < 1e-5), "{}: {:?}", isa.name(), &out[..4]);
    }
}

#[test]
fn integers_take_extreme_tokens() {
    let shape = Attention { heads: 1, head_dim: 2, scale: 1.0, mask: Mask::Full };
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
            attention(isa, Dtype::Int8, &shape, &qkv, &[0, 128], &mut out);
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
    let shape = Attention { heads: 3, head_dim: 20, scale: 0.3, mask: Mask::Full };
    let (hidden, offsets) = (60, offsets(&[233, 7, 150]));
    let qkv = numbers(390 * 3 * hidden, 9);
    let crew = crate::kernels::Crew::new(2).unwrap();
    for (isa, dtype) in Isa::available().into_iter().flat_map(|isa| [(isa, Dtype::Float32), (isa, Dtype::Int8)]) {
        let (mut all, mut alone, mut shared) =
            (vec![0.0; 390 * hidden], vec![0.0; 7 * hidden], vec![0.0; 390 * hidden]);
        attention(isa, dtype, &shape, &qkv, &offsets, &mut all);
        attention(isa, dtype, &shape, &qkv[233 * 3 * hidden..240 * 3 * hidden], &[0, 7], &mut alone);
        assert_eq!(alone, all[233 * hidden..240 * hidden]);
        crew.lead(|| attention(isa, dtype, &shape, &qkv, &offsets, &mut shared));
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
        attention(isa, Dtype::Float32, &shape, &qkv, &[0, 3], &mut out);
        assert_eq!(out, [1.0; 3], "{}", isa.name());
    }
}

#[test]
fn random_shapes_are_near_the_definition() {
    for seed in 0..12 {
        let [heads, head_dim, a, b, c, reach] = sizes(6, 120, seed)[..] else { unreachable!() };
        let mask = [Mask::Full, Mask::Causal, Mask::Window(reach)][seed as usize % 3];
        let (heads, head_dim) = (heads % 4 + 1, head_dim + 1);
        let shape = Attention { heads, head_dim, scale: 2.0 / (head_dim as f32).sqrt(), mask };
        let offsets = offsets(&[a, b, c, 2 * a]);
        let qkv = numbers(*offsets.last().unwrap() as usize * 3 * heads * head_dim, seed);
        let expected = reference(&shape, &qkv, &offsets);
        for isa in Isa::available() {
            for (dtype, bound) in [(Dtype::Float32, ERROR), (Dtype::Int8, INTEGER_ERROR)] {
                let mut out = vec![f32::NAN; qkv.len() / 3];
                attention(isa, dtype, &shape, &qkv, &offsets, &mut out);
                for (y, expected) in out.iter().zip(&expected) {
                    let error = (f64::from(*y) - expected).abs();
                    assert!(error <= bound, "{} {dtype:?} {shape:?} {offsets:?}: off by {error}", isa.name());
                }
            }
        }
    }
}
