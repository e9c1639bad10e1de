use super::int8::{Channel, WeightProductsOfSet, nearest};
use super::*;
use crate::kernels::hadamard::span;
use crate::kernels::testing::{max_difference, numbers, sizes};

/// Largest error of a sum of k products, relative to the sum of their absolute values.
fn bound(k: usize) -> f64 {
    (k as f64 + 2.0) * f64::from(f32::EPSILON) / 2.0
}

/// `x · weightᵀ + bias` and the sum of absolute products, in float64.
fn reference(x: &[f32], weight: &[f32], bias: &[f32], k: usize) -> Vec<(f64, f64)> {
    let rows = |x: &[f32]| x.chunks(k).map(|row| row.iter().map(|&v| f64::from(v)).collect::<Vec<_>>()).collect();
    let (x, weight): (Vec<_>, Vec<_>) = (rows(x), rows(weight));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).fold((0.0, 0.0), |(s, t), (a, b)| (s + a * b, t + (a * b).abs()));
    x.iter()
        .flat_map(|x| {
            weight.iter().zip(bias).map(|(w, &b)| {
                let (sum, size) = dot(x, w);
                (sum + f64::from(b), size + f64::from(b.abs()))
            })
        })
        .collect()
}

const DTYPES: [Dtype; 5] = [Dtype::Float32, Dtype::Bfloat16, Dtype::Float16, Dtype::Int8, Dtype::Int4];

fn every_format() -> impl Iterator<Item = (Isa, Dtype)> {
    Isa::available().into_iter().flat_map(|isa| DTYPES.map(|dtype| (isa, dtype)))
}

/// The numbers that a format computes with.
fn rounded(isa: Isa, dtype: Dtype, x: &mut [f32], weight: &mut [f32]) {
    match dtype {
        Dtype::Float32 => {}
        Dtype::Float16 => weight.iter_mut().for_each(|w| *w = half::f16::from_f32(*w).to_f32()),
        Dtype::Bfloat16 => {
            let round = |w: &mut f32| *w = half::bf16::from_f32(*w).to_f32();
            weight.iter_mut().for_each(round);
            if isa.has_bf16() {
                x.iter_mut().for_each(round);
            }
        }
        Dtype::Int8 | Dtype::Int4 => unreachable!("see the tests of these"),
    }
}

const SIZES: [(usize, usize, usize); 10] = [
    (1, 1, 1),
    (5, 15, 3),
    (6, 16, 16),
    (7, 17, 31),
    (13, 63, 40),
    (12, 64, 8),
    (29, 131, 312),
    (2, 65, 2),
    (3, 31, 67),
    (97, 7, 13),
];

#[test]
fn ragged_sizes_match_the_reference_on_every_set() {
    for isa in Isa::available() {
        for dtype in [Dtype::Float32, Dtype::Bfloat16, Dtype::Float16] {
            for (m, n, k) in SIZES {
                let (mut x, mut weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
                let mut out = vec![f32::NAN; m * n];
                let matrix = Matrix::new(isa, dtype, &weight, Some(&bias), n, k).unwrap();
                matrix.apply(&x, Activation::Identity, &mut out);
                rounded(isa, dtype, &mut x, &mut weight);
                for (y, (expected, size)) in out.iter().zip(reference(&x, &weight, &bias, k)) {
                    let error = (f64::from(*y) - expected).abs();
                    assert!(error <= bound(k) * size, "{} {dtype:?} {m}x{n}x{k}: {y} is not {expected}", isa.name());
                }
            }
        }
    }
}

/// The rows that int8 products compute with: `steps` of equal size between the ends.
fn quantized_rows(x: &[f32], k: usize, steps: u8) -> Vec<f32> {
    let quantize = |row: &[f32]| {
        let low = row.iter().copied().fold(f32::INFINITY, f32::min);
        let high = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scale = (high - low) / f32::from(steps);
        let inverse = if scale > 1e-37 { 1.0 / scale } else { 0.0 };
        let value = |x: f32| scale * (x * inverse - low * inverse).round() + low;
        row.iter().map(|&x| if inverse > 0.0 { value(x) } else { low }).collect::<Vec<_>>()
    };
    x.chunks(k).flat_map(quantize).collect()
}

fn quantized_weights(weight: &[f32], k: usize, limit: Option<i32>) -> Vec<f32> {
    let quantize = |row: &[f32]| {
        let Channel { scale, weights } = Channel::new(row, limit);
        weights.into_iter().map(move |weight| f32::from(weight) * scale)
    };
    weight.chunks(k).flat_map(quantize).collect()
}

#[test]
fn int8_matches_the_reference_on_every_set() {
    for isa in Isa::available() {
        let products = isa.run_int8(WeightProductsOfSet);
        // Widths that are not rotated, since the reference is not.
        for (m, n, k) in SIZES.into_iter().filter(|(_, _, k)| span(*k) == 1) {
            let (x, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
            let mut out = vec![f32::NAN; m * n];
            Matrix::new(isa, Dtype::Int8, &weight, Some(&bias), n, k).unwrap().apply(
                &x,
                Activation::Identity,
                &mut out,
            );
            let rows = quantized_rows(&x, k, products.steps);
            let expected = reference(&rows, &quantized_weights(&weight, k, products.limit()), &bias, k);
            for (y, (expected, size)) in out.iter().zip(expected) {
                // A number in the middle of two steps may be rounded to either: one step of 2 / steps times a weight.
                let error = (f64::from(*y) - expected).abs();
                let bound = 1e-5 * size + 2.0 / f64::from(products.steps);
                assert!(error <= bound, "{} {m}x{n}x{k}: {y} is not {expected}", isa.name());
            }
        }
    }
}

#[test]
fn int8_sums_are_exact_at_the_extremes_of_every_set() {
    let (m, n, k) = (9, 70, 1543);
    for isa in Isa::available() {
        let products = isa.run_int8(WeightProductsOfSet);
        let steps = usize::from(products.steps);
        // 0, 1, ... steps are quantized to themselves. Some rows have the ends alone, in each order.
        let x: Vec<f32> = (0..m * k)
            .map(|i| match (i / k, i % k) {
                (_, column @ 0..2) => column * steps,
                (row @ 0..4, column) => (column / (1 << row) % 2) * steps,
                _ => i * 37 % (steps + 1),
            })
            .map(|x| x as f32)
            .collect();
        // All of one sign, by turns, and in between.
        let weight: Vec<f32> = (0..n * k)
            .map(|i| match (i / k, i % k) {
                (0, _) => 127.0,
                (1, _) => -127.0,
                (channel @ 2..9, column) => 127.0 - (column / (1 << (channel - 2)) % 2 * 254) as f32,
                (9.., 0) => 127.0,
                _ => (i * 29 % 255) as f32 - 127.0,
            })
            .collect();
        let exact = reference(&x, &quantized_weights(&weight, k, products.limit()), &vec![0.0; n], k);
        let mut out = vec![f32::NAN; m * n];
        Matrix::new(isa, Dtype::Int8, &weight, None, n, k).unwrap().apply(&x, Activation::Identity, &mut out);
        for (y, (expected, _)) in out.iter().zip(&exact) {
            let error = (f64::from(*y) - expected).abs();
            let bound = 4.0 * f64::from(f32::EPSILON) * 255.0 * 127.0 * k as f64;
            assert!(error <= bound, "{}: {y}, {expected}", isa.name());
        }
    }
}

#[test]
fn lanes_of_a_channel_stay_within_their_limit() {
    for seed in 0..50 {
        let [k, spread] = sizes(2, 200, seed)[..] else { unreachable!() };
        let mut values = numbers(k + 1, seed);
        for (i, value) in values.iter_mut().enumerate() {
            match spread % 3 {
                0 => *value = if i % 5 == 0 { 30.0 * *value } else { *value },
                1 => *value = value.abs() + 0.5,
                _ => {}
            }
        }
        for limit in [128, 182, 258, 512] {
            let Channel { scale, weights } = Channel::new(&values, Some(limit));
            for eight in weights.chunks(8) {
                for lane in [[0, 1, 4, 5], [2, 3, 6, 7]] {
                    let sum = |sign: i32| -> i32 {
                        lane.iter().filter_map(|&i| eight.get(i)).map(|&weight| (sign * i32::from(weight)).max(0)).sum()
                    };
                    assert!(sum(1) <= limit && sum(-1) <= limit, "{limit}: {eight:?}");
                }
            }
            let largest = values.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            assert!(scale >= largest / 127.0 && scale <= largest * (4.0 / (limit - 2) as f32).max(1.0 / 126.9));
            for (weight, x) in weights.into_iter().zip(&values) {
                assert!((f32::from(weight) * scale - x).abs() <= 0.5001 * scale, "{weight} times {scale} is not {x}");
            }
        }
    }
    assert_eq!(Channel::new(&[0.0; 9], Some(128)).weights, [0; 9]);
}

#[test]
fn int8_takes_extreme_rows() {
    let (n, k) = (3, 20);
    let weight = numbers(n * k, 2);
    let sums: Vec<f32> = weight.chunks(k).map(|row| row.iter().sum()).collect();
    for isa in Isa::available() {
        let matrix = Matrix::new(isa, Dtype::Int8, &weight, None, n, k).unwrap();
        let apply = |x: &[f32]| {
            let mut out = vec![f32::NAN; n];
            matrix.apply(x, Activation::Identity, &mut out);
            out
        };
        assert_eq!(apply(&[0.0; 20]), [0.0; 3]);
        assert_eq!(apply(&[-0.0; 20]), [0.0; 3]);
        // A row of one value has no range; neither has one of denormals.
        for (y, sum) in apply(&[-2.5; 20]).iter().zip(&sums) {
            assert!((y - -2.5 * sum).abs() < 0.2, "{}: {y} is not {}", isa.name(), -2.5 * sum);
        }
        let mut tiny = [1e-40; 20];
        tiny[3] = -1e-39;
        assert!(apply(&tiny).iter().all(|y| y.abs() < 1e-37));
        // What is small beside one huge number is lost; the huge one is not, on either side.
        for huge in [1e30, -1e30] {
            let mut row = [1.0; 20];
            row[7] = huge;
            for (y, row) in apply(&row).iter().zip(weight.chunks(k)) {
                assert!((y / huge - row[7]).abs() < 0.02, "{}: {y} is not {huge} times {}", isa.name(), row[7]);
            }
        }
    }
    // A channel without weights.
    let matrix = Matrix::new(Isa::active().unwrap(), Dtype::Int8, &[0.0; 20], Some(&[0.5]), 1, k).unwrap();
    let mut out = [f32::NAN];
    matrix.apply(&numbers(k, 5), Activation::Identity, &mut out);
    assert_eq!(out, [0.5]);
}

#[test]
fn a_row_has_the_same_bits_in_any_batch_and_any_split() {
    let (m, n, k) = (211, 390, 77);
    let team = crate::kernels::Team::new(3).unwrap();
    for (isa, dtype) in every_format() {
        let (x, weight) = (numbers(m * k, 4), numbers(n * k, 5));
        let matrix = Matrix::new(isa, dtype, &weight, None, n, k).unwrap();
        let mut all = vec![0.0; m * n];
        matrix.apply(&x, Activation::Gelu, &mut all);
        for row in [0, 1, 5, 6, 100, 210] {
            let mut alone = vec![0.0; n];
            matrix.apply(&x[row * k..][..k], Activation::Gelu, &mut alone);
            assert_eq!(alone, all[row * n..][..n], "{} row {row}", isa.name());
        }
        let mut together = vec![0.0; m * n];
        team.install(|| matrix.apply(&x, Activation::Gelu, &mut together));
        assert_eq!(together, all);
    }
}

#[test]
fn not_a_number_stays_none_in_its_row() {
    for (isa, dtype) in every_format() {
        for (m, n, k) in SIZES {
            let (mut x, matrix) = (numbers(m * k, 4), Matrix::new(isa, dtype, &numbers(n * k, 5), None, n, k).unwrap());
            let (mut before, mut after) = (vec![0.0; m * n], vec![0.0; m * n]);
            matrix.apply(&x, Activation::Relu, &mut before);
            for bad in [f32::NAN, f32::INFINITY] {
                x[(m / 2) * k + k / 2] = bad;
                matrix.apply(&x, Activation::Identity, &mut after);
                let row = &after[(m / 2) * n..][..n];
                assert!(row.iter().all(|y| !y.is_finite()), "{} {dtype:?} {m}x{n}x{k} {bad}: {row:?}", isa.name());
                matrix.apply(&x, Activation::Relu, &mut after);
                let others = |out: &[f32]| [&out[..(m / 2) * n], &out[(m / 2 + 1) * n..]].concat();
                assert_eq!(others(&after), others(&before), "{} {dtype:?} {m}x{n}x{k} {bad}", isa.name());
            }
        }
    }
}

#[test]
fn an_empty_input_is_an_empty_output() {
    for (isa, dtype) in every_format() {
        Matrix::new(isa, dtype, &numbers(12, 1), None, 3, 4).unwrap().apply(&[], Activation::Relu, &mut []);
    }
}

#[test]
fn stacked_rows_equal_separate_matrices() {
    for (isa, dtype) in every_format() {
        let (x, weight, bias) = (numbers(4 * 10, 1), numbers(30 * 10, 2), numbers(30, 3));
        let (mut whole, mut stacked) = (vec![0.0; 120], vec![0.0; 120]);
        Matrix::new(isa, dtype, &weight, Some(&bias), 30, 10).unwrap().apply(&x, Activation::Identity, &mut whole);
        let mut matrix = Matrix::zeroed(isa, dtype, [30, 10], 0).unwrap();
        matrix.set_rows(20, &weight[200..], Some(&bias[20..])).unwrap();
        matrix.set_rows(0, &weight[..200], Some(&bias[..20])).unwrap();
        matrix.apply(&x, Activation::Identity, &mut stacked);
        assert_eq!(max_difference(&whole, &stacked), 0.0);
    }
}

#[test]
fn bytes_are_rounded_as_numbers_are() {
    let halves = (-255..=254).map(|twice| twice as f32 / 2.0);
    let near = halves.flat_map(|x| [x.next_down().next_down(), x.next_down(), x, x.next_up(), x.next_up().next_up()]);
    for x in near.chain(numbers(10_000, 1).into_iter().map(|x| 127.0 * x)).chain([-0.0, f32::MIN_POSITIVE]) {
        assert_eq!(nearest(x), x.round() as i8, "{x}");
    }
    assert_eq!(nearest(f32::NAN), 0);
}

#[test]
fn int8_bears_channels_that_are_far_larger_than_others() {
    let (m, n, k) = (5, 48, 384);
    let (mut x, weight) = (numbers(m * k, 1), numbers(n * k, 2));
    x.chunks_mut(k).for_each(|row| (row[7], row[200]) = (40.0, -25.0));
    let mut expected = vec![0.0; m * n];
    for isa in Isa::available() {
        Matrix::new(isa, Dtype::Float32, &weight, None, n, k).unwrap().apply(&x, Activation::Identity, &mut expected);
        let mut out = vec![f32::NAN; m * n];
        Matrix::new(isa, Dtype::Int8, &weight, None, n, k).unwrap().apply(&x, Activation::Identity, &mut out);
        let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>();
        let error = square(&mut expected.iter().zip(&out).map(|(a, b)| a - b)) / square(&mut expected.iter().copied());
        assert!(error.sqrt() < 0.012, "{}: off by {} of the result", isa.name(), error.sqrt());
    }
}

#[test]
fn random_shapes_are_near_float32() {
    for seed in 0..60 {
        let [m, n, k] = sizes(3, 300, seed)[..] else { unreachable!() };
        let (n, k) = (n + 1, k + 1);
        let (x, weight, bias) = (numbers(m * k, seed), numbers(n * k, seed + 1), numbers(n, seed + 2));
        let expected = reference(&x, &weight, &bias, k);
        for (isa, dtype) in every_format() {
            let mut out = vec![f32::NAN; m * n];
            Matrix::new(isa, dtype, &weight, Some(&bias), n, k).unwrap().apply(&x, Activation::Identity, &mut out);
            // Relative to the absolute products: rounding of both sides, at most.
            let relative = match dtype {
                Dtype::Float32 => bound(k),
                Dtype::Float16 => 1e-3,
                Dtype::Bfloat16 => 8e-3,
                Dtype::Int8 => 0.03,
                // Levels are at most .25 of the sixteen's largest apart, and a uniformly distributed weight is half of it.
                Dtype::Int4 => 0.25,
            };
            for (y, (expected, size)) in out.iter().zip(&expected) {
                let error = (f64::from(*y) - expected).abs();
                assert!(error <= relative * (size + 1.0), "{} {dtype:?} {m}x{n}x{k}: {y}, {expected}", isa.name());
            }
        }
    }
}
