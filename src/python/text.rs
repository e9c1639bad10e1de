//! Python's strings, lent to Rust.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyList, PyString};

/// The strings of `texts`, which keep their objects alive and so outlast the lock; `start` is the position of the first for messages.
pub(super) fn borrow(texts: &Bound<'_, PyList>, start: usize) -> PyResult<Vec<PyBackedStr>> {
    let borrow_one = |(i, text): (usize, Bound<'_, PyAny>)| {
        let text = text.cast_into::<PyString>().map_err(|error| {
            let kind = error.into_inner().get_type().name().map_or("?".to_owned(), |name| name.to_string());
            PyTypeError::new_err(format!("sentences[{}]: expected a str, found {kind}", start + i))
        })?;
        PyBackedStr::try_from(text).map_err(|_| {
            let message =
                "holds a lone surrogate, which is no text; text.encode('utf-8', 'replace').decode() replaces it";
            PyValueError::new_err(format!("sentences[{}]: {message}", start + i))
        })
    };
    texts.iter().enumerate().map(borrow_one).collect()
}
