//! `_core.Reranker`.

use pyo3::prelude::*;

use crate::engine::{self, LoadOptions};
use crate::python::model::{Options, PyModel};

/// See `_core.pyi`.
#[pyclass(frozen, extends = PyModel, name = "Reranker", module = "votive._core")]
pub(super) struct PyReranker(engine::Reranker);

#[pymethods]
impl PyReranker {
    #[new]
    #[pyo3(signature = (options, *, num_labels))]
    fn new(
        py: Python<'_>,
        options: &Bound<'_, PyAny>,
        num_labels: Option<usize>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let load = |folder, options: &LoadOptions| engine::Reranker::load(folder, options, num_labels);
        let reranker = options.extract::<Options>()?.load(py, options.extract()?, load)?;
        let config = reranker.config();
        let model = PyModel::new(reranker.routes(), &config.prompts, config.default_prompt_name.as_ref());
        Ok(PyClassInitializer::from(model).add_subclass(Self(reranker)))
    }

    #[getter]
    fn num_labels(&self) -> usize {
        self.0.config().labels()
    }

    #[getter]
    fn label_names(&self) -> Vec<String> {
        self.0.config().label_names()
    }

    #[getter]
    fn activation_fn(&self) -> Option<&str> {
        self.0.config().activation_fn.as_deref()
    }
}
