//! `_core.Reranker`.

use std::collections::BTreeMap;

use ::numpy::PyArray2;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::engine::{self, Request};
use crate::python::model::{Model, Options};
use crate::python::profile::Profile;
use crate::python::rows::{self, Filled};
use crate::python::text::Lent;

/// See `_core.pyi`.
#[pyclass(frozen, extends = Model, module = "votive._core")]
pub(super) struct Reranker(engine::Reranker);

#[pymethods]
impl Reranker {
    #[new]
    #[pyo3(signature = (options, *, num_labels))]
    fn new(py: Python<'_>, options: Options, num_labels: Option<usize>) -> PyResult<PyClassInitializer<Self>> {
        let reranker = options.load(py, |folder, options| engine::Reranker::load(folder, options, num_labels))?;
        let model = Model(reranker.network().clone());
        Ok(PyClassInitializer::from(model).add_subclass(Self(reranker)))
    }

    #[getter]
    fn num_labels(&self) -> usize {
        self.0.config().labels()
    }

    #[getter]
    fn prompts(&self) -> BTreeMap<String, String> {
        self.0.config().prompts.clone()
    }

    #[getter]
    fn default_prompt_name(&self) -> Option<&str> {
        self.0.config().default_prompt_name.as_deref()
    }

    #[getter]
    fn activation_fn(&self) -> Option<&str> {
        self.0.config().activation_fn.as_deref()
    }

    /// Rows of `out`, or of a new array, are the scores of pairs of a query and a document, before any activation; `start` is the
    /// position of the first in messages.
    #[pyo3(signature = (queries, documents, *, prompt, batch_size, out, progress, start, priority, profile))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python function")]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        queries: &Bound<'py, PyList>,
        documents: &Bound<'py, PyList>,
        prompt: String,
        batch_size: Option<usize>,
        out: Option<Bound<'py, PyArray2<f32>>>,
        progress: Option<Py<PyAny>>,
        start: usize,
        priority: f32,
        profile: Option<&Profile>,
    ) -> PyResult<Filled<'py>> {
        let pairs = Lent::pairs(queries, documents, start)?;
        let profile = profile.map(|profile| profile.0.clone());
        let request = Request { prompt, batch_size, normalize: false, priority, profile };
        rows::fill(py, self.0.network(), pairs, request, self.num_labels(), out, progress.as_ref())
    }
}
