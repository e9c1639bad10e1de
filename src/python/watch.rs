//! Asking Python, during work without its lock, whether to go on, and telling it how far the work is.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use crate::hub::DownloadWatch;
use crate::{Error, Result};

/// What a signal handler or a callback raised: it takes the place of the interruption that it caused.
#[derive(Default)]
struct Raised(Mutex<Option<PyErr>>);

impl Raised {
    /// Asks Python. Whatever was raised, now or before, ends the work.
    fn guard(&self, ask: impl FnOnce(Python<'_>) -> PyResult<()>) -> Result<()> {
        // None: the interpreter is ending, which this thread must not touch any more. No caller waits for the result, and
        // the thread sleeps for ever where it asks for the lock again.
        let answer = Python::try_attach(ask).ok_or(Error::Interrupted)?;
        let mut raised = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = answer {
            raised.get_or_insert(error);
        }
        if raised.is_some() { Err(Error::Interrupted) } else { Ok(()) }
    }

    fn settle<R>(&self, result: Result<R>) -> PyResult<R> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(raised) => Err(raised),
            None => Ok(result?),
        }
    }
}

/// Watches one call that computes.
pub(super) struct Watch<'a> {
    progress: Option<&'a Py<PyAny>>,
    raised: Raised,
}

impl<'a> Watch<'a> {
    pub(super) fn new(progress: Option<&'a Py<PyAny>>) -> Self {
        Self { progress, raised: Raised::default() }
    }

    /// Serves signals, and says that so many texts are done.
    pub(super) fn tell(&self, done: usize) -> Result<()> {
        self.raised.guard(|py| {
            py.check_signals()?;
            self.progress.map_or(Ok(()), |progress| progress.call1(py, (done,)).map(drop))
        })
    }

    /// The result of the call.
    pub(super) fn settle<R>(&self, result: Result<R>) -> PyResult<R> {
        self.raised.settle(result)
    }
}

/// Watches a download, and shows it in an object of Python's with `start`, `advance` and `finish`.
pub(super) struct DownloadBar<'a> {
    bar: &'a Py<PyAny>,
    raised: Raised,
}

impl<'a> DownloadBar<'a> {
    pub(super) fn new(bar: &'a Py<PyAny>) -> Self {
        Self { bar, raised: Raised::default() }
    }

    /// What Python answers; None where it raises, which ends the download.
    pub(super) fn ask<R>(&self, question: impl FnOnce(Python<'_>) -> PyResult<R>) -> Option<R> {
        let mut answer = None;
        self.raised.guard(|py| question(py).map(|given| answer = Some(given))).ok()?;
        answer
    }

    pub(super) fn settle<R>(&self, result: Result<R>) -> PyResult<R> {
        self.raised.settle(result)
    }
}

impl DownloadWatch for DownloadBar<'_> {
    // What these raise is kept for the next check: it may be a signal's, which is served wherever Python runs.
    fn start(&self, file: &str, bytes: u64, resumed_at: u64) {
        let _ = self.raised.guard(|py| self.bar.call_method1(py, "start", (file, bytes, resumed_at)).map(drop));
    }

    fn advance(&self, bytes: u64) {
        let _ = self.raised.guard(|py| self.bar.call_method1(py, "advance", (bytes,)).map(drop));
    }

    fn finish(&self) {
        let _ = self.raised.guard(|py| self.bar.call_method0(py, "finish").map(drop));
    }

    fn check(&self) -> Result<()> {
        self.raised.guard(|py| py.check_signals())
    }
}
