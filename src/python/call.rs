//! Calls to a model: computed while the caller waits, or submitted for asyncio.

use std::sync::Arc;

use ::numpy::{PyArray1, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use crate::engine::{CallHandle, CallResult, OutputRows, Request, SharedNetwork};
use crate::memory::{with_room, zeroed};
use crate::python::completions::{self, Completion};
use crate::python::detached;
use crate::python::numpy::{self, ArrayMemory};
use crate::python::profile::PyProfile;
use crate::python::text::BorrowedTexts;
use crate::python::watch::Watch;

/// What is computed of a call at a time: the attributes of a `votive._steps.Step`.
#[derive(FromPyObject)]
pub(super) struct Step<'py> {
    texts: Bound<'py, PyList>,
    /// Second texts, of pairs.
    seconds: Option<Bound<'py, PyList>>,
    start: usize,
    prompt: Bound<'py, PyString>,
    batch_size: Option<usize>,
    normalize: bool,
    width: usize,
    every_token: bool,
    priority: f32,
    profile: Option<Py<PyProfile>>,
    out: Option<Bound<'py, PyArray2<f32>>>,
    progress: Option<Py<PyAny>>,
}

/// What the ids of tokens are called where there is no memory for them.
const IDS: &str = "ids of tokens";

/// Shape of what a step gives.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    texts: usize,
    /// Width of a row.
    width: usize,
    every_token: bool,
}

/// Hidden states `[all tokens, hidden]`, ids and type ids `[all tokens]`, lengths `[texts]`.
type TokenStates<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Vec<usize>);

/// Rows `[texts, width]`, tokens, rows of texts that were cut, halvings, and the tokens' states where they are wanted.
pub(super) type ComputedStep<'py> = (Bound<'py, PyArray2<f32>>, usize, Vec<usize>, usize, Option<TokenStates<'py>>);

impl<'py> Step<'py> {
    /// Computes without the interpreter's lock, and serves signals.
    pub(super) fn compute(self, py: Python<'py>, network: &Arc<SharedNetwork>) -> PyResult<ComputedStep<'py>> {
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
            return computed(py, network, run(shape.rows()?)?, shape);
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

    fn shape(&self) -> Shape {
        Shape { texts: self.texts.len(), width: self.width, every_token: self.every_token }
    }

    fn inputs(&self) -> PyResult<BorrowedTexts> {
        match &self.seconds {
            None => BorrowedTexts::texts(&self.texts, self.start),
            Some(seconds) => BorrowedTexts::pairs(&self.texts, seconds, self.start),
        }
    }

    fn request(&self) -> PyResult<Request> {
        let &Self { batch_size, normalize, priority, .. } = self;
        let profile = self.profile.as_ref().map(|profile| profile.get().0.clone());
        Ok(Request { prompt: self.prompt.extract()?, batch_size, normalize, priority, profile })
    }
}

/// A step that was submitted.
#[pyclass(frozen, name = "CallHandle", module = "votive._core")]
pub(super) struct PyCallHandle(CallHandle);

#[pymethods]
impl PyCallHandle {
    /// Texts that are not computed yet will not be.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.cancel())
    }
}

impl Shape {
    fn rows(&self) -> crate::Result<OutputRows> {
        Ok(OutputRows::Owned(zeroed(self.texts.saturating_mul(self.width), "rows of the result")?))
    }
}

/// The end of a call, with rows of its own, of this shape, as Python's objects.
pub(super) fn computed<'py>(
    py: Python<'py>,
    network: &SharedNetwork,
    finished: CallResult,
    shape: Shape,
) -> PyResult<ComputedStep<'py>> {
    let CallResult { output, report, tokens } = finished;
    let OutputRows::Owned(rows) = output.rows else { unreachable!("new rows stay new") };
    let rows = numpy::matrix(py, rows, shape.texts, shape.width)?;
    let states = || {
        let mut ids = with_room(report.tokens, IDS)?;
        ids.extend(tokens.iter().flat_map(|tokens| &tokens.ids).map(|&id| i64::from(id)));
        let type_id = |i: usize, t: usize| tokens[i].type_ids.as_ref().map_or(0, |ids| i64::from(ids[t]));
        let type_ids = (0..tokens.len()).flat_map(|i| (0..tokens[i].len()).map(move |t| (i, t)));
        let mut all_type_ids = with_room(report.tokens, IDS)?;
        all_type_ids.extend(type_ids.map(|(i, t)| type_id(i, t)));
        let lengths = tokens.iter().map(|tokens| tokens.len()).collect();
        let hidden =
            numpy::matrix(py, output.hidden.unwrap_or_default(), report.tokens, network.network().hidden_size())?;
        PyResult::Ok((hidden, numpy::vector(py, ids), numpy::vector(py, all_type_ids), lengths))
    };
    let states = shape.every_token.then(states).transpose()?;
    Ok((rows, report.tokens, report.truncated, report.halved, states))
}
