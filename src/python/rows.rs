//! Rows of results in an array of Python's.

use ::numpy::{PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::engine::Report;
use crate::python::numpy;

/// The array that was filled, tokens, and rows that were cut.
pub(super) type Filled<'py> = (Bound<'py, PyArray2<f32>>, usize, Vec<usize>);

/// Has `run` fill `out`, or a new array `[rows, width]`.
pub(super) fn fill<'py>(
    py: Python<'py>,
    out: Option<Bound<'py, PyArray2<f32>>>,
    [rows, width]: [usize; 2],
    run: impl FnOnce(&mut [f32]) -> PyResult<Report>,
) -> PyResult<Filled<'py>> {
    if let Some(out) = out {
        let mut guard = out.try_readwrite()?;
        if guard.shape() != [rows, width] {
            let message = format!("out: expected shape ({rows}, {width}), found {:?}", guard.shape());
            return Err(PyValueError::new_err(message));
        }
        let slice = guard.as_slice_mut().map_err(|_| PyValueError::new_err("out: expected a C-contiguous array"))?;
        let report = run(slice)?;
        drop(guard);
        return Ok((out, report.tokens, report.truncated));
    }
    let mut values = vec![0.0; rows * width];
    let report = run(&mut values)?;
    Ok((numpy::matrix(py, values, rows, width)?, report.tokens, report.truncated))
}
