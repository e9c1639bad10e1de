use std::collections::BTreeMap;

use super::*;
use crate::kernels::Bound;

pub(super) fn never_cancel() -> Result<()> {
    Ok(())
}

pub(super) fn store(dimension: usize, dtype: &str) -> Store {
    Store::new(dimension, "cosine", dtype, "auto", Some(2)).unwrap()
}

/// Rows whose numbers say which they are, and are kept alike by every type.
pub(super) fn rows(from: usize, n: usize, dimension: usize) -> Vec<f32> {
    let number = |row: usize, i: usize| if i == 0 { 127.0 } else { ((row * 7 + i * 3) % 100) as f32 - 50.0 };
    (from..from + n).flat_map(|row| (0..dimension).map(move |i| number(row, i))).collect()
}

pub(super) fn add(store: &Store, vectors: &[f32], ids: Option<RowIds>) -> Store {
    store.add(vectors, ids, 0, 0, &never_cancel).unwrap()
}

fn ints(ids: impl IntoIterator<Item = i64>) -> Option<RowIds> {
    Some(RowIds::Int64(ids.into_iter().collect()))
}

pub(super) fn found(store: &Store, ids: impl IntoIterator<Item = i64>) -> Vec<Option<usize>> {
    store.find(&ints(ids).unwrap()).unwrap()
}

pub(super) fn taken(store: &Store, rows: &[usize]) -> Vec<f32> {
    let mut out = vec![0.0; rows.len() * store.dimension()];
    store.take(rows, &mut out).unwrap();
    out
}

/// Codes and bounds of all rows in memory, as one.
pub(super) fn encoded(store: &Store) -> (Vec<i8>, Vec<Bound>) {
    let data = || store.segments().iter().filter_map(Segment::data);
    (data().flat_map(|data| data.codes.to_vec()).collect(), data().flat_map(|data| data.bounds.to_vec()).collect())
}

/// The codes of rows with other bounds.
pub(super) fn attached_codes(data: &SegmentData, bounds: Vec<Bound>) -> AttachedCodes {
    AttachedCodes { codes: Arc::new(data.codes.to_vec()), bounds: Arc::new(bounds), coarse: None }
}

#[test]
fn rows_are_kept_as_they_were_added() {
    for (dtype, dimension) in [("float32", 5), ("float16", 64), ("int8", 100)] {
        let whole = add(&store(dimension, dtype), &rows(0, 3_000, dimension), None);
        assert_eq!((whole.segments().len(), whole.live(), whole.rows()), (1, 3_000, 3_000));
        assert_eq!(
            taken(&whole, &[0, 2_999, 17]),
            [rows(0, 1, dimension), rows(2_999, 1, dimension), rows(17, 1, dimension)].concat()
        );
        let mut parts = store(dimension, dtype);
        for (from, n) in [(0, 1), (1, 2), (3, 997), (1_000, 1_000), (2_000, 0), (2_000, 1_000)] {
            parts = add(&parts, &rows(from, n, dimension), None);
        }
        assert_eq!(encoded(&parts), encoded(&whole), "{dtype}");
        let all: Vec<usize> = (0..3_000).collect();
        assert_eq!(taken(&parts, &all), rows(0, 3_000, dimension));
    }
}

#[test]
fn threads_encode_as_one_does() {
    let vectors = rows(0, 3_000, 200);
    for dtype in ["float32", "float16", "int8"] {
        let by = |threads| {
            let store = Store::new(200, "l2", dtype, "cpu", Some(threads)).unwrap();
            encoded(&add(&store, &vectors, None))
        };
        assert_eq!(by(1), by(3));
    }
}

#[test]
fn branches_do_not_see_each_other() {
    let stem = add(&store(4, "float32"), &rows(0, 10, 4), None);
    let left = add(&stem, &rows(10, 5, 4), None);
    let right = add(&stem, &rows(100, 5, 4), None).without(&[3]).unwrap();
    // The first took the room behind the stem; the second has its own.
    assert_eq!((stem.segments().len(), left.segments().len(), right.segments().len()), (1, 1, 2));
    assert_eq!(taken(&left, &[0, 10, 14]), [rows(0, 1, 4), rows(10, 1, 4), rows(14, 1, 4)].concat());
    assert_eq!(taken(&right, &[0, 10, 14]), [rows(0, 1, 4), rows(100, 1, 4), rows(104, 1, 4)].concat());
    assert_eq!((stem.live(), left.live(), right.live()), (10, 15, 14));
    assert_eq!((found(&stem, [3, 12]), found(&right, [3, 12])), (vec![Some(3), None], vec![None, Some(12)]));
}

#[test]
fn a_refused_row_is_named_and_changes_nothing() {
    let before = add(&store(300, "float16"), &rows(0, 2, 300), None);
    for (n, bad) in [(2, 1), (1_000, 0), (1_000, 700), (1_000, 999)] {
        for (number, why) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "infinity"), (65_520.0, "65504")] {
            let mut vectors = rows(0, n, 300);
            vectors[bad * 300 + 123] = number;
            let message = before.add(&vectors, None, n, 40, &never_cancel).err().unwrap().to_string();
            assert!(message.contains(&format!("row {}", 40 + bad)) && message.contains(why), "{message}");
        }
    }
    let long =
        Store::new(2, "dot", "float32", "cpu", None).unwrap().add(&[1.0, 0.0, 1e19, 0.0], None, 2, 0, &never_cancel);
    assert!(long.err().unwrap().to_string().contains("row 1 is longer than 1e18"));
    // What was claimed is free again.
    let after = add(&before, &rows(2, 2, 300), None);
    assert_eq!((after.segments().len(), taken(&after, &[3])), (1, rows(3, 1, 300)));
}

#[test]
fn wrong_arguments_are_refused() {
    let refused = |result: Result<Store>, why: &str| {
        let message = result.err().unwrap().to_string();
        assert!(message.contains(why), "{message}");
    };
    refused(Store::new(0, "dot", "int8", "auto", None), "dimension: 0; accepted: 1 to 65536");
    refused(Store::new(1 << 17, "dot", "int8", "auto", None), "dimension: 131072");
    refused(Store::new(8, "angle", "int8", "auto", None), "accepted: cosine, dot, l2");
    refused(Store::new(8, "dot", "int4", "auto", None), "accepted: float32, float16, int8");
    refused(Store::new(8, "dot", "int8", "gpu", None), "\"gpu\"");
    refused(Store::new(8, "dot", "int8", "auto", Some(0)), "num_threads");
    let numbers = add(&store(2, "float32"), &rows(0, 3, 2), None);
    let add_to = |store: &Store, ids| store.add(&rows(0, 2, 2), ids, 2, 0, &never_cancel);
    refused(add_to(&numbers, ints([1])), "1 ids for 2 vectors");
    refused(add_to(&numbers, ints([1, -2])), "ids[1] is -2");
    refused(add_to(&numbers, Some(strings(["a", "b"]))), "are int64, found str");
    refused(numbers.without(&[3]), "there is no row 3 among 3");
    let texts = add(&store(2, "float32"), &rows(0, 2, 2), Some(strings(["a", "b"])));
    refused(add_to(&texts, ints([1, 2])), "are str, found int64");
    refused(add_to(&texts, None), "give one for each row");
    let full = add(&store(2, "float32"), &rows(0, 1, 2), ints([i64::MAX]));
    refused(add_to(&full, None), "no numbers are left");
    assert!(numbers.find(&strings(["a"])).is_err() && numbers.take(&[3], &mut [0.0; 2]).is_err());
    assert!(numbers.id_slice(2..4).is_err() && numbers.ids_of(&[3]).is_err());
    assert!(numbers.without(&[1]).unwrap().take(&[1], &mut [0.0; 2]).is_err());
}

fn strings<const N: usize>(of: [&str; N]) -> RowIds {
    let mut strings = Utf8Column::new();
    of.iter().for_each(|text| strings.push(text));
    RowIds::Str(strings)
}

#[test]
fn numbers_go_on_after_the_largest_that_ever_was() {
    let some = add(&add(&store(2, "float32"), &rows(0, 2, 2), None), &rows(0, 2, 2), ints([40, 7]));
    let more = add(&some.without(&[2]).unwrap().compact(&never_cancel).unwrap(), &rows(0, 2, 2), None);
    assert_eq!(more.live_ids(), RowIds::Int64(vec![0, 1, 7, 41, 42]));
    let none = more.without(&[0, 1, 2, 3, 4]).unwrap().compact(&never_cancel).unwrap();
    assert_eq!((none.rows(), none.live(), none.id_kind()), (0, 0, Some(IdKind::Int64)));
    assert_eq!(add(&none, &rows(0, 1, 2), None).live_ids(), RowIds::Range(43..44));
}

#[test]
fn of_one_id_the_last_row_counts() {
    let first = add(&store(3, "float32"), &rows(0, 4, 3), ints([5, 6, 5, 7]));
    assert_eq!(
        (first.live(), first.deleted(), found(&first, [5, 6, 7, 8])),
        (3, vec![0], vec![Some(2), Some(1), Some(3), None])
    );
    let second = add(&first, &rows(4, 3, 3), ints([7, 9, 5]));
    assert_eq!((second.live(), second.deleted()), (4, vec![0, 2, 3]));
    assert_eq!(found(&second, [5, 6, 7, 9]), [Some(6), Some(1), Some(4), Some(5)]);
    assert_eq!(second.live_ids(), RowIds::Int64(vec![6, 7, 9, 5]));
    assert_eq!(second.id_slice(0..7).unwrap(), RowIds::Int64(vec![5, 6, 5, 7, 7, 9, 5]));
    // The older rows of a deleted id do not come back.
    assert_eq!(found(&second.without(&[6]).unwrap(), [5]), [None]);
}

/// Every operation against a map from ids to rows.
#[test]
fn a_store_is_a_map() {
    for (dtype, text) in [("float32", false), ("int8", true)] {
        let name = |id: i64| if text { format!("id {id}") } else { id.to_string() };
        let keys = |ids: &[i64]| match text {
            true => {
                let mut strings = Utf8Column::new();
                ids.iter().for_each(|&id| strings.push(&name(id)));
                RowIds::Str(strings)
            }
            false => RowIds::Int64(ids.to_vec()),
        };
        let mut store = store(4, dtype);
        let mut map: BTreeMap<i64, usize> = BTreeMap::new();
        let mut added = 0;
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for step in 0..400 {
            match random(10) {
                0..=5 => {
                    let n = [1, 1, 2, 30][random(4)];
                    let ids: Vec<i64> = (0..n).map(|_| random(500) as i64).collect();
                    store = add(&store, &rows(added, n, 4), Some(keys(&ids)));
                    ids.iter().zip(added..).for_each(|(&id, row)| _ = map.insert(id, row));
                    added += n;
                }
                6..=8 => {
                    let ids: Vec<i64> = (0..20).map(|_| random(500) as i64).collect();
                    let rows: Vec<usize> = store.find(&keys(&ids)).unwrap().into_iter().flatten().collect();
                    store = store.without(&rows).unwrap();
                    ids.iter().for_each(|id| _ = map.remove(id));
                }
                _ => store = store.compact(&never_cancel).unwrap(),
            }
            assert_eq!(store.live(), map.len());
            if step % 10 > 0 {
                continue;
            }
            let ids: Vec<i64> = (0..500).collect();
            let found = store.find(&keys(&ids)).unwrap();
            for (id, row) in ids.iter().zip(found) {
                assert_eq!(row.map(|row| taken(&store, &[row])), map.get(id).map(|&from| rows(from, 1, 4)), "{id}");
            }
            let mut in_order: Vec<_> = map.iter().map(|(id, row)| (*row, *id)).collect();
            in_order.sort_unstable();
            let mut live = RowIds::Range(0..0);
            let expected = keys(&in_order.iter().map(|(_, id)| *id).collect::<Vec<_>>());
            live.extend(&expected, 0..expected.len());
            let mut found = RowIds::Range(0..0);
            let ids = store.live_ids();
            found.extend(&ids, 0..ids.len());
            assert_eq!(format!("{found:?}").replace("Counted", ""), format!("{live:?}").replace("Counted", ""));
            let deleted = store.deleted();
            assert!(
                store
                    .live_ranges()
                    .flatten()
                    .chain(deleted.iter().copied())
                    .collect::<std::collections::BTreeSet<_>>()
                    .into_iter()
                    .eq(0..store.rows())
            );
        }
    }
}

#[test]
fn compact_keeps_codes_and_order() {
    for dtype in ["float32", "float16", "int8"] {
        let mut some = store(70, dtype);
        for i in 0..5 {
            some = add(&some, &rows(i * 400, 400, 70), None);
        }
        let gone: Vec<usize> = (0..2_000).filter(|row| row % 3 == 0 || (800..1_200).contains(row)).collect();
        let kept: Vec<usize> = (0..2_000).filter(|row| gone.binary_search(row).is_err()).collect();
        let compact = some.without(&gone).unwrap().compact(&never_cancel).unwrap();
        assert_eq!((compact.rows(), compact.live(), compact.segments().len()), (kept.len(), kept.len(), 1));
        let all: Vec<usize> = (0..kept.len()).collect();
        assert_eq!(taken(&compact, &all), taken(&some, &kept));
        let whole = add(&store(70, dtype), &taken(&some, &kept), None);
        assert_eq!(encoded(&compact), encoded(&whole));
        assert!(matches!(compact.live_ids(), RowIds::Int64(ids) if ids.iter().map(|&id| id as usize).eq(kept)));
    }
}

#[test]
fn a_segment_without_live_rows_gives_its_memory_back() {
    let two = add(&add(&store(8, "float32"), &rows(0, 5_000, 8), None), &rows(5_000, 5_000, 8), None);
    assert_eq!(two.segments().len(), 2);
    let full = two.memory();
    let one = two.without(&(0..5_000).collect::<Vec<_>>()).unwrap();
    assert_eq!(one.memory().vectors * 2, full.vectors);
    assert_eq!((one.rows(), one.live(), found(&one, [3, 5_003])), (10_000, 5_000, vec![None, Some(5_003)]));
    assert_eq!(taken(&one, &[5_003]), rows(5_003, 1, 8));
    assert_eq!(one.deleted(), (0..5_000).collect::<Vec<_>>());
    let none = two.without(&(0..10_000).collect::<Vec<_>>()).unwrap();
    assert_eq!((none.memory().vectors, none.memory().codes, none.live()), (0, 0, 0));
    assert_eq!(taken(&add(&none, &rows(3, 1, 8), None), &[10_000]), rows(3, 1, 8));
}

#[test]
fn memory_is_what_was_said_before() {
    let empty = store(96, "float32");
    assert_eq!(empty.size_of(0), 0);
    let row = 96 * 4 + 128 + 24;
    assert_eq!(empty.size_of(10_000), 10_000 * (row + 8));
    let many = add(&empty, &rows(0, 10_000, 96), None);
    let MemoryUsage { vectors, codes, ids, mapped, reserved, .. } = many.memory();
    assert_eq!((vectors, codes, ids, mapped, reserved), (10_000 * 96 * 4, 10_000 * (128 + 24), 0, 0, 0));
    // A few rows make room for as many as there are, and the next ones take it.
    assert_eq!(many.size_of(1), 10_000 * row + 8);
    let more = add(&many, &rows(0, 1, 96), None);
    assert_eq!((more.memory().reserved, more.size_of(9_999)), (9_999 * row, 9_999 * 8));
    // One segment for all that is expected.
    let first = empty.add(&rows(0, 100, 96), None, 20_000, 0, &never_cancel).unwrap();
    let both = first.add(&rows(100, 19_900, 96), None, 19_900, 100, &never_cancel).unwrap();
    assert_eq!((both.segments().len(), both.memory().reserved), (1, 0));
}

#[test]
fn readers_are_not_disturbed_by_a_writer() {
    let first = add(&store(16, "float32"), &rows(0, 1, 16), None);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (sender, receiver) = std::sync::mpsc::channel::<Store>();
                scope.spawn(move || {
                    for store in receiver {
                        let last = store.rows() - 1;
                        assert_eq!(
                            taken(&store, &[last / 2, last]),
                            [rows(last / 2, 1, 16), rows(last, 1, 16)].concat()
                        );
                        assert_eq!(found(&store, [last as i64, last as i64 + 1]), [Some(last), None]);
                    }
                });
                sender
            })
            .collect();
        (1..500).fold(first, |store, i| {
            let next = add(&store, &rows(i, 1, 16), None);
            readers.iter().for_each(|reader| reader.send(next.clone()).unwrap());
            next
        });
    });
}

#[test]
fn a_caller_that_gives_up_gets_no_store() {
    let impatient = || Err(Error::Interrupted);
    // Long enough that the caller is asked.
    let vectors = vec![1.0; 64 << 20];
    let empty = store(1 << 10, "float16");
    assert!(matches!(empty.add(&vectors, None, 0, 0, &impatient), Err(Error::Interrupted)));
}

/// Run by hand, optimised: a row at a time, and ids looked up, take microseconds and less.
#[test]
#[ignore = "measures"]
fn small_changes_are_cheap() {
    let vectors = rows(0, 1, 384);
    for (name, ids) in [
        ("counted", None),
        ("descending", Some(|i: i64| RowIds::Int64(vec![1_000_000 - i]))),
        ("upserted", Some(|i: i64| RowIds::Int64(vec![i * 7919 % 1000]))),
        (
            "str",
            Some(|i: i64| {
                let mut strings = Utf8Column::new();
                strings.push(&format!("document-{}", i * 7919 % 100_000));
                RowIds::Str(strings)
            }),
        ),
    ] as [(&str, Option<fn(i64) -> RowIds>); 4]
    {
        let start = std::time::Instant::now();
        let full = (0..100_000).fold(store(384, "float32"), |store, i| add(&store, &vectors, ids.map(|id| id(i))));
        let each = start.elapsed() / 100_000;
        let keys = full.live_ids();
        let start = std::time::Instant::now();
        let found = full.find(&keys).unwrap();
        let find = start.elapsed() / found.len() as u32;
        let message = format!("{name}: added in {each:?}, found in {find:?}, {} segments", full.segments().len());
        std::io::Write::write_all(&mut std::io::stderr(), format!("{message}\n").as_bytes()).unwrap();
        assert!(each.as_micros() < 100 && find.as_micros() < 10);
    }
}

#[test]
fn a_row_is_encoded_alike_alone_and_among_many() {
    let d = 1_000;
    let mut vectors = rows(0, 200, d);
    // Numbers that threads of the pool take for zero.
    vectors[5 * d..6 * d].fill(1e-40);
    vectors[7 * d + 3] = 1e-42;
    for dtype in ["float32", "float16", "int8"] {
        let many = add(&store(d, dtype), &vectors, None);
        let single = vectors.chunks(d).fold(store(d, dtype), |store, row| add(&store, row, None));
        assert_eq!(encoded(&many), encoded(&single), "{dtype}");
    }
}
