//! The exact scores of one query.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::leaders::{CANDIDATES, Candidate, FLUSHED};
use super::search::{SCORE_WORK, Search};
use crate::kernels::{Metric, exact, parallel_for};
use crate::memory::with_room;
use crate::panic::raise;

/// Computes them.
pub(super) struct Scorer<'a> {
    pub(super) search: &'a Search<'a>,
    pub(super) query: Vec<f64>,
    /// Its length.
    pub(super) length: f64,
    /// Whether a score was outside the bounds that its row was found by.
    is_astray: AtomicBool,
}

impl<'a> Scorer<'a> {
    pub(super) fn new(search: &'a Search<'a>, query: &[f32]) -> Self {
        let query: Vec<f64> = query.iter().copied().map(f64::from).collect();
        let length = query.iter().map(|x| x * x).sum::<f64>().sqrt();
        Self { search, query, length, is_astray: AtomicBool::new(false) }
    }

    /// A row's score: ⟨q, x⟩ / |x|, ⟨q, x⟩ or -|q - x|².
    fn exact(&self, row: usize) -> f64 {
        // A row that was scanned is in memory.
        let Some((held, row)) = self.search.locate(row) else { return f64::NEG_INFINITY };
        exact(self.search.isa, self.search.metric, &self.query, held.stored(), row)
    }

    fn settle(&self, candidate: &mut Candidate, score: f64) {
        let key = self.key(score) as f32;
        if self.search.exact && !(candidate.lower - FLUSHED <= key && key <= candidate.upper + FLUSHED) {
            self.go_astray();
        }
        *candidate = Candidate { row: candidate.row, lower: key.next_down(), upper: key.next_up(), score };
    }

    /// Says that bounds do not hold.
    pub(super) fn go_astray(&self) {
        self.is_astray.store(true, Relaxed);
    }

    pub(super) fn is_astray(&self) -> bool {
        self.is_astray.load(Relaxed)
    }

    pub(super) fn score(&self, candidate: &mut Candidate) {
        self.settle(candidate, self.exact(candidate.row));
    }

    /// Computes the scores of candidates that others' will hardly rule out, with whatever threads there are; gives how many.
    pub(super) fn score_likely(&self, candidates: &mut [Candidate]) -> usize {
        let Search { k, dimension, .. } = *self.search;
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
        parallel_for(likely.len(), SCORE_WORK * dimension, |range| {
            for at in range {
                if let Some((held, row)) = likely.get(at + 1).and_then(|&next| self.search.locate(candidates[next].row))
                {
                    held.stored().ask_for(row, dimension);
                }
                scores[at].store(self.exact(candidates[likely[at]].row).to_bits(), Relaxed);
            }
        });
        for (&i, score) in likely.iter().zip(&scores) {
            self.settle(&mut candidates[i], f64::from_bits(score.load(Relaxed)));
        }
        likely.len()
    }

    /// The score on the scale of the bounds.
    pub(super) fn key(&self, score: f64) -> f64 {
        match self.search.metric {
            Metric::L2 => (score + self.length * self.length) / 2.0,
            Metric::Cosine | Metric::Dot => self.over_length(score),
        }
    }

    /// The score as a caller gets it.
    pub(super) fn shown(&self, score: f64) -> f32 {
        match self.search.metric {
            Metric::Cosine => self.over_length(score) as f32,
            Metric::Dot => score as f32,
            Metric::L2 => -(-score).sqrt() as f32,
        }
    }

    fn over_length(&self, score: f64) -> f64 {
        if self.length == 0.0 { score } else { score / self.length }
    }
}

/// An empty vector with room for something of each of so many candidates.
fn vec_for<T>(candidates: usize) -> Vec<T> {
    with_room(candidates, CANDIDATES).unwrap_or_else(raise)
}
