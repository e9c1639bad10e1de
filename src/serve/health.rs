//! What starts, stops and watches the server asks: whether it lives and is ready, and that it loads its models again.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::json;
use tokio::time::timeout;

use crate::serve::call::probe;
use crate::serve::fault::FaultKind;
use crate::serve::reply;
use crate::serve::reply::{json_of, typed};
use crate::serve::state::{App, Phase};

/// A model is asked for a pass when nothing has proven for so many seconds that it computes: a GPU may be gone while the process lives.
const PROVEN_SECONDS: u64 = 10;

/// How long that pass may take.
const PROBE_TIME: Duration = Duration::from_secs(5);

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/health", get(ready))
        .route("/ready", get(ready))
        .route("/ping", get(ready))
        .route("/health/live", get(live))
        .route("/live", get(live))
        .route("/admin/reload", post(reload))
        // Ollama's clients look for these words, and those of text-embeddings-inference for the status.
        .route("/", get(|| async { typed(StatusCode::OK, "text/plain", "Ollama is running") }))
}

/// All models that are there from the start are loaded, and the server takes requests.
async fn ready(State(app): State<App>) -> Response {
    let reason = match app.phase() {
        Phase::Draining => Some("the server is ending".to_owned()),
        Phase::Serving => match app.registry.not_ready() {
            None => not_computing(&app).await,
            reason => reason,
        },
    };
    match reason {
        None => reply::json(StatusCode::OK, br#"{"status":"ok"}"#.to_vec()),
        Some(reason) => {
            let body = json!({"status": "unavailable", "error": reason, "error_type": "Unhealthy"});
            reply::json(StatusCode::SERVICE_UNAVAILABLE, body.to_string().into_bytes())
        }
    }
}

/// The name of a model that computes no more, and why. One that has just computed is not asked, so that load makes no answer late.
async fn not_computing(app: &App) -> Option<String> {
    for slot in app.registry.slots().iter().filter(|slot| slot.is_unproven(PROVEN_SECONDS)) {
        let Some(model) = slot.loaded() else { continue };
        let failure = match timeout(PROBE_TIME, probe(slot, &model)).await {
            Ok(Err(fault)) if fault.kind == FaultKind::Failed => fault.message,
            // Also where its queue is full: it is as busy as it may be.
            Ok(_) => continue,
            Err(_) => format!("a short text took longer than {PROBE_TIME:?}"),
        };
        return Some(format!("{} does not compute: {failure}", slot.name));
    }
    None
}

/// The process answers, also while it loads and ends: nothing has to start it anew.
async fn live() -> Response {
    reply::json(StatusCode::OK, br#"{"status":"ok"}"#.to_vec())
}

/// Loads all models again that are loaded. Requests go on meanwhile, with those that were.
async fn reload(State(app): State<App>) -> Response {
    let reloaded = app.registry.reload().await;
    let models: Vec<_> = reloaded.iter().map(|(name, failure)| json!({"name": name, "error": failure})).collect();
    json_of(&json!({"models": models}))
}
