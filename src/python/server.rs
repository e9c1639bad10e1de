//! `_core.Server`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::Error;
use crate::python::model::PyModel;
use crate::python::stats::PyStats;
use crate::python::{detached, forks::Returned};
use crate::serve::{
    Address, LoadModel, LogTarget, ModelEntry, Objectives, Role, ScoreActivation, ServedModel, Server, ServerAccess,
    ServerLimits, ServerReports, TlsFiles,
};

/// See `_core.pyi`.
#[pyclass(frozen, name = "Server", module = "votive._core")]
pub(super) struct PyServer(Mutex<Server>);

/// A model that is to be served: items of a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct ServedEntry {
    name: String,
    aliases: Vec<String>,
    /// Gives a [`LoadedFields`].
    load: Py<PyAny>,
    /// Gives one of the CPU in float32.
    load_reference: Option<Py<PyAny>>,
    preload: bool,
    /// In seconds.
    keep_alive: Option<f64>,
}

/// A model that was loaded, with what Python knows of it: items of a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct LoadedFields {
    core: Py<PyModel>,
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
    max_length: Option<usize>,
    /// Width of a vector, after the model's own truncation.
    dimension: Option<usize>,
    /// Of a reranker.
    activation: Option<String>,
    labels: Option<usize>,
    /// Whether vectors are scaled to length 1 where a request does not say.
    normalize: bool,
    label_names: Vec<String>,
    pooling: Option<String>,
    revision: Option<String>,
    stats: Py<PyStats>,
}

/// How a server is asked: items of a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct ServerOptions {
    host: String,
    port: u16,
    uds: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    keys: Vec<String>,
    allowed_hosts: Vec<String>,
    cors_origins: Vec<String>,
    open_metrics: bool,
    max_body_bytes: usize,
    body_bytes_in_flight: usize,
    max_inputs: usize,
    accepts_token_ids: bool,
    max_connections: usize,
    /// In seconds.
    timeout: f64,
    max_model_bytes: Option<usize>,
    /// A path, or "-" for standard error.
    access_log: Option<PathBuf>,
    /// Warning and critical, of each rule in the order of the core's.
    objectives: [[f64; 2]; 5],
    /// In seconds.
    consistency_seconds: Option<f64>,
    on_alert: Vec<String>,
}

impl ServedEntry {
    fn entry(self) -> ModelEntry {
        let (load, load_reference) = (loader(self.load), self.load_reference.map(loader));
        let keep_alive = self.keep_alive.map(seconds);
        ModelEntry { name: self.name, aliases: self.aliases, load, load_reference, preload: self.preload, keep_alive }
    }
}

fn loader(load: Py<PyAny>) -> LoadModel {
    let load = Returned::new(load);
    Arc::new(move || {
        Python::try_attach(|py| served(load.call0(py)?.extract(py)?))
            .unwrap_or_else(|| Err(PyRuntimeError::new_err("the interpreter is ending")))
            .map_err(|error| Error::NotFound { message: Python::attach(|py| error.value(py).to_string()) })
    })
}

fn served(fields: LoadedFields) -> PyResult<ServedModel> {
    let role = match (fields.dimension, fields.labels, fields.activation.as_deref().and_then(ScoreActivation::named)) {
        (Some(dimension), _, _) => Role::Embedder { dimension },
        (None, Some(labels), Some(activation)) => Role::Reranker { labels, activation },
        _ => return Err(PyRuntimeError::new_err("a model gives vectors, or scores by an activation with a name")),
    };
    Ok(ServedModel {
        routes: fields.core.get().routes().clone(),
        role,
        prompts: fields.prompts,
        default_prompt_name: fields.default_prompt_name,
        max_length: fields.max_length,
        normalize: fields.normalize,
        label_names: fields.label_names,
        pooling: fields.pooling,
        revision: fields.revision,
        stats: fields.stats.get().0.clone(),
    })
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

impl ServerOptions {
    fn access(&self) -> crate::Result<ServerAccess> {
        Ok(ServerAccess {
            address: self.address()?,
            tls: match (&self.tls_cert, &self.tls_key) {
                (Some(certificate), Some(key)) => Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }),
                (None, None) => None,
                _ => return Err(Error::argument("tls_cert", "and tls_key go together: give both, or none")),
            },
            keys: self.keys.clone(),
            allowed_hosts: self.allowed_hosts.clone(),
            cors_origins: self.cors_origins.clone(),
            open_metrics: self.open_metrics,
        })
    }

    fn address(&self) -> crate::Result<Address> {
        match &self.uds {
            #[cfg(unix)]
            Some(path) => Ok(Address::Unix(path.clone())),
            #[cfg(not(unix))]
            Some(_) => Err(Error::argument("uds", "this system has no unix sockets")),
            None => {
                let resolved = std::net::ToSocketAddrs::to_socket_addrs(&(self.host.as_str(), self.port));
                let first = resolved.ok().and_then(|mut addresses| addresses.next());
                first.map(Address::Tcp).ok_or_else(|| Error::argument("host", format!("{:?} is no address", self.host)))
            }
        }
    }

    fn reports(&self) -> ServerReports {
        let target = |path: &PathBuf| match path.as_os_str() == "-" {
            true => LogTarget::StandardError,
            false => LogTarget::File(path.clone()),
        };
        ServerReports {
            access_log: self.access_log.as_ref().map(target),
            objectives: Objectives(self.objectives),
            consistency: self.consistency_seconds.map(seconds),
            on_alert: self.on_alert.clone(),
        }
    }

    fn limits(&self) -> ServerLimits {
        ServerLimits {
            max_body_bytes: self.max_body_bytes,
            body_bytes_in_flight: self.body_bytes_in_flight,
            max_inputs: self.max_inputs,
            accepts_token_ids: self.accepts_token_ids,
            max_connections: self.max_connections,
            request_timeout: seconds(self.timeout),
            max_model_bytes: self.max_model_bytes,
        }
    }
}

impl PyServer {
    fn server(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PyServer {
    #[new]
    fn new(py: Python<'_>, models: Vec<ServedEntry>, options: ServerOptions) -> PyResult<Self> {
        let models = models.into_iter().map(ServedEntry::entry).collect();
        let server = detached(py, || Server::start(models, &options.access()?, options.limits(), &options.reports()))??;
        Ok(Self(Mutex::new(server)))
    }

    /// Host and port, or the path of a socket.
    #[getter]
    fn address(&self) -> (String, Option<u16>) {
        match self.server().address() {
            Address::Tcp(address) => (address.ip().to_string(), Some(address.port())),
            #[cfg(unix)]
            Address::Unix(path) => (path.display().to_string(), None),
        }
    }

    /// See `_core.pyi`.
    #[getter]
    fn not_ready(&self) -> Option<String> {
        self.server().not_ready()
    }

    #[getter]
    fn requests_in_flight(&self) -> usize {
        self.server().requests_in_flight()
    }

    /// See `_core.pyi`.
    fn reload(&self) {
        self.server().reload();
    }

    /// See `_core.pyi`.
    fn stop(&self, py: Python<'_>, patience: f64) -> PyResult<()> {
        detached(py, || self.server().stop(seconds(patience)))
    }
}
