//! A thread that tells event loops of completed calls: workers never wait for the interpreter's lock, and what ends while this
//! thread waits for it is told in one list.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::engine::{CallResult, SharedNetwork};
use crate::pool::{PerProcess, STACK_BYTES};
use crate::python::batch_result::{BatchResult, BatchShape, batch_result};
use crate::{Error, Result};

/// A call that ended.
pub(super) struct Completion {
    pub(super) network: Arc<SharedNetwork>,
    pub(super) shape: BatchShape,
    /// Future of asyncio.
    pub(super) future: Py<PyAny>,
    /// Takes a list of futures, what was found, and what failed.
    pub(super) deliver: Py<PyAny>,
    pub(super) result: Result<CallResult>,
}

/// The thread, and the sender of what it tells.
struct CompletionThread {
    /// None has it end.
    sender: Sender<Option<Completion>>,
    /// None once it has ended.
    thread: Mutex<Option<JoinHandle<()>>>,
}

static THREAD: PerProcess<OnceLock<CompletionThread>> = PerProcess::none();

/// Sends completions to the thread, which is started on first use in a process.
pub(super) fn sender(py: Python<'_>) -> PyResult<Sender<Option<Completion>>> {
    let kept = THREAD.get(OnceLock::new);
    let thread = match kept.get() {
        Some(thread) => thread,
        None => {
            let started = CompletionThread::start()?;
            // Before the interpreter ends: its end kills threads in the midst of Python's code, which no thread of Rust's survives.
            py.import("atexit")?.call_method1("register", (wrap_pyfunction!(close, py)?,))?;
            // Of two that start at once, the one whose sender is not kept ends.
            kept.get_or_init(|| started)
        }
    };
    match thread.thread().is_some() {
        true => Ok(thread.sender.clone()),
        false => Err(PyRuntimeError::new_err("the interpreter is ending: no task can be told of results any more")),
    }
}

/// Has the thread end, and waits for that.
#[pyfunction]
fn close(py: Python<'_>) {
    let kept = THREAD.get(OnceLock::new);
    let Some(started) = kept.get() else { return };
    // In a statement of its own: others ask for the lock with the interpreter's lock in hand.
    let thread = started.thread().take();
    if let Some(thread) = thread {
        // Both fail only where it has ended by itself.
        let _ = started.sender.send(None);
        let _ = py.detach(|| thread.join());
    }
}

impl CompletionThread {
    fn start() -> Result<Self> {
        let (sender, completions) = channel();
        let thread = std::thread::Builder::new().name("votive-completions".to_owned()).stack_size(STACK_BYTES);
        let thread = thread
            .spawn(move || run(&completions))
            .map_err(|error| Error::device(format!("cannot start a thread: {error}")))?;
        Ok(Self { sender, thread: Mutex::new(Some(thread)) })
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(completions: &Receiver<Option<Completion>>) {
    while let Ok(Some(first)) = completions.recv() {
        let mut last = false;
        let told = Python::try_attach(|py| {
            let deliver = first.deliver.clone_ref(py);
            let others = completions.try_iter().take_while(|completion| {
                last |= completion.is_none();
                !last
            });
            let ended: Vec<_> =
                std::iter::once(first).chain(others.flatten()).map(|completion| completion.told(py)).collect();
            if let Err(error) = PyList::new(py, ended).and_then(|ended| deliver.call1(py, (ended,))) {
                error.write_unraisable(py, None);
            }
        });
        // None: the interpreter is ending, and no task waits any more.
        if last || told.is_none() {
            return;
        }
    }
}

impl Completion {
    /// Future, what was found, what failed.
    fn told(self, py: Python<'_>) -> (Py<PyAny>, Option<BatchResult<'_>>, Option<PyErr>) {
        let Self { network, shape, future, result, .. } = self;
        match result.map_err(PyErr::from).and_then(|finished| batch_result(py, network.network(), finished, shape)) {
            Ok(result) => (future, Some(result), None),
            Err(error) => (future, None, Some(error)),
        }
    }
}
