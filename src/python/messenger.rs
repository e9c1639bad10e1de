//! Tells event loops of calls that ended, on a thread of its own: workers never wait for the interpreter's lock, and what ends
//! while the messenger waits for it is told at once.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::engine::{Finished, Network};
use crate::pool::PerProcess;
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

static MESSENGER: PerProcess<OnceLock<Sender<Message>>> = PerProcess::none();

/// Where ends of calls are told; starts the messenger on first use in a process.
pub(super) fn outlet() -> Result<Sender<Message>> {
    let messenger = MESSENGER.get(OnceLock::new);
    if let Some(outlet) = messenger.get() {
        return Ok(outlet.clone());
    }
    let (outlet, messages) = channel();
    let thread = std::thread::Builder::new().name("votive-messenger".to_owned());
    thread
        .spawn(move || run(&messages))
        .map_err(|error| Error::Device { message: format!("cannot start a thread: {error}") })?;
    // Of two that start at once, the one whose outlet nobody keeps ends.
    Ok(messenger.get_or_init(|| outlet).clone())
}

fn run(messages: &Receiver<Message>) {
    while let Ok(first) = messages.recv() {
        // None: the interpreter is ending, and nobody waits any more.
        let told = Python::try_attach(|py| {
            let deliver = first.deliver.clone_ref(py);
            let ended: Vec<_> = std::iter::once(first).chain(messages.try_iter()).collect();
            let ended = ended.into_iter().map(|message| message.told(py));
            if let Err(error) = PyList::new(py, ended.collect::<Vec<_>>()).and_then(|ended| deliver.call1(py, (ended,)))
            {
                error.write_unraisable(py, None);
            }
        });
        if told.is_none() {
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
