//! Searches against scores of all rows in float64.

use super::Store;
use super::segment::segment_index;
use crate::kernels::testing::numbers;
use crate::kernels::{Metric, exact_score};
use crate::{Error, Result};

const METRICS: [&str; 3] = ["cosine", "dot", "l2"];

fn never_cancel() -> Result<()> {
    Ok(())
}

fn store(metric: &str, dtype: &str, dimension: usize, threads: usize) -> Store {
    Store::new(dimension, metric, dtype, "cpu", Some(threads)).unwrap()
}

fn added(store: &Store, vectors: &[f32]) -> Store {
    store.add(vectors, None, 0, 0, &never_cancel).unwrap()
}

/// Makes coarse codes for half of the rows, then for the others.
fn extend_coarse(store: &Store) {
    let half = store.rows().div_ceil(2) * store.coarse_stride();
    store.extend_coarse_codes(half, &never_cancel).unwrap();
}

fn stored(store: &Store, row: usize) -> Vec<f32> {
    let mut vector = vec![0.0; store.dimension()];
    store.take(&[row], &mut vector).unwrap();
    vector
}

/// Scores of rows, summed in another order than the store does.
fn scores(store: &Store, metric: &str, query: &[f32], rows: &[usize]) -> Vec<f64> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let over = |x: f64, by: f64| if by == 0.0 { 0.0 } else { x / by };
    let score = |&row: &usize| {
        let x = stored(store, row);
        match metric {
            "cosine" => over(over(dot(query, &x), dot(&x, &x).sqrt()), dot(query, query).sqrt()),
            "dot" => dot(query, &x),
            _ => -query.iter().zip(&x).map(|(&q, &x)| (f64::from(q) - f64::from(x)).powi(2)).sum::<f64>().sqrt(),
        }
    };
    rows.iter().map(score).collect()
}

/// The rows found have the largest scores, in order, but for what summing in another order changes.
fn assert_found(store: &Store, metric: &str, queries: &[f32], k: usize, mask: Option<&[u8]>) {
    extend_coarse(store);
    let found = store.search(queries, k, mask, true, &never_cancel).unwrap();
    let counts = |row: &usize| mask.is_none_or(|mask| mask[*row] != 0);
    let rows: Vec<usize> = store.live_ranges().flatten().filter(counts).collect();
    assert_eq!(found.columns, k.min(rows.len()));
    assert_eq!(found.report.rows, rows.len());
    for (i, query) in queries.chunks_exact(store.dimension()).enumerate() {
        let scores = scores(store, metric, query, &rows);
        let mut best = scores.clone();
        best.sort_by(|a, b| b.total_cmp(a));
        let at = i * found.columns..(i + 1) * found.columns;
        let mut seen = std::collections::HashSet::new();
        for ((&row, &score), best) in found.rows[at.clone()].iter().zip(&found.scores[at]).zip(best) {
            assert!(seen.insert(row));
            let own = scores[rows.binary_search(&(row as usize)).expect("a row that counts")];
            // Of vectors as float32 has them: those of int8 are rounded to it when they are taken.
            let slack = if store.dtype() == super::VectorDtype::Int8 { 1e-6 } else { 1e-13 };
            assert!((own - best).abs() <= slack * best.abs().max(slack), "{metric} query {i} k {k}: {own} {best}");
            assert!((f64::from(score) - own).abs() <= 1e-6 * own.abs().max(1.0), "{metric}: {score} {own}");
        }
    }
}

/// All live rows that count with their scores in float64 as callers get them, best first.
fn ranked(store: &Store, query: &[f32], mask: Option<&[u8]>) -> Vec<(f64, i64)> {
    let metric = store.metric().expect("numbers are compared");
    let query: Vec<f64> = query.iter().copied().map(f64::from).collect();
    let length = query.iter().map(|x| x * x).sum::<f64>().sqrt();
    let score = |row: usize| {
        let segment = &store.segments[segment_index(&store.segments, row)];
        let stored = segment.data().unwrap().stored();
        exact_score(store.config.isa, metric, &query, stored, row - segment.first_row)
    };
    let reported = |score: f64| match metric {
        Metric::Cosine if length > 0.0 => score / length,
        Metric::Cosine | Metric::Dot => score,
        Metric::L2 => -(-score).sqrt(),
    };
    let rows = store.live_ranges().flatten().filter(|&row| mask.is_none_or(|mask| mask[row] != 0));
    let mut ranked: Vec<_> = rows.map(|row| (score(row), row as i64)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.into_iter().map(|(score, row)| (reported(score), row)).collect()
}

/// The rows found are those whose scores reach a least one, where that is the score of a row or next to it.
fn assert_range_found(store: &Store, queries: &[f32], mask: Option<&[u8]>, ks: &[Option<usize>]) {
    extend_coarse(store);
    let ranked: Vec<_> = queries.chunks_exact(store.dimension()).map(|query| ranked(store, query, mask)).collect();
    let scores: Vec<f64> = ranked.iter().flatten().map(|&(score, _)| score).collect();
    let picks = (0..7).filter_map(|i| scores.get(i * scores.len() / 7)).copied();
    let around = picks.flat_map(|score| [score.next_down(), score, score.next_up()]);
    for min_score in around.chain([f64::NEG_INFINITY, f64::INFINITY, 0.0, 1e-40, -1e-40]) {
        for &k in ks {
            let found = store.search_range(queries, min_score, k, mask, true, &never_cancel).unwrap();
            let mut start = 0;
            assert_eq!(found.counts.len(), ranked.len());
            for (&count, ranked) in found.counts.iter().zip(&ranked) {
                let reaching = ranked.iter().take_while(|&&(score, _)| score >= min_score);
                let expected: Vec<_> = reaching.take(k.unwrap_or(usize::MAX)).collect();
                let rows = &found.rows[start..start + count];
                assert_eq!(rows, expected.iter().map(|(_, row)| *row).collect::<Vec<_>>(), "{min_score} {k:?}");
                // Numbers below float32's normal range become 0.
                let reported = |score: f32| if score.is_subnormal() { 0.0 } else { score };
                let scores: Vec<_> = expected.iter().map(|(score, _)| reported(*score as f32)).collect();
                assert_eq!(found.scores[start..start + count], scores);
                start += count;
            }
            assert_eq!((found.rows.len(), found.scores.len()), (start, start));
            assert!(found.scores.capacity() <= 2 * start.max(queries.len()), "{start}");
        }
    }
}

#[test]
fn all_rows_from_a_score_on_are_found() {
    let ks = [None, Some(1), Some(20)];
    for metric in METRICS {
        for dtype in ["float32", "float16", "int8"] {
            for (dimension, rows) in [(1, 100), (48, 1000), (65, 6000)] {
                let mut store = store(metric, dtype, dimension, 2);
                for part in numbers(rows * dimension, 1).chunks(dimension * 2500) {
                    store = added(&store, part);
                }
                assert_range_found(&store, &numbers(dimension, 2), None, &ks);
                assert_range_found(&store, &numbers(3 * dimension, 3), None, &ks);
                let deleted: Vec<usize> = (0..rows).filter(|row| row % 3 == 0).collect();
                let store = store.without(&deleted).unwrap();
                let mask: Vec<u8> = (0..rows).map(|row| if row % 2 == 1 { 7 } else { 0 }).collect();
                assert_range_found(&store, &numbers(2 * dimension, 4), Some(&mask), &ks);
                assert_range_found(&store, &numbers(dimension, 4), Some(&vec![0; rows]), &ks);
            }
        }
    }
}

#[test]
fn a_range_ends_where_it_should_among_rows_of_all_sizes() {
    let dimension = 33;
    let mut vectors = numbers(300 * dimension, 7);
    for (row, vector) in vectors.chunks_exact_mut(dimension).enumerate() {
        let times = [1.0, 1e-12, 1e9, 0.0, 1e-25, 1e15, 1e-3][row % 7];
        vector.iter_mut().for_each(|x| *x *= times);
    }
    for metric in METRICS {
        let store = added(&store(metric, "float32", dimension, 1), &vectors);
        for times in [1.0, 0.0, 1e-20, 1e14] {
            let mut query = numbers(dimension, 8);
            query.iter_mut().for_each(|x| *x *= times);
            assert_range_found(&store, &query, None, &[None]);
        }
        // As near to a row as can be, where under L2 squares cancel.
        assert_range_found(&store, &vectors[5 * dimension..6 * dimension], None, &[None]);
        assert_range_found(&store, &vectors[2 * dimension..3 * dimension], None, &[None]);
    }
}

#[test]
fn a_high_score_leaves_few_candidates() {
    let dimension = 128;
    let store = added(&store("cosine", "float32", dimension, 2), &numbers(20_000 * dimension, 9));
    let queries = numbers(4 * dimension, 10);
    let found = store.search_range(&queries, 0.9, None, None, true, &never_cancel).unwrap();
    assert_eq!((found.rows.len(), found.report.rescored, found.report.rows), (0, 0, 20_000));
    let best = store.search(&queries, 20, None, true, &never_cancel).unwrap();
    let min_score = f64::from(best.scores[19]);
    let found = store.search_range(&queries, min_score, None, None, true, &never_cancel).unwrap();
    assert!(found.report.rescored < 3 * found.rows.len() + 200, "{:?} {}", found.report, found.rows.len());
    let near = store.search_range(&queries, min_score, None, None, false, &never_cancel).unwrap();
    assert!(near.scores.iter().all(|&score| f64::from(score) >= min_score));
    assert!(near.rows.len() * 10 >= found.rows.len() * 9, "{} of {}", near.rows.len(), found.rows.len());
}

#[test]
fn the_best_rows_are_found() {
    for metric in METRICS {
        for dtype in ["float32", "float16", "int8"] {
            for (dimension, rows) in [(1, 100), (3, 17), (48, 1000), (65, 5000)] {
                let mut store = store(metric, dtype, dimension, 2);
                for (i, part) in numbers(rows * dimension, 1).chunks(dimension * 700).enumerate() {
                    store = if i % 2 == 0 {
                        added(&store, part)
                    } else {
                        store.add(part, None, 2000, 0, &never_cancel).unwrap()
                    };
                }
                for queries in [1, 2, 5, 33] {
                    let queries = numbers(queries * dimension, 2);
                    assert_found(&store, metric, &queries, 1, None);
                    assert_found(&store, metric, &queries[..dimension], 2 * rows, None);
                    assert_found(&store, metric, &queries, 10, None);
                }
                let deleted: Vec<usize> = (0..rows).filter(|row| row % 3 == 0).collect();
                let store = store.without(&deleted).unwrap();
                let queries = numbers(3 * dimension, 3);
                assert_found(&store, metric, &queries, 10, None);
                for every in [2, 50, 1000] {
                    let mask: Vec<u8> = (0..rows).map(|row| if row % every == 1 { 7 } else { 0 }).collect();
                    assert_found(&store, metric, &queries, 10, Some(&mask));
                }
                assert_found(&store, metric, &queries, 10, Some(&vec![0; rows]));
            }
        }
    }
}

#[test]
fn equal_rows_come_in_their_order() {
    for metric in METRICS {
        let row = numbers(20, 4);
        // More of them than are ever kept in question.
        let store = added(&store(metric, "float32", 20, 2), &row.repeat(20_000));
        let found = store.search(&row, 300, None, true, &never_cancel).unwrap();
        assert_eq!(found.rows, (0..300).collect::<Vec<i64>>());
    }
}

#[test]
fn close_scores_are_told_apart() {
    // Rows that differ in the last bits of one number.
    let dimension = 96;
    let base = numbers(dimension, 5);
    let mut vectors = base.repeat(3000);
    for (row, vector) in vectors.chunks_exact_mut(dimension).enumerate() {
        vector[row % dimension] = f32::from_bits(vector[row % dimension].to_bits() + (row % 7) as u32);
    }
    for metric in METRICS {
        let store = added(&store(metric, "float32", dimension, 2), &vectors);
        assert_found(&store, metric, &numbers(2 * dimension, 6), 50, None);
        assert_found(&store, metric, &base, 50, None);
    }
}

#[test]
fn rows_of_all_sizes_and_zeros_have_their_place() {
    for metric in METRICS {
        let dimension = 33;
        let mut vectors = numbers(500 * dimension, 7);
        for (row, vector) in vectors.chunks_exact_mut(dimension).enumerate() {
            let times = [1.0, 1e-12, 1e9, 0.0, 1e-25, 1e15, 1e-3][row % 7];
            vector.iter_mut().for_each(|x| *x *= times);
        }
        let store = added(&store(metric, "float32", dimension, 1), &vectors);
        let mut queries = numbers(4 * dimension, 8);
        queries[..dimension].fill(0.0);
        queries[dimension..2 * dimension].iter_mut().for_each(|x| *x *= 1e-20);
        queries[2 * dimension..3 * dimension].iter_mut().for_each(|x| *x *= 1e14);
        assert_found(&store, metric, &queries, 60, None);
    }
}

#[test]
fn few_scores_are_computed_and_fewer_are_left() {
    let dimension = 128;
    let store = added(&store("cosine", "float32", dimension, 2), &numbers(20_000 * dimension, 9));
    let queries = numbers(4 * dimension, 10);
    let exact = store.search(&queries, 10, None, true, &never_cancel).unwrap();
    assert!(exact.report.rescored < 4 * 1000 && exact.report.closed_early > 0, "{:?}", exact.report);
    let near = store.search(&queries, 10, None, false, &never_cancel).unwrap();
    assert_eq!((near.report.rescored, near.rows.len()), (40, 40));
    let same = near.rows.iter().filter(|row| exact.rows.contains(row)).count();
    assert!(same >= 36, "{same} of 40");
}

#[test]
fn what_cannot_be_searched_for_is_named() {
    let empty = store("l2", "float32", 2, 1);
    let found = empty.search(&[1.0, 2.0], 5, None, true, &never_cancel).unwrap();
    assert_eq!((found.columns, found.rows.len()), (0, 0));
    let some = added(&empty, &[1.0, 2.0]);
    let message = |queries: &[f32], k, mask: Option<&[u8]>| match some.search(queries, k, mask, true, &never_cancel) {
        Err(Error::Argument { name, message, .. }) => format!("{name}: {message}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(message(&[1.0, 0.0, f32::NAN, 0.0], 1, None), "queries: row 1 has NaN or infinity");
    assert_eq!(message(&[1e18, 1e18], 1, None), "queries: row 0 is longer than 1e18");
    assert_eq!(message(&[1.0, 0.0], 0, None), "k: expected 1 or more, found 0");
    assert_eq!(message(&[1.0, 0.0], 1, Some(&[1, 1])), "mask: 2 values for 1 rows");
    let range = |min_score, k| match some.search_range(&[1.0, 0.0], min_score, k, None, true, &never_cancel) {
        Err(Error::Argument { name, message, .. }) => format!("{name}: {message}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(range(f64::NAN, None), "min_score: expected a number, found NaN");
    assert_eq!(range(0.0, Some(0)), "k: expected 1 or more, found 0");
    let found = empty.search_range(&[1.0, 2.0], -5.0, None, None, true, &never_cancel).unwrap();
    assert_eq!((found.counts, found.rows.len()), (vec![0], 0));
}

#[test]
fn a_search_can_be_interrupted() {
    let store = added(&store("dot", "float32", 4, 1), &numbers(4 * 200_000, 11));
    let asked = std::cell::Cell::new(0);
    let give_up = || {
        asked.set(asked.get() + 1);
        Err(Error::Interrupted)
    };
    let queries = numbers(4 * 2000, 12);
    assert!(matches!(store.search(&queries, 100, None, true, &give_up), Err(Error::Interrupted)));
    assert_eq!(asked.get(), 1);
}
