//! The refine step's scores: those of one query, computed from stored vectors.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::search_request::SearchRequest;
use super::top_k::{CANDIDATES, Candidate, UNDERFLOW_MARGIN};
use crate::kernels::{Metric, exact_score, parallel_for};
use crate::memory::with_room;
use crate::panic::raise;

/// Multiply-adds that computing a score costs as much as, for each number: most of it is waiting for the memory.
pub(super) const MULTIPLY_ADDS_PER_SCORED_NUMBER: usize = 16;

/// Computes scores of one query.
pub(super) struct Scorer<'a> {
    pub(super) request: &'a SearchRequest<'a>,
    /// `[dimension]`
    pub(super) query: Vec<f64>,
    /// Length of the query.
    pub(super) query_length: f64,
    /// Whether a score was outside the bounds that its row was found by.
    bounds_violated: AtomicBool,
}

impl<'a> Scorer<'a> {
    pub(super) fn new(request: &'a SearchRequest<'a>, query: &[f32]) -> Self {
        let query: Vec<f64> = query.iter().copied().map(f64::from).collect();
        let query_length = query.iter().map(|x| x * x).sum::<f64>().sqrt();
        Self { request, query, query_length, bounds_violated: AtomicBool::new(false) }
    }

    /// The score of a row: ⟨q, x⟩ / |x|, ⟨q, x⟩ or -|q - x|².
    fn score_row(&self, row: usize) -> f64 {
        // A row that was scanned is in memory.
        let Some((data, row)) = self.request.locate(row) else { return f64::NEG_INFINITY };
        exact_score(self.request.isa, self.request.metric, &self.query, data.stored(), row)
    }

    fn set_score(&self, candidate: &mut Candidate, score: f64) {
        let scaled = self.on_bound_scale(score) as f32;
        let expected = candidate.lower - UNDERFLOW_MARGIN..=candidate.upper + UNDERFLOW_MARGIN;
        if self.request.exact && !expected.contains(&scaled) {
            self.report_violation();
        }
        *candidate = Candidate { row: candidate.row, lower: scaled.next_down(), upper: scaled.next_up(), score };
    }

    /// Notes that bounds do not hold.
    pub(super) fn report_violation(&self) {
        self.bounds_violated.store(true, Relaxed);
    }

    pub(super) fn bounds_violated(&self) -> bool {
        self.bounds_violated.load(Relaxed)
    }

    pub(super) fn score(&self, candidate: &mut Candidate) {
        self.set_score(candidate, self.score_row(candidate.row));
    }

    /// Computes the scores of candidates that others will hardly rule out, with whatever threads there are. Returns how
    /// many.
    pub(super) fn score_likely_best(&self, candidates: &mut [Candidate]) -> usize {
        let SearchRequest { k, dimension, .. } = *self.request;
        let mut middles = vec_for(candidates.len());
        middles.extend(candidates.iter().map(|known| (known.lower + known.upper) / 2.0));
        let kth = match middles.len() > k {
            true => *middles.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1,
            false => f32::NEG_INFINITY,
        };
        let is_likely = |&i: &usize| candidates[i].score.is_nan() && candidates[i].upper >= kth;
        let mut likely = vec_for(candidates.len());
        likely.extend((0..candidates.len()).filter(is_likely));
        let mut scores = vec_for(likely.len());
        scores.resize_with(likely.len(), AtomicU64::default);
        parallel_for(likely.len(), MULTIPLY_ADDS_PER_SCORED_NUMBER * dimension, |range| {
            for at in range {
                let next = likely.get(at + 1).and_then(|&next| self.request.locate(candidates[next].row));
                if let Some((data, row)) = next {
                    data.stored().prefetch_row(row, dimension);
                }
                scores[at].store(self.score_row(candidates[likely[at]].row).to_bits(), Relaxed);
            }
        });
        for (&i, score) in likely.iter().zip(&scores) {
            self.set_score(&mut candidates[i], f64::from_bits(score.load(Relaxed)));
        }
        likely.len()
    }

    /// The score on the scale of the bounds, see [`crate::kernels::Collector::collect`].
    pub(super) fn on_bound_scale(&self, score: f64) -> f64 {
        match self.request.metric {
            Metric::L2 => (score + self.query_length * self.query_length) / 2.0,
            Metric::Cosine | Metric::Dot => self.over_query_length(score),
        }
    }

    /// The score as a caller gets it, before it is rounded to float32. It rises with the score, so that what is at least
    /// some score comes before what is not.
    pub(super) fn reported_score(&self, score: f64) -> f64 {
        match self.request.metric {
            Metric::Cosine => self.over_query_length(score),
            Metric::Dot => score,
            Metric::L2 => -(-score).sqrt(),
        }
    }

    /// A threshold, on the scale of the bounds, that the upper bound of every row reaches whose `reported_score` is at
    /// least `min_score`. See "Range search" in `search`.
    pub(super) fn threshold_of(&self, min_score: f64) -> f32 {
        let threshold = match self.request.metric {
            Metric::Cosine => min_score,
            Metric::Dot => self.over_query_length(min_score),
            // No distance is below 0.
            Metric::L2 if min_score > 0.0 => f64::INFINITY,
            Metric::L2 => {
                let squares = [min_score * min_score, self.query_length * self.query_length];
                let rounding = (self.query.len() + 8) as f64 * f64::EPSILON;
                (squares[1] - squares[0]) / 2.0 - rounding * (squares[0] + squares[1])
            }
        };
        ((threshold - 2.0 * f64::from(UNDERFLOW_MARGIN)) as f32).next_down()
    }

    fn over_query_length(&self, score: f64) -> f64 {
        if self.query_length == 0.0 { score } else { score / self.query_length }
    }
}

/// An empty vector with room for something of each of so many candidates.
fn vec_for<T>(candidates: usize) -> Vec<T> {
    with_room(candidates, CANDIDATES).unwrap_or_else(raise)
}
