//! How numbers are spread: a histogram that many threads write at once, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use histogram::{AtomicHistogram, Config};

/// A bucket of a histogram is this power of 2 narrower than its numbers are large: percentiles, which are given as the ends of
/// their buckets, are at most 1/64 too large.
const GROUPING_POWER: u8 = 6;

/// Power of 2 above the largest number of a histogram: nanoseconds of more than an hour. What takes longer counts as that.
const MAX_VALUE_POWER: u8 = 42;
const MAX_VALUE: u64 = (1 << MAX_VALUE_POWER) - 1;

/// A histogram, and the exact sum of what is in it.
pub(super) struct Distribution {
    histogram: AtomicHistogram,
    sum: AtomicU64,
}

/// How numbers are spread. Percentiles are at most 1/64 too large, and never too small.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Summary {
    pub count: u64,
    pub mean: f64,
    pub p50: u64,
    pub p95: u64,
    pub p99: u64,
}

/// How many numbers are at most as large as some bounds, all of them read at the same time.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct CumulativeCounts {
    /// For each bound.
    pub at_most: Vec<u64>,
    /// Of all numbers: never less than one of `at_most`.
    pub count: u64,
    /// Of all numbers, exact to a nanosecond; numbers that are added meanwhile may be in it and not in `count`, or the reverse.
    pub sum: f64,
}

impl Distribution {
    pub(super) fn new() -> Self {
        let config = Config::new(GROUPING_POWER, MAX_VALUE_POWER).expect("powers that are far apart");
        Self { histogram: AtomicHistogram::with_config(&config), sum: AtomicU64::new(0) }
    }

    pub(super) fn add(&self, number: u64) {
        // What is too large was made smaller before.
        let _ = self.histogram.increment(number.min(MAX_VALUE));
        self.sum.fetch_add(number, Ordering::Relaxed);
    }

    /// How many numbers are at most `bounds`; these and sum are in a `unit` of so many of the numbers.
    pub(super) fn cumulative(&self, bounds: &[f64], unit: f64) -> CumulativeCounts {
        let histogram = self.histogram.load();
        let mut count = 0;
        let upto: Vec<(u64, u64)> = histogram
            .iter()
            .map(|bucket| {
                count += bucket.count();
                // The last one has what was made smaller, too.
                let end = if bucket.end() == MAX_VALUE { u64::MAX } else { bucket.end() };
                (end, count)
            })
            .collect();
        let at_most = |bound: &f64| match upto.partition_point(|(end, _)| *end <= (bound * unit).round() as u64) {
            0 => 0,
            buckets => upto[buckets - 1].1,
        };
        let sum = self.sum.load(Ordering::Relaxed) as f64 / unit;
        CumulativeCounts { at_most: bounds.iter().map(at_most).collect(), count, sum }
    }

    pub(super) fn summary(&self) -> Summary {
        let histogram = self.histogram.load();
        let count = histogram.as_slice().iter().sum();
        let quantile = |quantile| match histogram.quantile_bucket(quantile) {
            Ok(Some(bucket)) => bucket.end(),
            _ => 0,
        };
        let mean = self.sum.load(Ordering::Relaxed) as f64 / u64::max(count, 1) as f64;
        Summary { count, mean, p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_at_most_a_64th_too_large() {
        for scale in [1, 1_000, 1_234_567_890] {
            let spread = Distribution::new();
            (1..=1000).for_each(|n| spread.add(n * scale));
            let Summary { count, mean, p50, p95, p99 } = spread.summary();
            assert_eq!((count, mean), (1000, 500.5 * scale as f64));
            for (found, exact) in [(p50, 500 * scale), (p95, 950 * scale), (p99, 990 * scale)] {
                assert!(found >= exact && found - exact <= exact / 64, "{found} for {exact}");
            }
        }
    }

    #[test]
    fn cumulative_counts_are_never_too_high_and_lack_at_most_a_64th() {
        for (unit, scale) in [(1.0, 1), (1e9, 1_000_000), (1e9, 1_234_567)] {
            let spread = Distribution::new();
            (1..=1000).for_each(|n| spread.add(n * scale));
            let bounds: Vec<f64> = (0..=1001).map(|n| (n * scale) as f64 / unit).collect();
            let CumulativeCounts { at_most, count, sum } = spread.cumulative(&bounds, unit);
            assert_eq!((count, sum), (1000, (500_500 * scale) as f64 / unit));
            for (exact, found) in (0..=1001).map(|n: u64| n.min(1000)).zip(&at_most) {
                assert!(*found <= exact && exact - found <= exact.div_ceil(64), "{found} for {exact}");
            }
            assert!(at_most.is_sorted() && at_most[1001] <= count);
            if scale == 1 {
                assert!((0..128).eq(at_most[..128].iter().copied()));
                assert_eq!([255, 256, 259, 511].map(|n| at_most[n]), [255, 255, 259, 511]);
            }
        }
        assert_eq!(Distribution::new().cumulative(&[0.0, 1.0], 1.0).at_most, [0, 0]);
        // In any order.
        let spread = Distribution::new();
        spread.add(5);
        assert_eq!(spread.cumulative(&[9.0, 1.0, f64::INFINITY], 1.0).at_most, [1, 0, 1]);
    }

    #[test]
    fn numbers_beyond_the_largest_count_as_that() {
        let spread = Distribution::new();
        spread.add(u64::MAX);
        assert_eq!((spread.summary().count, spread.summary().p50), (1, MAX_VALUE));
        let hours = MAX_VALUE as f64 / 1e9;
        assert_eq!(spread.cumulative(&[hours - 1.0, hours, 1e6, f64::INFINITY], 1e9).at_most, [0, 0, 0, 1]);
        assert_eq!(Distribution::new().summary(), Summary::default());
    }
}
