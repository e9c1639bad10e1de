//! What all requests share: the models, the limits, and where the server is in its life.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderValue};
use tokio::sync::{Semaphore, watch};

use crate::serve::body::PERMIT_BYTES;
use crate::serve::counts::ServerCounts;
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::guard::Guard;
use crate::serve::record::Records;
use crate::serve::registry::Registry;
use crate::serve::timestamp::seconds_now;
use crate::serve::watcher::Watcher;

/// The header with a request's id.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// The longest id of a request that is taken over.
const MAX_ID_BYTES: usize = 64;

/// What a server takes.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Bytes of one body.
    pub max_body_bytes: usize,
    /// Bytes of the bodies of all requests at a time.
    pub body_bytes_in_flight: usize,
    /// Texts of one request.
    pub max_inputs: usize,
    /// Whether token ids in place of texts are those of the model, where an interface has ids of another one.
    pub accepts_token_ids: bool,
    pub max_connections: usize,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// Bytes of the weights of all models; None for no limit.
    pub max_model_bytes: Option<usize>,
}

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

impl ServerState {
    pub(super) fn new(
        registry: Registry,
        limits: ServerLimits,
        guard: Guard,
        records: Arc<Records>,
        watch: Watcher,
    ) -> Self {
        let start = Instant::now();
        let seconds = UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.subsec_nanos() ^ elapsed.as_secs() as u32);
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

    /// When the server started, in seconds since 1970.
    pub(super) fn started(&self) -> u64 {
        seconds_now().saturating_sub(self.start.elapsed().as_secs())
    }

    pub(super) fn counts(&self) -> &ServerCounts {
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

    /// Returns when requests are given up.
    pub(super) async fn until_given_up(&self) {
        // The sender is this server's: it is there as long as the server is.
        let _ = self.given_up.subscribe().wait_for(|&given_up| given_up).await;
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
    pub(super) fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let is_plain = |id: &&HeaderValue| {
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
            (1..=MAX_ID_BYTES).contains(&id.len()) && id.as_bytes().iter().all(plain)
        };
        headers.get(REQUEST_ID).filter(is_plain).cloned().unwrap_or_else(|| {
            let id = format!("{:08x}-{:x}", self.id_prefix, self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
            HeaderValue::try_from(id).expect("hexadecimal digits")
        })
    }
}
