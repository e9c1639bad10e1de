//! Which devices there are.

use pyo3::prelude::*;

use crate::device;
use crate::python::detached;

/// Name, maker's name, bytes, types of weights.
type DeviceRow = (String, Option<String>, Option<u64>, Vec<&'static str>);

/// A backend, and why it is not there.
type AbsentRow = (&'static str, String);

fn described(found: &device::DeviceInfo) -> DeviceRow {
    (found.name(), found.model().map(str::to_owned), found.memory(), found.dtypes().to_vec())
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn find_device(py: Python<'_>, name: &str) -> PyResult<DeviceRow> {
    Ok(described(&detached(py, || device::find(name))??))
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn next_device(py: Python<'_>, name: &str) -> PyResult<Option<String>> {
    Ok(detached(py, || device::next(name))??.map(|found| found.name()))
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn devices(py: Python<'_>) -> PyResult<(Vec<DeviceRow>, Vec<AbsentRow>)> {
    let (present, absent) = detached(py, device::survey)?;
    Ok((present.iter().map(described).collect(), absent))
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn features() -> Vec<&'static str> {
    device::features()
}
