//! Exact search: certified k nearest neighbours in two passes.
//!
//! # The algorithm
//!
//! Filter and refine over quantized vectors, as the VA-file (Weber, Schek & Blott, "A quantitative analysis and
//! performance study for similarity-search methods in high-dimensional spaces", VLDB 1998), with a bound by
//! Cauchy-Schwarz on the length of what the quantization leaves out in place of the VA-file's cells:
//!
//! ```text
//! T := -infinity, or the least score that is wanted     SharedThreshold, one per query
//! for each row, on all threads:                         filter: reads half a byte or a byte per number
//!     few queries, many rows: skip it if a coarse bound is below T   kernels::scan::look
//!     [lower, upper] := bounds of its score             kernels::scan, or DevicePass
//!     if upper >= T: keep the row as a candidate        CandidateCollector, TopK
//!     T := max(T, the k-th largest lower)
//! for each candidate, the largest upper first:          refine: reads vectors
//!     if upper < the k-th best score: stop
//!     score := float64 score of the stored vector       Scorer
//! return the k best by (score, lower row first)
//! ```
//!
//! # Why the answer is the brute-force answer
//!
//! *Bounds.* Let `q` be the query, divided by its length but under L2, and `x` the row as its metric sees it, of length
//! 1 under cosine. Their codes stand for `q' = q_scale * q_codes` and `x' = scale * codes`. Then
//!
//! ```text
//! <q, x> = <q', x'> + <q - q', x'> + <q, x - x'>
//! |<q, x> - <q', x'>| <= |q - q'| |x'| + |q| |x - x'|   by Cauchy-Schwarz
//! ```
//!
//! `Bound` has at least `|x - x'|` and `|x'|` of each row; the query's own bound has at least `|q|` and `|q - q'|`, so
//! the query's quantization is covered. `<q', x'>` is a sum of integers, exact in 32 bits up to 65,536 dimensions,
//! times two scales. Under L2 `-|q - x|^2 / 2 = <q, x> - |x|^2 / 2 - |q|^2 / 2`, of which the last term is the same for
//! all rows; `half_square` is at most `|x|^2 / 2`, and the lower bound takes off what it may lack.
//!
//! *Rounding.* All of these are float32 numbers. Each length is raised by more than the relative error that summing so
//! many squares can have (`rounding` in `kernels::scan::row_sums`), and the rounding of the product itself is part of `|q
//! - q'|`. Numbers below float32's normal range are lost on the way: `UNDERFLOW_MARGIN` is more than that.
//!
//! *First look.* Coarse codes are codes with larger errors, so their bounds hold for the same reasons. A row that they rule
//! out is dropped; of the others only what their bytes say counts.
//!
//! *Filter.* When a row is dropped, k rows have `score >= lower >= T > upper >= score` of the row: k rows are strictly
//! better. A row with `upper = T` stays, so that rows with equal scores are told apart by their scores and numbers
//! alone. Where the bounds leave too many candidates, [`TopK`] computes their scores and drops those that k others come
//! before in the order of the answer.
//!
//! *Refine.* Candidates are scored in falling order of `upper`. Where the next `upper` is below the k-th best score,
//! all that are left are strictly worse.
//!
//! *Range search.* With a least score, `T` starts from it, put on the scale of the bounds and lowered by more than that
//! takes: by the float32 number before it, by numbers below float32's normal range, and under L2 by what is lost where
//! squares cancel. So a row that is dropped has a score below the least. What is left is refined as ever, and cut before
//! the first row whose float64 score is below the least. That score is the one of the ranking, after the cosine's
//! division by the query's length and the root of the distance; the float32 numbers that callers get are not compared.
//!
//! *Scores.* The order is that of float64 sums: number i is added to partial sum i mod 16, then the partial sums in
//! order, on every CPU (`kernels::scan::exact`); of equals the lower row comes first. Products of float32 numbers are
//! exact in float64, and such a sum is within `dimension * 2^-53` of the real one, relative to `|q| |x|`. The bounds
//! hold for it as for the real number, since the share of `|q| |x|` that they add for rounding, more than `dimension /
//! 4 * 2^-23`, is 2^28 times as much. So ids and the bits of scores are those of a brute-force scan that computes every
//! score this way: whatever the threads, the set of the CPU, the device of the first pass. Only under L2, where a
//! float64 score is off by a share of `|q|^2`, may rows that are 2^28 times shorter than the query be told apart better
//! than their float64 scores can: a row that is dropped is then further away by the real numbers.
//!
//! *Damage.* The proof takes codes and bounds to be those of the vectors. A device that does not compute in float32, or
//! a damaged file, can break that: a score outside the bounds that its row was found by voids the device's pass, and
//! the codes are scanned instead.
//!
//! # What was tried
//!
//! * Codes as two planes of four bits, the lower of which is read for rows in question alone: it takes no more memory than
//!   bytes, where coarse codes beside bytes take a tenth of what a store of float32 takes. But many queries, devices and
//!   stores of int8 want bytes, to which planes must then be put together, and where coarse bounds rule out too little
//!   both planes are read at the price of both. Levels of their own are also finer than the upper half of a byte's.
//! * Coarse codes made as rows are added: adding took half as long again, and stores that are small, or are asked many
//!   queries at a time, had them for nothing.
//! * Bounds for clusters of rows were not tried: they need an order of the rows that adding cannot afford.

use std::sync::{Mutex, PoisonError};

use super::collector::{CandidateCollector, ROWS_PER_WORD};
use super::device_context::DeviceContext;
use super::device_pass::DevicePass;
use super::scorer::{MULTIPLY_ADDS_PER_SCORED_NUMBER, Scorer};
use super::search_request::SearchRequest;
use super::segment::Segment;
use super::top_k::{Candidate, SharedThreshold, TopK, refine};
use crate::kernels::{MIN_PANEL_QUERIES, QuantizedQueries, code_stride, parallel_for};
use crate::memory::reserve;
use crate::panic::raise;
use crate::pool::Pool;
use crate::{CancelCheck, Result};

/// Multiply-adds that all threads do before the caller is asked whether to go on,
const MAX_ROUND_MULTIPLY_ADDS: usize = 1 << 32;
/// and bytes of codes that they read: some tens of milliseconds of one thread.
const MAX_ROUND_CODE_BYTES: usize = 1 << 29;

/// Bytes of codes from which on coarse codes are read first: fewer stay in a cache, from where they come as fast as they are
/// multiplied. Tests have few rows.
const MIN_COARSE_CODE_BYTES: usize = if cfg!(test) { 1 } else { 1 << 25 };

/// Whether a search for so many queries among so many live rows reads coarse codes first, of rows that have them.
pub(super) fn reads_coarse(queries: usize, rows: usize, dimension: usize) -> bool {
    queries < MIN_PANEL_QUERIES && rows * code_stride(dimension) >= MIN_COARSE_CODE_BYTES
}

/// Queries that are scanned for together: their bytes stay in the cache of a core.
const MAX_BATCH_QUERIES: usize = 256;

/// Candidates that a thread keeps at most, of all queries.
const MAX_THREAD_CANDIDATES: usize = 1 << 21;

/// The best rows of each query, best first.
#[derive(Debug, Default)]
pub struct SearchResults {
    /// `[queries, columns]`; of a range search those of one query after those of another.
    pub scores: Vec<f32>,
    /// As `scores`.
    pub rows: Vec<i64>,
    /// k, or the rows that count where they are fewer.
    pub columns: usize,
    /// `[queries]`: how many rows each has, which is `columns` but in a range search.
    pub counts: Vec<usize>,
    pub report: SearchReport,
}

/// What a search did.
#[derive(Debug, Default, Clone, Copy)]
pub struct SearchReport {
    /// Rows that each query was compared with.
    pub rows: usize,
    /// Scores that were computed from vectors, of all queries.
    pub rescored: usize,
    /// Bytes of codes, bounds and vectors that were read, also by a device.
    pub bytes: usize,
    /// Queries with candidates that were never scored, as k scores were above their bounds.
    pub closed_early: usize,
}

impl SearchResults {
    /// Reserves memory for `hits` more rows, of all queries together.
    pub(super) fn reserve(&mut self, hits: usize) -> Result<()> {
        reserve(&mut self.scores, hits, "scores")?;
        reserve(&mut self.rows, hits, "rows that were found")
    }

    /// Appends the results of more queries over the same rows.
    pub(super) fn append(&mut self, mut more: Self) -> Result<()> {
        let free = self.scores.capacity() - self.scores.len();
        if free < more.scores.len() {
            // Twice as many, so that no row is copied more than twice on average.
            self.reserve(more.scores.len().max(self.scores.len()))?;
        }
        self.scores.append(&mut more.scores);
        self.rows.append(&mut more.rows);
        self.counts.append(&mut more.counts);
        self.columns = more.columns;
        self.report.rows = more.report.rows;
        self.report.rescored += more.report.rescored;
        self.report.bytes += more.report.bytes;
        self.report.closed_early += more.report.closed_early;
        Ok(())
    }
}

impl SearchRequest<'_> {
    /// Searches for `queries [n, dimension]`.
    pub(super) fn run(&self, queries: &[f32], pool: &Pool, check_cancel: CancelCheck<'_>) -> Result<SearchResults> {
        let mut results = SearchResults::default();
        if self.min_score.is_none() {
            // As many as there can be, of all queries.
            results.reserve((queries.len() / self.dimension).saturating_mul(self.k))?;
        }
        let batch = (MAX_THREAD_CANDIDATES / TopK::max_candidates(self.rows_ahead())).clamp(1, MAX_BATCH_QUERIES);
        for queries in queries.chunks(batch * self.dimension) {
            let on_device =
                self.device_context.map(|context| self.search_on_device(context, queries, pool, check_cancel));
            results.append(match on_device.transpose()?.flatten() {
                Some(part) => part,
                None => pool.run_on_team(check_cancel, |check_cancel| self.search_by_codes(queries, check_cancel))?,
            })?;
        }
        Ok(results)
    }

    /// Has a device compute all scores first. None where a score was outside its bounds, as the device does not compute
    /// in float32 or a mapped file is damaged: nothing is proven then.
    fn search_on_device(
        &self,
        context: &DeviceContext,
        queries: &[f32],
        pool: &Pool,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Option<SearchResults>> {
        // The threads have nothing to do meanwhile.
        let (scorers, thresholds, collector) = pool.run_inline(check_cancel, |check_cancel| {
            let (scorers, thresholds) = self.prepare(queries);
            let mut collector = CandidateCollector::new(scorers.len(), self);
            let _lock = context.lock(check_cancel)?;
            DevicePass::new(self, context, &scorers, &thresholds)?.run(&mut collector, check_cancel)?;
            Ok((scorers, thresholds, collector))
        })?;
        // Codes are float16 there.
        let bytes = collector.rows_seen * self.vector_bytes().max(2 * self.dimension);
        let results =
            pool.run_on_team(check_cancel, |_| Ok(self.select_best(&scorers, &thresholds, vec![collector], bytes)))?;
        Ok(Some(results).filter(|_| !scorers.iter().any(Scorer::bounds_violated)))
    }

    fn prepare(&self, queries: &[f32]) -> (Vec<Scorer<'_>>, Vec<SharedThreshold>) {
        let scorers: Vec<_> = queries.chunks_exact(self.dimension).map(|query| Scorer::new(self, query)).collect();
        let start = |scorer: &Scorer<'_>| self.min_score.map_or(f32::NEG_INFINITY, |score| scorer.threshold_of(score));
        let thresholds = scorers.iter().map(|scorer| SharedThreshold::new(start(scorer))).collect();
        (scorers, thresholds)
    }

    /// Scans the codes first; shares its work with the threads that the caller leads.
    fn search_by_codes(&self, queries: &[f32], check_cancel: CancelCheck<'_>) -> Result<SearchResults> {
        let (scorers, thresholds) = self.prepare(queries);
        let rows: usize = self.segments.iter().map(Segment::live).sum();
        let n = scorers.len();
        let reads_coarse = reads_coarse(n, rows, self.dimension);
        let quantized = QuantizedQueries::new(self.isa, self.metric, queries, self.dimension, reads_coarse);
        // One for each thread that took part.
        let collectors: Mutex<Vec<CandidateCollector>> = Mutex::default();
        let take = || collectors.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let round_rows =
            (MAX_ROUND_MULTIPLY_ADDS / (self.dimension * n)).min(MAX_ROUND_CODE_BYTES / code_stride(self.dimension));
        let round_rows = round_rows.max(ROWS_PER_WORD) / ROWS_PER_WORD * ROWS_PER_WORD;
        for segment in self.segments.iter().filter(|segment| segment.live() > 0) {
            let coarse = segment.data().filter(|_| reads_coarse).and_then(|data| data.coarse.get());
            let coarse = coarse.as_deref().unwrap_or_default();
            for round in (0..segment.rows).step_by(round_rows) {
                check_cancel()?;
                let words = round_rows.min(segment.rows - round).div_ceil(ROWS_PER_WORD);
                parallel_for(words, ROWS_PER_WORD * self.dimension * n, |range| {
                    let mut collector = take().unwrap_or_else(|| CandidateCollector::new(n, self));
                    let rows = round + range.start * ROWS_PER_WORD..segment.rows.min(round + range.end * ROWS_PER_WORD);
                    collector.scan_rows(&quantized, &scorers, &thresholds, segment, coarse, rows);
                    collectors.lock().unwrap_or_else(PoisonError::into_inner).push(collector);
                });
            }
        }
        let collectors = collectors.into_inner().unwrap_or_else(PoisonError::into_inner);
        check_cancel()?;
        let code_bytes = collectors.iter().map(|collector| collector.code_bytes).sum();
        Ok(self.select_best(&scorers, &thresholds, collectors, code_bytes))
    }

    /// The best of what the collectors found, for which `bytes` bytes were read.
    fn select_best(
        &self,
        scorers: &[Scorer<'_>],
        thresholds: &[SharedThreshold],
        mut collectors: Vec<CandidateCollector>,
        bytes: usize,
    ) -> SearchResults {
        let rows: usize = collectors.iter().map(|collector| collector.rows_seen).sum();
        let queries: Vec<Mutex<QueryResult>> = (0..scorers.len())
            .map(|query| {
                let found = collectors.iter_mut().map(|collector| std::mem::take(&mut collector.top_k[query]));
                Mutex::new(QueryResult { found: found.collect(), ..QueryResult::default() })
            })
            .collect();
        let refine = |query: usize| {
            let mut result = queries[query].lock().unwrap_or_else(PoisonError::into_inner);
            result.refine(self, &scorers[query], &thresholds[query]);
        };
        match queries.len() {
            // The threads share its scores.
            1 => refine(0),
            n => parallel_for(n, MULTIPLY_ADDS_PER_SCORED_NUMBER * self.dimension * self.rows_ahead(), |range| {
                range.for_each(refine);
            }),
        }
        let rescored = collectors.iter().map(|collector| collector.rescored).sum();
        let queries: Vec<QueryResult> =
            queries.into_iter().map(|query| query.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
        let mut results = SearchResults { columns: self.k.min(rows), ..SearchResults::default() };
        results.reserve(queries.iter().map(|query| query.best.len()).sum()).unwrap_or_else(raise);
        results.report = SearchReport { rows, rescored, ..SearchReport::default() };
        for (scorer, QueryResult { best, unscored, rescored, .. }) in scorers.iter().zip(queries) {
            results.scores.extend(best.iter().map(|candidate| scorer.reported_score(candidate.score) as f32));
            results.rows.extend(best.iter().map(|candidate| candidate.row as i64));
            results.counts.push(best.len());
            results.report.rescored += rescored;
            results.report.closed_early += usize::from(unscored > 0);
        }
        results.report.bytes = bytes + results.report.rescored * self.vector_bytes();
        results
    }
}

/// The outcome of one query.
#[derive(Default)]
struct QueryResult {
    /// What each collector found.
    found: Vec<TopK>,
    /// Up to k rows, best first, none below the least score.
    best: Vec<Candidate>,
    /// Candidates that were never scored.
    unscored: usize,
    /// Scores that were computed.
    rescored: usize,
}

impl QueryResult {
    fn refine(&mut self, request: &SearchRequest<'_>, scorer: &Scorer<'_>, shared: &SharedThreshold) {
        let mut candidates = TopK::merge(std::mem::take(&mut self.found), request.k, shared);
        if !request.exact {
            candidates.sort_unstable_by(|a, b| b.upper.total_cmp(&a.upper).then(a.row.cmp(&b.row)));
            candidates.truncate(request.k);
        }
        self.rescored += scorer.score_likely_best(&mut candidates);
        let on_bound_scale = |score| scorer.on_bound_scale(score);
        (self.best, self.unscored) = refine(candidates, request.k, on_bound_scale, |candidate| {
            self.rescored += 1;
            scorer.score(candidate);
        });
        if let Some(min_score) = request.min_score {
            // Not by floats: a thread of the pool takes numbers below their normal range for 0.
            let reaches = |candidate: &Candidate| scorer.reported_score(candidate.score).total_cmp(&min_score).is_ge();
            self.best.truncate(self.best.partition_point(reaches));
        }
    }
}
