//! Searches that begin on a device against those of the CPU's kernels, which must have the same bits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::device_copy::TILE_ROWS;
use super::segment::Segment;
use super::tests::attached_codes;
use super::{AttachedRows, AttachedVectors, RowIds, Store, Vectors};
use crate::device::Device;
use crate::kernels::Bound;
use crate::kernels::testing::numbers;
use crate::{Error, Result};

const METRICS: [&str; 3] = ["cosine", "dot", "l2"];
const DTYPES: [&str; 3] = ["float32", "float16", "int8"];

fn never_cancel() -> Result<()> {
    Ok(())
}

/// A store on the CPU, and one on a device.
fn pair(metric: &str, dtype: &str, dimension: usize) -> [Store; 2] {
    let store = Store::new(dimension, metric, dtype, "cpu", Some(2)).unwrap();
    let on_device = store.on_device(Device::portable());
    [store, on_device]
}

fn added(stores: &[Store; 2], vectors: &[f32]) -> [Store; 2] {
    stores.each_ref().map(|store| store.add(vectors, None, 0, 0, &never_cancel).unwrap())
}

fn assert_same(stores: &[Store; 2], queries: &[f32], k: usize, mask: Option<&[u8]>) {
    let [here, there] = stores.each_ref().map(|store| store.search(queries, k, mask, true, &never_cancel).unwrap());
    assert_eq!((here.columns, here.report.rows), (there.columns, there.report.rows));
    assert_eq!(here.rows, there.rows);
    let bits = |scores: &[f32]| scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&here.scores), bits(&there.scores));
    let Some(&min_score) = here.scores.get(here.scores.len() / 2) else { return };
    for k in [None, Some(k)] {
        let [here, there] = stores
            .each_ref()
            .map(|store| store.search_range(queries, f64::from(min_score), k, mask, true, &never_cancel).unwrap());
        assert_eq!((here.counts, here.rows), (there.counts, there.rows));
        assert_eq!(bits(&here.scores), bits(&there.scores));
    }
}

/// Tensors of as few numbers as there can be.
fn limit(store: &Store) {
    let none = || Err::<(), _>(Error::DeviceMemory { message: String::new() });
    assert!(store.config.device_context.as_ref().unwrap().attempt(2, none).unwrap().is_none());
}

#[test]
fn answers_are_those_of_the_cpu() {
    for metric in METRICS {
        for dtype in DTYPES {
            for (dimension, rows, limited) in [(1, 100, false), (48, 3000, false), (65, 5000, true)] {
                let mut stores = pair(metric, dtype, dimension);
                if limited {
                    limit(&stores[1]);
                }
                let queries = numbers(33 * dimension, 2);
                for part in numbers(rows * dimension, 1).chunks(dimension * 1700) {
                    stores = added(&stores, part);
                    assert_same(&stores, &queries[..2 * dimension], 10, None);
                }
                for k in [1, 10, 400, 2 * rows] {
                    assert_same(&stores, &queries[..dimension], k, None);
                }
                assert_same(&stores, &queries, 10, None);
                let some: Vec<usize> = (0..rows).filter(|row| row % 3 == 0).collect();
                let stores = stores.map(|store| store.without(&some).unwrap());
                for every in [1, 2, 50, 1000] {
                    let mask: Vec<u8> = (0..rows).map(|row| if row % every == every / 2 { 7 } else { 0 }).collect();
                    assert_same(&stores, &queries[..3 * dimension], 10, Some(&mask));
                }
                assert_same(&stores, &queries, 10, Some(&vec![0; rows]));
            }
        }
    }
}

#[test]
fn a_tile_may_have_all_of_the_best() {
    let dimension = 32;
    for metric in METRICS {
        // Tiles of rows around one centre each, and among them one of equal rows.
        let mut vectors = numbers(6 * TILE_ROWS * dimension, 3);
        let centres = numbers(6 * dimension, 4);
        for (row, vector) in vectors.chunks_exact_mut(dimension).enumerate() {
            let centre = &centres[row / TILE_ROWS * dimension..][..dimension];
            let spread = if row / TILE_ROWS == 3 { 0.0 } else { 0.05 };
            vector.iter_mut().zip(centre).for_each(|(x, centre)| *x = centre + spread * *x);
        }
        let stores = added(&pair(metric, "float32", dimension), &vectors);
        for k in [5, 100, 300] {
            assert_same(&stores, &centres, k, None);
        }
    }
}

#[test]
fn equal_rows_come_in_their_order() {
    for metric in METRICS {
        let row = numbers(20, 4);
        let stores = added(&pair(metric, "float32", 20), &row.repeat(20_000));
        let found = stores[1].search(&row, 300, None, true, &never_cancel).unwrap();
        assert_eq!(found.rows, (0..300).collect::<Vec<i64>>());
    }
}

#[test]
fn rows_of_all_sizes_and_zeros_have_their_place() {
    let dimension = 33;
    for metric in METRICS {
        let mut vectors = numbers(2500 * dimension, 7);
        for (row, vector) in vectors.chunks_exact_mut(dimension).enumerate() {
            let times = [1.0, 1e-12, 1e9, 0.0, 1e-25, 1e15, 1e-3, 1e-37][row % 8];
            vector.iter_mut().for_each(|x| *x *= times);
        }
        let stores = added(&pair(metric, "float32", dimension), &vectors);
        let mut queries = numbers(5 * dimension, 8);
        for (query, times) in queries.chunks_exact_mut(dimension).zip([0.0, 1e-20, 1e14, 1.0, 1e-38]) {
            query.iter_mut().for_each(|x| *x *= times);
        }
        assert_same(&stores, &queries, 60, None);
    }
}

#[test]
fn what_is_not_exact_takes_the_best_float32_scores() {
    let dimension = 64;
    let [_, store] = added(&pair("cosine", "float32", dimension), &numbers(20_000 * dimension, 9));
    let queries = numbers(4 * dimension, 10);
    let exact = store.search(&queries, 10, None, true, &never_cancel).unwrap();
    assert!(exact.report.rescored < 4 * 30, "{:?}", exact.report);
    let near = store.search(&queries, 10, None, false, &never_cancel).unwrap();
    assert_eq!((near.report.rescored, near.rows), (40, exact.rows));
}

fn blocks(store: &Store) -> Vec<usize> {
    let data = store.segments().iter().filter_map(Segment::data);
    data.flat_map(|data| data.device_copy.rows()).collect()
}

#[test]
fn a_row_is_copied_once_and_there_are_few_blocks() {
    let dimension = 8;
    let [_, mut store] = added(&pair("dot", "float32", dimension), &numbers(1000 * dimension, 11));
    let query = numbers(dimension, 12);
    assert_eq!(store.memory().device, 0);
    for i in 0..1000 {
        store = store.add(&numbers(dimension, 13 + i), None, 0, 0, &never_cancel).unwrap();
        store.search(&query, 3, None, true, &never_cancel).unwrap();
        assert_eq!(store.memory().device, (1001 + i as usize) * dimension * 4);
        assert!(blocks(&store).len() <= 16, "{:?}", blocks(&store));
    }
    // What is in the memory of both is shared, and an older store does not see newer rows.
    let best: Vec<f32> = query.iter().map(|x| 100.0 * x).collect();
    let more = store.add(&best.repeat(10), None, 0, 0, &never_cancel).unwrap();
    assert_eq!(more.search(&query, 1, None, true, &never_cancel).unwrap().rows, [2000]);
    assert_eq!(store.search(&query, 2000, None, true, &never_cancel).unwrap().rows.len(), 2000);
    assert!(more.memory().device == 2010 * dimension * 4 && store.memory().device <= more.memory().device);
    let compact = more.without(&(0..1000).collect::<Vec<_>>()).unwrap().compact(&never_cancel).unwrap();
    assert_eq!(compact.memory().device, 0);
}

#[test]
fn another_device_shares_rows_and_not_their_copies() {
    let dimension = 16;
    let [_, store] = added(&pair("l2", "float16", dimension), &numbers(3000 * dimension, 20));
    let queries = numbers(3 * dimension, 21);
    let found = store.search(&queries, 7, None, true, &never_cancel).unwrap();
    assert_eq!(store.memory().device, 3000 * (dimension * 2 + 4));
    let moved = store.with_device("cpu").unwrap();
    let start = |store: &Store| match &store.segments()[0].data().unwrap().vectors {
        Vectors::Float16(vectors) => vectors.as_ptr(),
        _ => unreachable!("a store of float16"),
    };
    assert_eq!((moved.memory().device, start(&moved)), (0, start(&store)));
    drop(store);
    assert_eq!(moved.search(&queries, 7, None, true, &never_cancel).unwrap().rows, found.rows);
}

#[test]
fn searches_wait_for_the_device_and_can_give_up_waiting() {
    let dimension = 16;
    let stores = added(&pair("dot", "float32", dimension), &numbers(4000 * dimension, 22));
    let queries = numbers(8 * dimension, 23);
    std::thread::scope(|scope| {
        for query in queries.chunks_exact(dimension) {
            let stores = &stores;
            scope.spawn(move || (0..5).for_each(|_| assert_same(stores, query, 20, None)));
        }
    });
    let asked = AtomicUsize::new(0);
    let lock = stores[1].config.device_context.as_ref().unwrap().lock(&never_cancel).unwrap();
    let result = std::thread::scope(|scope| {
        let (store, query, asked) = (&stores[1], &queries[..dimension], &asked);
        let give_up = move || {
            asked.fetch_add(1, Relaxed);
            Err(Error::Interrupted)
        };
        scope.spawn(move || store.search(query, 1, None, true, &give_up)).join().unwrap()
    });
    drop(lock);
    assert!(matches!(result, Err(Error::Interrupted)) && asked.into_inner() == 1);
    assert!(stores[1].config.device_context.as_ref().unwrap().lock(&|| Err(Error::Interrupted)).is_ok());
}

/// Vectors and bounds of another's memory, changed.
fn damaged(stores: &[Store; 2], change: impl Fn(&mut Vec<f32>, &mut Vec<Bound>)) -> [Store; 2] {
    let data = stores[0].segments()[0].data().unwrap();
    let Vectors::Float32(vectors) = &data.vectors else { unreachable!("a store of float32") };
    let (mut vectors, mut bounds) = (vectors.to_vec(), data.bounds.to_vec());
    change(&mut vectors, &mut bounds);
    stores.each_ref().map(|store| {
        let attached = AttachedRows {
            vectors: Some(AttachedVectors::Float32(Arc::new(vectors.clone()))),
            codes: Some(attached_codes(data, bounds.clone())),
            ids: RowIds::Range(0..store.rows() as i64),
        };
        let empty = Store::new(store.dimension(), "cosine", "float32", "cpu", Some(2)).unwrap();
        let empty = empty.on_device(store.config.device.clone());
        empty.attach(attached, &[], &never_cancel).unwrap()
    })
}

#[test]
fn scores_that_their_bounds_do_not_cover_prove_nothing() {
    let dimension = 24;
    let stores = added(&pair("cosine", "float32", dimension), &numbers(2000 * dimension, 24));
    let queries = numbers(3 * dimension, 25);
    // Weights that are twice what they should be, as if the device computed what it likes.
    let wrong = damaged(&stores, |_, bounds| bounds.iter_mut().for_each(|bound| bound.step /= 2.0));
    assert_same(&wrong, &queries, 10, None);
    let wrong = damaged(&stores, |vectors, _| vectors.iter_mut().step_by(50 * dimension).for_each(|x| *x = f32::NAN));
    for store in &wrong {
        assert_eq!(store.search(&queries, 10, None, true, &never_cancel).unwrap().columns, 10);
    }
}
