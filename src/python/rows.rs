//! Rows of results in an array of Python's.

use ::numpy::{PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::engine::{Finished, Network, Request, Rows};
use crate::python::detached;
use crate::python::numpy::{self, Target};
use crate::python::text::Lent;
use crate::python::watch::Watch;
use crate::text::Inputs;
use std::sync::Arc;

/// The array that was filled, tokens, rows that were cut, and how often a pass was halved.
pub(super) type Filled<'py> = (Bound<'py, PyArray2<f32>>, usize, Vec<usize>, usize);

/// Fills `out`, or a new array `[inputs, width]`.
pub(super) fn fill<'py>(
    py: Python<'py>,
    network: &Arc<Network>,
    inputs: Lent,
    request: Request,
    width: usize,
    out: Option<Bound<'py, PyArray2<f32>>>,
    progress: Option<&Py<PyAny>>,
) -> PyResult<Filled<'py>> {
    let shape = [inputs.len(), width];
    let Some(out) = out else {
        let rows = Rows::New(vec![0.0; shape[0] * width]);
        let Finished { output, report, .. } = run(py, network, inputs, request, rows, false, progress)?;
        let Rows::New(values) = output.rows else { unreachable!("new rows stay new") };
        let array = numpy::matrix(py, values, shape[0], width)?;
        return Ok((array, report.tokens, report.truncated, report.halved));
    };
    let mut guard = out.try_readwrite()?;
    if guard.shape() != shape {
        let message = format!("out: expected shape ({}, {width}), found {:?}", shape[0], guard.shape());
        return Err(PyValueError::new_err(message));
    }
    let rows = Rows::Lent(Box::new(Target::new(&out, &mut guard)?));
    let Finished { report, .. } = run(py, network, inputs, request, rows, false, progress)?;
    drop(guard);
    Ok((out, report.tokens, report.truncated, report.halved))
}

/// Computes without the interpreter's lock, and serves signals.
pub(super) fn run(
    py: Python<'_>,
    network: &Arc<Network>,
    inputs: Lent,
    request: Request,
    rows: Rows,
    every_token: bool,
    progress: Option<&Py<PyAny>>,
) -> PyResult<Finished> {
    let watch = Watch::new(progress);
    detached(py, || {
        let result = network.run(Box::new(inputs), request, rows, every_token, &|done| watch.tell(done));
        watch.settle(result)
    })?
}
