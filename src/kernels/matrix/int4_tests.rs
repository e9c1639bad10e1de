use super::int4::LadderChannel;
use super::int8::{limit, rotate};
use super::*;
use crate::kernels::testing::numbers;

/// Bytes where int4 unpacks to.
fn unpacked(isa: Isa, weight: &[f32], bias: &[f32], n: usize, k: usize) -> Matrix {
    let mut matrix = Matrix::zeroed(isa, Dtype::Int8, [n, k], 0).unwrap();
    let Panels::Int8(panels) = &mut matrix.panels else { unreachable!("a matrix in int8") };
    let mut rotated = vec![0.0; k];
    for (row, values) in weight.chunks(k).enumerate() {
        rotate(isa, values, &mut rotated);
        panels.set_channel(row, LadderChannel::new(isa, &rotated).unpacked());
    }
    matrix.bias.as_mut_slice()[..n].copy_from_slice(bias);
    matrix
}

fn applied(matrix: &Matrix, x: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() / matrix.k() * matrix.n()];
    matrix.apply(x, Activation::Identity, &mut out);
    out
}

/// About normally distributed.
fn normal(count: usize, seed: u64) -> Vec<f32> {
    numbers(12 * count, seed).chunks(12).map(|uniform| uniform.iter().sum::<f32>() / 2.0).collect()
}

const SIZES: [(usize, usize, usize); 16] = [
    (0, 3, 5),
    (1, 1, 1),
    (5, 15, 3),
    (6, 16, 16),
    (7, 17, 31),
    (3, 33, 32),
    (13, 63, 33),
    (12, 64, 36),
    (9, 130, 37),
    (2, 65, 47),
    (31, 7, 48),
    (4, 40, 65),
    (29, 131, 312),
    (3, 96, 384),
    (2, 70, 1040),
    (1, 9, 2080),
];

#[test]
fn products_are_those_of_the_unpacked_bytes_on_every_set() {
    for isa in Isa::available() {
        for (m, n, k) in SIZES {
            let (x, weight, bias) = (numbers(m * k, 1), normal(n * k, 2), numbers(n, 3));
            let int4 = Matrix::new(isa, Dtype::Int4, &weight, Some(&bias), n, k).unwrap();
            let expected = applied(&unpacked(isa, &weight, &bias, n, k), &x);
            assert_eq!(applied(&int4, &x), expected, "{} {m}x{n}x{k}", isa.name());
        }
    }
}

#[test]
fn sensitive_rows_are_those_of_int8() {
    for isa in Isa::available() {
        for (n, sensitive, k) in [(2, 1, 3), (48, 16, 40), (70, 33, 64), (131, 5, 100)] {
            let (x, weight, bias) = (numbers(11 * k, 1), normal(n * k, 2), numbers(n, 3));
            let mut both = Matrix::zeroed(isa, Dtype::Int4, [n, k], sensitive).unwrap();
            both.set_rows(0, &weight, Some(&bias)).unwrap();
            let first = n - sensitive;
            let part = |dtype, rows: std::ops::Range<usize>| {
                let (weight, bias) = (&weight[rows.start * k..rows.end * k], &bias[rows.clone()]);
                applied(&Matrix::new(isa, dtype, weight, Some(bias), rows.len(), k).unwrap(), &x)
            };
            let (int4, int8) = (part(Dtype::Int4, 0..first), part(Dtype::Int8, first..n));
            for (i, row) in applied(&both, &x).chunks(n).enumerate() {
                assert_eq!(row[..first], int4[i * first..][..first]);
                assert_eq!(row[first..], int8[i * sensitive..][..sensitive]);
            }
            let bytes = |dtype: Dtype, rows| dtype.bytes_of(rows * k);
            assert_eq!(both.weight_bytes(), bytes(Dtype::Int4, first) + bytes(Dtype::Int8, sensitive));
        }
        // Of another type all rows are alike.
        let weight = numbers(60, 1);
        let mut matrix = Matrix::zeroed(isa, Dtype::Float32, [6, 10], 2).unwrap();
        matrix.set_rows(0, &weight, None).unwrap();
        let expected = Matrix::new(isa, Dtype::Float32, &weight, None, 6, 10).unwrap();
        assert_eq!(applied(&matrix, &weight), applied(&expected, &weight));
    }
}

#[test]
fn rows_may_be_set_anew() {
    let (n, k) = (20, 50);
    for isa in Isa::available() {
        let mut matrix = Matrix::new(isa, Dtype::Int4, &normal(n * k, 1), None, n, k).unwrap();
        matrix.set_rows(0, &normal(n * k, 2), None).unwrap();
        let expected = Matrix::new(isa, Dtype::Int4, &normal(n * k, 2), None, n, k).unwrap();
        let x = numbers(3 * k, 3);
        assert_eq!(applied(&matrix, &x), applied(&expected, &x));
    }
}

#[test]
fn weights_are_near_what_they_stand_for() {
    for isa in Isa::available() {
        let (mut error, mut size) = (0.0, 0.0);
        for seed in 0..20 {
            let values = normal(768, seed);
            let super::int8::Channel { scale, weights } = LadderChannel::new(isa, &values).unpacked();
            for (value, weight) in values.iter().zip(&weights) {
                error += (f64::from(*value) - f64::from(scale * f32::from(*weight))).powi(2);
                size += f64::from(*value).powi(2);
            }
        }
        // The levels alone have .0095 for all weights of a channel; rungs adapt them to sixteen.
        assert!(error / size < 0.0055, "{}: {}", isa.name(), error / size);
    }
}

#[test]
fn lanes_of_a_channel_stay_within_the_limit_of_the_set() {
    for isa in Isa::available() {
        for seed in 0..30 {
            let k = 1 + 7 * seed as usize;
            let mut values = normal(k, seed);
            match seed % 3 {
                0 => values.iter_mut().for_each(|value| *value = value.abs()),
                1 => values.iter_mut().for_each(|value| *value = value.signum()),
                _ => {}
            }
            let super::int8::Channel { scale, weights } = LadderChannel::new(isa, &values).unpacked();
            assert_eq!(weights.len(), k);
            let Some(limit) = limit(isa) else { continue };
            for eight in weights.chunks(8) {
                for lane in [[0, 1, 4, 5], [2, 3, 6, 7]] {
                    let sum = |sign: i32| -> i32 {
                        lane.iter().filter_map(|&i| eight.get(i)).map(|&weight| (sign * i32::from(weight)).max(0)).sum()
                    };
                    assert!(sum(1) <= limit && sum(-1) <= limit, "{limit}: {eight:?}");
                }
            }
            let largest = values.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            assert!(scale <= largest / 40.0, "the scale grows no more than four equal weights ask for");
        }
    }
}

#[test]
fn a_channel_of_zeros_is_the_bias() {
    for isa in Isa::available() {
        let matrix = Matrix::new(isa, Dtype::Int4, &[0.0; 66], Some(&[0.5, -2.0]), 2, 33).unwrap();
        assert_eq!(applied(&matrix, &numbers(33, 5)), [0.5, -2.0]);
    }
}
