//! Attention against a reference in float64.

use super::*;
use crate::gpu::arena::Arena;
use crate::gpu::pipelines::row_upload::row_upload;
use crate::gpu::testing::{Noise, assert_near, compute, compute_once, device, numbers};
use crate::kernels::Mask;

const OFFSETS: [u32; 9] = [0, 1, 1, 16, 33, 64, 97, 98, 160];
const MASKS: [Mask; 5] = [Mask::Full, Mask::Causal, Mask::Window(3), Mask::Window(20), Mask::CausalWindow(18)];

struct ReferenceInputs<'a> {
    qkv: &'a [f32],
    offsets: &'a [u32],
    past: &'a [f32],
    /// `far`, and a number for each head and distance.
    bias: Option<(usize, &'a [f32])>,
}

/// `[tokens, heads * head_dim]`
fn reference(shape: &AttentionShape, inputs: &ReferenceInputs) -> Vec<f64> {
    let &AttentionShape { heads, kv_heads, head_dim, scale, mask } = shape;
    let past = inputs.past.len() / (2 * kv_heads * head_dim);
    let mut out = Vec::new();
    for text in inputs.offsets.windows(2) {
        let (start, len) = (text[0] as usize, (text[1] - text[0]) as usize);
        // Head `head` of keys (0) or values (1).
        let of_key = |key: usize, kind: usize, head: usize| {
            let (row, at) = match key.checked_sub(past) {
                None => (&inputs.past[key * 2 * kv_heads * head_dim..], kind * kv_heads + head),
                Some(key) => (&inputs.qkv[(start + key) * shape.width()..], heads + kind * kv_heads + head),
            };
            &row[at * head_dim..][..head_dim]
        };
        for (query, head) in (0..len).flat_map(|query| (0..heads).map(move |head| (query, head))) {
            let q = &inputs.qkv[(start + query) * shape.width() + head * head_dim..][..head_dim];
            let position = past + query;
            let keys = mask.keys(position, past + len);
            let score = |key: usize| {
                let k = of_key(key, 0, head / (heads / kv_heads));
                let dot: f64 = q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                let bias = inputs.bias.map_or(0.0, |(far, values)| {
                    let distance = (key as isize - position as isize).clamp(-(far as isize), far as isize);
                    f64::from(values[head * (2 * far + 1) + (far as isize + distance) as usize])
                });
                dot * f64::from(scale) + bias
            };
            let scores: Vec<f64> = keys.clone().map(score).collect();
            let best = scores.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = scores.iter().map(|score| (score - best).exp()).sum();
            for column in 0..head_dim {
                let values = keys.clone().map(|key| f64::from(of_key(key, 1, head / (heads / kv_heads))[column]));
                out.push(values.zip(&scores).map(|(v, score)| v * (score - best).exp()).sum::<f64>() / sum);
            }
        }
    }
    out
}

fn shape(heads: usize, kv_heads: usize, head_dim: usize) -> AttentionShape {
    AttentionShape { heads, kv_heads, head_dim, scale: 2.0 / (head_dim as f32).sqrt(), mask: Mask::Full }
}

fn check(number: Number, shape: AttentionShape, past: usize, far: Option<usize>) {
    let mut random = Noise::new((shape.head_dim + 1000 * past) as u64);
    let tokens = *OFFSETS.last().unwrap() as usize;
    let past_width = 2 * shape.kv_heads * shape.head_dim;
    let qkv = random.states(number, tokens * shape.width());
    let past = random.states(number, past * past_width);
    let values = random.values(shape.heads * (2 * far.unwrap_or(0) + 1));
    let bias = far.map(|far| ScoreBias::by_distance(device(), far, &values).unwrap());
    let run = |qkv: &[f32], offsets: &[u32], rows: Option<&[u32]>| {
        compute(number, &[(qkv, shape.width()), (&past, past_width)], |pass, inputs| {
            let queries = SentQueries::send(pass, offsets, rows);
            let past = (!past.is_empty()).then_some(&inputs[1]);
            attend(pass, &shape, &PackedInputs { qkv: &inputs[0], queries: &queries, past, bias: bias.as_ref() })
        })
    };
    let found = run(&qkv, &OFFSETS, None);
    let expected = reference(
        &shape,
        &ReferenceInputs { qkv: &qkv, offsets: &OFFSETS, past: &past, bias: far.map(|far| (far, &values[..])) },
    );
    let what = format!("{number:?} {shape:?}, {} numbers of past, bias {far:?}", past.len());
    assert_near(number, &found, &expected, 3e-6, &what);

    // The same bits for a text alone, and for a row alone.
    let (start, end) = (OFFSETS[5], OFFSETS[6]);
    let alone = run(&qkv[start as usize * shape.width()..end as usize * shape.width()], &[0, end - start], None);
    let width = shape.heads * shape.head_dim;
    assert_eq!(alone, found[start as usize * width..end as usize * width], "{what}: a text alone");
    for row in [0, 16, 32] {
        let one =
            run(&qkv[start as usize * shape.width()..end as usize * shape.width()], &[0, end - start], Some(&[row]));
        assert_eq!(one, alone[row as usize * width..][..width], "{what}: row {row} alone");
    }
}

#[test]
#[ignore = "needs a GPU"]
fn every_mask() {
    for (number, mask) in numbers().into_iter().flat_map(|number| MASKS.map(|mask| (number, mask))) {
        check(number, AttentionShape { mask, ..shape(3, 3, 12) }, 0, None);
        check(number, AttentionShape { mask, ..shape(4, 2, 32) }, 0, None);
    }
}

#[test]
#[ignore = "needs a GPU"]
fn every_width_of_heads() {
    for number in numbers() {
        for head_dim in [1, 2, 6, 13, 16, 34, 64, 80, 96, 128, 256] {
            check(number, shape(2, 1, head_dim), 0, None);
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn biases_by_distance() {
    for (number, far) in numbers().into_iter().flat_map(|number| [0, 5, 40, 500].map(|far| (number, far))) {
        check(number, shape(3, 3, 20), 0, Some(far));
    }
}

#[test]
#[ignore = "needs a GPU"]
fn a_past_comes_before_every_text() {
    for (number, past) in numbers().into_iter().flat_map(|number| [1, 15, 16, 50].map(|past| (number, past))) {
        for mask in [MASKS[1], MASKS[4]] {
            check(number, AttentionShape { mask, ..shape(4, 2, 16) }, past, None);
            check(number, AttentionShape { mask, ..shape(2, 1, 10) }, past, None);
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn what_is_no_number_stays_none() {
    let shape = shape(2, 2, 8);
    for (number, part) in numbers().into_iter().flat_map(|number| [0, 1, 2].map(|part| (number, part))) {
        // In the queries, the keys or the values of the second of three texts.
        let mut qkv = Noise::new(5).states(number, 60 * shape.width());
        qkv[30 * shape.width() + part * 16] = f32::NAN;
        let found = compute_once(number, &qkv, shape.width(), |pass, qkv| {
            let queries = SentQueries::send(pass, &[0, 20, 40, 60], None);
            attend(pass, &shape, &PackedInputs { qkv, queries: &queries, past: None, bias: None })
        });
        for (row, numbers) in found.chunks_exact(16).enumerate() {
            let expected = if part == 0 { row == 30 } else { (20..40).contains(&row) };
            assert_eq!(numbers[..8].iter().any(|x| x.is_nan()), expected, "{number:?}: part {part}, row {row}");
            assert!(numbers[8..].iter().all(|x| x.is_finite()), "the other head");
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn no_texts_and_no_tokens() {
    for offsets in [&[0][..], &[0, 0, 0]] {
        let found = compute(Number::F32, &[(&[], 48)], |pass, inputs| {
            let queries = SentQueries::send(pass, offsets, None);
            attend(pass, &shape(2, 2, 8), &PackedInputs { qkv: &inputs[0], queries: &queries, past: None, bias: None })
        });
        assert!(found.is_empty());
    }
}

#[test]
#[ignore = "needs a GPU"]
fn heads_that_are_too_wide_are_refused() {
    let mut pass = PassRecording::new(&Arena::new(device()).unwrap(), 1).unwrap();
    let qkv = row_upload(&mut pass, Number::F32, &[0.0; 3 * 257], 3 * 257).unwrap();
    let queries = SentQueries::send(&mut pass, &[0, 1], None);
    let inputs = PackedInputs { qkv: &qkv, queries: &queries, past: None, bias: None };
    let refused = attend(&mut pass, &shape(1, 1, 257), &inputs).err().unwrap();
    assert!(refused.to_string().contains("heads of 257 numbers"), "{refused}");
}
