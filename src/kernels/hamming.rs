//! Hamming distances of rows of bits, and the rows that are near a query.
//!
//! ```text
//! one query:
//!     for each row, as it lies in memory: distance := sum of the bits in which its vectors and the query's differ
//! several, for each group of rows, two vectors of 64-bit words wide:
//!     lay the rows out as a panel [words, rows], so that a lane has a row of its own
//!     for each tile of queries x rows:
//!         distance += bits in which the query's word, in all lanes, and the rows' words differ
//! pass the rows with distance <= limit of the query to the collector
//! ```
//!
//! One query is bound by memory: rows are read once, in their order. Many queries are bound by counting, for which the
//! panel is the micro-kernel of a matrix product (Goto & van de Geijn, "Anatomy of high-performance matrix
//! multiplication", 2008) with counts of differing bits in place of products. As each lane has a row, no vector is
//! summed across, which takes as long as the count itself. Limits are compared first, as most groups have no row within
//! them.
//!
//! Distances are integers: all sets give the same.

use super::Isa;
use super::aligned::scratch;
use super::prefetch::prefetch;
use super::scan::RowSelection;
use super::simd::{BitOperation, Bits};

/// Vectors of rows in a group.
const GROUP_VECTORS: usize = 2;

/// The most rows of a group, on any instruction set.
const MAX_GROUP_ROWS: usize = 16;

/// Rows that the memory is asked for ahead of the one that is read as it lies.
const PREFETCHED_ROWS: usize = 16;

/// Queries of a tile: their sums and a group's words fit in the registers.
const TILE_QUERIES: usize = 4;

/// Queries of bits, as words.
pub struct BitQueries {
    /// `[n, words]`, zero beyond the bits.
    words: Vec<u64>,
    /// Bytes of a query.
    row_bytes: usize,
}

impl BitQueries {
    /// Of `queries [n, row_bytes]`.
    pub fn new(queries: &[u8], row_bytes: usize) -> Self {
        Self { words: queries.chunks_exact(row_bytes).flat_map(row_words).collect(), row_bytes }
    }

    pub fn len(&self) -> usize {
        self.words.len() / self.width()
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Words of a query.
    fn width(&self) -> usize {
        self.row_bytes.div_ceil(8)
    }
}

/// The words of a row, the last one filled up with zeros.
#[inline(always)]
fn row_words(row: &[u8]) -> impl Iterator<Item = u64> {
    let (words, rest) = row.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let last = (!rest.is_empty()).then_some(u64::from_ne_bytes(last));
    words.iter().map(|&word| u64::from_ne_bytes(word)).chain(last)
}

/// What a scan passes rows to.
pub trait DistanceCollector {
    /// In how many bits a row may differ that is of interest for the query.
    fn limit(&self, query: usize) -> u64;

    /// A row differs in `distance` bits.
    fn collect(&mut self, query: usize, row: usize, distance: u64);
}

/// Passes to `collector` all `rows` of `bits [n, row_bytes]` that are within a query's limit.
pub fn scan_bits(
    isa: Isa,
    queries: &BitQueries,
    bits: &[u8],
    rows: &RowSelection<'_>,
    collector: &mut impl DistanceCollector,
) {
    if rows.len() == 0 || queries.is_empty() {
        return;
    }
    assert!(rows.get(rows.len() - 1) < bits.len() / queries.row_bytes, "rows of the block");
    // Around `run_bits` and not inside it: a closure in there would be compiled without the instruction set.
    scratch(MAX_GROUP_ROWS * queries.width(), |panel: &mut [u64]| {
        isa.run_bits(BitScan { queries, bits, rows, panel, collector });
    });
}

struct BitScan<'a, C> {
    queries: &'a BitQueries,
    bits: &'a [u8],
    rows: &'a RowSelection<'a>,
    /// `[words, rows of a group]`; lanes beyond the last row have what was there.
    panel: &'a mut [u64],
    collector: &'a mut C,
}

impl<C: DistanceCollector> BitOperation for BitScan<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<B: Bits>(mut self, b: B) {
        if self.queries.len() == 1 {
            return self.compare_rows(b);
        }
        let group_rows = GROUP_VECTORS * B::WORDS;
        let queries = self.queries.len();
        let whole = queries / TILE_QUERIES * TILE_QUERIES;
        for start in (0..self.rows.len()).step_by(group_rows) {
            let count = group_rows.min(self.rows.len() - start);
            self.pack(b, start, count);
            for query in (0..whole).step_by(TILE_QUERIES) {
                self.compare::<B, TILE_QUERIES>(b, query, start, count);
            }
            match queries - whole {
                0 => {}
                1 => self.compare::<B, 1>(b, whole, start, count),
                2 => self.compare::<B, 2>(b, whole, start, count),
                _ => self.compare::<B, 3>(b, whole, start, count),
            }
        }
    }
}

impl<C: DistanceCollector> BitScan<'_, C> {
    /// Compares the one query with each row as it lies.
    #[inline(always)]
    fn compare_rows<B: Bits>(&mut self, b: B) {
        let bytes = self.queries.row_bytes;
        // Rows that follow each other the CPU foresees, where it reads them by whole vectors: of 1,024 bits asking took
        // a fifth of the time; of 384, read by masked loads, not asking took three times as long.
        let is_foreseen = matches!(self.rows, RowSelection::Range(_)) && bytes.is_multiple_of(8 * B::WORDS);
        for i in 0..self.rows.len() {
            if !is_foreseen {
                self.prefetch_row(i + PREFETCHED_ROWS);
            }
            let row = self.rows.get(i);
            let distance = distance_along(b, &self.queries.words, &self.bits[row * bytes..][..bytes]);
            if distance <= self.collector.limit(0) {
                self.collector.collect(0, row, distance);
            }
        }
    }

    /// Asks the memory for a row, if there are so many.
    #[inline(always)]
    fn prefetch_row(&self, i: usize) {
        if i < self.rows.len() {
            let bytes = self.queries.row_bytes;
            let row = self.bits.as_ptr().wrapping_add(self.rows.get(i) * bytes);
            for line in (0..bytes).step_by(64) {
                prefetch(row.wrapping_add(line));
            }
        }
    }

    /// Lays out `count` rows from `start` on, while the memory is asked for those after them.
    #[inline(always)]
    fn pack<B: Bits>(&mut self, _: B, start: usize, count: usize) {
        let group_rows = GROUP_VECTORS * B::WORDS;
        let bytes = self.queries.row_bytes;
        for lane in 0..count {
            self.prefetch_row(start + group_rows + lane);
            let row = &self.bits[self.rows.get(start + lane) * bytes..][..bytes];
            for (words, word) in self.panel.chunks_exact_mut(group_rows).zip(row_words(row)) {
                words[lane] = word;
            }
        }
    }

    /// Compares N queries from `query` on with the panel, whose rows are `count` from `start` on.
    #[inline(always)]
    fn compare<B: Bits, const N: usize>(&mut self, b: B, query: usize, start: usize, count: usize) {
        let sums: [_; N] = self.distances(b, query);
        for (i, sums) in sums.into_iter().enumerate() {
            let limit = self.collector.limit(query + i);
            if !sums.iter().any(|&sums| b.any_at_most(sums, limit)) {
                continue;
            }
            let mut distances = [0; MAX_GROUP_ROWS];
            for (vector, sums) in sums.into_iter().enumerate() {
                // SAFETY: no set has more words than there is room for in each of the vectors' parts.
                unsafe { b.store(distances.as_mut_ptr().add(vector * B::WORDS), sums) };
            }
            for (lane, &distance) in distances[..count].iter().enumerate() {
                if distance <= limit {
                    self.collector.collect(query + i, self.rows.get(start + lane), distance);
                }
            }
        }
    }

    /// The distances of N queries from `query` on to the rows of the panel.
    #[inline(always)]
    fn distances<B: Bits, const N: usize>(&self, b: B, query: usize) -> [[B::V; GROUP_VECTORS]; N] {
        let width = self.queries.width();
        let queries = &self.queries.words[query * width..][..N * width];
        let panel = &self.panel[..width * GROUP_VECTORS * B::WORDS];
        let mut sums = [[b.zero(); GROUP_VECTORS]; N];
        let mut begin = 0;
        while begin < width {
            let end = width.min(begin.saturating_add(B::MAX_COUNTS));
            let mut counts = [[b.zero(); GROUP_VECTORS]; N];
            for word in begin..end {
                // SAFETY: the panel has `width` times so many words, and the queries are N times `width` words.
                unsafe {
                    let rows = panel.as_ptr().add(word * GROUP_VECTORS * B::WORDS);
                    let rows: [_; GROUP_VECTORS] = std::array::from_fn(|vector| b.load(rows.add(vector * B::WORDS)));
                    for (i, counts) in counts.iter_mut().enumerate() {
                        let query = b.splat(*queries.as_ptr().add(i * width + word));
                        for (counts, rows) in counts.iter_mut().zip(rows) {
                            *counts = b.add_counts(*counts, b.count_different(query, rows));
                        }
                    }
                }
            }
            for (sums, counts) in sums.as_flattened_mut().iter_mut().zip(counts.as_flattened()) {
                *sums = b.add_words(*sums, b.widen(*counts));
            }
            begin = end;
        }
        sums
    }
}

/// The distance of a query, in words, to a row.
#[inline(always)]
fn distance_along<B: Bits>(b: B, query: &[u64], row: &[u8]) -> u64 {
    let words = row.len() / 8;
    let vectors = words / B::WORDS;
    let mut sums = b.zero();
    let mut begin = 0;
    while begin < vectors {
        let end = vectors.min(begin.saturating_add(B::MAX_COUNTS));
        let mut counts = b.zero();
        for vector in begin..end {
            // SAFETY: the row, and so the query, has so many vectors of words.
            let (query, row) = unsafe {
                (
                    b.load(query.as_ptr().add(vector * B::WORDS)),
                    b.load(row.as_ptr().cast::<u64>().add(vector * B::WORDS)),
                )
            };
            counts = b.add_counts(counts, b.count_different(query, row));
        }
        sums = b.add_words(sums, b.widen(counts));
        begin = end;
    }
    if !words.is_multiple_of(B::WORDS) {
        let at = vectors * B::WORDS;
        // SAFETY: the row, and so the query, has `words` words.
        let (query, row) = unsafe {
            let row = row.as_ptr().cast::<u64>().add(at);
            (b.load_first(query.as_ptr().add(at), words - at), b.load_first(row, words - at))
        };
        sums = b.add_words(sums, b.widen(b.count_different(query, row)));
    }
    let last = query[words..].iter().zip(row_words(&row[8 * words..])).map(|(query, row)| (query ^ row).count_ones());
    b.total(sums) + u64::from(last.sum::<u32>())
}

/// The product of `query [8 * bits.len()]` with a row whose numbers are 1 where a bit is set and else -1, in float64:
/// number i is added to partial sum i mod 8, then the partial sums in order. So it has the same bits on every CPU.
pub fn signed_product(query: &[f32], bits: &[u8]) -> f64 {
    let mut partial = [0.0; 8];
    for (numbers, &byte) in query.as_chunks::<8>().0.iter().zip(bits) {
        for (i, (partial, &number)) in partial.iter_mut().zip(numbers).enumerate() {
            // The first number has the highest bit. Where a bit is 0, the sign is turned over.
            let sign = u64::from(!byte >> (7 - i) & 1) << 63;
            *partial += f64::from_bits(f64::from(number).to_bits() ^ sign);
        }
    }
    partial.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bytes, numbers};

    struct RecordingDistanceCollector {
        limit: u64,
        found: Vec<(usize, usize, u64)>,
    }

    impl DistanceCollector for RecordingDistanceCollector {
        fn limit(&self, _: usize) -> u64 {
            self.limit
        }

        fn collect(&mut self, query: usize, row: usize, distance: u64) {
            self.found.push((query, row, distance));
        }
    }

    fn scanned(
        isa: Isa,
        queries: &BitQueries,
        bits: &[u8],
        rows: &RowSelection<'_>,
        limit: u64,
    ) -> Vec<(usize, usize, u64)> {
        let mut collector = RecordingDistanceCollector { limit, found: Vec::new() };
        scan_bits(isa, queries, bits, rows, &mut collector);
        collector.found.sort_unstable();
        collector.found
    }

    #[test]
    fn every_set_counts_the_bits_that_differ() {
        for row_bytes in [1, 7, 8, 9, 16, 48, 96, 128, 129, 257, 1000] {
            for rows in [1, 3, 15, 16, 17, 70] {
                let bits = bytes(rows * row_bytes, 1);
                for n in [1, 2, 4, 5, 9] {
                    let given = bytes(n * row_bytes, 2);
                    let distance = |query: usize, row: usize| {
                        let (a, b) = (&given[query * row_bytes..][..row_bytes], &bits[row * row_bytes..][..row_bytes]);
                        a.iter().zip(b).map(|(a, b)| u64::from((a ^ b).count_ones())).sum::<u64>()
                    };
                    let all: Vec<_> = (0..n)
                        .flat_map(|q| (0..rows).map(move |row| (q, row)))
                        .map(|(q, row)| (q, row, distance(q, row)))
                        .collect();
                    let queries = BitQueries::new(&given, row_bytes);
                    assert_eq!(queries.len(), n);
                    let list: Vec<u32> = (0..rows as u32).filter(|row| row % 3 == 1).collect();
                    let limit = 4 * row_bytes as u64;
                    for isa in Isa::available() {
                        let found = |rows: &RowSelection<'_>, limit| scanned(isa, &queries, &bits, rows, limit);
                        assert_eq!(
                            found(&RowSelection::Range(0..rows), u64::MAX >> 47),
                            all,
                            "{} {row_bytes}",
                            isa.name()
                        );
                        let near: Vec<_> = all.iter().copied().filter(|&(.., distance)| distance <= limit).collect();
                        assert_eq!(found(&RowSelection::Range(0..rows), limit), near, "{} {row_bytes}", isa.name());
                        let listed: Vec<_> = near.into_iter().filter(|&(_, row, _)| row % 3 == 1).collect();
                        assert_eq!(found(&RowSelection::List(&list), limit), listed, "{} {row_bytes}", isa.name());
                        assert!(found(&RowSelection::Range(1..1), limit).is_empty());
                    }
                }
            }
        }
    }

    #[test]
    fn sums_do_not_overflow() {
        for isa in Isa::available() {
            let row_bytes = 8192;
            let queries = BitQueries::new(&vec![0xFF; row_bytes], row_bytes);
            let found = scanned(isa, &queries, &vec![0; 2 * row_bytes], &RowSelection::Range(0..2), u64::MAX >> 47);
            assert_eq!(found, [(0, 0, 65536), (0, 1, 65536)], "{}", isa.name());
        }
    }

    #[test]
    fn products_have_the_signs_of_bits() {
        for row_bytes in [1, 3, 128] {
            let (query, bits) = (numbers(8 * row_bytes, 3), bytes(row_bytes, 4));
            let sign = |i: usize| if bits[i / 8] >> (7 - i % 8) & 1 == 1 { 1.0 } else { -1.0 };
            let expected: f64 = query.iter().enumerate().map(|(i, &x)| sign(i) * f64::from(x)).sum();
            assert!((signed_product(&query, &bits) - expected).abs() < 1e-12);
        }
        assert_eq!(signed_product(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0], &[0b1010_0000]), 5.0 - 250.0);
    }
}
