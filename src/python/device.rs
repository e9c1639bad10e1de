//! Which devices there are.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::device;
use crate::gpu::GpuKind;
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
pub(super) fn product_rate(py: Python<'_>, device: &str) -> PyResult<Option<f64>> {
    Ok(detached(py, || device::Device::choose(device)?.product_rate())??)
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn gpus(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let all = detached(py, device::gpus)?;
    all.into_iter().map(|adapter| described_gpu(py, adapter)).collect()
}

fn described_gpu(py: Python<'_>, adapter: device::OfferedGpu) -> PyResult<Bound<'_, PyDict>> {
    let device::OfferedGpu { gpu: info, unusable, not_automatic } = adapter;
    let kind = match info.kind {
        GpuKind::Discrete => "discrete",
        GpuKind::Integrated => "integrated",
        GpuKind::Virtual => "virtual",
        GpuKind::Software => "software",
        GpuKind::Other => "other",
    };
    let row = PyDict::new(py);
    row.set_item("device", info.id)?;
    row.set_item("name", info.name)?;
    row.set_item("driver", info.driver)?;
    row.set_item("kind", kind)?;
    row.set_item("memory_bytes", info.memory)?;
    row.set_item("float16", info.float16)?;
    row.set_item("subgroup_lanes", info.subgroup_lanes)?;
    row.set_item("matrix_units", info.matrix_units)?;
    row.set_item("unusable", unusable)?;
    row.set_item("not_automatic", not_automatic)?;
    Ok(row)
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn features() -> Vec<&'static str> {
    device::features()
}
