//! The classes that Python sees: conversion, the interpreter's lock, errors. No logic.

mod batch_result;
mod byte_columns;
mod call;
mod chunks;
mod completions;
mod credential;
mod device;
mod embedder;
mod error;
mod forks;
mod inspection;
mod model;
mod models;
mod numpy;
mod profile;
mod quantize;
mod reranker;
#[cfg(feature = "serve")]
mod server;
mod stats;
mod store;
mod text;
mod tokenizer;
mod watch;

use pyo3::prelude::*;

use crate::panic::guarded;
use crate::pool::with_min_stack;

/// votive's compiled core. `votive` itself is what programs import.
#[pymodule(gil_used = false)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::byte_columns::{
        are_bytes_in, bin_bytes, bin_numbers, compare_bytes, contain_bytes, select_codes, split_bytes, split_texts,
        take_bytes,
    };
    #[pymodule_export]
    use super::call::PyCallHandle;
    #[pymodule_export]
    use super::credential::Credential;
    #[pymodule_export]
    use super::device::{devices, features, find_device, gpus, next_device, product_rate};
    #[pymodule_export]
    use super::embedder::PyEmbedder;
    #[pymodule_export]
    use super::error::{CorruptStoreError, DeviceError, ModelError, QueueFull, StoreError, VotiveError};
    #[pymodule_export]
    use super::inspection::inspect;
    #[pymodule_export]
    use super::model::PyModel;
    #[pymodule_export]
    use super::models::model_families;
    #[pymodule_export]
    use super::numpy::map_file;
    #[pymodule_export]
    use super::profile::{PyPeaks, PyProfile, cpu};
    #[pymodule_export]
    use super::quantize::quantize;
    #[pymodule_export]
    use super::reranker::PyReranker;
    #[cfg(feature = "serve")]
    #[pymodule_export]
    use super::server::PyServer;
    #[pymodule_export]
    use super::stats::PyStats;
    #[pymodule_export]
    use super::store::{PyStore, crc32c};
    #[pymodule_export]
    use super::tokenizer::PyTokenizer;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::forks::watch(module.py())?;
        super::error::declare_parts(module.py())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// Runs `work` without the interpreter's lock, on a thread with stack enough. A panic, which would be a bug of votive's, is a
/// RuntimeError.
fn detached<R: Send>(py: Python<'_>, work: impl FnOnce() -> R + Send) -> PyResult<R> {
    Ok(py.detach(|| with_min_stack(|| guarded(|| Ok(work()))))?)
}
