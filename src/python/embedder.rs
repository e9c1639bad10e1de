//! `_core.Embedder`.

use pyo3::prelude::*;

use crate::engine;
use crate::python::model::{Options, PyModel};

/// See `_core.pyi`.
#[pyclass(frozen, extends = PyModel, name = "Embedder", module = "votive._core")]
pub(super) struct PyEmbedder(engine::Embedder);

#[pymethods]
impl PyEmbedder {
    #[new]
    fn new(py: Python<'_>, options: &Bound<'_, PyAny>) -> PyResult<PyClassInitializer<Self>> {
        let embedder = options.extract::<Options>()?.load(py, options.extract()?, engine::Embedder::load)?;
        let config = embedder.config();
        let model = PyModel::new(embedder.routes(), &config.prompts, config.default_prompt_name.as_ref());
        Ok(PyClassInitializer::from(model).add_subclass(Self(embedder)))
    }

    #[getter]
    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    #[getter]
    fn similarity_fn_name(&self) -> &'static str {
        self.0.config().similarity.name()
    }

    #[getter]
    fn converted_from(&self) -> Option<&str> {
        self.0.config().converted_from.as_deref()
    }

    #[getter]
    fn truncate_dim(&self) -> Option<usize> {
        self.0.config().truncate_dim
    }
}
