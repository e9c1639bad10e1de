//! Which models there are.

use pyo3::prelude::*;

use crate::engine::{ModelKind, supported_kinds};

/// Name, model types, embedders, rerankers, limits.
type KindRow = (&'static str, Vec<&'static str>, Vec<&'static str>, Vec<&'static str>, &'static str);

fn row(kind: &ModelKind) -> KindRow {
    let ModelKind { name, model_types, embedders, rerankers, limits } = kind;
    (*name, model_types.to_vec(), embedders.to_vec(), rerankers.to_vec(), *limits)
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn model_families() -> Vec<KindRow> {
    supported_kinds().map(row).collect()
}
