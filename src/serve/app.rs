//! What all requests have in common: who may ask, how long it takes, what is counted, and which dialect answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, ORIGIN, VARY,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::serve::body::PERMIT_BYTES;
use crate::serve::call::Outcome;
use crate::serve::counts::{Cancelled, Counts};
use crate::serve::dialect::{self, Dialect};
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::guard::Guard;
use crate::serve::record::{FaultMark, Records, RequestRecord};
use crate::serve::registry::Registry;
use crate::serve::watcher::Watcher;
use crate::serve::{ServerLimits, health, metrics, stats};

/// What every handler is given.
pub(super) type App = Arc<ServerState>;

/// A running server, as its requests see it.
pub(super) struct ServerState {
    pub(super) registry: Registry,
    pub(super) limits: ServerLimits,
    pub(super) guard: Guard,
    pub(super) bodies: Semaphore,
    pub(super) records: Arc<Records>,
    pub(super) watch: Watcher,
    /// One of [`Phase`].
    phase: AtomicU8,
    /// Set when those requests are given up that are not answered yet.
    given_up: watch::Sender<bool>,
    /// Last number of a request that came without an id.
    last_id: AtomicU64,
    /// What ids begin with: others than those of the process before.
    id_prefix: u32,
    pub(super) start: Instant,
}

/// Where a server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// It ends when its last request is answered.
    Draining,
}

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
static RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
static TRUNCATED: HeaderName = HeaderName::from_static("x-votive-truncated");

/// The longest id of a request that is taken over.
const MAX_ID_BYTES: usize = 64;

/// What may be asked without a key: whether the server lives, for what watches it.
const OPEN_PATHS: [&str; 6] = ["/", "/health", "/health/live", "/live", "/ready", "/ping"];

impl ServerState {
    pub(super) fn new(
        registry: Registry,
        limits: ServerLimits,
        guard: Guard,
        records: Arc<Records>,
        watch: Watcher,
    ) -> Self {
        let start = Instant::now();
        let seconds =
            std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.subsec_nanos() ^ elapsed.as_secs() as u32);
        Self {
            registry,
            guard,
            bodies: Semaphore::new((limits.body_bytes_in_flight / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS)),
            limits,
            records,
            watch,
            phase: AtomicU8::new(Phase::Serving as u8),
            given_up: watch::Sender::new(false),
            last_id: AtomicU64::new(0),
            id_prefix: seconds,
            start,
        }
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.records.counts
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            phase if phase == Phase::Serving as u8 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    pub(super) fn drain(&self) {
        self.phase.store(Phase::Draining as u8, Ordering::Release);
    }

    /// Gives up the requests that are not answered yet: their clients are told so.
    pub(super) fn give_up(&self) {
        self.given_up.send_replace(true);
    }

    /// Refuses more inputs than a request may have.
    pub(super) fn check_inputs(&self, field: &str, count: usize) -> Result<(), Fault> {
        let most = self.limits.max_inputs;
        if count <= most {
            return Ok(());
        }
        let message = format!("{field}: {count} are more than the {most} of a request; send fewer at a time");
        Err(Fault::new(FaultKind::TooLarge, message).about(field))
    }

    /// The id that a request came with, where it is plain, else a new one.
    fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let is_plain = |id: &&HeaderValue| {
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
            (1..=MAX_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(plain)
        };
        headers.get(&REQUEST_ID).filter(is_plain).cloned().unwrap_or_else(|| {
            let id = format!("{:08x}-{:x}", self.id_prefix, self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
            HeaderValue::try_from(id).expect("hexadecimal digits")
        })
    }
}

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
            let mut given_up = app.given_up.subscribe();
            tokio::select! {
                response = timeout(app.limits.request_timeout, next.run(request)) => response.unwrap_or_else(|_| {
                    let time = app.limits.request_timeout;
                    let message = format!("not done after {time:?}; send fewer texts at a time");
                    dialect.answer(&Fault::new(FaultKind::Late, message))
                }),
                _ = given_up.wait_for(|&given_up| given_up) => {
                    app.counts().add_cancelled(Cancelled::Drain);
                    dialect.answer(&Fault::ending())
                }
            }
        }
    };
    let outcome = response.extensions_mut().remove::<Outcome>();
    let headers = response.headers_mut();
    headers.insert(&REQUEST_ID, id);
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
    let is_open = OPEN_PATHS.contains(&path) && matches!(*request.method(), Method::GET | Method::HEAD);
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
            headers.insert(&RETRY_AFTER_MS, HeaderValue::from(milliseconds));
            headers.insert(axum::http::header::RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1000)));
        }
        response
    }
}
