//! What starts, stops and watches the server asks: whether it lives and is ready, and that it loads its models again.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::json;

use crate::serve::reply;
use crate::serve::reply::{json_of, typed};
use crate::serve::state::{App, Phase};

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
        Phase::Serving => app.registry.not_ready(),
    };
    match reason {
        None => reply::json(StatusCode::OK, br#"{"status":"ok"}"#.to_vec()),
        Some(reason) => {
            let body = json!({"status": "unavailable", "error": reason, "error_type": "Unhealthy"});
            reply::json(StatusCode::SERVICE_UNAVAILABLE, body.to_string().into_bytes())
        }
    }
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
