//! `_core.Model`: what embedders and rerankers have in common.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::Error;
use crate::device;
use crate::engine::{ChunkOptions, LoadOptions, Network, Routes, SharedNetwork, Sharing};
use crate::files::ModelFolder;
use crate::hub::{FindOptions, HubEnvironment, Token, copy_description, find};
use crate::nn::Body;
use crate::python::batch_result::BatchResult;
use crate::python::call::{BatchRequest, PyCallHandle};
use crate::python::chunks::{self, ChunkFields, ChunkTokens};
use crate::python::credential::Credential;
use crate::python::detached;
use crate::python::stats::PyStats;
use crate::python::text::BorrowedTexts;
use crate::python::tokenizer::PyTokenizer;
use crate::python::watch::{DownloadBar, Watch};

/// See `_core.pyi`.
#[pyclass(frozen, subclass, name = "Model", module = "votive._core")]
pub(super) struct PyModel {
    routes: Routes,
    /// Texts to put before others, by name, and which of them is the default: what the model's files say.
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
}

/// What a model is found with: items of a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct NamedModel {
    model_name_or_path: String,
    revision: Option<String>,
    base: Option<String>,
    gguf_file: Option<String>,
    cache_folder: Option<PathBuf>,
    local_files_only: bool,
    token: Option<TokenOption>,
    packaged: Py<PyAny>,
    download: Py<PyAny>,
}

/// What a model that was found is loaded with: items of a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Options {
    device: String,
    dtype: String,
    num_threads: Option<usize>,
    /// Where the model is written as it was packed.
    panel_folder: Option<PathBuf>,
    max_batch_tokens: Option<usize>,
    max_batch_size: Option<usize>,
    /// In milliseconds.
    max_wait_ms: f64,
    max_queue: Option<usize>,
    refuse_when_full: bool,
    max_concurrency: Option<usize>,
    stats: Py<PyStats>,
}

/// True or False, or a token.
#[derive(FromPyObject)]
enum TokenOption {
    Stored(bool),
    Given(Py<Credential>),
}

impl NamedModel {
    /// Finds the model, and has `work` done with it and its name, all without the interpreter's lock.
    pub(super) fn find<R: Send>(
        self,
        py: Python<'_>,
        work: impl FnOnce(ModelFolder, String) -> crate::Result<R> + Send,
    ) -> PyResult<R> {
        let watch = DownloadBar::new(&self.download);
        let packaged = |name: &str| -> Option<(String, PathBuf)> {
            watch.ask(|py| self.packaged.call1(py, (name,))?.extract(py))?
        };
        detached(py, || {
            let find_options = FindOptions {
                revision: self.revision.as_deref(),
                base: self.base.as_deref(),
                gguf_file: self.gguf_file.as_deref(),
                cache_folder: self.cache_folder.as_deref(),
                local_files_only: self.local_files_only,
                token: match self.token {
                    None | Some(TokenOption::Stored(true)) => Token::Implicit,
                    Some(TokenOption::Stored(false)) => Token::Never,
                    Some(TokenOption::Given(credential)) => credential.get().token(),
                },
                packaged: &packaged,
                environment: HubEnvironment::read(),
            };
            let folder = find(&self.model_name_or_path, &find_options, &watch);
            watch.settle(folder).and_then(|folder| Ok(work(folder, self.model_name_or_path)?))
        })?
    }
}

impl Options {
    /// Finds the model, and has `load` load it, all without the interpreter's lock.
    pub(super) fn load<M: Send>(
        self,
        py: Python<'_>,
        model: NamedModel,
        load: impl FnOnce(ModelFolder, &LoadOptions) -> crate::Result<M> + Send,
    ) -> PyResult<M> {
        let Self { device, dtype, num_threads, panel_folder, .. } = self;
        let sharing = Sharing {
            max_batch_tokens: self.max_batch_tokens,
            max_batch_size: self.max_batch_size,
            max_wait: Duration::try_from_secs_f64(self.max_wait_ms / 1e3).unwrap_or(Duration::MAX),
            max_queue: self.max_queue,
            refuse_when_full: self.refuse_when_full,
            max_concurrency: self.max_concurrency,
        };
        let stats = self.stats.get().0.clone();
        model.find(py, |folder, name| {
            if let Some(target) = &panel_folder {
                copy_description(&folder, target)?;
            }
            load(folder, &LoadOptions { name, device, dtype, num_threads, panel_folder, sharing, stats })
        })
    }
}

impl PyModel {
    pub(super) fn new(
        routes: &Routes,
        prompts: &BTreeMap<String, String>,
        default_prompt_name: Option<&String>,
    ) -> Self {
        let (prompts, default_prompt_name) = (prompts.clone(), default_prompt_name.cloned());
        Self { routes: routes.clone(), prompts, default_prompt_name }
    }

    /// The networks with the queues of their calls.
    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The network of texts of `task`, which may be loaded now, without the interpreter's lock.
    fn network_of(&self, py: Python<'_>, task: Option<&str>) -> PyResult<&Arc<SharedNetwork>> {
        match self.routes.has_tasks() {
            true => Ok(detached(py, || self.routes.of(task))??),
            false => Ok(self.routes.main()),
        }
    }

    /// The network that stands for all of them.
    fn network(&self) -> &Network {
        self.routes.main().network()
    }
}

#[pymethods]
impl PyModel {
    #[getter]
    fn prompts(&self) -> BTreeMap<String, String> {
        self.prompts.clone()
    }

    #[getter]
    fn default_prompt_name(&self) -> Option<&str> {
        self.default_prompt_name.as_deref()
    }

    /// See `_core.pyi`.
    fn max_length(&self, argument: &str, wanted: Option<usize>) -> PyResult<Option<usize>> {
        match self.routes.max_length(wanted) {
            // By the name that its caller has for it.
            Err(Error::Argument { message, .. }) => Err(PyValueError::new_err(format!("{argument}: {message}"))),
            checked => Ok(checked?),
        }
    }

    #[getter]
    fn position_limit(&self) -> Option<usize> {
        self.network().position_limit()
    }

    #[getter]
    fn num_threads(&self) -> usize {
        self.network().threads()
    }

    #[getter]
    fn folder(&self) -> PathBuf {
        self.network().folder().root().to_owned()
    }

    /// See `_core.pyi`.
    fn file(&self, name: &str) -> PyResult<Option<PathBuf>> {
        Ok(self.network().folder().file(name)?)
    }

    /// "folder", "cache", "hub" or "package", and the commit or the package's name.
    #[getter]
    fn origin(&self) -> (&'static str, Option<&str>) {
        self.network().folder().origin().parts()
    }

    /// See `_core.pyi`.
    #[getter]
    fn parameters(&self) -> usize {
        self.network().parameters()
    }

    /// Bytes of the weights, and of the memory that the CPU's kernels keep between calls, for all models of the process.
    #[getter]
    fn memory(&self) -> (usize, usize) {
        (self.routes.weight_bytes(), device::scratch_bytes())
    }

    #[getter]
    fn device(&self) -> &str {
        self.network().device().name()
    }

    #[getter]
    fn kernels(&self) -> &'static str {
        match self.network().body() {
            Body::Cpu { isa, .. } => isa.name(),
            Body::Portable { .. } => "portable",
            Body::Gpu { .. } => "wgsl",
        }
    }

    #[getter]
    fn dtype(&self) -> &'static str {
        self.network().body().dtype().name()
    }

    /// See `_core.pyi`.
    #[getter]
    fn description_of(&self) -> Option<&str> {
        self.network().folder().description_of()
    }

    /// See `_core.pyi`.
    fn made(&self, name: &str) -> Option<&[u8]> {
        self.network().folder().made(name)
    }

    /// See `_core.pyi`.
    #[getter]
    fn gguf(&self) -> PyResult<Vec<PathBuf>> {
        Ok(self.network().gguf()?)
    }

    /// See `_core.pyi`.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.network().folder().notes().to_vec()
    }

    /// See `_core.pyi`.
    #[getter]
    fn is_quantized(&self) -> bool {
        self.network().is_quantized()
    }

    /// See `_core.pyi`.
    #[getter]
    fn has_tasks(&self) -> bool {
        self.routes.has_tasks()
    }

    /// What is requested, into its array or a new one: see [`BatchResult`].
    fn compute<'py>(&self, py: Python<'py>, request: BatchRequest<'py>) -> PyResult<BatchResult<'py>> {
        let network = self.network_of(py, request.task())?;
        request.compute(py, network)
    }

    /// As `compute`, into a new array, and returns at once: another thread calls `deliver` at the end.
    fn submit(
        &self,
        py: Python<'_>,
        request: BatchRequest<'_>,
        future: Py<PyAny>,
        deliver: Py<PyAny>,
    ) -> PyResult<PyCallHandle> {
        let network = self.network_of(py, request.task())?;
        request.submit(py, network, future, deliver)
    }

    /// See `_core.pyi`.
    #[pyo3(signature = (texts, *, start, limits, prompt, task=None))]
    fn chunk<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyList>,
        start: usize,
        limits: (Option<usize>, usize, Option<usize>),
        prompt: &str,
        task: Option<&str>,
    ) -> PyResult<Vec<ChunkFields<'py>>> {
        let (max_tokens, overlap, max_length) = limits;
        let texts = BorrowedTexts::named("texts", texts, start)?;
        chunks::chunk(
            py,
            self.network_of(py, task)?.network(),
            &texts,
            ChunkOptions { max_tokens, overlap, prompt, max_length },
        )
    }

    /// See `_core.pyi`.
    #[pyo3(signature = (texts, chunks, *, prompt, max_length, task=None))]
    fn chunk_tokens(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyList>,
        chunks: Vec<Vec<(usize, usize)>>,
        prompt: &str,
        max_length: Option<usize>,
        task: Option<&str>,
    ) -> PyResult<Vec<Vec<ChunkTokens>>> {
        let texts = BorrowedTexts::named("texts", texts, 0)?;
        chunks::chunk_tokens(py, self.network_of(py, task)?.network(), &texts, &chunks, prompt, max_length)
    }

    /// See `_core.pyi`.
    fn tokenizer(&self) -> PyTokenizer {
        PyTokenizer::new(self.routes.main())
    }

    /// A dict for each text, or for each pair where `seconds` are given: `input_ids` and `tokens`.
    #[pyo3(signature = (texts, seconds=None, *, prompt, max_length))]
    fn tokenize<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyList>,
        seconds: Option<&Bound<'py, PyList>>,
        prompt: &str,
        max_length: Option<usize>,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let texts = match seconds {
            None => BorrowedTexts::texts(texts, 0)?,
            Some(seconds) => BorrowedTexts::pairs(texts, seconds, 0)?,
        };
        let watch = Watch::new(None);
        let tokens = detached(py, || {
            let result = self.network().tokens(&texts, prompt, max_length, &|| watch.tell(0));
            watch.settle(result)
        })??;
        let dict = |ids: Vec<u32>| {
            let names: Vec<_> = ids.iter().map(|&id| self.network().token(id)).collect();
            let dict = PyDict::new(py);
            dict.set_item("input_ids", ids)?;
            dict.set_item("tokens", names)?;
            Ok(dict)
        };
        tokens.into_iter().map(|tokens| dict(tokens.ids)).collect()
    }
}
