//! `GET /stats`: how the server does, and what the models did, as `Embedder.stats()` tells it, in JSON.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Map, Value, json};

use crate::device::scratch_bytes;
use crate::engine::Summary;
use crate::serve::agreement::Agreement;
use crate::serve::counts::now;
use crate::serve::process::{MemoryUse, Process};
use crate::serve::recent::LastMinute;
use crate::serve::registry::Slot;
use crate::serve::reply::json_of;
use crate::serve::served_model::{Role, ServedModel};
use crate::serve::state::{App, Phase};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/stats", get(stats)).route("/alerts", get(alerts))
}

async fn stats(State(app): State<App>) -> Response {
    let counts = app.counts();
    let (memory, process) = (MemoryUse::now(), Process::now());
    let slots = app.registry.slots();
    let minute = app.watch.last_minute();
    let raised = app.watch.alerts().to_json();
    let raised: Vec<_> = raised.as_array().into_iter().flatten().filter(|alert| alert["raised"] == true).collect();
    json_of(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": app.start.elapsed().as_secs_f64(),
        "ready": app.phase() == Phase::Serving && app.registry.not_ready().is_none(),
        "in_flight": counts.in_flight.load(Ordering::Relaxed),
        "connections": counts.connections.load(Ordering::Relaxed),
        "last_minute": of_minute(&minute),
        "totals": {
            "requests": now(&counts.answered),
            "failed": now(&counts.failed),
            "inputs": counts.models().map(|(_, model)| now(&model.inputs)).sum::<u64>(),
            "tokens": counts.models().map(|(_, model)| now(&model.tokens)).sum::<u64>(),
        },
        "alerts": raised,
        "errors": not_zero(counts.errors()),
        "cancelled": not_zero(counts.cancelled()),
        "rejected": not_zero(counts.rejected()),
        "memory": {
            "process_bytes": process.resident_bytes,
            "used_bytes": memory.map(|memory| memory.used),
            "limit_bytes": memory.map(|memory| memory.limit),
            "weights_bytes": slots.iter().filter_map(|slot| slot.loaded()).map(|model| model.routes.weight_bytes()).sum::<usize>(),
            "scratch_bytes": scratch_bytes(),
        },
        "models": slots.iter().map(|slot| of_slot(&app, slot)).collect::<Vec<_>>(),
    }))
}

/// Where all alerts stand.
async fn alerts(State(app): State<App>) -> Response {
    json_of(&json!({"alerts": app.watch.alerts().to_json()}))
}

fn of_minute(minute: &LastMinute) -> Value {
    json!({
        "seconds": minute.seconds,
        "requests": minute.requests,
        "failed": minute.failed,
        "inputs": minute.inputs,
        "tokens": minute.tokens,
        "request_ms": percentiles(minute.times),
        "queue_ms": percentiles(minute.waits),
    })
}

fn percentiles(times: [Duration; 3]) -> Value {
    let [p50, p95, p99] = times.map(|time| (time.as_secs_f64() * 1e6).round() / 1e3);
    json!({"p50": p50, "p95": p95, "p99": p99})
}

fn not_zero(counts: impl IntoIterator<Item = (&'static str, u64)>) -> Value {
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    Value::Object(counts.map(|(reason, count)| (reason.to_owned(), count.into())).collect())
}

fn of_slot(app: &App, slot: &Slot) -> Value {
    let model = slot.loaded();
    let mut found = Map::new();
    found.insert("name".to_owned(), slot.name.as_str().into());
    found.insert("loaded".to_owned(), model.is_some().into());
    found.insert("failure".to_owned(), slot.failure().into());
    let agreement = app.watch.agreements().get(&slot.name).map(|agreement| match agreement {
        Ok(Agreement { cosine_min, cosine_mean, max_difference }) => {
            json!({"cosine_min": cosine_min, "cosine_mean": cosine_mean, "max_difference": max_difference})
        }
        Err(failure) => json!({"error": failure}),
    });
    found.insert("consistency".to_owned(), agreement.into());
    if let Some(Value::Object(numbers)) = model.map(|model| of_model(&model)) {
        found.extend(numbers);
    }
    Value::Object(found)
}

/// By the names of the attributes of `votive.stats.Stats`.
fn of_model(model: &ServedModel) -> Value {
    let found = model.stats.snapshot();
    let queue = model.routes.depth();
    let (recent_seconds, recent_texts, recent_tokens) = found.recent;
    let per_second = |count: u64| count as f64 / recent_seconds.max(1e-9);
    json!({
        "kind": match model.role {
            Role::Embedder { .. } => "embedder",
            Role::Reranker { .. } => "reranker",
        },
        "weights_bytes": model.routes.weight_bytes(),
        "seconds": found.seconds,
        "calls": found.totals.count,
        "texts": found.texts,
        "tokens": found.tokens,
        "texts_per_second": per_second(recent_texts),
        "tokens_per_second": per_second(recent_tokens),
        "queue": {
            "calls": queue.calls,
            "inputs": queue.inputs,
            "tokens": queue.cost,
            "busy": queue.busy,
            "slots": queue.slots,
        },
        "truncated": found.truncated,
        "halved": found.halved,
        "queue_wait": spread(&found.waits, 1e-9),
        "latency": spread(&found.totals, 1e-9),
        "pass_texts": spread(&found.pass_texts, 1.0),
        "pass_tokens": spread(&found.pass_tokens, 1.0),
        "errors": found.errors,
    })
}

fn spread(summary: &Summary, unit: f64) -> Value {
    let &Summary { count, mean, p50, p95, p99 } = summary;
    let scaled = |number: u64| number as f64 * unit;
    json!({"count": count, "mean": mean * unit, "p50": scaled(p50), "p95": scaled(p95), "p99": scaled(p99)})
}
