//! text-embeddings-inference's interface, of version 1.9: what its routes answer for embedding models, rerankers and classifiers.
//!
//! Source: github.com/huggingface/text-embeddings-inference, `router/src/http`, and what huggingface_hub's client and LlamaIndex send.
//! Where this server differs:
//!
//! - it has several models: `model` in a body names one, and without it the first that can do what is asked does it;
//! - token ids become text without special tokens, which the tokenizer adds anew; ids that the vocabulary lacks are refused;
//! - a batch may have as many inputs as the server takes;
//! - of equal scores the first text's comes first;
//! - `/` and `/invocations` go by the body, too, so that similarity needs no variable in the server's environment.
//!
//! ```text
//! mod ─→ embed, score, tokens, info ─→ answer
//! ```

mod answer;
mod embed;
mod info;
mod score;
mod tokens;

use axum::Router;
use axum::body::to_bytes;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::serve::body::of_value;
use crate::serve::dialect::{Exchange, get, post};
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::outcome::Outcome;
use crate::serve::reply;
use crate::serve::state::App;
pub(super) use answer::DIALECT;
pub(super) use score::rerank;

/// A body that is read when it is known what it asks for.
type JsonFields = Map<String, Value>;

#[derive(Deserialize)]
struct VertexBody {
    instances: Vec<JsonFields>,
}

/// All but `/rerank`, which others have, too.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/embed", post(&DIALECT, embed::embed))
        .route("/embed_all", post(&DIALECT, embed::embed_all))
        .route("/embed_sparse", post(&DIALECT, embed::embed_sparse))
        .route("/similarity", post(&DIALECT, embed::similarity))
        .route("/predict", post(&DIALECT, score::predict))
        .route("/tokenize", post(&DIALECT, tokens::tokenize))
        .route("/decode", post(&DIALECT, tokens::decode))
        .route("/vertex", post(&DIALECT, vertex))
        .route("/", post(&DIALECT, by_body))
        .route("/invocations", post(&DIALECT, by_body))
        .route("/info", get(&DIALECT, info::info))
}

/// Answers what the body, or else the model, is for.
async fn by_body(Exchange { app, headers, body }: Exchange<JsonFields>) -> Result<Response, Fault> {
    let name = body.get("model").and_then(Value::as_str).map(str::to_owned);
    let is_similarity = body.get("inputs").is_some_and(|inputs| inputs.get("source_sentence").is_some());
    let is_ranking = body.contains_key("texts");
    let body = Value::Object(body);
    match (is_ranking, is_similarity) {
        (true, _) => rerank(Exchange { app, headers, body: of_value(body)? }).await,
        (_, true) => embed::similarity(Exchange { app, headers, body: of_value(body)? }).await,
        (false, false) => match app.registry.model(name.as_deref()).await?.1.role.gives_vectors() {
            true => embed::embed(Exchange { app, headers, body: of_value(body)? }).await,
            false => score::predict(Exchange { app, headers, body: of_value(body)? }).await,
        },
    }
}

/// Answers each instance as `/` does, one after the other.
async fn vertex(Exchange { app, headers, body }: Exchange<VertexBody>) -> Result<Response, Fault> {
    app.check_inputs("instances", body.instances.len())?;
    let mut json = br#"{"predictions":["#.to_vec();
    let mut all = Outcome::default();
    for (i, instance) in body.instances.into_iter().enumerate() {
        let of_instance = |fault: Fault| Fault { message: format!("instances[{i}]: {}", fault.message), ..fault };
        let exchange = Exchange { app: app.clone(), headers: headers.clone(), body: instance };
        let mut response = by_body(exchange).await.map_err(of_instance)?;
        if let Some(outcome) = response.extensions_mut().remove::<Outcome>() {
            all = all.with(outcome);
        }
        let part = to_bytes(response.into_body(), usize::MAX).await;
        let part = part.map_err(|error| Fault::new(FaultKind::Failed, error.to_string()))?;
        if i > 0 {
            json.push(b',');
        }
        json.extend_from_slice(&part);
    }
    json.extend_from_slice(b"]}");
    let mut response = reply::json(StatusCode::OK, json);
    response.extensions_mut().insert(all);
    Ok(response)
}
