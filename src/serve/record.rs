//! What is kept of a request when it is over: its counts, and its line in the log.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use axum::body::HttpBody;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use crate::serve::access_log::{AccessLog, RequestLine};
use crate::serve::counts::{CLIENT_GONE, Cancelled, ServerCounts};
use crate::serve::fault::{Bottleneck, FaultKind};
use crate::serve::outcome::Outcome;

/// The address that a request came from: an extension of requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddress(pub(super) IpAddr);

/// What went wrong with a request: an extension of answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct FaultMark {
    pub(super) kind: FaultKind,
    pub(super) bottleneck: Option<Bottleneck>,
}

/// Where counts and lines go.
pub(super) struct Records {
    pub(super) counts: ServerCounts,
    pub(super) log: Option<AccessLog>,
}

/// A request that is being answered. Dropped before that, it is one that nobody waits for any more.
pub(super) struct RequestRecord {
    records: Arc<Records>,
    start: Instant,
    path: Option<MatchedPath>,
    line: Option<RequestLine>,
    is_over: bool,
}

impl RequestRecord {
    pub(super) fn new(records: Arc<Records>, request: &Request, id: &HeaderValue) -> Self {
        records.counts.in_flight.fetch_add(1, Ordering::Relaxed);
        let line = records.log.is_some().then(|| RequestLine {
            time: SystemTime::now(),
            id: id.clone(),
            client: request.extensions().get().map(|&ClientAddress(address)| address),
            traceparent: traceparent(request.headers()),
            ..RequestLine::default()
        });
        let path = request.extensions().get().cloned();
        Self { records, start: Instant::now(), path, line, is_over: false }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// It was answered.
    pub(super) fn end(mut self, response: &mut Response, outcome: Option<Outcome>) {
        let mark = response.extensions_mut().remove::<FaultMark>();
        if let Some(FaultMark { kind, bottleneck }) = mark {
            self.records.counts.add_fault(kind, bottleneck);
        }
        if let Some(outcome) = &outcome {
            self.records.counts.add_outcome(outcome);
        }
        let (status, bytes) = (response.status().as_u16(), response.body().size_hint().exact());
        self.finish(status, bytes, mark.map(|mark| mark.kind.name()), outcome);
    }

    fn finish(&mut self, status: u16, bytes: Option<u64>, reason: Option<&'static str>, outcome: Option<Outcome>) {
        self.is_over = true;
        let (counts, total) = (&self.records.counts, self.elapsed());
        let route = counts.route(self.path.as_ref().map(MatchedPath::as_str));
        counts.add_request(route, status, total);
        counts.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let (Some(log), Some(line)) = (&self.records.log, self.line.take()) {
            log.write(RequestLine { route: route.path, status, bytes, reason, outcome, total, ..line });
        }
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        if !self.is_over {
            self.records.counts.add_cancelled(Cancelled::Client);
            self.finish(CLIENT_GONE, None, Some("client"), None);
        }
    }
}

/// The trace that a request is a part of, by w3.org/TR/trace-context, where it is well formed.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let is_set = |part: &str| part.bytes().any(|byte| byte != b'0');
    let is_valid = matches!(parts[..], [version, trace, parent, flags] if
        [version.len(), trace.len(), parent.len(), flags.len()] == [2, 32, 16, 2]
        && version != "ff" && is_set(trace) && is_set(parent) && parts.iter().all(|part| is_hex(part)));
    is_valid.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_well_formed() {
        let found = |text: &str| {
            traceparent(&HeaderMap::from_iter([(
                "traceparent".parse().expect("a name"),
                text.parse().expect("a value"),
            )]))
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(found(good).as_deref(), Some(good));
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(found(bad), None, "{bad}");
        }
    }
}
