//! Tells event loops of calls that ended, on a thread of its own: workers never wait for the interpreter's lock, and what ends
//! while the messenger waits for it is told at once.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::engine::{Finished, Network};
use crate::pool::{PerProcess, STACK_BYTES};
use crate::python::call::{Found, Shape, found};
use crate::{Error, Result};

/// The end of a call.
pub(super) struct Message {
    pub(super) network: Arc<Network>,
    pub(super) shape: Shape,
    /// Of asyncio.
    pub(super) future: Py<PyAny>,
    /// Takes a list of futures, what was found, and what failed.
    pub(super) deliver: Py<PyAny>,
    pub(super) result: Result<Finished>,
}

/// The thread, and where it is told.
struct Messenger {
    /// None has it end.
    outlet: Sender<Option<Message>>,
    /// None once it has ended.
    thread: Mutex<Option<JoinHandle<()>>>,
}

static MESSENGER: PerProcess<OnceLock<Messenger>> = PerProcess::none();

/// Where ends of calls are told; starts the messenger on first use in a process.
pub(super) fn outlet(py: Python<'_>) -> PyResult<Sender<Option<Message>>> {
    let kept = MESSENGER.get(OnceLock::new);
    let messenger = match kept.get() {
        Some(messenger) => messenger,
        None => {
            let started = Messenger::start()?;
            // Before the interpreter ends: its end kills threads in the midst of Python's code, which no thread of Rust's survives.
            py.import("atexit")?.call_method1("register", (wrap_pyfunction!(close, py)?,))?;
            // Of two that start at once, the one whose outlet nobody keeps ends.
            kept.get_or_init(|| started)
        }
    };
    match messenger.thread().is_some() {
        true => Ok(messenger.outlet.clone()),
        false => Err(PyRuntimeError::new_err("the interpreter is ending: nobody can be told of results any more")),
    }
}

/// Has the messenger end, and waits for that.
#[pyfunction]
fn close(py: Python<'_>) {
    let kept = MESSENGER.get(OnceLock::new);
    let Some(messenger) = kept.get() else { return };
    // In a statement of its own: others ask for the lock with the interpreter's lock in hand.
    let thread = messenger.thread().take();
    if let Some(thread) = thread {
        // Both fail only where it has ended by itself.
        let _ = messenger.outlet.send(None);
        let _ = py.detach(|| thread.join());
    }
}

impl Messenger {
    fn start() -> Result<Self> {
        let (outlet, messages) = channel();
        let thread = std::thread::Builder::new().name("votive-messenger".to_owned()).stack_size(STACK_BYTES);
        let thread = thread
            .spawn(move || run(&messages))
            .map_err(|error| Error::Device { message: format!("cannot start a thread: {error}") })?;
        Ok(Self { outlet, thread: Mutex::new(Some(thread)) })
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(messages: &Receiver<Option<Message>>) {
    while let Ok(Some(first)) = messages.recv() {
        let mut last = false;
        let told = Python::try_attach(|py| {
            let deliver = first.deliver.clone_ref(py);
            let others = messages.try_iter().take_while(|message| {
                last |= message.is_none();
                !last
            });
            let ended: Vec<_> =
                std::iter::once(first).chain(others.flatten()).map(|message| message.told(py)).collect();
            if let Err(error) = PyList::new(py, ended).and_then(|ended| deliver.call1(py, (ended,))) {
                error.write_unraisable(py, None);
            }
        });
        // None: the interpreter is ending, and nobody waits any more.
        if last || told.is_none() {
            return;
        }
    }
}

impl Message {
    /// Future, what was found, what failed.
    fn told(self, py: Python<'_>) -> (Py<PyAny>, Option<Found<'_>>, Option<PyErr>) {
        let Self { network, shape, future, result, .. } = self;
        match result.map_err(PyErr::from).and_then(|finished| found(py, &network, finished, shape)) {
            Ok(found) => (future, Some(found), None),
            Err(error) => (future, None, Some(error)),
        }
    }
}
