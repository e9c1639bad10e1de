//! `_core.Tokenizer`: a model's tokenizer, for programs that look at tokens.

use std::collections::HashMap;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::engine::SharedNetwork;
use crate::python::detached;
use crate::python::watch::Watch;
use crate::text::TokenIds;

/// See `_core.pyi`.
#[pyclass(frozen, name = "Tokenizer", module = "votive._core")]
pub(super) struct PyTokenizer(Arc<SharedNetwork>);

impl PyTokenizer {
    pub(super) fn new(network: &Arc<SharedNetwork>) -> Self {
        Self(network.clone())
    }
}

#[pymethods]
impl PyTokenizer {
    /// See `_core.pyi`.
    #[pyo3(signature = (text, pair=None, *, special_tokens, max_length))]
    fn encode(
        &self,
        py: Python<'_>,
        text: &str,
        pair: Option<&str>,
        special_tokens: bool,
        max_length: Option<usize>,
    ) -> PyResult<TokenIds> {
        let watch = Watch::new(None);
        let max_length = max_length.unwrap_or(usize::MAX);
        detached(py, || {
            let tokenizer = self.0.network().tokenizer();
            watch.settle(tokenizer.ids(text, pair, special_tokens, max_length, &|| watch.tell(0)))
        })?
    }

    fn decode(&self, py: Python<'_>, ids: Vec<u32>, special_tokens: bool) -> PyResult<String> {
        Ok(detached(py, || self.0.network().tokenizer().decode(&ids, special_tokens))??)
    }

    fn vocabulary(&self) -> HashMap<String, u32> {
        self.0.network().tokenizer().vocabulary()
    }

    #[getter]
    fn base_size(&self) -> usize {
        self.0.network().tokenizer().base_size()
    }

    fn token(&self, id: u32) -> Option<String> {
        self.0.network().token(id)
    }

    fn id(&self, token: &str) -> Option<u32> {
        self.0.network().tokenizer().id(token)
    }
}
