//! The filter's output: what a thread keeps of the rows that it scans, for every query.

use std::ops::Range;

use super::scorer::Scorer;
use super::search_request::SearchRequest;
use super::segment::Segment;
use super::top_k::{Candidate, SharedThreshold, TopK};
use crate::kernels::{CodedRows, Collector, FirstLook, QuantizedQueries, RowSelection, scan};

/// Rows whose bits are one word of a segment's.
pub(super) const ROWS_PER_WORD: usize = 64;

/// The candidates of every query that one thread found.
pub(super) struct CandidateCollector {
    /// `[queries]`
    pub(super) top_k: Vec<TopK>,
    /// Rows that counted.
    pub(super) rows_seen: usize,
    /// Scores that were computed on the way.
    pub(super) rescored: usize,
    /// Bytes of codes and bounds that were read.
    pub(super) code_bytes: usize,
    first_look: FirstLook,
    /// Rows that count, where not all do.
    selected: Vec<u32>,
}

impl CandidateCollector {
    pub(super) fn new(queries: usize, request: &SearchRequest<'_>) -> Self {
        let top_k = (0..queries).map(|_| TopK::new(request.k, request.rows_ahead())).collect();
        let first_look = FirstLook::default();
        Self { top_k, rows_seen: 0, rescored: 0, code_bytes: 0, first_look, selected: Vec::new() }
    }

    /// Scans the codes of some rows of a segment, from a multiple of [`ROWS_PER_WORD`] on. `coarse`: coarse codes of the
    /// first rows of the segment.
    pub(super) fn scan_rows(
        &mut self,
        quantized: &QuantizedQueries,
        scorers: &[Scorer<'_>],
        thresholds: &[SharedThreshold],
        segment: &Segment,
        coarse: &[u8],
        rows: Range<usize>,
    ) {
        let (Some(data), Some(Scorer { request, .. })) = (segment.data(), scorers.first()) else { return };
        let all_count = segment.is_fully_live() && request.mask.is_none();
        if !all_count {
            select_rows(request.mask, segment, rows.clone(), &mut self.selected);
        }
        let selected = std::mem::take(&mut self.selected);
        let rows = if all_count { RowSelection::Range(rows) } else { RowSelection::List(&selected) };
        self.rows_seen += rows.len();
        for (top_k, shared) in self.top_k.iter_mut().zip(thresholds) {
            top_k.raise_threshold(shared);
        }
        let mut first_look = std::mem::take(&mut self.first_look);
        let mut collector = SegmentCollector { collector: self, scorers, thresholds, first_row: segment.first_row };
        let coded = CodedRows { codes: &data.codes, bounds: &data.bounds, coarse };
        self.code_bytes += scan(request.isa, quantized, coded, &rows, &mut first_look, &mut collector);
        self.first_look = first_look;
        self.selected = selected;
    }
}

/// Makes `selected` a list of the rows that count, of those from a multiple of [`ROWS_PER_WORD`] on.
pub(super) fn select_rows(mask: Option<&[u8]>, segment: &Segment, rows: Range<usize>, selected: &mut Vec<u32>) {
    selected.clear();
    for start in rows.clone().step_by(ROWS_PER_WORD) {
        let end = rows.end.min(start + ROWS_PER_WORD);
        let mut bits = segment.live_bits(start / ROWS_PER_WORD) & (u64::MAX >> (64 - (end - start)));
        if let Some(mask) = mask {
            bits &= bits_of(&mask[segment.first_row + start..segment.first_row + end]);
        }
        while bits != 0 {
            selected.push((start + bits.trailing_zeros() as usize) as u32);
            bits &= bits - 1;
        }
    }
}

/// A bit for each of up to 64 bytes: whether it is other than 0.
fn bits_of(mask: &[u8]) -> u64 {
    let (eights, rest) = mask.as_chunks::<8>();
    let mut bits = 0;
    for (i, &eight) in eights.iter().enumerate() {
        let any = u64::from_le_bytes(eight);
        if any != 0 {
            let any = any | any >> 4 & 0x0F0F_0F0F_0F0F_0F0F;
            let any = any | any >> 2 & 0x3333_3333_3333_3333;
            let lowest = (any | any >> 1) & 0x0101_0101_0101_0101;
            // Each byte's bit ends up in the highest byte, in its place.
            bits |= (lowest.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
        }
    }
    for (i, &byte) in rest.iter().enumerate() {
        bits |= u64::from(byte != 0) << (8 * eights.len() + i);
    }
    bits
}

/// A collector at work on rows that follow each other, such as a segment's.
pub(super) struct SegmentCollector<'a> {
    pub(super) collector: &'a mut CandidateCollector,
    pub(super) scorers: &'a [Scorer<'a>],
    pub(super) thresholds: &'a [SharedThreshold],
    /// Number in the store of the row that the scan calls 0.
    pub(super) first_row: usize,
}

impl SegmentCollector<'_> {
    /// Raises a query's threshold to what other threads found.
    pub(super) fn raise_threshold(&mut self, query: usize) {
        self.collector.top_k[query].raise_threshold(&self.thresholds[query]);
    }
}

impl Collector for SegmentCollector<'_> {
    #[inline(always)]
    fn threshold(&self, query: usize) -> f32 {
        self.collector.top_k[query].threshold()
    }

    /// Tells other threads of the threshold, too.
    fn prune(&mut self, query: usize) {
        self.collector.top_k[query].prune(&self.thresholds[query]);
    }

    fn compares_middles(&self) -> bool {
        self.scorers.first().is_some_and(|scorer| !scorer.request.exact)
    }

    fn collect(&mut self, query: usize, row: usize, lower: f32, upper: f32) {
        let scorer = &self.scorers[query];
        let CandidateCollector { top_k, rescored, .. } = &mut *self.collector;
        let middle = (lower + upper) / 2.0;
        let (lower, upper) = if scorer.request.exact { (lower, upper) } else { (middle, middle) };
        if upper >= top_k[query].threshold() {
            let candidate = Candidate { row: self.first_row + row, lower, upper, score: f64::NAN };
            top_k[query].push(candidate, &self.thresholds[query], |candidate| {
                *rescored += 1;
                scorer.score(candidate);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bits_of;

    #[test]
    fn every_byte_but_zero_is_a_bit() {
        for len in [0, 1, 7, 8, 9, 63, 64] {
            for value in [1, 2, 0x80, 0xFF, 0x10] {
                for at in 0..len {
                    let mut mask = vec![0; len];
                    mask[at] = value;
                    assert_eq!(bits_of(&mask), 1 << at, "{value} at {at} of {len}");
                }
                let all = if len == 64 { u64::MAX } else { (1 << len) - 1 };
                assert_eq!(bits_of(&vec![value; len]), all);
            }
            assert_eq!(bits_of(&vec![0; len]), 0);
        }
    }
}
