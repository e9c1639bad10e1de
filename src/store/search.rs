//! Exact search: a scan of codes leaves few rows in question, and their scores decide.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::first_pass::FirstPass;
use super::leaders::{Candidate, Floor, Leaders, best};
use super::place::Place;
use super::scorer::Scorer;
use super::segment::{Held, Segment, position};
use crate::kernels::{Bound, Collect, Isa, Metric, Queries, Rows, Stored, code_stride, parallel_for, scan};
use crate::memory::reserve;
use crate::panic::raise;
use crate::pool::Pool;
use crate::{CancelCheck, Result};

/// Multiply-adds that all threads do before they are asked whether to go on,
const ROUND_WORK: usize = 1 << 32;
/// and bytes of codes that they read: some tens of milliseconds of one thread.
const ROUND_BYTES: usize = 1 << 29;

/// Multiply-adds that computing a score costs as much as, for each number: most of it is waiting for the memory.
pub(super) const SCORE_WORK: usize = 16;

/// Rows whose bits are one word of a segment's.
const WORD: usize = 64;

/// Queries that are scanned for together: their bytes stay in the cache of a core.
const MAX_QUERIES: usize = 256;

/// Rows in question that each thread keeps at most, of all queries.
const MAX_CANDIDATES: usize = 1 << 21;

/// What is searched, and how.
pub(super) struct Search<'a> {
    pub(super) isa: Isa,
    pub(super) metric: Metric,
    pub(super) dimension: usize,
    pub(super) segments: &'a [Segment],
    /// `[rows]`: 0 where a row does not count; None where all live ones do.
    pub(super) mask: Option<&'a [u8]>,
    /// From 1.
    pub(super) k: usize,
    /// Whether a row is in question until its bound says otherwise. Else its code alone says how good it is.
    pub(super) exact: bool,
    /// Where scores of all rows are computed first. None: codes are scanned.
    pub(super) place: Option<&'a Place>,
}

/// The best rows of each query, best first.
#[derive(Debug, Default)]
pub struct Found {
    /// `[queries, columns]`
    pub scores: Vec<f32>,
    /// `[queries, columns]`
    pub rows: Vec<i64>,
    /// k, or the rows that count where they are fewer.
    pub columns: usize,
    pub report: Report,
}

/// What a search did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Report {
    /// Rows that each query was compared with.
    pub rows: usize,
    /// Scores that were computed from vectors, of all queries.
    pub rescored: usize,
    /// Bytes of codes, bounds and vectors that were read, also by a device.
    pub bytes: usize,
    /// Queries of which rows in question were left, as k scores were above their bounds.
    pub closed_early: usize,
}

impl Found {
    /// Has room for so many rows of all queries together.
    fn reserve(&mut self, hits: usize) -> Result<()> {
        reserve(&mut self.scores, hits, "scores")?;
        reserve(&mut self.rows, hits, "rows that were found")
    }
}

impl Search<'_> {
    /// Searches for `queries [n, dimension]`.
    pub(super) fn run(&self, queries: &[f32], pool: &Pool, check_cancel: CancelCheck<'_>) -> Result<Found> {
        let mut found = Found::default();
        // As many as there can be, of all queries.
        let hits = (queries.len() / self.dimension).saturating_mul(self.k);
        found.reserve(hits)?;
        let batch = (MAX_CANDIDATES / Leaders::most(self.k)).clamp(1, MAX_QUERIES);
        for queries in queries.chunks(batch * self.dimension) {
            let part =
                self.place.map(|place| self.by_scores(place, queries, pool, check_cancel)).transpose()?.flatten();
            let mut part = match part {
                Some(part) => part,
                None => pool.run_on_team(check_cancel, |check_cancel| self.by_codes(queries, check_cancel))?,
            };
            found.scores.append(&mut part.scores);
            found.rows.append(&mut part.rows);
            found.columns = part.columns;
            found.report.rows = part.report.rows;
            found.report.rescored += part.report.rescored;
            found.report.bytes += part.report.bytes;
            found.report.closed_early += part.report.closed_early;
        }
        Ok(found)
    }

    /// Has a device compute all scores first. None where one of them was further off than it may be, as the device does not compute in
    /// float32, or a mapped file is damaged: nothing is proven then.
    fn by_scores(
        &self,
        place: &Place,
        queries: &[f32],
        pool: &Pool,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Option<Found>> {
        // The threads have nothing to do meanwhile.
        let (scorers, floors, scout) = pool.run_inline(check_cancel, |check_cancel| {
            let (scorers, floors) = self.begin(queries);
            let mut scout = Scout::new(scorers.len(), self.k);
            let _turn = place.turn(check_cancel)?;
            FirstPass::new(self, place, &scorers, &floors)?.run(&mut scout, check_cancel)?;
            Ok((scorers, floors, scout))
        })?;
        // Codes are float16 there.
        let row = self.row_bytes().max(2 * self.dimension);
        let found = pool.run_on_team(check_cancel, |_| Ok(self.decide(&scorers, &floors, vec![scout], row)))?;
        Ok(Some(found).filter(|_| !scorers.iter().any(Scorer::is_astray)))
    }

    fn begin(&self, queries: &[f32]) -> (Vec<Scorer<'_>>, Vec<Floor>) {
        let scorers: Vec<_> = queries.chunks_exact(self.dimension).map(|query| Scorer::new(self, query)).collect();
        let floors = scorers.iter().map(|_| Floor::new()).collect();
        (scorers, floors)
    }

    /// Scans the codes first; shares its work with the threads that the caller leads.
    fn by_codes(&self, queries: &[f32], check_cancel: CancelCheck<'_>) -> Result<Found> {
        let (scorers, floors) = self.begin(queries);
        let prepared = Queries::new(self.isa, self.metric, queries, self.dimension);
        let n = scorers.len();
        // Of the threads that took part, each with what it found.
        let scouts: Mutex<Vec<Scout>> = Mutex::default();
        let take = || scouts.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let rows_a_round = (ROUND_WORK / (self.dimension * n)).min(ROUND_BYTES / code_stride(self.dimension));
        let rows_a_round = rows_a_round.max(WORD) / WORD * WORD;
        for segment in self.segments.iter().filter(|segment| segment.live() > 0) {
            for round in (0..segment.rows).step_by(rows_a_round) {
                check_cancel()?;
                let words = rows_a_round.min(segment.rows - round).div_ceil(WORD);
                parallel_for(words, WORD * self.dimension * n, |range| {
                    let mut scout = take().unwrap_or_else(|| Scout::new(n, self.k));
                    let rows = round + range.start * WORD..segment.rows.min(round + range.end * WORD);
                    scout.explore(&prepared, &scorers, &floors, segment, rows);
                    scouts.lock().unwrap_or_else(PoisonError::into_inner).push(scout);
                });
            }
        }
        let scouts = scouts.into_inner().unwrap_or_else(PoisonError::into_inner);
        check_cancel()?;
        Ok(self.decide(&scorers, &floors, scouts, code_stride(self.dimension) + size_of::<Bound>()))
    }

    /// Chooses among what the scouts found, who read so many bytes of each row.
    fn decide(&self, scorers: &[Scorer<'_>], floors: &[Floor], mut scouts: Vec<Scout>, row: usize) -> Found {
        let seen: usize = scouts.iter().map(|scout| scout.seen).sum();
        let verdicts: Vec<Mutex<Verdict>> = (0..scorers.len())
            .map(|query| {
                let found = scouts.iter_mut().map(|scout| std::mem::take(&mut scout.leaders[query])).collect();
                Mutex::new(Verdict { found, ..Verdict::default() })
            })
            .collect();
        let reach = |query: usize| {
            let mut verdict = verdicts[query].lock().unwrap_or_else(PoisonError::into_inner);
            verdict.reach(self, &scorers[query], &floors[query]);
        };
        match verdicts.len() {
            // The threads share its scores.
            1 => reach(0),
            n => parallel_for(n, SCORE_WORK * self.dimension * self.k, |range| range.for_each(reach)),
        }
        let rescored = scouts.iter().map(|scout| scout.scored).sum();
        let mut found = Found { columns: self.k.min(seen), ..Found::default() };
        found.reserve(scorers.len() * found.columns).unwrap_or_else(raise);
        found.report = Report { rows: seen, rescored, ..Report::default() };
        for (scorer, verdict) in scorers.iter().zip(verdicts) {
            let Verdict { best, left, scored, .. } = verdict.into_inner().unwrap_or_else(PoisonError::into_inner);
            found.scores.extend(best.iter().map(|candidate| scorer.shown(candidate.score)));
            found.rows.extend(best.iter().map(|candidate| candidate.row as i64));
            found.report.rescored += scored;
            found.report.closed_early += usize::from(left > 0);
        }
        found.report.bytes = seen * row + found.report.rescored * self.row_bytes();
        found
    }

    /// Where a row is.
    pub(super) fn locate(&self, row: usize) -> Option<(&Held, usize)> {
        let segment = &self.segments[position(self.segments, row)];
        Some((segment.held()?, row - segment.first))
    }

    fn row_bytes(&self) -> usize {
        match self.segments.iter().find_map(|segment| Some(segment.held()?.stored())) {
            Some(Stored::Float32(_)) => 4 * self.dimension,
            Some(Stored::Float16(_)) => 2 * self.dimension,
            Some(Stored::Int8(..)) | None => self.dimension,
        }
    }
}

/// What is decided about one query.
#[derive(Default)]
struct Verdict {
    /// What each scout found.
    found: Vec<Leaders>,
    best: Vec<Candidate>,
    /// Rows in question that were left.
    left: usize,
    /// Scores that were computed.
    scored: usize,
}

impl Verdict {
    fn reach(&mut self, search: &Search<'_>, scorer: &Scorer<'_>, floor: &Floor) {
        let mut candidates = Leaders::join(std::mem::take(&mut self.found), search.k, floor);
        if !search.exact {
            candidates.sort_unstable_by(|a, b| b.upper.total_cmp(&a.upper).then(a.row.cmp(&b.row)));
            candidates.truncate(search.k);
        }
        self.scored += scorer.score_likely(&mut candidates);
        let key = |score| scorer.key(score);
        (self.best, self.left) = best(candidates, search.k, key, |candidate| {
            self.scored += 1;
            scorer.score(candidate);
        });
    }
}

/// What one thread found of every query.
pub(super) struct Scout {
    leaders: Vec<Leaders>,
    /// Rows that counted.
    pub(super) seen: usize,
    /// Scores that were computed on the way.
    scored: usize,
    /// Rows that count, where not all do.
    list: Vec<u32>,
}

impl Scout {
    pub(super) fn new(queries: usize, k: usize) -> Self {
        Self { leaders: (0..queries).map(|_| Leaders::new(k)).collect(), seen: 0, scored: 0, list: Vec::new() }
    }

    /// Looks at some rows of a segment, from a multiple of 64 on.
    fn explore(
        &mut self,
        prepared: &Queries,
        scorers: &[Scorer<'_>],
        floors: &[Floor],
        segment: &Segment,
        rows: Range<usize>,
    ) {
        let (Some(held), Some(Scorer { search, .. })) = (segment.held(), scorers.first()) else { return };
        let whole = segment.is_whole() && search.mask.is_none();
        if !whole {
            self.select(search.mask, segment, rows.clone());
        }
        let list = std::mem::take(&mut self.list);
        let rows = if whole { Rows::Range(rows) } else { Rows::List(&list) };
        self.seen += rows.len();
        for (leaders, floor) in self.leaders.iter_mut().zip(floors) {
            leaders.catch_up(floor);
        }
        let mut gather = Gather { scout: self, scorers, floors, first: segment.first };
        scan(search.isa, prepared, &held.codes, &held.bounds, &rows, &mut gather);
        self.list = list;
    }

    /// Lists the rows that count.
    fn select(&mut self, mask: Option<&[u8]>, segment: &Segment, rows: Range<usize>) {
        self.list.clear();
        for start in rows.clone().step_by(WORD) {
            let mut bits = segment.live_bits(start / WORD);
            if let Some(mask) = mask {
                let mask = &mask[segment.first + start..segment.first + rows.end.min(start + WORD)];
                bits &= bits_of(mask);
            }
            while bits != 0 {
                self.list.push((start + bits.trailing_zeros() as usize) as u32);
                bits &= bits - 1;
            }
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

/// A scout at work on rows that follow each other.
pub(super) struct Gather<'a> {
    pub(super) scout: &'a mut Scout,
    pub(super) scorers: &'a [Scorer<'a>],
    pub(super) floors: &'a [Floor],
    /// The number of the first one.
    pub(super) first: usize,
}

impl Gather<'_> {
    /// Takes over what is known of a query's best rows elsewhere,
    pub(super) fn catch_up(&mut self, query: usize) {
        self.scout.leaders[query].catch_up(&self.floors[query]);
    }

    /// and tells what is known here.
    pub(super) fn settle(&mut self, query: usize) {
        self.scout.leaders[query].prune(&self.floors[query]);
    }
}

impl Collect for Gather<'_> {
    #[inline(always)]
    fn threshold(&self, query: usize) -> f32 {
        self.scout.leaders[query].threshold()
    }

    fn add(&mut self, query: usize, row: usize, lower: f32, upper: f32) {
        let scorer = &self.scorers[query];
        let Scout { leaders, scored, .. } = &mut *self.scout;
        let middle = (lower + upper) / 2.0;
        let (lower, upper) = if scorer.search.exact { (lower, upper) } else { (middle, middle) };
        if upper >= leaders[query].threshold() {
            let candidate = Candidate { row: self.first + row, lower, upper, score: f64::NAN };
            leaders[query].add(candidate, &self.floors[query], |candidate| {
                *scored += 1;
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
