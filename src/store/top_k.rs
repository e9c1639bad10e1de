//! The rows that may be among the best k of a query: a reservoir with a threshold, and the refine step over it.
//!
//! Top-k selection by a threshold and linear-time partitioning (Hoare's quickselect), over candidates whose scores are
//! known to within bounds:
//!
//! ```text
//! push(candidate):                                      only if its upper bound reaches the threshold
//!     add it to the reservoir
//!     if the reservoir is twice as long as after the last pruning: prune
//!     if more than half of the candidates that there is room for from the start are left:
//!         score them, keep the best k, prune
//! prune:
//!     threshold := max(threshold, shared, k-th largest lower bound); shared := the same
//!     drop candidates whose upper bound is below the threshold
//! refine:
//!     score the largest upper bound first, until the k-th best score is above the next one
//! ```
//!
//! Why it is right: see the proof in `search`. Pruning only where the reservoir has doubled makes a push cost constant
//! time on average, by linear-time selection, with no heap that every row would have to touch. Rows that are equal by
//! the thousand take no more memory than others, since their scores and numbers are compared where their bounds cannot
//! tell them apart. A range search has its threshold from the start and makes room for few candidates, whatever its k:
//! there the reservoir grows with those whose scores reach the threshold. The shared threshold only rises, so it is read and raised without a lock, and a thread that reads
//! an old one merely keeps more.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use crate::memory::{reserve, with_room};
use crate::panic::raise;

/// Candidates of a query that a thread keeps at most, unless four times k are more.
const MAX_CANDIDATES_PER_QUERY: usize = 4096;

/// Candidates beyond k that a thread has before it drops any.
const MIN_CANDIDATES_TO_PRUNE: usize = 512;

/// Name of candidates in the error of a lack of memory.
pub(super) const CANDIDATES: &str = "candidates of a search";

/// More than a bound can lack because numbers below float32's normal range are taken for 0.
pub(super) const UNDERFLOW_MARGIN: f32 = 1e-36;

/// A row and what is known of its score. Better ones come first: those of a larger score, and of equals the lower row.
///
/// `lower` and `upper` are on the scale of [`crate::kernels::Collector`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) row: usize,
    pub(super) lower: f32,
    pub(super) upper: f32,
    /// NaN until it is computed.
    pub(super) score: f64,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

/// A score that k rows are known to reach, of one query, raised by all threads.
pub(super) struct SharedThreshold(AtomicU32);

impl SharedThreshold {
    pub(super) fn new(start: f32) -> Self {
        Self(AtomicU32::new(order_preserving_bits(start)))
    }

    pub(super) fn get(&self) -> f32 {
        let bits = self.0.load(Relaxed);
        f32::from_bits(if bits >> 31 == 1 { bits & 0x7FFF_FFFF } else { !bits })
    }

    pub(super) fn raise(&self, to: f32) {
        self.0.fetch_max(order_preserving_bits(to), Relaxed);
    }
}

/// Bits that compare as integers like the numbers themselves; NaN aside.
fn order_preserving_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 0x8000_0000 }
}

/// The candidates of one query that one thread found.
#[derive(Default)]
pub(super) struct TopK {
    k: usize,
    /// Results that there is room for from the start, up to k.
    rows_ahead: usize,
    threshold: f32,
    candidates: Vec<Candidate>,
    /// Candidates from which on it pays to drop some.
    prune_at: usize,
}

impl TopK {
    pub(super) fn new(k: usize, rows_ahead: usize) -> Self {
        let mut candidates = Vec::new();
        // What follows from k: fewer grow as they come.
        if rows_ahead > MAX_CANDIDATES_PER_QUERY / 4 {
            reserve(&mut candidates, Self::max_candidates(rows_ahead), CANDIDATES).unwrap_or_else(raise);
        }
        let prune_at = rows_ahead.saturating_add(MIN_CANDIDATES_TO_PRUNE);
        Self { k, rows_ahead, threshold: f32::NEG_INFINITY, candidates, prune_at }
    }

    /// Candidates that are kept at most.
    pub(super) fn max_candidates(k: usize) -> usize {
        MAX_CANDIDATES_PER_QUERY.max(k.saturating_mul(4))
    }

    #[inline(always)]
    pub(super) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Raises the threshold to what other threads found.
    pub(super) fn raise_threshold(&mut self, shared: &SharedThreshold) {
        self.threshold = self.threshold.max(shared.get());
    }

    /// Adds a candidate. `score` computes a candidate's score; it is called where the bounds leave too many.
    pub(super) fn push(&mut self, candidate: Candidate, shared: &SharedThreshold, score: impl FnMut(&mut Candidate)) {
        self.candidates.push(candidate);
        if self.candidates.len() >= self.prune_at {
            self.prune(shared);
            if self.candidates.len() > Self::max_candidates(self.rows_ahead) / 2 {
                self.candidates.iter_mut().filter(|candidate| candidate.score.is_nan()).for_each(score);
                if self.candidates.len() > self.k {
                    self.candidates.select_nth_unstable(self.k - 1);
                    self.candidates.truncate(self.k);
                }
                self.prune(shared);
            }
            // So that dropping takes a share of the time, however many stay.
            let len = self.candidates.len();
            self.prune_at = (2 * len).clamp(self.rows_ahead + MIN_CANDIDATES_TO_PRUNE, Self::max_candidates(self.k));
            reserve(&mut self.candidates, self.prune_at - len, CANDIDATES).unwrap_or_else(raise);
        }
    }

    /// Raises the threshold to the k-th largest lower bound, and drops candidates that cannot reach it.
    pub(super) fn prune(&mut self, shared: &SharedThreshold) {
        if self.candidates.len() >= self.k {
            let (_, kth, _) = self.candidates.select_nth_unstable_by(self.k - 1, |a, b| b.lower.total_cmp(&a.lower));
            shared.raise(kth.lower);
        }
        self.raise_threshold(shared);
        let threshold = self.threshold;
        self.candidates.retain(|candidate| candidate.upper >= threshold);
    }

    /// The candidates that several threads found, pruned together.
    pub(super) fn merge(all: impl IntoIterator<Item = TopK>, k: usize, shared: &SharedThreshold) -> Vec<Candidate> {
        let all: Vec<_> = all.into_iter().collect();
        let mut merged = TopK { k, threshold: f32::NEG_INFINITY, ..TopK::default() };
        let count = all.iter().map(|top_k| top_k.candidates.len()).sum();
        reserve(&mut merged.candidates, count, CANDIDATES).unwrap_or_else(raise);
        all.into_iter().for_each(|top_k| merged.candidates.extend(top_k.candidates));
        merged.prune(shared);
        merged.candidates
    }
}

/// The best k of `candidates`, best first, and how many scores were never computed because k scores are above their
/// bounds. `on_bound_scale` puts a score on the scale of the bounds.
pub(super) fn refine(
    mut candidates: Vec<Candidate>,
    k: usize,
    on_bound_scale: impl Fn(f64) -> f64,
    mut score: impl FnMut(&mut Candidate),
) -> (Vec<Candidate>, usize) {
    candidates.sort_unstable_by(|a, b| b.upper.total_cmp(&a.upper));
    // The worst on top.
    let mut best = BinaryHeap::from(with_room(k.min(candidates.len()) + 1, CANDIDATES).unwrap_or_else(raise));
    for (i, candidate) in candidates.iter_mut().enumerate() {
        let upper = f64::from(candidate.upper) + f64::from(UNDERFLOW_MARGIN);
        if best.len() == k && best.peek().is_some_and(|kth: &Candidate| upper < on_bound_scale(kth.score)) {
            let left = candidates[i..].iter().filter(|candidate| candidate.score.is_nan()).count();
            return (best.into_sorted_vec(), left);
        }
        if candidate.score.is_nan() {
            score(candidate);
        }
        best.push(*candidate);
        if best.len() > k {
            best.pop();
        }
    }
    (best.into_sorted_vec(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::numbers;

    /// Candidates whose bounds are up to `width` off their scores, and the scores.
    fn candidates(n: usize, width: f32, seed: u64) -> (Vec<Candidate>, Vec<f64>) {
        let offsets = numbers(2 * n, seed + 1);
        // Few different scores, so that many are equal.
        let scores: Vec<f64> = numbers(n, seed).into_iter().map(|x| f64::from((x * 50.0).round() / 50.0)).collect();
        let candidate = |row: usize| {
            let score = scores[row] as f32;
            let (below, above) = (width * offsets[row].abs(), width * offsets[n + row].abs());
            Candidate { row, lower: score - below, upper: score + above, score: f64::NAN }
        };
        ((0..n).map(candidate).collect(), scores)
    }

    #[test]
    fn the_best_are_found_whatever_the_bounds() {
        for (n, k) in [(1, 1), (10, 3), (10, 10), (5000, 1), (20_000, 100), (20_000, 3000)] {
            for width in [0.0, 0.01, 0.3, 3.0] {
                let (candidates, scores) = candidates(n, width, n as u64);
                let mut asked = 0;
                let mut score = |candidate: &mut Candidate| {
                    asked += 1;
                    candidate.score = scores[candidate.row];
                    let key = candidate.score as f32;
                    (candidate.lower, candidate.upper) = (key.next_down(), key.next_up());
                };
                let shared = SharedThreshold::new(f32::NEG_INFINITY);
                let mut threads = [TopK::new(k, k), TopK::new(k, k), TopK::new(k, k.min(2))];
                for candidate in candidates {
                    let top_k = &mut threads[candidate.row % 3];
                    top_k.raise_threshold(&shared);
                    if candidate.upper >= top_k.threshold() {
                        top_k.push(candidate, &shared, &mut score);
                    }
                }
                let merged = TopK::merge(threads, k, &shared);
                let (found, _) = refine(merged, k, |score| score, score);
                let mut expected: Vec<usize> = (0..n).collect();
                expected.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
                expected.truncate(k);
                assert_eq!(found.iter().map(|found| found.row).collect::<Vec<_>>(), expected, "{n} {k} {width}");
                assert!(width > 0.1 || asked < n.div_ceil(5) + 2 * k, "{asked} of {n} scores for {k}");
            }
        }
    }

    #[test]
    fn few_candidates_are_kept_where_all_are_equal() {
        let shared = SharedThreshold::new(f32::NEG_INFINITY);
        let mut top_k = TopK::new(10, 10);
        for row in 0..100_000 {
            let candidate = Candidate { row, lower: 0.9, upper: 1.1, score: f64::NAN };
            top_k.push(candidate, &shared, |candidate| {
                (candidate.lower, candidate.upper, candidate.score) = (1.0, 1.0, 1.0);
            });
            assert!(top_k.candidates.len() < MAX_CANDIDATES_PER_QUERY);
        }
        let (found, _) = refine(TopK::merge([top_k], 10, &shared), 10, |score| score, |c| c.score = 1.0);
        assert_eq!(found.iter().map(|found| found.row).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_range_search_keeps_what_reaches_its_threshold() {
        let shared = SharedThreshold::new(1.05);
        let mut top_k = TopK::new(usize::MAX, 1000);
        assert_eq!(top_k.candidates.capacity(), 0);
        top_k.raise_threshold(&shared);
        for row in 0..100_000 {
            let candidate = Candidate { row, lower: 0.9, upper: 1.1, score: f64::NAN };
            top_k.push(candidate, &shared, |candidate| {
                let score = if candidate.row % 10 == 0 { 1.08 } else { 1.0 };
                (candidate.lower, candidate.upper, candidate.score) = (score, score, f64::from(score));
            });
            assert!(top_k.candidates.len() <= MAX_CANDIDATES_PER_QUERY + row / 5);
            assert!(top_k.candidates.capacity() <= 2 * (MAX_CANDIDATES_PER_QUERY + row / 5));
        }
        let merged = TopK::merge([top_k], usize::MAX, &shared);
        assert_eq!(merged.iter().filter(|candidate| candidate.row % 10 == 0).count(), 10_000);
    }

    #[test]
    fn a_shared_threshold_rises_and_never_falls() {
        let shared = SharedThreshold::new(f32::NEG_INFINITY);
        assert_eq!(shared.get(), f32::NEG_INFINITY);
        for (to, expected) in
            [(-5.0, -5.0), (-7.0, -5.0), (-0.5, -0.5), (0.0, 0.0), (-1.0, 0.0), (2.5, 2.5), (1.0, 2.5)]
        {
            shared.raise(to);
            assert_eq!(shared.get(), expected);
        }
    }
}
