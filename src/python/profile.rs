//! `_core.Profile`, `_core.Peaks` and `_core.cpu`.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;

use crate::device;
use crate::pool;
use crate::profile::{self, Arithmetic, Stage};
use crate::python::detached;

/// See `_core.pyi`.
#[pyclass(frozen, name = "Profile", module = "votive._core")]
pub(super) struct PyProfile(pub(super) Arc<profile::Profile>);

#[pymethods]
impl PyProfile {
    #[new]
    fn new() -> Self {
        Self(Arc::default())
    }

    #[getter]
    fn texts(&self) -> u64 {
        self.0.texts()
    }

    #[getter]
    fn tokens(&self) -> u64 {
        self.0.tokens()
    }

    #[getter]
    fn seconds(&self) -> f64 {
        self.0.wall().as_secs_f64()
    }

    #[getter]
    fn idle_seconds(&self) -> f64 {
        self.0.idle().as_secs_f64()
    }

    /// For each stage its name, seconds, operations, bytes, and share of the peaks.
    fn stages(&self, peaks: Option<&PyPeaks>) -> Vec<(&'static str, f64, u64, u64, Option<f64>)> {
        let row = |stage: Stage| {
            let profile::Spent { time, work } = self.0.spent(stage);
            let operations = work.operations.iter().sum();
            (
                stage.name(),
                time.as_secs_f64(),
                operations,
                work.bytes,
                peaks.and_then(|peaks| self.0.share(stage, &peaks.0)),
            )
        };
        Stage::ALL.map(row).to_vec()
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, name = "Peaks", module = "votive._core")]
pub(super) struct PyPeaks(profile::Peaks);

impl PyPeaks {
    fn operations(&self, arithmetic: Arithmetic) -> Option<f64> {
        Some(self.0.operations[arithmetic as usize]).filter(|&peak| peak > 0.0)
    }
}

#[pymethods]
impl PyPeaks {
    #[new]
    #[pyo3(signature = (threads, *, trial))]
    fn measure(py: Python<'_>, threads: usize, trial: f64) -> PyResult<Self> {
        let trial = Duration::try_from_secs_f64(trial).unwrap_or_default();
        Ok(Self(detached(py, || device::peaks(threads, trial))??))
    }

    #[getter]
    fn threads(&self) -> usize {
        self.0.threads
    }

    #[getter]
    fn float32(&self) -> Option<f64> {
        self.operations(Arithmetic::Float32)
    }

    #[getter]
    fn bfloat16(&self) -> Option<f64> {
        self.operations(Arithmetic::Bfloat16)
    }

    #[getter]
    fn int8(&self) -> Option<f64> {
        self.operations(Arithmetic::Int8)
    }

    #[getter]
    fn memory(&self) -> f64 {
        self.0.memory
    }

    #[getter]
    fn memory_bytes(&self) -> usize {
        self.0.buffer
    }
}

/// The CPU's name, the instruction set in use, the number of CPUs for this process, and the level and size of each cache.
#[pyfunction]
#[expect(clippy::type_complexity, reason = "a Python tuple")]
pub(super) fn cpu() -> PyResult<(String, &'static str, usize, Vec<(u32, usize)>)> {
    let caches = device::caches().iter().map(|cache| (cache.level, cache.bytes)).collect();
    Ok((device::cpu_name(), device::isa_name()?, pool::available_cpus(), caches))
}
