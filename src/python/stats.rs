//! `_core.Stats`.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::engine;
use crate::engine::{CallTimes, Summary};

/// See `_core.pyi`.
#[pyclass(frozen, name = "Stats", module = "votive._core")]
pub(super) struct PyStats(pub(super) Arc<engine::Stats>);

#[pymethods]
impl PyStats {
    #[new]
    fn new() -> Self {
        Self(Arc::default())
    }

    fn reset(&self) {
        self.0.reset();
    }

    fn add_error(&self, kind: &str) {
        self.0.add_error(kind);
    }

    /// A search of a store that took so many seconds.
    fn add_search(&self, queries: usize, seconds: f64) {
        self.0.add_pass([queries, 0], [queries, 0]);
        let total = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        self.0.add_call(CallTimes { total, computing: total, ..CallTimes::default() }, 0, 0);
    }

    /// All numbers, by the names of the attributes of `votive.stats.Stats`.
    fn numbers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = self.0.snapshot();
        let (recent_seconds, recent_texts, recent_tokens) = found.recent;
        let numbers = PyDict::new(py);
        numbers.set_item("calls", found.totals.count)?;
        numbers.set_item("texts", found.texts)?;
        numbers.set_item("tokens", found.tokens)?;
        numbers.set_item("truncated", found.truncated)?;
        numbers.set_item("halved", found.halved)?;
        numbers.set_item("seconds", found.seconds)?;
        numbers.set_item("recent_seconds", recent_seconds)?;
        numbers.set_item("recent_texts", recent_texts)?;
        numbers.set_item("recent_tokens", recent_tokens)?;
        numbers.set_item("queue_wait", spread(&found.waits, 1e-9))?;
        numbers.set_item("latency", spread(&found.totals, 1e-9))?;
        numbers.set_item("pass_texts", spread(&found.pass_texts, 1.0))?;
        numbers.set_item("pass_tokens", spread(&found.pass_tokens, 1.0))?;
        numbers.set_item("errors", found.errors)?;
        Ok(numbers)
    }
}

/// Count, mean and percentiles 50, 95 and 99, in a unit.
fn spread(summary: &Summary, unit: f64) -> (u64, f64, f64, f64, f64) {
    let &Summary { count, mean, p50, p95, p99 } = summary;
    let scaled = |number: u64| number as f64 * unit;
    (count, mean * unit, scaled(p50), scaled(p95), scaled(p99))
}
