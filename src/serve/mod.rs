//! One HTTP server that clients of others already speak to, in front of the queues of some models.
//!
//! Each file uses those below it:
//!
//! ```text
//! mod                 a server: start, stop
//! listen              sockets, connections, their limits, and how they end
//! app                 the routes, and what every request goes through
//! dialect/, health    who is answered how; openapi, what can be asked
//! metrics, stats      what is told of the server
//! call, call_options  a request's texts through a model
//! state               what all requests share
//! registry            the models by name
//! body, reply, arrow  JSON in, numbers out
//! guard               keys, Host, Origin
//! consistency         compares devices with the CPU
//! watcher             looks at the last minute now and then
//! alerts, recent      what it keeps, alert_command: whom it tells
//! record              what is kept of a request when it is over
//! counts, access_log  where it is kept; outcome, what it came to
//! decoding, served_model, fields, keep_alive, agreement, aside, fault, process, timestamp, tls
//! ```
//!
//! No Python is on the way of a request: one thread reads and writes, and the model's own threads compute.

mod access_log;
mod agreement;
mod alert_command;
mod alerts;
mod app;
mod arrow;
mod aside;
mod body;
mod call;
mod call_options;
mod consistency;
mod counts;
mod decoding;
mod dialect;
mod fault;
mod fields;
mod guard;
mod health;
mod keep_alive;
mod listen;
mod metrics;
mod openapi;
mod outcome;
mod process;
mod recent;
mod record;
mod registry;
mod reply;
mod served_model;
mod state;
mod stats;
mod timestamp;
mod tls;
mod watcher;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use access_log::LogTarget;
pub use alerts::Objectives;
pub use listen::Address;
pub use registry::{LoadModel, ModelEntry};
pub use served_model::{Role, ScoreActivation, ServedModel};
pub use state::ServerLimits;
pub use tls::TlsFiles;

use crate::serve::access_log::AccessLog;
use crate::serve::consistency::watch_consistency;
use crate::serve::counts::ServerCounts;
use crate::serve::guard::Guard;
use crate::serve::listen::Listener;
use crate::serve::recent::TICK;
use crate::serve::record::Records;
use crate::serve::registry::Registry;
use crate::serve::state::{App, ServerState};
use crate::serve::watcher::Watcher;
use crate::{Error, Result};

/// How long connections have to take what they are told when the server gives up.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often models are looked at that nobody asks for.
const IDLE_CHECK: Duration = Duration::from_millis(500);

/// Who may ask a server, and where.
#[derive(Debug, Clone)]
pub struct ServerAccess {
    pub address: Address,
    /// PEM files of a certificate and of its key; None for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// None for a server that asks for none.
    pub keys: Vec<String>,
    /// Names by which it may be asked beside those of this machine.
    pub allowed_hosts: Vec<String>,
    /// Web pages that may ask.
    pub cors_origins: Vec<String>,
    /// Whether `/metrics` needs no key.
    pub open_metrics: bool,
}

/// What a server tells of itself unasked.
#[derive(Debug, Clone)]
pub struct ServerReports {
    /// Where a line for each request goes.
    pub access_log: Option<LogTarget>,
    pub objectives: Objectives,
    /// How often vectors are compared with the CPU's; None for never.
    pub consistency: Option<Duration>,
    /// A program and its arguments, which is told of alerts; empty for none.
    pub on_alert: Vec<String>,
}

/// A running server.
pub struct Server {
    runtime: Option<Runtime>,
    app: App,
    address: Address,
    /// Told that it is to end.
    ending: watch::Sender<bool>,
    listening: Option<JoinHandle<()>>,
    process: u32,
}

impl Server {
    /// Listens, and begins to load models: requests get 503 until theirs is there.
    ///
    /// # Errors
    /// [`Error::Argument`] for models of one name, and [`Error::Io`] where the address or the log cannot be had.
    pub fn start(
        models: Vec<ModelEntry>,
        access: &ServerAccess,
        limits: ServerLimits,
        reports: &ServerReports,
    ) -> Result<Self> {
        let registry = Registry::new(models, limits.max_model_bytes)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(if std::thread::available_parallelism().map_or(1, usize::from) < 16 { 1 } else { 2 })
            .thread_name("votive-http")
            .enable_all()
            .build()
            .map_err(|error| Error::device(format!("cannot start the server's threads: {error}")))?;
        let _inside = runtime.enter();
        let listener = Listener::bind(&access.address, access.tls.as_ref())?;
        let address = listener.address();
        let mut guard = Guard::new(&access.keys, address.socket(), &access.allowed_hosts, &access.cors_origins);
        guard.opens_metrics = access.open_metrics;
        let log = reports.access_log.as_ref().map(AccessLog::open).transpose()?;
        let counts = ServerCounts::new(registry.slots().iter().map(|slot| slot.name.clone()));
        let records = Arc::new(Records { counts, log });
        let watch = Watcher::new(records.clone(), reports.objectives, reports.on_alert.clone())?;
        let app = Arc::new(ServerState::new(registry, limits, guard, records, watch));
        let (ending, ended) = watch::channel(false);
        let listening = runtime.spawn(listener.serve(app::router(app.clone()), app.clone(), ended));
        let (loading, consistency) = (app.clone(), reports.consistency);
        runtime.spawn(async move {
            loading.registry.preload().await;
            if let Some(every) = consistency {
                tokio::spawn(watch_consistency(loading.clone(), every));
            }
            loop {
                tokio::time::sleep(IDLE_CHECK).await;
                loading.registry.unload_idle();
            }
        });
        let watched = app.clone();
        runtime.spawn(async move {
            loop {
                watched.watch.tick();
                tokio::time::sleep(TICK).await;
            }
        });
        drop(_inside);
        Ok(Self {
            runtime: Some(runtime),
            app,
            address,
            ending,
            listening: Some(listening),
            process: std::process::id(),
        })
    }

    /// Where it listens: with the port that the system chose for port 0.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Why it is not ready: None where all models are loaded that are to be.
    pub fn not_ready(&self) -> Option<String> {
        self.app.registry.not_ready()
    }

    /// Requests that are not answered yet.
    pub fn requests_in_flight(&self) -> usize {
        self.app.counts().in_flight.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Begins to load all models again that are loaded.
    pub fn reload(&self) {
        if let Some(runtime) = self.runtime.as_ref().filter(|_| self.process == std::process::id()) {
            let app = self.app.clone();
            // What went wrong is kept, and told by the models' list.
            runtime.spawn(async move { drop(app.registry.reload().await) });
        }
    }

    /// Takes no more requests, and waits until those that came are answered, or for `patience`: the rest is cancelled. Does
    /// nothing the second time, and in a child of a fork, where the server is not.
    pub fn stop(&mut self, patience: Duration) {
        let Some(runtime) = self.runtime.take() else { return };
        if self.process != std::process::id() {
            // Its threads are in the parent.
            std::mem::forget(runtime);
            return;
        }
        self.app.drain();
        // Nobody listens where the accept loop has ended by itself.
        let _ = self.ending.send(true);
        if let Some(mut listening) = self.listening.take() {
            runtime.block_on(async {
                // Errors say that time is over.
                if tokio::time::timeout(patience, &mut listening).await.is_err() {
                    self.app.give_up();
                    let _ = tokio::time::timeout(LAST_WORDS, listening).await;
                }
            });
        }
        // What is loading goes on for itself.
        runtime.shutdown_background();
        if let Some(log) = &self.app.records.log {
            log.flush();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}
