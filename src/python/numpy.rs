//! Arrays in and out.

use ::numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

/// `values` as an array `[rows, width]` that owns their memory: nothing is copied.
pub(super) fn matrix<'py, T: ::numpy::Element>(
    py: Python<'py>,
    values: Vec<T>,
    rows: usize,
    width: usize,
) -> PyResult<Bound<'py, PyArray2<T>>> {
    values.into_pyarray(py).reshape([rows, width])
}

/// `values` as an array that owns their memory.
pub(super) fn vector<T: ::numpy::Element>(py: Python<'_>, values: Vec<T>) -> Bound<'_, PyArray1<T>> {
    values.into_pyarray(py)
}
