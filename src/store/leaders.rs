//! The rows that may be among the best of a query.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use crate::memory::{reserve, with_room};
use crate::panic::raise;

/// Rows in question, and four times k, that are kept at most.
const MAX_IN_QUESTION: usize = 4096;

/// Rows in question that there are before the first are dropped, and k.
const FIRST_IN_QUESTION: usize = 512;

/// What they are called where there is no memory for them.
pub(super) const CANDIDATES: &str = "rows in question of a search";

/// More than what a bound lost with numbers too small for float32.
pub(super) const FLUSHED: f32 = 1e-36;

/// A row and what is known of its score. Better ones come first: those of a larger score, and of equals the lower row.
///
/// `lower` and `upper` are on the scale of [`crate::kernels::Collect`].
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

/// What all threads know: k rows are at least as good.
pub(super) struct Floor(AtomicU32);

impl Floor {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(ordered(f32::NEG_INFINITY)))
    }

    pub(super) fn get(&self) -> f32 {
        let bits = self.0.load(Relaxed);
        f32::from_bits(if bits >> 31 == 1 { bits & 0x7FFF_FFFF } else { !bits })
    }

    pub(super) fn raise(&self, to: f32) {
        self.0.fetch_max(ordered(to), Relaxed);
    }
}

/// Integers in the order of their numbers.
fn ordered(x: f32) -> u32 {
    let bits = x.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 0x8000_0000 }
}

/// Those of one query that one thread found.
#[derive(Default)]
pub(super) struct Leaders {
    k: usize,
    threshold: f32,
    candidates: Vec<Candidate>,
    /// Candidates from which on it pays to drop some.
    many: usize,
}

impl Leaders {
    pub(super) fn new(k: usize) -> Self {
        let mut candidates = Vec::new();
        // What follows from k: fewer grow as they come.
        if k > MAX_IN_QUESTION / 4 {
            reserve(&mut candidates, Self::most(k), CANDIDATES).unwrap_or_else(raise);
        }
        Self { k, threshold: f32::NEG_INFINITY, candidates, many: k.saturating_add(FIRST_IN_QUESTION) }
    }

    /// Rows in question that are kept at most.
    pub(super) fn most(k: usize) -> usize {
        MAX_IN_QUESTION.max(k.saturating_mul(4))
    }

    #[inline(always)]
    pub(super) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Takes over what other threads know.
    pub(super) fn catch_up(&mut self, floor: &Floor) {
        self.threshold = self.threshold.max(floor.get());
    }

    /// `score` computes a candidate's score; it is asked where the bounds leave too many rows in question.
    pub(super) fn add(&mut self, candidate: Candidate, floor: &Floor, score: impl FnMut(&mut Candidate)) {
        self.candidates.push(candidate);
        if self.candidates.len() >= self.many {
            self.prune(floor);
            if self.candidates.len() > Self::most(self.k) / 2 {
                self.candidates.iter_mut().filter(|candidate| candidate.score.is_nan()).for_each(score);
                self.candidates.select_nth_unstable(self.k - 1);
                self.candidates.truncate(self.k);
                self.prune(floor);
            }
            // So that dropping takes a share of the time, however many stay.
            self.many = (2 * self.candidates.len()).clamp(self.k + FIRST_IN_QUESTION, Self::most(self.k));
        }
    }

    /// Drops rows that k others are better than.
    pub(super) fn prune(&mut self, floor: &Floor) {
        if self.candidates.len() >= self.k {
            let (_, kth, _) = self.candidates.select_nth_unstable_by(self.k - 1, |a, b| b.lower.total_cmp(&a.lower));
            floor.raise(kth.lower);
        }
        self.catch_up(floor);
        let threshold = self.threshold;
        self.candidates.retain(|candidate| candidate.upper >= threshold);
    }

    /// Joins what several threads found.
    pub(super) fn join(all: impl IntoIterator<Item = Leaders>, k: usize, floor: &Floor) -> Vec<Candidate> {
        let all: Vec<_> = all.into_iter().collect();
        let mut joined = Leaders { k, threshold: f32::NEG_INFINITY, ..Leaders::default() };
        let count = all.iter().map(|leaders| leaders.candidates.len()).sum();
        reserve(&mut joined.candidates, count, CANDIDATES).unwrap_or_else(raise);
        all.into_iter().for_each(|leaders| joined.candidates.extend(leaders.candidates));
        joined.prune(floor);
        joined.candidates
    }
}

/// The best k of `candidates`, best first, and how many scores were left uncomputed because k scores are above their bounds.
/// `key` puts a score on the scale of the bounds.
pub(super) fn best(
    mut candidates: Vec<Candidate>,
    k: usize,
    key: impl Fn(f64) -> f64,
    mut score: impl FnMut(&mut Candidate),
) -> (Vec<Candidate>, usize) {
    candidates.sort_unstable_by(|a, b| b.upper.total_cmp(&a.upper));
    // The worst on top.
    let mut best = BinaryHeap::from(with_room(k.min(candidates.len()) + 1, CANDIDATES).unwrap_or_else(raise));
    for (i, candidate) in candidates.iter_mut().enumerate() {
        let upper = f64::from(candidate.upper) + f64::from(FLUSHED);
        if best.len() == k && best.peek().is_some_and(|kth: &Candidate| upper < key(kth.score)) {
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

    /// Candidates whose bounds are up to `slack` off their scores, and the scores.
    fn candidates(n: usize, slack: f32, seed: u64) -> (Vec<Candidate>, Vec<f64>) {
        let offsets = numbers(2 * n, seed + 1);
        // Few different scores, so that many are equal.
        let scores: Vec<f64> = numbers(n, seed).into_iter().map(|x| f64::from((x * 50.0).round() / 50.0)).collect();
        let candidate = |row: usize| {
            let score = scores[row] as f32;
            let (below, above) = (slack * offsets[row].abs(), slack * offsets[n + row].abs());
            Candidate { row, lower: score - below, upper: score + above, score: f64::NAN }
        };
        ((0..n).map(candidate).collect(), scores)
    }

    #[test]
    fn the_best_are_found_whatever_the_bounds() {
        for (n, k) in [(1, 1), (10, 3), (10, 10), (5000, 1), (20_000, 100), (20_000, 3000)] {
            for slack in [0.0, 0.01, 0.3, 3.0] {
                let (candidates, scores) = candidates(n, slack, n as u64);
                let mut asked = 0;
                let mut score = |candidate: &mut Candidate| {
                    asked += 1;
                    candidate.score = scores[candidate.row];
                    let key = candidate.score as f32;
                    (candidate.lower, candidate.upper) = (key.next_down(), key.next_up());
                };
                let floor = Floor::new();
                let mut threads = [Leaders::new(k), Leaders::new(k), Leaders::new(k)];
                for candidate in candidates {
                    let leaders = &mut threads[candidate.row % 3];
                    leaders.catch_up(&floor);
                    if candidate.upper >= leaders.threshold() {
                        leaders.add(candidate, &floor, &mut score);
                    }
                }
                let joined = Leaders::join(threads, k, &floor);
                let (found, _) = best(joined, k, |score| score, score);
                let mut expected: Vec<usize> = (0..n).collect();
                expected.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
                expected.truncate(k);
                assert_eq!(found.iter().map(|found| found.row).collect::<Vec<_>>(), expected, "{n} {k} {slack}");
                assert!(slack > 0.1 || asked < n.div_ceil(5) + 2 * k, "{asked} of {n} scores for {k}");
            }
        }
    }

    #[test]
    fn few_candidates_are_kept_where_all_are_equal() {
        let floor = Floor::new();
        let mut leaders = Leaders::new(10);
        for row in 0..100_000 {
            let candidate = Candidate { row, lower: 0.9, upper: 1.1, score: f64::NAN };
            leaders.add(candidate, &floor, |candidate| {
                (candidate.lower, candidate.upper, candidate.score) = (1.0, 1.0, 1.0);
            });
            assert!(leaders.candidates.len() < MAX_IN_QUESTION);
        }
        let (found, _) = best(Leaders::join([leaders], 10, &floor), 10, |score| score, |c| c.score = 1.0);
        assert_eq!(found.iter().map(|found| found.row).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_floor_rises_and_never_falls() {
        let floor = Floor::new();
        assert_eq!(floor.get(), f32::NEG_INFINITY);
        for (to, expected) in
            [(-5.0, -5.0), (-7.0, -5.0), (-0.5, -0.5), (0.0, 0.0), (-1.0, 0.0), (2.5, 2.5), (1.0, 2.5)]
        {
            floor.raise(to);
            assert_eq!(floor.get(), expected);
        }
    }
}
