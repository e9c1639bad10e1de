//! The interfaces that clients already speak. Each file has the fields, answers and errors of one, and knows no other.

mod cohere;
mod ollama;
mod openai;
mod rerank;
mod tei;
mod vllm;

use std::future::Future;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use axum::routing::MethodRouter;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::serve::body;
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::record::FaultMark;
use crate::serve::state::App;

/// How one kind of clients is answered.
pub(super) struct Dialect {
    /// Its paths, and beginnings of paths that end with a slash: what goes wrong there is told in its words.
    pub(super) paths: &'static [&'static str],
    /// The answer to a request that went wrong.
    pub(super) fail: fn(&Fault) -> Response,
    /// Whether bodies are JSON though no header says so.
    pub(super) assumes_json: bool,
}

/// A request, as a handler gets it.
pub(super) struct Exchange<T> {
    pub(super) app: App,
    pub(super) headers: HeaderMap,
    pub(super) body: T,
}

impl Dialect {
    /// The answer to a request that went wrong.
    pub(super) fn answer(&self, fault: &Fault) -> Response {
        let mut response = (self.fail)(fault);
        response.extensions_mut().insert(FaultMark { kind: fault.kind, bottleneck: fault.bottleneck });
        let headers = response.headers_mut();
        if fault.kind == FaultKind::NoKey {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(time) = fault.retry_after {
            let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            headers.insert("retry-after-ms", HeaderValue::from(milliseconds));
            headers.insert(RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1000)));
        }
        response
    }
}

pub(super) fn routes() -> Router<App> {
    openai::routes()
        .merge(cohere::routes())
        .merge(rerank::routes())
        .merge(vllm::routes())
        .merge(ollama::routes())
        .merge(tei::routes())
        .route("/rerank", post(&rerank::DIALECT, rank_by_fields))
}

/// Answers `/rerank` in the words of those who send such fields: text-embeddings-inference has `texts` in place of documents.
async fn rank_by_fields(Exchange { app, headers, body }: Exchange<Map<String, Value>>) -> Result<Response, Fault> {
    let has_texts = body.contains_key("texts");
    let body = Value::Object(body);
    match has_texts {
        false => rerank::rerank_documents(Exchange { app, headers, body: body::of_value(body)? }).await,
        true => {
            let ranked = async { tei::rerank(Exchange { app, headers, body: body::of_value(body)? }).await };
            Ok(ranked.await.unwrap_or_else(|fault| tei::DIALECT.answer(&fault)))
        }
    }
}

/// All of them. What no other one has is the first one's.
const DIALECTS: &[&Dialect] =
    &[&openai::DIALECT, &cohere::DIALECT, &rerank::DIALECT, &vllm::DIALECT, &ollama::DIALECT, &tei::DIALECT];

/// The dialect in which a path is answered, also one that does not exist.
pub(super) fn of_path(path: &str) -> &'static Dialect {
    let has = |own: &&str| path == *own || own.len() > 1 && own.ends_with('/') && path.starts_with(own);
    DIALECTS.iter().copied().find(|dialect| dialect.paths.iter().any(has)).unwrap_or(DIALECTS[0])
}

/// A route that reads a body `T` and has `handler` answer it.
pub(super) fn post<T, F>(dialect: &'static Dialect, handler: fn(Exchange<T>) -> F) -> MethodRouter<App>
where
    T: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<Response, Fault>> + Send + 'static,
{
    let answer = move |State(app): State<App>, request: Request| async move {
        match exchange(app, request, dialect, handler).await {
            Ok(response) => response,
            Err(fault) => dialect.answer(&fault),
        }
    };
    axum::routing::post(answer).fallback(move |request: Request| wrong_method(dialect, "POST", request))
}

/// A route without a body.
pub(super) fn get<F>(dialect: &'static Dialect, handler: fn(App, Request) -> F) -> MethodRouter<App>
where
    F: Future<Output = Result<Response, Fault>> + Send + 'static,
{
    let answer = move |State(app): State<App>, request: Request| async move {
        handler(app, request).await.unwrap_or_else(|fault| dialect.answer(&fault))
    };
    axum::routing::get(answer).fallback(move |request: Request| wrong_method(dialect, "GET", request))
}

async fn wrong_method(dialect: &'static Dialect, right: &str, request: Request) -> Response {
    let message = format!("{} {}: this path takes {right}", request.method(), request.uri().path());
    dialect.answer(&Fault::new(FaultKind::Method, message))
}

async fn exchange<T, F>(
    app: App,
    request: Request,
    dialect: &Dialect,
    handler: fn(Exchange<T>) -> F,
) -> Result<Response, Fault>
where
    T: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<Response, Fault>> + Send + 'static,
{
    let (parts, body) = request.into_parts();
    check_type(&parts.headers, dialect)?;
    // The memory is that of the texts until these are answered.
    let (bytes, _permits) = body::read(&parts.headers, body, app.limits.max_body_bytes, &app.bodies).await?;
    let body = body::parse(bytes).await?;
    handler(Exchange { app: app.clone(), headers: parts.headers, body }).await
}

fn check_type(headers: &HeaderMap, dialect: &Dialect) -> Result<(), Fault> {
    let named = headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
    let media = named.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    match media.as_deref() {
        Some("application/json") => Ok(()),
        // What curl sends where no type is given.
        None | Some("" | "application/x-www-form-urlencoded") if dialect.assumes_json => Ok(()),
        Some(media) if media.starts_with("application/") && media.ends_with("+json") => Ok(()),
        _ => {
            let found = named.unwrap_or("none");
            let message = format!("Content-Type: expected application/json, found {found:?}");
            Err(Fault::new(FaultKind::MediaType, message))
        }
    }
}
