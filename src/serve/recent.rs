//! The last minute of a server: what was counted since the earliest of some marks, which are set every few seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::serve::counts::{FineHistogram, ServerCounts, now};

/// Time between two marks.
pub(super) const TICK: Duration = Duration::from_secs(5);

/// Marks of a minute.
const MARKS: usize = 12;

/// Marks of the last minute.
#[derive(Default)]
pub(super) struct Recent(VecDeque<Mark>);

/// What had been counted at a time.
struct Mark {
    at: Instant,
    answered: u64,
    failed: u64,
    inputs: u64,
    tokens: u64,
    times: Vec<u64>,
    waits: Vec<u64>,
}

/// What was counted in a while, of requests that models answer.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct LastMinute {
    /// How long it was: less than a minute at first.
    pub(super) seconds: f64,
    pub(super) requests: u64,
    /// Those that failed, or were rejected, for the server's reasons.
    pub(super) failed: u64,
    pub(super) inputs: u64,
    pub(super) tokens: u64,
    /// Percentiles 50, 95 and 99 of the times of requests, and of their waits.
    pub(super) times: [Duration; 3],
    pub(super) waits: [Duration; 3],
}

impl Mark {
    fn now(counts: &ServerCounts) -> Self {
        let (inputs, tokens) = counts
            .models()
            .fold((0, 0), |(inputs, tokens), (_, model)| (inputs + now(&model.inputs), tokens + now(&model.tokens)));
        Self {
            at: Instant::now(),
            answered: now(&counts.answered),
            failed: now(&counts.failed),
            inputs,
            tokens,
            times: counts.times.load(),
            waits: counts.waits.load(),
        }
    }
}

impl Recent {
    /// Sets a mark, and forgets what is a minute old. Gives the minute until now.
    pub(super) fn mark(&mut self, counts: &ServerCounts) -> LastMinute {
        let mark = Mark::now(counts);
        let minute = self.until(&mark);
        self.0.push_back(mark);
        if self.0.len() > MARKS {
            self.0.pop_front();
        }
        minute
    }

    /// The minute until now.
    pub(super) fn now(&self, counts: &ServerCounts) -> LastMinute {
        self.until(&Mark::now(counts))
    }

    fn until(&self, end: &Mark) -> LastMinute {
        let Some(start) = self.0.front() else { return LastMinute::default() };
        let percentiles = |before: &[u64], after: &[u64]| {
            [0.5, 0.95, 0.99].map(|share| FineHistogram::quantile(before, after, share))
        };
        LastMinute {
            seconds: (end.at - start.at).as_secs_f64(),
            requests: end.answered - start.answered,
            failed: end.failed - start.failed,
            inputs: end.inputs - start.inputs,
            tokens: end.tokens - start.tokens,
            times: percentiles(&start.times, &end.times),
            waits: percentiles(&start.waits, &end.waits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_minute_is_forgotten() {
        let counts = ServerCounts::new(std::iter::once("a".to_owned()));
        let mut recent = Recent::default();
        assert_eq!(recent.now(&counts), LastMinute::default());
        recent.mark(&counts);
        let route = counts.route(Some("/v1/embeddings"));
        counts.add_request(route, 200, Duration::from_millis(10));
        counts.add_request(route, 500, Duration::from_millis(30));
        counts.add_request(counts.route(Some("/health")), 503, Duration::from_secs(9));
        let minute = recent.now(&counts);
        assert_eq!((minute.requests, minute.failed), (2, 1));
        assert!(minute.times[0] >= Duration::from_millis(10) && minute.times[0] < Duration::from_millis(11));
        assert!(minute.times[2] >= Duration::from_millis(30) && minute.times[2] < Duration::from_millis(32));
        // The first mark is a minute old when there are twelve behind it.
        (0..MARKS).for_each(|_| assert_eq!(recent.mark(&counts).requests, 2));
        assert_eq!(recent.mark(&counts).requests, 0);
        assert_eq!(recent.now(&counts).times, [Duration::ZERO; 3]);
    }
}
