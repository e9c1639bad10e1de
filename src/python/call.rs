//! Calls to a model: computed while the caller waits, or submitted for asyncio.

use std::sync::Arc;

use ::numpy::{PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use crate::engine::{CallHandle, CallResult, ChunkRows, OutputRows, Request, SharedNetwork};
use crate::python::batch_result::{BatchResult, BatchShape, batch_result};
use crate::python::completions::{self, Completion};
use crate::python::detached;
use crate::python::numpy::ArrayMemory;
use crate::python::profile::PyProfile;
use crate::python::text::BorrowedTexts;
use crate::python::watch::Watch;
use crate::text::Truncation;

/// What is computed of a call at a time: the attributes of a `votive._steps.BatchRequest`.
#[derive(FromPyObject)]
pub(super) struct BatchRequest<'py> {
    texts: Bound<'py, PyList>,
    /// Second texts, of pairs.
    seconds: Option<Bound<'py, PyList>>,
    start: usize,
    prompt: Bound<'py, PyString>,
    task: Option<String>,
    max_length: Option<usize>,
    batch_size: Option<usize>,
    normalize: bool,
    width: usize,
    every_token: bool,
    /// Tokens of the chunks of each text, from the first to behind the last.
    chunks: Option<Vec<Vec<(usize, usize)>>>,
    priority: f32,
    profile: Option<Py<PyProfile>>,
    out: Option<Bound<'py, PyArray2<f32>>>,
    progress: Option<Py<PyAny>>,
}

impl<'py> BatchRequest<'py> {
    /// What the texts are for, which decides the network.
    pub(super) fn task(&self) -> Option<&str> {
        self.task.as_deref()
    }

    /// Computes without the interpreter's lock, and serves signals.
    pub(super) fn compute(self, py: Python<'py>, network: &Arc<SharedNetwork>) -> PyResult<BatchResult<'py>> {
        let (inputs, request) = (self.inputs()?, self.request()?);
        let shape = self.shape();
        let watch = Watch::new(self.progress.as_ref());
        let run = |rows| {
            detached(py, || {
                let result = network.run(Box::new(inputs), request, rows, shape.every_token, &|done| watch.tell(done));
                watch.settle(result)
            })?
        };
        let Some(out) = self.out else {
            return batch_result(py, network.network(), run(shape.rows()?)?, shape);
        };
        let mut guard = out.try_readwrite().map_err(|_| {
            PyValueError::new_err("out: another call writes to this array, or reads it, now; give each its own")
        })?;
        if guard.shape() != [shape.texts, shape.width] {
            let message = format!("out: expected shape ({}, {}), found {:?}", shape.texts, shape.width, guard.shape());
            return Err(PyValueError::new_err(message));
        }
        let CallResult { report, .. } = run(OutputRows::Borrowed(Box::new(ArrayMemory::new(&out, &mut guard)?)))?;
        drop(guard);
        Ok((out, report.tokens, report.truncated, report.halved, None))
    }

    /// Computes and returns at once: `deliver` is called with `future` at the end, in one list with others that end meanwhile.
    pub(super) fn submit(
        self,
        py: Python<'py>,
        network: &Arc<SharedNetwork>,
        future: Py<PyAny>,
        deliver: Py<PyAny>,
    ) -> PyResult<PyCallHandle> {
        let (inputs, request) = (self.inputs()?, self.request()?);
        let shape = self.shape();
        let sender = completions::sender(py)?;
        let network = network.clone();
        let handle = detached(py, move || {
            let listener = network.clone();
            let on_end = Box::new(move |result| {
                let completion = Completion { network: listener, shape, future, deliver, result };
                // Fails where the interpreter is ending, and no task waits any more.
                let _ = sender.send(Some(completion));
            });
            network.submit(Box::new(inputs), request, shape.rows()?, shape.every_token, on_end)
        })??;
        Ok(PyCallHandle(handle))
    }

    fn shape(&self) -> BatchShape {
        BatchShape {
            texts: self.texts.len(),
            width: self.width,
            every_token: self.every_token,
            chunks: self.chunks.as_ref().map(|chunks| chunks.iter().map(Vec::len).sum()),
        }
    }

    fn inputs(&self) -> PyResult<BorrowedTexts> {
        match &self.seconds {
            None => BorrowedTexts::texts(&self.texts, self.start),
            Some(seconds) => BorrowedTexts::pairs(&self.texts, seconds, self.start),
        }
    }

    fn request(&self) -> PyResult<Request> {
        let &Self { max_length, batch_size, normalize, priority, .. } = self;
        let profile = self.profile.as_ref().map(|profile| profile.get().0.clone());
        let ranges = |text: &Vec<(usize, usize)>| text.iter().map(|&(start, end)| start..end).collect();
        let chunks = self.chunks.as_ref().map(|texts| ChunkRows::new(texts.iter().map(ranges).collect()));
        let (prompt, truncation) = (self.prompt.extract()?, Truncation::OfModel);
        Ok(Request { prompt, max_length, truncation, batch_size, normalize, priority, profile, chunks })
    }
}

/// A request that was submitted.
#[pyclass(frozen, name = "CallHandle", module = "votive._core")]
pub(super) struct PyCallHandle(CallHandle);

#[pymethods]
impl PyCallHandle {
    /// Texts that are not computed yet will not be.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.cancel())
    }
}
