//! The routes, and what every request goes through: who may ask, how long it takes, and what is told beside the answer.

use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, ORIGIN, VARY,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tokio::time::timeout;

use crate::serve::counts::Cancelled;
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::outcome::Outcome;
use crate::serve::record::RequestRecord;
use crate::serve::state::{App, Phase, REQUEST_ID};
use crate::serve::{dialect, health, metrics, openapi, stats};

static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
static TRUNCATED: HeaderName = HeaderName::from_static("x-votive-truncated");

/// All routes, with what every request goes through.
pub(super) fn router(app: App) -> Router {
    let unknown = |request: Request| async move {
        let path = request.uri().path();
        let message = format!("no such path: {} {path}", request.method());
        dialect::of_path(path).answer(&Fault::new(FaultKind::UnknownPath, message))
    };
    dialect::routes()
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(stats::routes())
        .merge(openapi::routes())
        .fallback(unknown)
        .layer(from_fn_with_state(app.clone(), answer))
        .with_state(app)
}

/// Answers a request, come what may.
async fn answer(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = app.request_id(request.headers());
    let record = RequestRecord::new(app.records.clone(), &request, &id);
    let origin = app.guard.allowed_origin(request.headers()).and_then(|origin| HeaderValue::try_from(origin).ok());
    let has_origin = request.headers().contains_key(ORIGIN);
    let dialect = dialect::of_path(request.uri().path());
    let mut response = match admit(&app, &request) {
        Err(fault) => dialect.answer(&fault),
        Ok(()) if request.method() == Method::OPTIONS && origin.is_some() => preflight(),
        Ok(()) => {
            tokio::select! {
                response = timeout(app.limits.request_timeout, next.run(request)) => response.unwrap_or_else(|_| {
                    let time = app.limits.request_timeout;
                    let message = format!("not done after {time:?}; send fewer texts at a time");
                    dialect.answer(&Fault::new(FaultKind::Late, message))
                }),
                () = app.until_given_up() => {
                    app.counts().add_cancelled(Cancelled::Drain);
                    dialect.answer(&Fault::ending())
                }
            }
        }
    };
    let outcome = response.extensions_mut().remove::<Outcome>();
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    if has_origin {
        headers.insert(VARY, HeaderValue::from_static("origin"));
    }
    if app.phase() == Phase::Draining {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(outcome) = &outcome {
        headers.insert(&SERVER_TIMING, timing(outcome, record.elapsed()));
        if outcome.truncated > 0 {
            headers.insert(&TRUNCATED, HeaderValue::from(outcome.truncated));
        }
    }
    record.end(&mut response, outcome);
    response
}

/// Whether a request is answered at all.
fn admit(app: &App, request: &Request) -> Result<(), Fault> {
    app.guard.check_place(request.headers(), request.uri())?;
    let path = request.extensions().get::<MatchedPath>().map_or_else(|| request.uri().path(), MatchedPath::as_str);
    let is_open = app.guard.opens(path) && matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_open && request.method() != Method::OPTIONS {
        app.guard.check_key(request.headers())?;
    }
    Ok(())
}

/// What a browser asks before it lets a page of an allowed origin ask.
fn preflight() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
    let taken = "authorization, content-type, api-key, x-api-key, x-request-id";
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(taken));
    response
}

/// Milliseconds of the parts of a request, as browsers' tools show them.
fn timing(outcome: &Outcome, total: Duration) -> HeaderValue {
    let parts =
        [("tok", outcome.tokenizing), ("queue", outcome.waited), ("compute", outcome.computing), ("total", total)];
    let parts = parts.map(|(name, time)| format!("{name};dur={:.3}", time.as_secs_f64() * 1e3));
    HeaderValue::try_from(parts.join(", ")).expect("names and numbers")
}
