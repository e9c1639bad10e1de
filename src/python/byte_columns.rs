//! `_core.compare_bytes` and its like: columns of values of any number of bytes.

use ::numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::python::{detached, numpy};
use crate::store::{ByteColumn, ByteComparison};

type Offsets<'py> = PyReadonlyArray1<'py, i64>;
type Bytes<'py> = PyReadonlyArray1<'py, u8>;

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn compare_bytes<'py>(
    py: Python<'py>,
    comparison: &str,
    offsets: Offsets<'py>,
    data: Bytes<'py>,
    bytes: &[u8],
) -> PyResult<Bound<'py, PyArray1<u8>>> {
    let comparison = match comparison {
        "equal" => ByteComparison::Equal,
        "less" => ByteComparison::Less,
        "less_or_equal" => ByteComparison::LessOrEqual,
        _ => return Err(PyValueError::new_err(format!("comparison: found {comparison:?}"))),
    };
    let column = column(&offsets, &data)?;
    Ok(numpy::vector(py, detached(py, || column.compare(comparison, bytes))??))
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn contain_bytes<'py>(
    py: Python<'py>,
    offsets: Offsets<'py>,
    data: Bytes<'py>,
    bytes: &[u8],
) -> PyResult<Bound<'py, PyArray1<u8>>> {
    let column = column(&offsets, &data)?;
    Ok(numpy::vector(py, detached(py, || column.contain(bytes))??))
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn are_bytes_in<'py>(
    py: Python<'py>,
    offsets: Offsets<'py>,
    data: Bytes<'py>,
    value_offsets: Offsets<'py>,
    values: Bytes<'py>,
) -> PyResult<Bound<'py, PyArray1<u8>>> {
    let (column, values) = (column(&offsets, &data)?, column(&value_offsets, &values)?);
    Ok(numpy::vector(py, detached(py, || column.is_in(values))??))
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn take_bytes<'py>(
    py: Python<'py>,
    offsets: Offsets<'py>,
    data: Bytes<'py>,
    rows: PyReadonlyArray1<'py, i64>,
) -> PyResult<(Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<u8>>)> {
    let (column, rows) = (column(&offsets, &data)?, slice("rows", &rows)?);
    let (offsets, data) = detached(py, || column.take(rows))??;
    Ok((numpy::vector(py, offsets), numpy::vector(py, data)))
}

fn column<'a>(offsets: &'a Offsets<'_>, data: &'a Bytes<'_>) -> PyResult<ByteColumn<'a>> {
    Ok(ByteColumn::new(slice("offsets", offsets)?, slice("data", data)?)?)
}

fn slice<'a, T: ::numpy::Element>(name: &str, array: &'a PyReadonlyArray1<'_, T>) -> PyResult<&'a [T]> {
    array.as_slice().map_err(|_| PyValueError::new_err(format!("{name}: expected a contiguous array")))
}
