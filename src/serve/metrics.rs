//! `GET /metrics`: all numbers for Prometheus, in its text format 0.0.4, or as OpenMetrics 1.0 where a client asks for that.
//!
//! Every series is there from the start, and labels have few values: names of models, routes as they are declared, classes of
//! statuses, reasons.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;

use crate::device::scratch_bytes;
use crate::engine::{Measure, QueueDepth};
use crate::serve::counts::{ModelCounts, SECONDS, STATUS_CLASSES, SecondsHistogram, now};
use crate::serve::process::{MemoryUse, Process};
use crate::serve::reply::typed;
use crate::serve::state::App;

/// Powers of 2, less 1 from where the engine's own buckets are wider than 1: there it knows the counts exactly.
const PASS_BOUNDS: [f64; 17] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 127.0, 255.0, 511.0, 1023.0, 2047.0, 4095.0, 8191.0, 16383.0, 32767.0,
    65535.0,
];

const PLAIN_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn routes() -> Router<App> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let is_open = accepted.contains("application/openmetrics-text");
    let mut page = Page { text: String::new(), is_open };
    write_requests(&mut page, &app);
    write_models(&mut page, &app);
    write_process(&mut page, &app);
    if is_open {
        page.text.push_str("# EOF\n");
    }
    typed(StatusCode::OK, if is_open { OPEN_TYPE } else { PLAIN_TYPE }, page.text)
}

/// What is written so far.
struct Page {
    text: String,
    is_open: bool,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

fn write_requests(page: &mut Page, app: &App) {
    let counts = app.counts();
    let requests = page.counter("votive_requests", "Requests that were answered, or given up, by class of status.");
    for route in counts.routes() {
        for (class, count) in STATUS_CLASSES.iter().zip(&route.statuses) {
            page.sample(&requests, &[("route", route.path), ("status", class)], now(count));
        }
    }
    page.reasons("votive_errors", "Requests that were answered with an error, by reason.", counts.errors());
    page.reasons("votive_cancelled", "Requests that were given up, by reason.", counts.cancelled());
    page.reasons("votive_rejected", "Requests and connections that found no room, by reason.", counts.rejected());
    let seconds = page.histogram("votive_request_seconds", "Time of requests that a model answers, in all.");
    for route in counts.routes() {
        if let Some(times) = &route.seconds {
            page.times(seconds, &[("route", route.path)], times);
        }
    }
    page.number("votive_in_flight", "Requests that are not answered yet.", counts.in_flight.load(Ordering::Relaxed));
    page.number("votive_connections", "Connections that are open.", counts.connections.load(Ordering::Relaxed));
    let dropped = page.counter("votive_log_dropped_lines", "Lines of the access log that were lost.");
    page.sample(&dropped, &[], app.records.log.as_ref().map_or(0, |log| log.dropped()));
}

/// Name, help and number of a series.
type Series<From, Number> = (&'static str, &'static str, fn(&From) -> Number);

fn write_models(page: &mut Page, app: &App) {
    let totals: [Series<ModelCounts, u64>; 3] = [
        ("votive_inputs", "Texts and pairs of requests that were answered.", |model| now(&model.inputs)),
        ("votive_tokens", "Tokens of these.", |model| now(&model.tokens)),
        ("votive_truncated_inputs", "Those that were cut to what the model reads.", |model| now(&model.truncated)),
    ];
    for (name, help, number) in totals {
        let name = page.counter(name, help);
        for (model, counts) in app.counts().models() {
            page.sample(&name, &[("model", model)], number(counts));
        }
    }
    type Times = fn(&ModelCounts) -> &SecondsHistogram;
    let times: [(&str, &str, Times); 3] = [
        ("votive_queue_seconds", "Time in which nothing was done yet for a request.", |model| &model.queue),
        ("votive_tokenize_seconds", "Time in which a request's texts were tokenized.", |model| &model.tokenize),
        ("votive_compute_seconds", "Time in which the model computed a request's texts.", |model| &model.compute),
    ];
    for (name, help, histogram) in times {
        page.histogram(name, help);
        for (model, counts) in app.counts().models() {
            page.times(name, &[("model", model)], histogram(counts));
        }
    }
    let slots = app.registry.slots();
    let passes = [
        ("votive_pass_inputs", "Texts and pairs that were computed together.", Measure::PassTexts),
        ("votive_pass_tokens", "Tokens that were computed together.", Measure::PassTokens),
    ];
    for (name, help, measure) in passes {
        page.histogram(name, help);
        for slot in slots {
            let counts = slot.loaded().map(|model| model.stats.cumulative(measure, &PASS_BOUNDS)).unwrap_or_default();
            let at_most = PASS_BOUNDS.iter().enumerate().map(|(place, _)| counts.at_most.get(place).copied());
            let at_most = at_most.map(Option::unwrap_or_default).chain([counts.count]);
            page.buckets(name, &[("model", &slot.name)], &PASS_BOUNDS, at_most, counts.sum);
        }
    }
    let depths: [Series<QueueDepth, usize>; 3] = [
        ("votive_queue_inputs", "Texts and pairs of calls that are not done.", |depth| depth.inputs),
        ("votive_queue_tokens", "Tokens of passes that wait.", |depth| depth.cost),
        ("votive_threads_busy", "Passes that are computed now.", |depth| depth.busy),
    ];
    for (name, help, number) in depths {
        page.gauge(name, help);
        for slot in slots {
            let depth = slot.loaded().map(|model| model.routes.depth()).unwrap_or_default();
            page.sample(name, &[("model", &slot.name)], number(&depth));
        }
    }
    page.gauge("votive_model_loaded", "Whether a model is loaded.");
    for slot in slots {
        page.sample("votive_model_loaded", &[("model", &slot.name)], u8::from(slot.loaded().is_some()));
    }
    let name = "votive_consistency_cosine_min";
    page.gauge(
        name,
        "Smallest cosine of a model's vectors to those of the CPU in float32; NaN where they are not compared.",
    );
    let agreements = app.watch.agreements().clone();
    for slot in slots {
        let cosine =
            agreements.get(&slot.name).and_then(|found| found.as_ref().ok()).map_or(f64::NAN, |a| a.cosine_min);
        page.sample(name, &[("model", &slot.name), ("against", "cpu-float32")], cosine);
    }
    page.gauge("votive_model_bytes", "Memory of a model's weights; 0 where it is not loaded.");
    for slot in slots {
        let bytes = slot.loaded().map_or(0, |model| model.routes.weight_bytes());
        page.sample("votive_model_bytes", &[("model", &slot.name)], bytes);
    }
}

fn write_process(page: &mut Page, app: &App) {
    page.number("votive_scratch_bytes", "Memory that the CPU's kernels keep between calls.", scratch_bytes());
    page.number("votive_uptime_seconds", "Time since the server started.", app.start.elapsed().as_secs_f64());
    page.gauge("votive_alert", "Whether an alert is raised.");
    for (rule, severity, is_raised) in app.watch.alerts().raised() {
        page.sample("votive_alert", &[("rule", rule), ("severity", severity)], u8::from(is_raised));
    }
    if let Some(memory) = MemoryUse::now() {
        let help = "Memory that is used of the container, where it has a limit, else of the machine.";
        page.number("votive_memory_used_bytes", help, memory.used);
        page.number("votive_memory_limit_bytes", "Memory that the container, or the machine, has.", memory.limit);
    }
    page.gauge("votive_build_info", "The version of votive.");
    page.sample("votive_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let process = Process::now();
    if let Some(seconds) = process.cpu_seconds {
        let name = page.counter("process_cpu_seconds", "Time of all CPUs that the process took.");
        page.sample(&name, &[], seconds);
    }
    let gauges = [
        ("process_resident_memory_bytes", "Memory that the process has now.", process.resident_bytes),
        ("process_virtual_memory_bytes", "Addresses that the process has taken.", process.virtual_bytes),
        ("process_threads", "Threads of the process.", process.threads),
        ("process_open_fds", "Files and sockets that are open.", process.open_files),
        ("process_max_fds", "Files and sockets that may be.", process.max_files),
    ];
    for (name, help, number) in gauges {
        if let Some(number) = number {
            page.number(name, help, number);
        }
    }
    if let Some(start) = process.start {
        page.number("process_start_time_seconds", "When the process started, in seconds since 1970.", start);
    }
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // A vector takes all texts.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Begins a counter, and gives the name of its samples.
    fn counter(&mut self, name: &str, help: &str) -> String {
        let total = format!("{name}_total");
        // OpenMetrics knows a counter by its name without the ending.
        self.head(if self.is_open { name } else { &total }, "counter", help);
        total
    }

    fn gauge(&mut self, name: &str, help: &str) {
        self.head(name, "gauge", help);
    }

    fn histogram<'a>(&mut self, name: &'a str, help: &str) -> &'a str {
        self.head(name, "histogram", help);
        name
    }

    /// A gauge without labels.
    fn number(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauge(name, help);
        self.sample(name, &[], value);
    }

    /// A counter for each reason.
    fn reasons(&mut self, name: &str, help: &str, counts: impl IntoIterator<Item = (&'static str, u64)>) {
        let name = self.counter(name, help);
        for (reason, count) in counts {
            self.sample(&name, &[("reason", reason)], count);
        }
    }

    fn times(&mut self, name: &str, labels: Labels<'_>, times: &SecondsHistogram) {
        let (counts, sum) = times.cumulative();
        self.buckets(name, labels, &SECONDS, counts, sum);
    }

    /// A histogram of how many numbers are at most each bound, and in all.
    fn buckets(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        bounds: &[f64],
        counts: impl IntoIterator<Item = u64>,
        sum: f64,
    ) {
        let bounds = bounds.iter().map(|bound| format!("{bound:?}")).chain(["+Inf".to_owned()]);
        let bucket = format!("{name}_bucket");
        let mut all = 0;
        for (bound, count) in bounds.zip(counts) {
            let labels: Vec<_> = labels.iter().copied().chain([("le", &*bound)]).collect();
            self.sample(&bucket, &labels, count);
            all = count;
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, all);
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.text.push_str(name);
        for (i, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.text, "{}{label}=\"{value}\"", if i == 0 { '{' } else { ',' });
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page { text: String::new(), is_open: false };
        let name = page.counter("a", "b");
        page.sample(&name, &[("x", "1"), ("y", "a\"b\\c\nd")], 1.5);
        assert_eq!(page.text, "# HELP a_total b\n# TYPE a_total counter\na_total{x=\"1\",y=\"a\\\"b\\\\c\\nd\"} 1.5\n");
    }
}
