//! What became of an object's calls: counters and histograms that many threads write at once, without a lock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::distribution::{CumulativeCounts, Distribution, Summary};
use crate::pool::PerProcess;

/// Seconds of which the recent throughput is told.
const RECENT_SECONDS: u64 = 60;

/// Counters of an object's calls, in this process, since it was made or they were reset.
pub struct Stats(PerProcess<Counts>);

/// Numbers that calls add to.
struct Counts {
    since: Instant,
    texts: AtomicU64,
    tokens: AtomicU64,
    truncated: AtomicU64,
    halved: AtomicU64,
    waits: Distribution,
    totals: Distribution,
    tokenizing: Distribution,
    computing: Distribution,
    pass_texts: Distribution,
    pass_tokens: Distribution,
    /// The last second that has totals.
    last_second: AtomicU64,
    /// Totals before some seconds, each in the place of its number.
    totals_by_second: [RunningTotals; 2 * RECENT_SECONDS as usize],
    /// Errors by their kinds: rare enough for a lock.
    errors: Mutex<BTreeMap<String, u64>>,
}

#[derive(Default)]
struct RunningTotals {
    second: AtomicU64,
    texts: AtomicU64,
    tokens: AtomicU64,
}

/// Times of a call that ended well. Those that threads spent on it may together be longer than all of it.
#[derive(Debug, Default, Clone, Copy)]
pub struct CallTimes {
    pub total: Duration,
    pub tokenizing: Duration,
    pub computing: Duration,
}

/// What is measured of each call, in seconds, or of each pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Waits,
    Totals,
    Tokenizing,
    Computing,
    PassTexts,
    PassTokens,
}

/// All counts at a time.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    /// Since the first of what is counted.
    pub seconds: f64,
    pub texts: u64,
    pub tokens: u64,
    pub truncated: u64,
    pub halved: u64,
    /// Waits of calls, in nanoseconds.
    pub waits: Summary,
    pub totals: Summary,
    pub pass_texts: Summary,
    pub pass_tokens: Summary,
    /// Seconds of the last minute, and what was done in them.
    pub recent: (f64, u64, u64),
    pub errors: BTreeMap<String, u64>,
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

impl Default for Stats {
    fn default() -> Self {
        let stats = Self(PerProcess::none());
        stats.counts();
        stats
    }
}

impl Stats {
    pub fn reset(&self) {
        self.0.renew();
        self.counts();
    }

    fn counts(&self) -> Arc<Counts> {
        self.0.get(Counts::new)
    }

    /// A call's first work began so long after the call.
    pub(super) fn add_wait(&self, wait: Duration) {
        self.counts().waits.add(nanoseconds(wait));
    }

    /// A pass computed so many texts; `standing` are these and those of their calls that are equal to them.
    pub fn add_pass(&self, computed: [usize; 2], standing: [usize; 2]) {
        let counts = self.counts();
        counts.note_second(counts.since.elapsed().as_secs());
        counts.texts.fetch_add(standing[0] as u64, Ordering::Relaxed);
        counts.tokens.fetch_add(standing[1] as u64, Ordering::Relaxed);
        counts.pass_texts.add(computed[0] as u64);
        counts.pass_tokens.add(computed[1] as u64);
    }

    /// A call ended well.
    pub fn add_call(&self, times: CallTimes, truncated: usize, halved: usize) {
        let counts = self.counts();
        counts.totals.add(nanoseconds(times.total));
        counts.tokenizing.add(nanoseconds(times.tokenizing));
        counts.computing.add(nanoseconds(times.computing));
        counts.truncated.fetch_add(truncated as u64, Ordering::Relaxed);
        counts.halved.fetch_add(halved as u64, Ordering::Relaxed);
    }

    pub fn add_error(&self, kind: &str) {
        let counts = self.counts();
        let mut errors = counts.errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry(kind.to_owned()).or_default() += 1;
    }

    /// How many numbers are at most `bounds`, which are seconds where times are measured.
    ///
    /// A number is known by its bucket, and counts for bounds from the end of that on: so no count is too high, and one lacks at most
    /// what is less than 1/64 below its bound. Counts are exact for whole numbers below 128, and for bounds that are ends of buckets,
    /// as 2^n - 1 is: a pass of 256 texts counts for a bound of 259, and for none below. What takes more than an hour counts for an
    /// infinite bound alone.
    pub fn cumulative(&self, measure: Measure, bounds: &[f64]) -> CumulativeCounts {
        let counts = self.counts();
        let (distribution, unit) = match measure {
            Measure::Waits => (&counts.waits, 1e9),
            Measure::Totals => (&counts.totals, 1e9),
            Measure::Tokenizing => (&counts.tokenizing, 1e9),
            Measure::Computing => (&counts.computing, 1e9),
            Measure::PassTexts => (&counts.pass_texts, 1.0),
            Measure::PassTokens => (&counts.pass_tokens, 1.0),
        };
        distribution.cumulative(bounds, unit)
    }

    /// Seconds of the last minute, and the texts and tokens that were done in them.
    pub fn recent(&self) -> (f64, u64, u64) {
        let counts = self.counts();
        counts.recent(counts.since.elapsed())
    }

    pub fn snapshot(&self) -> Snapshot {
        let counts = self.counts();
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Snapshot {
            seconds: counts.since.elapsed().as_secs_f64(),
            texts: number(&counts.texts),
            tokens: number(&counts.tokens),
            truncated: number(&counts.truncated),
            halved: number(&counts.halved),
            waits: counts.waits.summary(),
            totals: counts.totals.summary(),
            pass_texts: counts.pass_texts.summary(),
            pass_tokens: counts.pass_tokens.summary(),
            recent: counts.recent(counts.since.elapsed()),
            errors: counts.errors.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Counts {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            texts: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            truncated: AtomicU64::new(0),
            halved: AtomicU64::new(0),
            waits: Distribution::new(),
            totals: Distribution::new(),
            tokenizing: Distribution::new(),
            computing: Distribution::new(),
            pass_texts: Distribution::new(),
            pass_tokens: Distribution::new(),
            last_second: AtomicU64::new(0),
            totals_by_second: std::array::from_fn(|_| RunningTotals::default()),
            errors: Mutex::default(),
        }
    }

    /// The first who does something in a second keeps what was done before it.
    fn note_second(&self, second: u64) {
        let last = self.last_second.load(Ordering::Relaxed);
        if last >= second
            || self.last_second.compare_exchange(last, second, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        let mark = &self.totals_by_second[second as usize % self.totals_by_second.len()];
        mark.texts.store(self.texts.load(Ordering::Relaxed), Ordering::Relaxed);
        mark.tokens.store(self.tokens.load(Ordering::Relaxed), Ordering::Relaxed);
        // Last: who sees it sees the others.
        mark.second.store(second, Ordering::Release);
    }

    /// Seconds, texts and tokens since the earliest second of the last minute.
    fn recent(&self, now: Duration) -> (f64, u64, u64) {
        let start = now.as_secs().saturating_sub(RECENT_SECONDS - 1);
        let (texts, tokens) = (self.texts.load(Ordering::Relaxed), self.tokens.load(Ordering::Relaxed));
        if start == 0 {
            return (now.as_secs_f64(), texts, tokens);
        }
        // Before the first mark within the minute nothing was done in it.
        let within = self.totals_by_second.iter().filter(|mark| mark.second.load(Ordering::Acquire) >= start);
        let (before_texts, before_tokens) = within
            .min_by_key(|mark| mark.second.load(Ordering::Relaxed))
            .map_or((texts, tokens), |mark| (mark.texts.load(Ordering::Relaxed), mark.tokens.load(Ordering::Relaxed)));
        let seconds = now.as_secs_f64() - start as f64;
        (seconds, texts.saturating_sub(before_texts), tokens.saturating_sub(before_tokens))
    }
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stay_in_order_while_threads_add() {
        let stats = Stats::default();
        let bounds = [0.001, 0.01, 0.1, f64::INFINITY];
        std::thread::scope(|scope| {
            let stats = &stats;
            let adders = [1, 2, 3].map(|seed| {
                scope.spawn(move || {
                    for n in 0..20_000 {
                        let total = Duration::from_micros(n * seed);
                        stats.add_call(CallTimes { total, ..CallTimes::default() }, 0, 0);
                    }
                })
            });
            let mut before = CumulativeCounts { at_most: vec![0; 4], ..CumulativeCounts::default() };
            while !adders.iter().all(|adder| adder.is_finished()) {
                let found = stats.cumulative(Measure::Totals, &bounds);
                assert!(found.at_most.is_sorted() && found.at_most[3] == found.count);
                assert!(before.at_most.iter().zip(&found.at_most).all(|(before, now)| before <= now));
                before = found;
            }
        });
        let found = stats.cumulative(Measure::Totals, &bounds);
        assert_eq!((found.count, found.sum), (60_000, 1199.94));
        assert_eq!(stats.cumulative(Measure::Computing, &bounds).at_most, [60_000; 4]);
        assert_eq!(stats.cumulative(Measure::Waits, &bounds).count, 0);
    }

    #[test]
    fn the_last_minute_is_told_apart() {
        let counts = Counts::new();
        let add = |second, texts| {
            counts.note_second(second);
            counts.texts.fetch_add(texts, Ordering::Relaxed);
        };
        let recent = |second| counts.recent(Duration::from_secs(second));
        add(0, 5);
        add(3, 7);
        assert_eq!(recent(4), (4.0, 12, 0));
        add(70, 100);
        add(75, 1);
        // From second 16 on.
        assert_eq!(recent(75), (59.0, 101, 0));
        assert_eq!(recent(62), (59.0, 108, 0));
        // From second 71 on, and from second 441 on.
        assert_eq!(recent(130), (59.0, 1, 0));
        assert_eq!(recent(500), (59.0, 0, 0));
    }

    #[test]
    fn threads_lose_no_count() {
        let stats = Stats::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        stats.add_pass([2, 5], [3, 7]);
                        stats.add_wait(Duration::from_nanos(8));
                        let times = CallTimes { total: Duration::from_nanos(9), ..CallTimes::default() };
                        stats.add_call(times, 1, 0);
                        stats.add_error("ValueError");
                    }
                });
            }
        });
        let found = stats.snapshot();
        assert_eq!((found.texts, found.tokens, found.truncated), (12_000, 28_000, 4000));
        assert_eq!((found.pass_texts.count, found.pass_texts.mean, found.pass_tokens.p99), (4000, 2.0, 5));
        assert_eq!((found.waits.p50, found.totals.p50, found.errors["ValueError"]), (8, 9, 4000));
        stats.reset();
        assert_eq!(stats.snapshot().totals, Summary::default());
    }
}
