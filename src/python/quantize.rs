//! `_core.quantize`.

use ::numpy::{PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::memory::zeroed;
use crate::pipeline::{Precision, Quantizer, Ranges};
use crate::python::{detached, numpy};

/// Bytes of `embeddings` in `precision`, `[rows, columns]`, and what a user should be warned of. See `_core.pyi`.
#[pyfunction]
#[pyo3(signature = (embeddings, precision, ranges, calibration_embeddings))]
pub(super) fn quantize<'py>(
    py: Python<'py>,
    embeddings: PyReadonlyArray2<'py, f32>,
    precision: &str,
    ranges: Option<PyReadonlyArray2<'py, f32>>,
    calibration_embeddings: Option<PyReadonlyArray2<'py, f32>>,
) -> PyResult<(Bound<'py, ::numpy::PyArray2<u8>>, Option<String>)> {
    let precision: Precision = precision.parse()?;
    let dimension = embeddings.shape()[1];
    for (name, array) in [("ranges", &ranges), ("calibration_embeddings", &calibration_embeddings)] {
        if let Some(array) = array.as_ref().filter(|array| array.shape()[1] != dimension) {
            let message = format!("{name}: expected {dimension} columns, found {}", array.shape()[1]);
            return Err(PyValueError::new_err(message));
        }
    }
    let rows = embeddings.shape()[0];
    let columns = precision.columns(dimension);
    let values = embeddings.as_slice()?;
    let ranges = match (&ranges, &calibration_embeddings) {
        (Some(ranges), _) => Ranges::Given(ranges.as_slice()?),
        (None, Some(rows)) => Ranges::Calibration(rows.as_slice()?),
        (None, None) => Ranges::Batch,
    };
    let (out, warning) = detached(py, || -> crate::Result<_> {
        let quantizer = Quantizer::new(precision, ranges, values, dimension)?;
        let mut out = zeroed(rows * columns, "embeddings in fewer bits")?;
        quantizer.apply(values, &mut out);
        Ok((out, quantizer.warning()))
    })??;
    Ok((numpy::matrix(py, out, rows, columns)?, warning))
}
