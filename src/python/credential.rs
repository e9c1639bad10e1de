//! `_core.Credential`.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::hub::{Secret, Token};

/// See `_core.pyi`.
#[pyclass(frozen, module = "votive._core")]
pub(super) struct Credential(Option<Secret>);

impl Credential {
    pub(super) fn token(&self) -> Token {
        self.0.clone().map_or(Token::Lost, Token::Given)
    }
}

#[pymethods]
impl Credential {
    #[new]
    #[pyo3(signature = (token=None))]
    fn new(token: Option<String>) -> Self {
        Self(token.map(Secret::from))
    }

    fn __repr__(&self) -> &'static str {
        "<token>"
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyDict>) -> Py<Self> {
        slf
    }

    /// A pickle does not hold the token.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, Bound<'py, PyTuple>) {
        (slf.get_type(), PyTuple::empty(slf.py()))
    }
}
