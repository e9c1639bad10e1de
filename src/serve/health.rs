//! Whether the server lives, and whether it is ready, for what starts, stops and watches it.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use crate::serve::app::{App, Phase};
use crate::serve::reply::{json, typed};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/health", get(ready))
        .route("/ready", get(ready))
        .route("/ping", get(ready))
        .route("/health/live", get(live))
        .route("/live", get(live))
        // Ollama's clients look for these words, and those of text-embeddings-inference for the status.
        .route("/", get(|| async { typed(StatusCode::OK, "text/plain", "Ollama is running") }))
}

/// All models that are there from the start are loaded, and the server takes requests.
async fn ready(State(app): State<App>) -> Response {
    let reason = match app.phase() {
        Phase::Draining => Some("the server is ending".to_owned()),
        Phase::Serving => app.registry.not_ready(),
    };
    match reason {
        None => json(StatusCode::OK, br#"{"status":"ok"}"#.to_vec()),
        Some(reason) => {
            let body = serde_json::json!({"status": "unavailable", "error": reason, "error_type": "Unhealthy"});
            json(StatusCode::SERVICE_UNAVAILABLE, body.to_string().into_bytes())
        }
    }
}

/// The process answers, also while it loads and ends: nothing has to start it anew.
async fn live() -> Response {
    json(StatusCode::OK, br#"{"status":"ok"}"#.to_vec())
}
