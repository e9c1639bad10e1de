//! What is counted of requests: atomics in tables of a fixed size, since routes, models and reasons are known at the start.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;

use crate::serve::fault::{Bottleneck, FaultKind};
use crate::serve::outcome::Outcome;

/// Bounds of the histograms of seconds.
pub(super) const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The paths of all routes, as they are written there, and whether a model answers them. A test compares it with the sources.
const ROUTES: &[(&str, bool)] = &[
    ("/", true),
    ("/admin/reload", false),
    ("/alerts", false),
    ("/api-doc/openapi.json", false),
    ("/api/embed", true),
    ("/api/embeddings", true),
    ("/api/ps", false),
    ("/api/show", true),
    ("/api/tags", false),
    ("/api/version", false),
    ("/decode", true),
    ("/docs", false),
    ("/embed", true),
    ("/embed_all", true),
    ("/embed_sparse", true),
    ("/embeddings", true),
    ("/health", false),
    ("/health/live", false),
    ("/info", false),
    ("/invocations", true),
    ("/live", false),
    ("/metrics", false),
    ("/models", false),
    ("/openapi.json", false),
    ("/ping", false),
    ("/predict", true),
    ("/ready", false),
    ("/rerank", true),
    ("/score", true),
    ("/similarity", true),
    ("/stats", false),
    ("/tokenize", true),
    ("/v1/embed", true),
    ("/v1/embeddings", true),
    ("/v1/models", false),
    ("/v1/models/{*name}", false),
    ("/v1/score", true),
    ("/v2/embed", true),
    ("/v2/rerank", true),
    ("/vertex", true),
];

/// What paths are called that no route has.
const OTHER_ROUTE: &str = "other";

/// The status of an answer that nobody was there to take.
pub(super) const CLIENT_GONE: u16 = 499;

/// Classes of statuses, from 2 on.
pub(super) const STATUS_CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Buckets of a [`FineHistogram`] for each doubling, from [`FINEST`] on.
const BUCKETS_PER_DOUBLING: f64 = 16.0;
const FINEST: Duration = Duration::from_micros(50);
/// Up to some hours.
const FINE_BUCKETS: usize = 28 * 16;

/// Why a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// The client left.
    Client,
    /// It took too long.
    Deadline,
    /// The server ended.
    Drain,
}

/// What a server counts.
pub(super) struct ServerCounts {
    places: HashMap<&'static str, usize>,
    routes: Vec<RouteCounts>,
    models: BTreeMap<String, ModelCounts>,
    errors: [AtomicU64; FaultKind::ALL.len()],
    cancelled: [AtomicU64; 3],
    rejected: [AtomicU64; 2],
    /// Connections that were refused.
    pub(super) refused_connections: AtomicU64,
    /// Connections that are open.
    pub(super) connections: AtomicUsize,
    /// Requests that are not answered yet.
    pub(super) in_flight: AtomicUsize,
    /// Of requests that a model answers: all, and those that failed or were rejected for the server's reasons.
    pub(super) answered: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) times: FineHistogram,
    pub(super) waits: FineHistogram,
}

/// Of one route.
pub(super) struct RouteCounts {
    pub(super) path: &'static str,
    /// By class.
    pub(super) statuses: [AtomicU64; STATUS_CLASSES.len()],
    /// Of a route that a model answers.
    pub(super) seconds: Option<SecondsHistogram>,
}

/// Of one model: of the requests that it answered.
#[derive(Default)]
pub(super) struct ModelCounts {
    pub(super) inputs: AtomicU64,
    pub(super) tokens: AtomicU64,
    pub(super) truncated: AtomicU64,
    pub(super) queue: SecondsHistogram,
    pub(super) tokenize: SecondsHistogram,
    pub(super) compute: SecondsHistogram,
}

/// Times, by the bounds of [`SECONDS`].
#[derive(Default)]
pub(super) struct SecondsHistogram {
    buckets: [AtomicU64; SECONDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// Times in buckets that are narrow enough for percentiles: these are at most 5 % too large.
pub(super) struct FineHistogram(Box<[AtomicU64]>);

impl ServerCounts {
    /// Of a server with models of these names.
    pub(super) fn new(models: impl Iterator<Item = String>) -> Self {
        let routes = ROUTES.iter().chain(&[(OTHER_ROUTE, false)]).map(|&(path, computes)| RouteCounts {
            path,
            statuses: Default::default(),
            seconds: computes.then(SecondsHistogram::default),
        });
        Self {
            places: ROUTES.iter().enumerate().map(|(place, (path, _))| (*path, place)).collect(),
            routes: routes.collect(),
            models: models.map(|name| (name, ModelCounts::default())).collect(),
            errors: Default::default(),
            cancelled: Default::default(),
            rejected: Default::default(),
            refused_connections: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            times: FineHistogram::default(),
            waits: FineHistogram::default(),
        }
    }

    /// The route of a path as it is written there.
    pub(super) fn route(&self, path: Option<&str>) -> &RouteCounts {
        let place = path.and_then(|path| self.places.get(path)).copied();
        &self.routes[place.unwrap_or(ROUTES.len())]
    }

    pub(super) fn routes(&self) -> &[RouteCounts] {
        &self.routes
    }

    pub(super) fn models(&self) -> impl Iterator<Item = (&str, &ModelCounts)> {
        self.models.iter().map(|(name, counts)| (name.as_str(), counts))
    }

    /// A request of `route` ended with `status` after a time.
    pub(super) fn add_request(&self, route: &RouteCounts, status: u16, time: Duration) {
        let class = usize::from(status / 100).clamp(2, STATUS_CLASSES.len() + 1) - 2;
        add(&route.statuses[class], 1);
        if let Some(seconds) = &route.seconds {
            seconds.add(time);
            self.times.add(time);
            add(&self.answered, 1);
            if status >= 500 || status == StatusCode::TOO_MANY_REQUESTS.as_u16() {
                add(&self.failed, 1);
            }
        }
    }

    /// A model has answered a request.
    pub(super) fn add_outcome(&self, outcome: &Outcome) {
        let Some(model) = self.models.get(&outcome.model) else { return };
        add(&model.inputs, outcome.inputs as u64);
        add(&model.tokens, outcome.tokens as u64);
        add(&model.truncated, outcome.truncated as u64);
        model.queue.add(outcome.waited);
        model.tokenize.add(outcome.tokenizing);
        model.compute.add(outcome.computing);
        self.waits.add(outcome.waited);
    }

    /// A request was answered with a fault.
    pub(super) fn add_fault(&self, kind: FaultKind, bottleneck: Option<Bottleneck>) {
        add(&self.errors[kind as usize], 1);
        if let Some(bottleneck) = bottleneck {
            add(&self.rejected[bottleneck as usize], 1);
        }
        if kind == FaultKind::Late {
            self.add_cancelled(Cancelled::Deadline);
        }
    }

    pub(super) fn add_cancelled(&self, reason: Cancelled) {
        add(&self.cancelled[reason as usize], 1);
    }

    pub(super) fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        FaultKind::ALL.iter().map(|&kind| (kind.name(), now(&self.errors[kind as usize])))
    }

    pub(super) fn cancelled(&self) -> [(&'static str, u64); 3] {
        let count = |reason: Cancelled| now(&self.cancelled[reason as usize]);
        [
            ("client", count(Cancelled::Client)),
            ("deadline", count(Cancelled::Deadline)),
            ("drain", count(Cancelled::Drain)),
        ]
    }

    pub(super) fn rejected(&self) -> [(&'static str, u64); 3] {
        let count = |bottleneck: Bottleneck| now(&self.rejected[bottleneck as usize]);
        [
            ("queue", count(Bottleneck::Queue)),
            ("bytes", count(Bottleneck::Bytes)),
            ("connections", now(&self.refused_connections)),
        ]
    }
}

impl SecondsHistogram {
    fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        add(&self.buckets[SECONDS.partition_point(|&bound| bound < seconds)], 1);
        add(&self.nanoseconds, nanoseconds(time));
    }

    /// How many times are at most each bound, and in all; and the sum of all in seconds.
    pub(super) fn cumulative(&self) -> ([u64; SECONDS.len() + 1], f64) {
        let mut total = 0;
        let counts = self.buckets.each_ref().map(|bucket| {
            total += now(bucket);
            total
        });
        (counts, now(&self.nanoseconds) as f64 * 1e-9)
    }
}

impl Default for FineHistogram {
    fn default() -> Self {
        Self((0..FINE_BUCKETS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl FineHistogram {
    fn add(&self, time: Duration) {
        let doublings = (time.as_secs_f64() / FINEST.as_secs_f64()).max(1.0).log2();
        let bucket = (doublings * BUCKETS_PER_DOUBLING).ceil() as usize;
        add(&self.0[bucket.min(FINE_BUCKETS - 1)], 1);
    }

    /// The counts of all buckets.
    pub(super) fn load(&self) -> Vec<u64> {
        self.0.iter().map(now).collect()
    }

    /// The time that a share of what was counted between two states is at most; zero where nothing was.
    pub(super) fn quantile(before: &[u64], after: &[u64], share: f64) -> Duration {
        let counts: Vec<u64> = after.iter().zip(before).map(|(after, before)| after.saturating_sub(*before)).collect();
        let rank = (counts.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let place = counts.iter().position(|count| {
            seen += count;
            rank > 0 && seen >= rank
        });
        match place {
            None | Some(0) => place.map_or(Duration::ZERO, |_| FINEST),
            Some(place) => FINEST.mul_f64((place as f64 / BUCKETS_PER_DOUBLING).exp2()),
        }
    }
}

pub(super) fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

pub(super) fn now(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths of the routes of a folder's sources, and whether a body comes with them.
    fn routes_of(folder: &std::path::Path, found: &mut BTreeMap<String, bool>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                routes_of(&path, found);
                continue;
            }
            if path.extension().is_none_or(|kind| kind != "rs") {
                continue;
            }
            let source = std::fs::read_to_string(&path).expect("a source");
            for rest in source.split(concat!(".", "route(")).skip(1) {
                // Elsewhere it is a method of something else.
                let Some(rest) = rest.trim_start().strip_prefix('"') else { continue };
                let (path, rest) = rest.split_once('"').expect("the end of a path");
                let is_post = rest.trim_start_matches([',', ' ', '\n']).starts_with("post(");
                *found.entry(path.to_owned()).or_default() |= is_post && !path.starts_with("/admin/");
            }
        }
    }

    #[test]
    fn every_route_is_counted() {
        let mut found = BTreeMap::new();
        routes_of(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve"), &mut found);
        let found: Vec<_> = found.iter().map(|(path, computes)| (path.as_str(), *computes)).collect();
        assert_eq!(ROUTES, found, "ROUTES lists the routes of the sources in alphabetical order");
    }

    #[test]
    fn times_fall_between_their_bounds() {
        let histogram = SecondsHistogram::default();
        [0.0, 0.001, 0.0011, 0.5, 30.0, 31.0]
            .into_iter()
            .for_each(|seconds| histogram.add(Duration::from_secs_f64(seconds)));
        let (counts, sum) = histogram.cumulative();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 5, 6]);
        assert!((sum - 61.5021).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn percentiles_are_at_most_5_percent_too_large() {
        let histogram = FineHistogram::default();
        let empty = histogram.load();
        assert_eq!(FineHistogram::quantile(&empty, &empty, 0.95), Duration::ZERO);
        (1..=1000).for_each(|n| histogram.add(Duration::from_millis(n)));
        let all = histogram.load();
        for (share, exact) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = FineHistogram::quantile(&empty, &all, share).as_secs_f64() * 1e3;
            assert!((exact..exact * 1.05).contains(&found), "{found} for {exact}");
        }
        assert_eq!(FineHistogram::quantile(&all, &all, 0.5), Duration::ZERO);
        histogram.add(Duration::ZERO);
        histogram.add(Duration::MAX);
        assert_eq!(FineHistogram::quantile(&all, &histogram.load(), 0.5), FINEST);
    }
}
