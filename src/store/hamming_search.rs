//! Exact search among rows of bits: brute force by Hamming distance, with a threshold that all threads raise.
//!
//! ```text
//! key(row) := distance << 47 | row                      so that keys order rows by distance, then by their number
//! L := infinity                                         NearestKeys::limit, shared by all threads
//! for each row, on all threads:                         kernels::hamming
//!     if distance <= L >> 47 and key < L: keep the key
//!     if many are kept: drop all but the k smallest; L := min(L, the k-th)
//! return the k smallest keys of all threads
//! ```
//!
//! Why it is right: the distance is a count of all bits, so there is nothing to prove of it. A key that is dropped is
//! larger than k others, and no two rows have the same key. Dropping only where twice as many or more are kept makes a
//! row cost constant time on average, by linear-time selection.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, PoisonError};

use super::collector::{ROWS_PER_WORD, select_rows};
use super::segment::{Segment, Vectors};
use super::{SearchReport, SearchResults, Store};
use crate::kernels::{BitQueries, DistanceCollector, Isa, RowSelection, parallel_for, scan_bits};
use crate::memory::{reserve, with_room};
use crate::panic::raise;
use crate::{CancelCheck, Error, Result};

/// Bits of a key that are the number of a row; the others have the distance, 65,536 at most.
const ROW_BITS: u32 = 47;

/// Bytes that are compared before the caller is asked whether to go on, of all queries: some tens of milliseconds,
const MAX_ROUND_COMPARED_BYTES: usize = 1 << 32;
/// and bytes that are read.
const MAX_ROUND_BYTES: usize = 1 << 29;

/// Queries that are scanned for together: they stay in the cache of a core.
const MAX_BATCH_QUERIES: usize = 256;

/// Keys that a thread keeps at most, of all queries, unless one query needs more.
const MAX_THREAD_KEYS: usize = 1 << 22;

/// Keys beyond k that a thread keeps before it drops any.
const MIN_KEYS_TO_DROP: usize = 256;

/// Name of keys in the error of a lack of memory.
const KEYS: &str = "candidates of a search";

/// The smallest keys of one query that one thread found.
struct NearestKeys {
    k: usize,
    /// Larger keys are of no interest.
    limit: u64,
    keys: Vec<u64>,
}

impl NearestKeys {
    fn max_keys(k: usize) -> usize {
        k.saturating_add(k.max(MIN_KEYS_TO_DROP))
    }

    fn push(&mut self, key: u64, shared: &AtomicU64) {
        if key >= self.limit {
            return;
        }
        if self.keys.len() == self.keys.capacity() {
            let more = self.keys.len().max(MIN_KEYS_TO_DROP);
            reserve(&mut self.keys, more, KEYS).unwrap_or_else(raise);
        }
        self.keys.push(key);
        if self.keys.len() >= Self::max_keys(self.k) {
            self.drop_all_but_k();
            let kth = self.keys[self.k - 1];
            self.limit = shared.fetch_min(kth, Relaxed).min(kth);
        }
    }

    fn drop_all_but_k(&mut self) {
        if self.keys.len() > self.k {
            self.keys.select_nth_unstable(self.k - 1);
            self.keys.truncate(self.k);
        }
    }
}

/// The keys of every query that one thread found.
struct KeyCollector<'a> {
    nearest: Vec<NearestKeys>,
    shared: &'a [AtomicU64],
    /// Number in the store of the row that the scan calls 0.
    first_row: usize,
    /// Rows that count, where not all do.
    selected: Vec<u32>,
}

impl DistanceCollector for KeyCollector<'_> {
    #[inline(always)]
    fn limit(&self, query: usize) -> u64 {
        self.nearest[query].limit >> ROW_BITS
    }

    fn collect(&mut self, query: usize, row: usize, distance: u64) {
        self.nearest[query].push(distance << ROW_BITS | (self.first_row + row) as u64, &self.shared[query]);
    }
}

/// One search among rows of bits.
struct HammingSearch<'a> {
    isa: Isa,
    row_bytes: usize,
    segments: &'a [Segment],
    /// `[rows]`: 0 where a row does not count; None where all live ones do.
    mask: Option<&'a [u8]>,
    k: usize,
}

impl HammingSearch<'_> {
    /// Searches for `queries [n, row_bytes]`; shares its work with the threads that the caller leads.
    fn run(&self, queries: &[u8], check_cancel: CancelCheck<'_>) -> Result<SearchResults> {
        let queries = BitQueries::new(queries, self.row_bytes);
        let n = queries.len();
        let shared: Vec<_> = (0..n).map(|_| AtomicU64::new(u64::MAX)).collect();
        let rows_seen = AtomicUsize::new(0);
        // One for each thread that took part.
        let collectors: Mutex<Vec<KeyCollector>> = Mutex::default();
        let lock = || collectors.lock().unwrap_or_else(PoisonError::into_inner);
        let round_rows = (MAX_ROUND_COMPARED_BYTES / (self.row_bytes * n)).min(MAX_ROUND_BYTES / self.row_bytes);
        let round_rows = round_rows.max(ROWS_PER_WORD) / ROWS_PER_WORD * ROWS_PER_WORD;
        for segment in self.segments.iter().filter(|segment| segment.live() > 0) {
            for round in (0..segment.rows).step_by(round_rows) {
                check_cancel()?;
                let words = round_rows.min(segment.rows - round).div_ceil(ROWS_PER_WORD);
                parallel_for(words, ROWS_PER_WORD * self.row_bytes * n, |range| {
                    let mut collector = lock().pop().unwrap_or_else(|| self.new_collector(&shared));
                    let rows = round + range.start * ROWS_PER_WORD..segment.rows.min(round + range.end * ROWS_PER_WORD);
                    rows_seen.fetch_add(self.scan_rows(&queries, segment, rows, &mut collector), Relaxed);
                    lock().push(collector);
                });
            }
        }
        check_cancel()?;
        let rows = rows_seen.into_inner();
        self.join(collectors.into_inner().unwrap_or_else(PoisonError::into_inner), n, rows)
    }

    fn new_collector<'a>(&self, shared: &'a [AtomicU64]) -> KeyCollector<'a> {
        let nearest = |_| NearestKeys { k: self.k, limit: u64::MAX, keys: Vec::new() };
        KeyCollector { nearest: shared.iter().map(nearest).collect(), shared, first_row: 0, selected: Vec::new() }
    }

    /// Scans some rows of a segment, from a multiple of [`ROWS_PER_WORD`] on, and gives how many of them counted.
    fn scan_rows(
        &self,
        queries: &BitQueries,
        segment: &Segment,
        rows: Range<usize>,
        collector: &mut KeyCollector<'_>,
    ) -> usize {
        let Some(Vectors::Binary(bits)) = segment.data().map(|data| &data.vectors) else { return 0 };
        let mut selected = std::mem::take(&mut collector.selected);
        let rows = if segment.is_fully_live() && self.mask.is_none() {
            RowSelection::Range(rows)
        } else {
            select_rows(self.mask, segment, rows, &mut selected);
            RowSelection::List(&selected)
        };
        for (nearest, shared) in collector.nearest.iter_mut().zip(collector.shared) {
            nearest.limit = nearest.limit.min(shared.load(Relaxed));
        }
        collector.first_row = segment.first_row;
        scan_bits(self.isa, queries, bits, &rows, collector);
        let count = rows.len();
        collector.selected = selected;
        count
    }

    /// The k smallest keys that the threads found for each of `n` queries, `rows` rows having been compared.
    fn join(&self, mut collectors: Vec<KeyCollector<'_>>, n: usize, rows: usize) -> Result<SearchResults> {
        let columns = self.k.min(rows);
        let report = SearchReport { rows, bytes: rows * self.row_bytes, ..SearchReport::default() };
        let mut results = SearchResults { columns, report, ..SearchResults::default() };
        results.reserve(n * columns)?;
        for query in 0..n {
            let found = collectors.iter().map(|collector| collector.nearest[query].keys.len()).sum();
            let mut all = NearestKeys { k: self.k, limit: u64::MAX, keys: with_room(found, KEYS)? };
            collectors.iter_mut().for_each(|collector| all.keys.append(&mut collector.nearest[query].keys));
            all.drop_all_but_k();
            all.keys.sort_unstable();
            results.scores.extend(all.keys.iter().map(|key| -((key >> ROW_BITS) as f32)));
            results.rows.extend(all.keys.iter().map(|key| (key & ((1 << ROW_BITS) - 1)) as i64));
        }
        Ok(results)
    }
}

impl Store {
    /// The k live rows of bits that are nearest to each of `queries [n, dimension / 8]`, nearest first, of those that are
    /// not 0 in `mask [rows]`; fewer where fewer count. Scores are minus the number of bits that differ; of equals the
    /// lower row comes first.
    ///
    /// # Errors
    /// If rows are no bits, `k` is 0, or `queries` or `mask` has another length.
    pub fn search_bits(
        &self,
        queries: &[u8],
        k: usize,
        mask: Option<&[u8]>,
        check_cancel: CancelCheck<'_>,
    ) -> Result<SearchResults> {
        let row_bytes = self.bit_row_bytes()?;
        if !queries.len().is_multiple_of(row_bytes) {
            return Err(Error::argument("queries", format!("{} bytes are no rows of {row_bytes}", queries.len())));
        }
        self.check_mask(mask)?;
        self.check_k(k)?;
        let k = k.min(self.live).max(1);
        let search = HammingSearch { isa: self.config.isa, row_bytes, segments: &self.segments, mask, k };
        let mut results = SearchResults::default();
        let batch = (MAX_THREAD_KEYS / NearestKeys::max_keys(k)).clamp(1, MAX_BATCH_QUERIES);
        for queries in queries.chunks(batch * row_bytes) {
            let pool = &self.config.pool;
            results.append(pool.run_on_team(check_cancel, |check_cancel| search.run(queries, check_cancel))?)?;
        }
        Ok(results)
    }

    /// Writes live rows of bits to `out [rows, dimension / 8]`.
    pub fn take_bits(&self, rows: &[usize], out: &mut [u8]) -> Result<()> {
        let row_bytes = self.bit_row_bytes()?;
        self.take_rows(rows, out, row_bytes, |data, row, out| out.copy_from_slice(data.bit_row(row, row_bytes)))
    }

    /// Bytes of a row of bits.
    pub(super) fn bit_row_bytes(&self) -> Result<usize> {
        match self.config.metric {
            None => Ok(self.config.dimension / 8),
            Some(_) => Err(Error::argument("vectors", format!("a store of {} has no bits", self.config.dtype.name()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::never_cancel;
    use super::*;
    use crate::kernels::testing::bytes;

    fn store(row_bytes: usize, threads: usize) -> Store {
        Store::new(8 * row_bytes, "hamming", "ubinary", "cpu", Some(threads)).unwrap()
    }

    fn add(store: &Store, bits: &[u8]) -> Store {
        store.add_bits(bits, None, 0).unwrap()
    }

    fn distance(a: &[u8], b: &[u8]) -> u32 {
        a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    /// The rows that brute force finds among those that are not 0 in `mask`, and their scores.
    fn nearest(bits: &[u8], query: &[u8], k: usize, mask: &[u8]) -> Vec<(i64, f32)> {
        let rows = bits.chunks_exact(query.len()).enumerate().filter(|&(row, _)| mask[row] != 0);
        let mut rows: Vec<_> = rows.map(|(row, bits)| (distance(query, bits), row as i64)).collect();
        rows.sort_unstable();
        rows.into_iter().take(k).map(|(distance, row)| (row, -(distance as f32))).collect()
    }

    fn assert_found(store: &Store, bits: &[u8], queries: &[u8], k: usize, mask: Option<&[u8]>, counts: &[u8]) {
        let row_bytes = store.dimension() / 8;
        let results = store.search_bits(queries, k, mask, &never_cancel).unwrap();
        let found: Vec<_> = results.rows.iter().copied().zip(results.scores.iter().copied()).collect();
        let expected: Vec<_> =
            queries.chunks_exact(row_bytes).flat_map(|query| nearest(bits, query, k, counts)).collect();
        assert_eq!(found, expected, "{row_bytes} bytes, k {k}");
        let rows = counts.iter().filter(|&&counts| counts != 0).count();
        assert_eq!((results.columns, results.report.rows), (k.min(rows), rows));
    }

    #[test]
    fn the_nearest_rows_are_found() {
        for (row_bytes, n) in [(1, 3_000), (6, 100), (16, 5_000), (129, 2_000)] {
            let bits = bytes(n * row_bytes, 1);
            let mut whole = store(row_bytes, 2);
            for part in bits.chunks(row_bytes * 1_700) {
                whole = whole.add_bits(part, None, part.len() / row_bytes).unwrap();
            }
            let gone: Vec<usize> = (0..n).filter(|row| row % 7 == 3).collect();
            let some = whole.without(&gone).unwrap();
            let mask: Vec<u8> = (0..n).map(|row| u8::from(row % 5 != 0)).collect();
            let live: Vec<u8> = (0..n).map(|row| u8::from(row % 7 != 3)).collect();
            let both: Vec<u8> = live.iter().zip(&mask).map(|(a, b)| a & b).collect();
            for queries in [1, 5, 300] {
                let queries = bytes(queries * row_bytes, 2);
                for k in [1, 10, 100, n, 2 * n].into_iter().filter(|k| k * queries.len() < 2_000_000) {
                    assert_found(&whole, &bits, &queries, k, None, &vec![1; n]);
                    assert_found(&some, &bits, &queries, k, None, &live);
                    assert_found(&some, &bits, &queries, k, Some(&mask), &both);
                }
            }
        }
    }

    #[test]
    fn equal_rows_come_in_their_order() {
        let bits = vec![0b1010_1010; 50_000 * 2];
        let whole = add(&store(2, 2), &bits);
        assert_found(&whole, &bits, &[0, 0, 1, 255], 700, None, &[1; 50_000]);
    }

    #[test]
    fn rows_are_kept_taken_and_compacted() {
        let bits = bytes(3_000 * 5, 3);
        let mut parts = store(5, 2);
        for part in bits.chunks(5 * 7) {
            parts = add(&parts, part);
        }
        let taken = |store: &Store, rows: &[usize]| {
            let mut out = vec![0; 5 * rows.len()];
            store.take_bits(rows, &mut out).map(|()| out)
        };
        assert_eq!(taken(&parts, &(0..3_000).collect::<Vec<_>>()).unwrap(), bits);
        assert_eq!((parts.memory().vectors, parts.memory().codes), (bits.len(), 0));
        let left = parts.without(&[0, 2, 2_999]).unwrap();
        assert!(taken(&left, &[2]).unwrap_err().to_string().contains("row 2 is deleted"));
        let whole = left.compact(&never_cancel).unwrap();
        assert_eq!((whole.segments().len(), whole.rows(), whole.live()), (1, 2_997, 2_997));
        assert_eq!(taken(&whole, &[0, 1]).unwrap(), [&bits[5..10], &bits[15..20]].concat());
        let usage = whole.memory();
        assert_eq!((usage.vectors, usage.codes, usage.reserved), (5 * 2_997, 0, 0));
    }

    #[test]
    fn bits_and_numbers_are_not_mixed() {
        let bits = store(2, 1);
        let numbers = Store::new(16, "dot", "float32", "cpu", None).unwrap();
        assert!(numbers.search_bits(&[0; 2], 1, None, &never_cancel).unwrap_err().to_string().contains("no bits"));
        assert!(numbers.add_bits(&[0; 2], None, 1).err().unwrap().to_string().contains("no bits"));
        assert!(bits.search(&[0.0; 16], 1, None, true, &never_cancel).unwrap_err().to_string().contains("ubinary"));
        assert!(bits.add(&[0.0; 16], None, 1, 0, &never_cancel).err().unwrap().to_string().contains("ubinary"));
        assert!(bits.take(&[], &mut []).unwrap_err().to_string().contains("ubinary"));
        for (dimension, metric, dtype, why) in [
            (12, "hamming", "ubinary", "multiple of 8"),
            (16, "hamming", "float32", "metric: \"hamming\""),
            (16, "dot", "ubinary", "dtype: \"ubinary\""),
        ] {
            let message = Store::new(dimension, metric, dtype, "cpu", None).err().unwrap().to_string();
            assert!(message.contains(why), "{message}");
        }
    }

    #[test]
    fn rows_take_no_more_than_their_bits() {
        let whole = vec![0; 64 * 128];
        let store = add(&store(128, 1), &whole);
        assert_eq!(store.memory().vectors, whole.len());
        assert!(store.size_of(1_000_000) < 1_000_000 * (128 + 8 + 1));
    }
}
