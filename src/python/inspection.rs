//! What a model's files say, without loading it.

use pyo3::prelude::*;

use crate::engine;
use crate::python::model::NamedModel;

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn inspect(py: Python<'_>, model: NamedModel) -> PyResult<String> {
    model.find(py, |folder, _| engine::inspect(&folder))
}
