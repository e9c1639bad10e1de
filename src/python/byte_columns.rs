//! `_core.compare_bytes` and its like: columns of values of any number of bytes, and bins of values.

use ::numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

use crate::memory::with_room;
use crate::python::{detached, numpy};
use crate::store::{self, ByteColumn, ByteComparison, ValueBins};

type Offsets<'py> = PyReadonlyArray1<'py, i64>;
type Bytes<'py> = PyReadonlyArray1<'py, u8>;
/// Offsets and bytes.
type Values<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<u8>>);
/// Codes, which bins are single, and odd rows.
type Bins<'py> = (Bound<'py, PyArray1<u8>>, Bound<'py, PyArray1<u8>>, Bound<'py, PyArray1<i64>>);

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
) -> PyResult<Values<'py>> {
    let (column, rows) = (column(&offsets, &data)?, slice("rows", &rows)?);
    let (offsets, data) = detached(py, || column.take(rows))??;
    Ok((numpy::vector(py, offsets), numpy::vector(py, data)))
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn bin_bytes<'py>(
    py: Python<'py>,
    offsets: Offsets<'py>,
    data: Bytes<'py>,
    bound_offsets: Offsets<'py>,
    bounds: Bytes<'py>,
) -> PyResult<Bins<'py>> {
    let (column, bounds) = (column(&offsets, &data)?, column(&bound_offsets, &bounds)?);
    Ok(bin_arrays(py, detached(py, || ValueBins::of_bytes(column, bounds))??))
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn bin_numbers<'py>(values: &Bound<'py, PyAny>, bounds: &Bound<'py, PyAny>) -> PyResult<Bins<'py>> {
    let of_types = [
        bins_of::<i32>,
        bins_of::<u32>,
        bins_of::<i64>,
        bins_of::<u64>,
        bins_of::<half::f16>,
        bins_of::<f32>,
        bins_of::<f64>,
    ];
    for bins in of_types {
        if let Some(found) = bins(values, bounds)? {
            return Ok(bin_arrays(values.py(), found));
        }
    }
    Err(PyTypeError::new_err("values: expected an array of integers of 32 or 64 bits or of floats"))
}

/// The bins of values of a type; none if they are of another.
fn bins_of<T: ::numpy::Element + Copy + PartialOrd>(
    values: &Bound<'_, PyAny>,
    bounds: &Bound<'_, PyAny>,
) -> PyResult<Option<ValueBins>> {
    let Ok(array) = values.cast::<PyArray1<T>>() else {
        return Ok(None);
    };
    let bounds: PyReadonlyArray1<'_, T> =
        bounds.extract().map_err(|_| PyTypeError::new_err("bounds: expected an array of the type of the values"))?;
    let array = array.try_readonly()?;
    let (numbers, bounds) = (slice("values", &array)?, slice("bounds", &bounds)?);
    Ok(Some(detached(values.py(), || ValueBins::of_numbers(numbers, bounds))??))
}

fn bin_arrays(py: Python<'_>, bins: ValueBins) -> Bins<'_> {
    let ValueBins { codes, is_single, odd_rows } = bins;
    (numpy::vector(py, codes), numpy::vector(py, is_single), numpy::vector(py, odd_rows))
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn select_codes<'py>(
    py: Python<'py>,
    codes: Bytes<'py>,
    selected: Bytes<'py>,
) -> PyResult<Bound<'py, PyArray1<u8>>> {
    let selected: &[u8; 256] = slice("selected", &selected)?.try_into().map_err(|_| {
        PyValueError::new_err(format!("selected: expected 256 numbers, found {}", selected.as_array().len()))
    })?;
    let codes = slice("codes", &codes)?;
    Ok(numpy::vector(py, detached(py, || store::select_codes(codes, selected))??))
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn split_texts<'py>(
    py: Python<'py>,
    offsets: Offsets<'py>,
    data: Bytes<'py>,
) -> PyResult<Bound<'py, PyList>> {
    split(py, column(&offsets, &data)?, |value| Ok(PyString::from_bytes(py, value)?.into_any()))
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn split_bytes<'py>(
    py: Python<'py>,
    offsets: Offsets<'py>,
    data: Bytes<'py>,
) -> PyResult<Bound<'py, PyList>> {
    split(py, column(&offsets, &data)?, |value| Ok(PyBytes::new(py, value).into_any()))
}

/// A list of what each value becomes.
fn split<'py>(
    py: Python<'py>,
    column: ByteColumn<'_>,
    object_of: impl Fn(&[u8]) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let mut objects = with_room(column.len(), "values of a column")?;
    for i in 0..column.len() {
        objects.push(object_of(column.value(i)?)?);
    }
    PyList::new(py, objects)
}

fn column<'a>(offsets: &'a Offsets<'_>, data: &'a Bytes<'_>) -> PyResult<ByteColumn<'a>> {
    Ok(ByteColumn::new(slice("offsets", offsets)?, slice("data", data)?)?)
}

fn slice<'a, T: ::numpy::Element>(name: &str, array: &'a PyReadonlyArray1<'_, T>) -> PyResult<&'a [T]> {
    array.as_slice().map_err(|_| PyValueError::new_err(format!("{name}: expected a contiguous array")))
}
