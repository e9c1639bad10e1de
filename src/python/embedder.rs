//! `_core.Embedder`.

use std::collections::BTreeMap;

use ::numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::engine::{self, Finished, Request, Rows};
use crate::python::model::{Model, Options};
use crate::python::numpy;
use crate::python::profile::Profile;
use crate::python::rows::{self, Filled};
use crate::python::text::Lent;
use crate::text::Inputs;

/// See `_core.pyi`.
#[pyclass(frozen, extends = Model, module = "votive._core")]
pub(super) struct Embedder(engine::Embedder);

#[pymethods]
impl Embedder {
    #[new]
    fn new(py: Python<'_>, options: Options) -> PyResult<PyClassInitializer<Self>> {
        let embedder = options.load(py, engine::Embedder::load)?;
        let model = Model(embedder.network().clone());
        Ok(PyClassInitializer::from(model).add_subclass(Self(embedder)))
    }

    #[getter]
    fn dimension(&self) -> usize {
        self.0.dimension()
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
    fn similarity_fn_name(&self) -> &'static str {
        self.0.config().similarity.name()
    }

    #[getter]
    fn truncate_dim(&self) -> Option<usize> {
        self.0.config().truncate_dim
    }

    /// Rows of `out`, or of a new array, are the embeddings of `sentences`; `start` is the position of the first in messages.
    #[pyo3(signature = (sentences, *, prompt, batch_size, normalize, width, out, progress, start, priority, profile))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python function")]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        sentences: &Bound<'py, PyList>,
        prompt: String,
        batch_size: Option<usize>,
        normalize: bool,
        width: usize,
        out: Option<Bound<'py, PyArray2<f32>>>,
        progress: Option<Py<PyAny>>,
        start: usize,
        priority: f32,
        profile: Option<&Profile>,
    ) -> PyResult<Filled<'py>> {
        let profile = profile.map(|profile| profile.0.clone());
        let request = Request { prompt, batch_size, normalize, priority, profile };
        rows::fill(py, self.0.network(), Lent::texts(sentences, start)?, request, width, out, progress.as_ref())
    }

    /// Hidden states `[all tokens, hidden]`, ids and type ids `[all tokens]`, lengths `[texts]`, embeddings `[texts, width]`, rows of truncated texts, halvings.
    #[pyo3(signature = (sentences, *, prompt, batch_size, normalize, width, progress, priority, profile))]
    #[expect(clippy::type_complexity, clippy::too_many_arguments, reason = "a Python function")]
    fn encode_tokens<'py>(
        &self,
        py: Python<'py>,
        sentences: &Bound<'py, PyList>,
        prompt: String,
        batch_size: Option<usize>,
        normalize: bool,
        width: usize,
        progress: Option<Py<PyAny>>,
        priority: f32,
        profile: Option<&Profile>,
    ) -> PyResult<(
        Bound<'py, PyArray2<f32>>,
        Bound<'py, PyArray1<i64>>,
        Bound<'py, PyArray1<i64>>,
        Vec<usize>,
        Bound<'py, PyArray2<f32>>,
        Vec<usize>,
        usize,
    )> {
        let texts = Lent::texts(sentences, 0)?;
        let count = texts.len();
        let profile = profile.map(|profile| profile.0.clone());
        let request = Request { prompt, batch_size, normalize, priority, profile };
        let rows = Rows::New(vec![0.0; count * width]);
        let Finished { output, report, tokens } =
            rows::run(py, self.0.network(), texts, request, rows, true, progress.as_ref())?;
        let Rows::New(embeddings) = output.rows else { unreachable!("new rows stay new") };
        let hidden = output.hidden.unwrap_or_default();
        let lengths: Vec<usize> = tokens.iter().map(|tokens| tokens.len()).collect();
        let ids = tokens.iter().flat_map(|tokens| &tokens.ids).map(|&id| i64::from(id)).collect();
        let type_id = |i: usize, t: usize| tokens[i].type_ids.as_ref().map_or(0, |ids| i64::from(ids[t]));
        let type_ids = (0..tokens.len()).flat_map(|i| (0..tokens[i].len()).map(move |t| (i, t)));
        let type_ids = type_ids.map(|(i, t)| type_id(i, t)).collect();
        Ok((
            numpy::matrix(py, hidden, report.tokens, self.0.network().hidden_size())?,
            numpy::vector(py, ids),
            numpy::vector(py, type_ids),
            lengths,
            numpy::matrix(py, embeddings, count, width)?,
            report.truncated,
            report.halved,
        ))
    }
}
