use super::*;
use crate::kernels::Isa;
use crate::kernels::testing::numbers;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::L2];
const DIMENSIONS: [usize; 10] = [1, 3, 15, 16, 17, 63, 64, 65, 312, 1027];

/// Keeps what is collected, of rows that reach a threshold.
struct RecordingCollector {
    threshold: f32,
    compares_middles: bool,
    /// Query, row, lower and upper bound.
    rows: Vec<(usize, usize, f32, f32)>,
}

impl RecordingCollector {
    fn new(threshold: f32) -> Self {
        Self { threshold, compares_middles: false, rows: Vec::new() }
    }
}

impl Collector for RecordingCollector {
    fn threshold(&self, _: usize) -> f32 {
        self.threshold
    }

    fn prune(&mut self, _: usize) {}

    fn collect(&mut self, query: usize, row: usize, lower: f32, upper: f32) {
        self.rows.push((query, row, lower, upper));
    }

    fn compares_middles(&self) -> bool {
        self.compares_middles
    }
}

#[derive(PartialEq)]
struct Encoded {
    codes: Vec<i8>,
    bounds: Vec<Bound>,
    coarse: Vec<u8>,
}

impl Encoded {
    fn coded(&self) -> CodedRows<'_> {
        CodedRows { codes: &self.codes, bounds: &self.bounds, coarse: &self.coarse }
    }
}

fn encoded(isa: Isa, metric: Metric, reference: BoundReference, vectors: &[f32], dimension: usize) -> Encoded {
    let n = vectors.len() / dimension;
    let mut encoded = Encoded {
        codes: vec![0; n * code_stride(dimension)],
        bounds: vec![Bound::default(); n],
        coarse: vec![0; if reference == BoundReference::Vectors { n * coarse_stride(dimension) } else { 0 }],
    };
    let Encoded { codes, bounds, coarse } = &mut encoded;
    encode(isa, metric, reference, vectors, dimension, CodeOutput { codes, bounds }).unwrap();
    if reference == BoundReference::Vectors {
        encode_coarse(isa, metric, vectors, dimension, coarse).unwrap();
    }
    encoded
}

fn scan_all(isa: Isa, queries: &QuantizedQueries, coded: CodedRows<'_>, collector: &mut RecordingCollector) -> usize {
    let rows = RowSelection::Range(0..coded.bounds.len());
    scan(isa, queries, coded, &rows, &mut FirstLook::default(), collector)
}

/// The score as [`Collector::collect`] has it.
fn score(metric: Metric, query: &[f32], x: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let (query_length, length) = (dot(query, query).sqrt(), dot(x, x).sqrt());
    let over = |x: f64, by: f64| if by == 0.0 { 0.0 } else { x / by };
    match metric {
        Metric::Cosine => over(over(dot(query, x), query_length), length),
        Metric::Dot => over(dot(query, x), query_length),
        Metric::L2 => dot(query, x) - length * length / 2.0,
    }
}

/// Rows of very different lengths, some of them zero or with one large number.
fn vectors(n: usize, dimension: usize, seed: u64) -> Vec<f32> {
    let mut vectors = numbers(n * dimension, seed);
    for (i, row) in vectors.chunks_exact_mut(dimension).enumerate() {
        match i % 7 {
            1 => row.iter_mut().for_each(|x| *x *= 1e6),
            2 => row.iter_mut().for_each(|x| *x *= 1e-9),
            3 => row[i % dimension] = 30.0,
            4 => row.fill(0.0),
            5 => row.iter_mut().for_each(|x| *x *= 1e-31),
            _ => {}
        }
    }
    vectors
}

#[test]
fn bounds_hold_on_every_set() {
    for isa in Isa::available() {
        for metric in METRICS {
            for dimension in DIMENSIONS {
                for n in [1, 15, 16, 17, 64, 65, 131] {
                    let rows = vectors(n, dimension, n as u64);
                    let encoded = encoded(isa, metric, BoundReference::Vectors, &rows, dimension);
                    for queries in [1, 2, 5, 7] {
                        let q = vectors(queries, dimension, 99);
                        let prepared = QuantizedQueries::new(isa, metric, &q, dimension, true);
                        let mut recorded = RecordingCollector::new(f32::NEG_INFINITY);
                        scan_all(isa, &prepared, encoded.coded(), &mut recorded);
                        assert_eq!(recorded.rows.len(), n * queries);
                        for (query, row, lower, upper) in recorded.rows {
                            let of = |all: &[f32], i: usize| all[i * dimension..][..dimension].to_vec();
                            let score = score(metric, &of(&q, query), &of(&rows, row));
                            // Smaller numbers than float32 has are zero on both sides of a comparison.
                            let least = f64::from(f32::MIN_POSITIVE);
                            let held = f64::from(lower) - least <= score && score <= f64::from(upper) + least;
                            assert!(held, "{} {metric:?} {dimension} row {row}: {lower} {score} {upper}", isa.name());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn bounds_are_close() {
    for isa in Isa::available() {
        let dimension = 312;
        let rows = numbers(100 * dimension, 1);
        let encoded = encoded(isa, Metric::Cosine, BoundReference::Vectors, &rows, dimension);
        let queries = QuantizedQueries::new(isa, Metric::Cosine, &numbers(dimension, 2), dimension, true);
        let mut recorded = RecordingCollector::new(f32::NEG_INFINITY);
        scan_all(isa, &queries, encoded.coded(), &mut recorded);
        assert!(recorded.rows.iter().all(|&(.., lower, upper)| upper - lower < 0.025), "{}", isa.name());
    }
}

#[test]
fn a_first_look_rules_out_no_row_that_reaches_the_threshold() {
    for isa in Isa::available() {
        for metric in METRICS {
            for dimension in DIMENSIONS {
                let rows = vectors(2_000, dimension, 12);
                let encoded = encoded(isa, metric, BoundReference::Vectors, &rows, dimension);
                let without = CodedRows { coarse: &[], ..encoded.coded() };
                for queries in [1, 2, 3] {
                    let q = vectors(queries, dimension, 13);
                    let prepared = QuantizedQueries::new(isa, metric, &q, dimension, true);
                    let mut scores: Vec<f64> =
                        rows.chunks(dimension).map(|x| score(metric, &q[..dimension], x)).collect();
                    scores.sort_by(f64::total_cmp);
                    // So many rows reach the threshold that first looks pay, and that they do not.
                    for (place, compares_middles) in [(1_990, false), (1_990, true), (1_000, false), (0, false)] {
                        let recorded = |coded| {
                            let threshold = scores[place] as f32;
                            let mut recorded =
                                RecordingCollector { compares_middles, ..RecordingCollector::new(threshold) };
                            scan_all(isa, &prepared, coded, &mut recorded);
                            let middle = |lower: f32, upper: f32| lower + (upper - lower) / 2.0;
                            let counts = |query: usize, row: usize, lower: f32, upper: f32| {
                                let of = |all: &[f32], i: usize| all[i * dimension..][..dimension].to_vec();
                                match compares_middles {
                                    true => middle(lower, upper) >= threshold,
                                    false => score(metric, &of(&q, query), &of(&rows, row)) >= f64::from(threshold),
                                }
                            };
                            recorded.rows.retain(|&(query, row, lower, upper)| counts(query, row, lower, upper));
                            recorded.rows.sort_by_key(|&(query, row, ..)| (query, row));
                            recorded.rows
                        };
                        let some = &encoded.coarse[..777 * coarse_stride(dimension)];
                        for coded in [encoded.coded(), CodedRows { coarse: some, ..without }] {
                            assert_eq!(recorded(coded), recorded(without), "{} {metric:?} {dimension}", isa.name());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn first_looks_read_less_and_only_where_they_pay() {
    let dimension = 512;
    let rows = numbers(20_000 * dimension, 14);
    let stride = code_stride(dimension) + size_of::<Bound>();
    for isa in Isa::available() {
        let encoded = encoded(isa, Metric::Cosine, BoundReference::Vectors, &rows, dimension);
        // A row among the others: its score is 1, theirs are about 0.
        let one = QuantizedQueries::new(isa, Metric::Cosine, &rows[777 * dimension..][..dimension], dimension, true);
        let read = |threshold| {
            let mut recorded = RecordingCollector::new(threshold);
            let bytes = scan_all(isa, &one, encoded.coded(), &mut recorded);
            (bytes, recorded.rows.len())
        };
        assert_eq!(read(0.9), (20_000 * coarse_stride(dimension) + stride, 1), "{}", isa.name());
        let (bytes, found) = read(-0.5);
        assert_eq!(found, 20_000);
        assert!(bytes < 20_000 * stride * 103 / 100, "{bytes} {}", isa.name());
        let four = QuantizedQueries::new(isa, Metric::Cosine, &rows[..4 * dimension], dimension, true);
        assert_eq!(scan_all(isa, &four, encoded.coded(), &mut RecordingCollector::new(0.9)), 20_000 * stride);
    }
}

#[test]
fn coarse_errors_are_those_of_the_best_step() {
    let (dimension, isa) = (1027, Isa::active().unwrap());
    let normal: Vec<f32> = numbers(12 * dimension, 15).chunks(12).map(|few| few.iter().sum()).collect();
    let uniform = numbers(dimension, 16);
    let mut outlier = normal.clone();
    outlier[5] = 40.0 * normal.iter().map(|x| x.abs()).fold(0.0, f32::max);
    // Of normally distributed numbers .0115 of the variance is left (Max, table II), of uniform ones 1 / 256. Beside a
    // number so large the others are no more than half a step.
    for (row, least, most) in [(normal, 0.100, 0.109), (uniform, 0.058, 0.066), (outlier, 0.8, 0.85)] {
        let encoded = encoded(isa, Metric::Cosine, BoundReference::Vectors, &row, dimension);
        let error = f32::from_le_bytes(encoded.coarse[4..8].try_into().unwrap());
        assert!((least..most).contains(&error), "{error}");
    }
}

#[test]
fn codes_and_scores_have_the_same_bits_on_every_set() {
    for dimension in DIMENSIONS {
        let rows = vectors(20, dimension, 3);
        let halves: Vec<_> = rows.iter().map(|&x| half::f16::from_f32(x)).collect();
        let query: Vec<f64> = numbers(dimension, 4).into_iter().map(f64::from).collect();
        for metric in METRICS {
            let on = |isa| {
                let of_vectors = encoded(isa, metric, BoundReference::Vectors, &rows, dimension);
                let of_codes = encoded(isa, metric, BoundReference::Codes, &rows, dimension);
                let of = |stored| {
                    (0..20).map(|row| exact_score(isa, metric, &query, stored, row).to_bits()).collect::<Vec<_>>()
                };
                let int8 = StoredRows::Int8(&of_codes.codes, &of_codes.bounds);
                let scores = [StoredRows::Float32(&rows), StoredRows::Float16(&halves), int8].map(of);
                (scores, of_vectors, of_codes)
            };
            let first = on(Isa::named("scalar").unwrap());
            assert!(Isa::available().into_iter().all(|isa| on(isa) == first), "{metric:?} {dimension}");
        }
    }
}

#[test]
fn exact_scores_are_exact() {
    let isa = Isa::active().unwrap();
    for dimension in DIMENSIONS {
        let (rows, query) = (numbers(10 * dimension, 5), numbers(dimension, 6));
        let wide: Vec<f64> = query.iter().copied().map(f64::from).collect();
        let length = query.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        for row in 0..10 {
            let x = &rows[row * dimension..][..dimension];
            let near = |metric, expected: f64| {
                let found = exact_score(isa, metric, &wide, StoredRows::Float32(&rows), row);
                assert!((found - expected).abs() <= 1e-13 * dimension as f64, "{metric:?} {found} {expected}");
            };
            near(Metric::Dot, score(Metric::Dot, &query, x) * length);
            near(Metric::Cosine, score(Metric::Cosine, &query, x) * length);
            near(Metric::L2, -query.iter().zip(x).map(|(&q, &x)| (f64::from(q) - f64::from(x)).powi(2)).sum::<f64>());
        }
    }
}

#[test]
fn codes_alone_are_what_they_stand_for() {
    for isa in Isa::available() {
        for metric in METRICS {
            let dimension = 65;
            let rows = numbers(50 * dimension, 7);
            let encoded = encoded(isa, metric, BoundReference::Codes, &rows, dimension);
            let Encoded { codes, bounds, .. } = &encoded;
            let query = numbers(dimension, 8);
            let queries = QuantizedQueries::new(isa, metric, &query, dimension, true);
            let mut recorded = RecordingCollector::new(f32::NEG_INFINITY);
            scan_all(isa, &queries, encoded.coded(), &mut recorded);
            for (_, row, lower, upper) in recorded.rows {
                let row_codes = &codes[row * code_stride(dimension)..][..dimension];
                let x: Vec<f32> = row_codes.iter().map(|&code| f32::from(code) * bounds[row].step).collect();
                let score = score(metric, &query, &x);
                assert!(f64::from(lower) <= score && score <= f64::from(upper), "{metric:?} {lower} {score} {upper}");
                let worst = x.iter().zip(&rows[row * dimension..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst <= bounds[row].step * 0.5001);
            }
        }
    }
}

#[test]
fn only_rows_that_are_asked_for_and_reach_the_threshold_are_collected() {
    for isa in Isa::available() {
        let dimension = 40;
        let rows = numbers(200 * dimension, 9);
        let encoded = encoded(isa, Metric::Dot, BoundReference::Vectors, &rows, dimension);
        let queries = QuantizedQueries::new(isa, Metric::Dot, &numbers(3 * dimension, 10), dimension, true);
        let recorded = |rows: RowSelection, threshold| {
            let mut recorded = RecordingCollector::new(threshold);
            scan(isa, &queries, encoded.coded(), &rows, &mut FirstLook::default(), &mut recorded);
            recorded.rows.sort_by_key(|&(query, row, ..)| (query, row));
            recorded.rows
        };
        let all = recorded(RowSelection::Range(0..200), f32::NEG_INFINITY);
        let list: Vec<u32> = (0..200).filter(|i| i % 3 == 1).collect();
        let listed: Vec<_> = all.iter().copied().filter(|&(_, row, ..)| row % 3 == 1).collect();
        assert_eq!(recorded(RowSelection::List(&list), f32::NEG_INFINITY), listed);
        let ranged: Vec<_> = all.iter().copied().filter(|&(_, row, ..)| (50..117).contains(&row)).collect();
        assert_eq!(recorded(RowSelection::Range(50..117), f32::NEG_INFINITY), ranged);
        let high: Vec<_> = all.iter().copied().filter(|&(.., upper)| upper >= 0.5).collect();
        assert!(!high.is_empty() && high.len() < all.len());
        assert_eq!(recorded(RowSelection::Range(0..200), 0.5), high);
        assert!(
            recorded(RowSelection::List(&[]), f32::NEG_INFINITY).is_empty()
                && recorded(RowSelection::Range(5..5), 0.0).is_empty()
        );
    }
}

#[test]
fn what_cannot_be_encoded_is_named() {
    let isa = Isa::active().unwrap();
    for dimension in DIMENSIONS {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.1e18, f32::MAX] {
            let mut rows = numbers(5 * dimension, 11);
            rows[3 * dimension + dimension / 2] = bad;
            let (codes, bounds) = (&mut vec![0; 5 * code_stride(dimension)], &mut [Bound::default(); 5]);
            let output = CodeOutput { codes, bounds };
            let found = encode(isa, Metric::Dot, BoundReference::Vectors, &rows, dimension, output);
            let expected = if bad.is_finite() { EncodeError::TooLong(3) } else { EncodeError::NotFinite(3) };
            assert_eq!(found, Err(expected), "{bad}");
        }
    }
}
