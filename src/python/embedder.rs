//! `_core.Embedder`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::numpy::{PyArray1, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::engine::{self, LoadOptions, Request, TokenEmbeddings};
use crate::hub::{FindOptions, HubEnvironment, Origin, Token, find};
use crate::nn::Body;
use crate::python::profile::Profile;
use crate::python::watch::{DownloadBar, Watch};
use crate::python::{detached, numpy, text};

/// See `_core.pyi`.
#[pyclass(frozen, module = "votive._core")]
pub(super) struct Embedder(engine::Embedder);

/// `token=True` or `False`, or a token.
#[derive(FromPyObject)]
enum TokenArgument {
    Stored(bool),
    Given(String),
}

#[pymethods]
impl Embedder {
    #[new]
    #[pyo3(signature = (
        model_name_or_path, *, device, dtype, revision, cache_folder, local_files_only, token, max_seq_length,
        num_threads, packaged, download
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python function")]
    fn new(
        py: Python<'_>,
        model_name_or_path: &str,
        device: String,
        dtype: String,
        revision: Option<&str>,
        cache_folder: Option<PathBuf>,
        local_files_only: bool,
        token: Option<TokenArgument>,
        max_seq_length: Option<usize>,
        num_threads: Option<usize>,
        packaged: Py<PyAny>,
        download: Py<PyAny>,
    ) -> PyResult<Self> {
        let load = LoadOptions { device, dtype, max_seq_length, num_threads };
        let watch = DownloadBar::new(&download);
        let packaged =
            |name: &str| -> Option<(String, PathBuf)> { watch.ask(|py| packaged.call1(py, (name,))?.extract(py))? };
        detached(py, || {
            let options = FindOptions {
                revision,
                cache_folder: cache_folder.as_deref(),
                local_files_only,
                token: match token {
                    None | Some(TokenArgument::Stored(true)) => Token::Implicit,
                    Some(TokenArgument::Stored(false)) => Token::Never,
                    Some(TokenArgument::Given(token)) => Token::Given(token),
                },
                packaged: &packaged,
                environment: HubEnvironment::read(),
            };
            let folder = find(model_name_or_path, &options, &watch);
            watch.settle(folder).and_then(|folder| Ok(engine::Embedder::load(folder, &load)?))
        })?
        .map(Self)
    }

    #[getter]
    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    #[getter]
    fn max_seq_length(&self) -> Option<usize> {
        self.0.max_seq_length()
    }

    #[setter]
    fn set_max_seq_length(&self, length: usize) -> PyResult<()> {
        Ok(self.0.set_max_seq_length(length)?)
    }

    #[getter]
    fn num_threads(&self) -> usize {
        self.0.threads()
    }

    #[getter]
    fn prompts(&self) -> BTreeMap<String, String> {
        self.0.config().prompts.clone()
    }

    #[getter]
    fn default_prompt_name(&self) -> Option<&str> {
        self.0.config().default_prompt_name.as_deref()
    }

    #[getter]
    fn similarity_fn_name(&self) -> &'static str {
        self.0.config().similarity.name()
    }

    #[getter]
    fn truncate_dim(&self) -> Option<usize> {
        self.0.config().truncate_dim
    }

    #[getter]
    fn folder(&self) -> PathBuf {
        self.0.folder().root().to_owned()
    }

    /// "folder", "cache", "hub" or "package", and the commit or the package's name.
    #[getter]
    fn origin(&self) -> (&'static str, Option<&str>) {
        match self.0.folder().origin() {
            Origin::Folder => ("folder", None),
            Origin::Cache { commit } => ("cache", Some(commit)),
            Origin::Hub { commit } => ("hub", Some(commit)),
            Origin::Package { name } => ("package", Some(name)),
        }
    }

    #[getter]
    fn kernels(&self) -> &'static str {
        match self.0.body() {
            Body::Cpu { isa, .. } => isa.name(),
            Body::Portable { .. } => "portable",
        }
    }

    #[getter]
    fn dtype(&self) -> &'static str {
        self.0.body().dtype().name()
    }

    /// Rows of `out`, or of a new array, are the embeddings of `sentences`; `start` is the position of the first in messages.
    #[pyo3(signature = (sentences, *, prompt, batch_size, normalize, width, out, progress, start, profile))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python function")]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        sentences: &Bound<'py, PyList>,
        prompt: &str,
        batch_size: Option<usize>,
        normalize: bool,
        width: usize,
        out: Option<Bound<'py, PyArray2<f32>>>,
        progress: Option<Py<PyAny>>,
        start: usize,
        profile: Option<&Profile>,
    ) -> PyResult<(Bound<'py, PyArray2<f32>>, usize, Vec<usize>)> {
        let texts = text::borrow(sentences, start)?;
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        let request = Request { prompt, batch_size, normalize, profile: profile.map(|profile| &profile.0) };
        let run = |out: &mut [f32]| {
            let watch = Watch::new(progress.as_ref());
            detached(py, || {
                let result = self.0.encode(&texts, &request, out, &|done| watch.tell(done));
                watch.settle(result)
            })?
        };
        if let Some(out) = out {
            let mut guard = out.try_readwrite()?;
            if guard.shape() != [texts.len(), width] {
                let message = format!("out: expected shape ({}, {width}), found {:?}", texts.len(), guard.shape());
                return Err(PyValueError::new_err(message));
            }
            let slice =
                guard.as_slice_mut().map_err(|_| PyValueError::new_err("out: expected a C-contiguous array"))?;
            let report = run(slice)?;
            drop(guard);
            return Ok((out, report.tokens, report.truncated));
        }
        let mut values = vec![0.0; texts.len() * width];
        let report = run(&mut values)?;
        Ok((numpy::matrix(py, values, texts.len(), width)?, report.tokens, report.truncated))
    }

    /// Hidden states `[all tokens, hidden]`, ids and type ids `[all tokens]`, lengths `[texts]`, embeddings `[texts, width]`, rows of truncated texts.
    #[pyo3(signature = (sentences, *, prompt, batch_size, normalize, width, progress, profile))]
    #[expect(clippy::type_complexity, clippy::too_many_arguments, reason = "a Python function")]
    fn encode_tokens<'py>(
        &self,
        py: Python<'py>,
        sentences: &Bound<'py, PyList>,
        prompt: &str,
        batch_size: Option<usize>,
        normalize: bool,
        width: usize,
        progress: Option<Py<PyAny>>,
        profile: Option<&Profile>,
    ) -> PyResult<(
        Bound<'py, PyArray2<f32>>,
        Bound<'py, PyArray1<i64>>,
        Bound<'py, PyArray1<i64>>,
        Vec<usize>,
        Bound<'py, PyArray2<f32>>,
        Vec<usize>,
    )> {
        let texts = text::borrow(sentences, 0)?;
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        let request = Request { prompt, batch_size, normalize, profile: profile.map(|profile| &profile.0) };
        let watch = Watch::new(progress.as_ref());
        let (found, report) = detached(py, || {
            let result = self.0.encode_tokens(&texts, &request, width, &|done| watch.tell(done));
            watch.settle(result)
        })??;
        let TokenEmbeddings { tokens, hidden, embeddings } = found;
        let lengths: Vec<usize> = tokens.iter().map(|tokens| tokens.len()).collect();
        let ids = tokens.iter().flat_map(|tokens| &tokens.ids).map(|&id| i64::from(id)).collect();
        let type_id = |i: usize, t: usize| tokens[i].type_ids.as_ref().map_or(0, |ids| i64::from(ids[t]));
        let type_ids = (0..tokens.len()).flat_map(|i| (0..tokens[i].len()).map(move |t| (i, t)));
        let type_ids = type_ids.map(|(i, t)| type_id(i, t)).collect();
        Ok((
            numpy::matrix(py, hidden, report.tokens, self.0.hidden_size())?,
            numpy::vector(py, ids),
            numpy::vector(py, type_ids),
            lengths,
            numpy::matrix(py, embeddings, texts.len(), width)?,
            report.truncated,
        ))
    }

    /// A dict for each text: `input_ids` and `tokens`.
    #[pyo3(signature = (sentences, *, prompt))]
    fn tokenize<'py>(
        &self,
        py: Python<'py>,
        sentences: &Bound<'py, PyList>,
        prompt: &str,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let texts = text::borrow(sentences, 0)?;
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        let request = Request { prompt, ..Request::default() };
        let watch = Watch::new(None);
        let tokens = detached(py, || {
            let result = self.0.tokenize(&texts, &request, &|| watch.tell(0));
            watch.settle(result)
        })??;
        let dict = |ids: Vec<u32>| {
            let names: Vec<_> = ids.iter().map(|&id| self.0.token(id)).collect();
            let dict = PyDict::new(py);
            dict.set_item("input_ids", ids)?;
            dict.set_item("tokens", names)?;
            Ok(dict)
        };
        tokens.into_iter().map(|tokens| dict(tokens.ids)).collect()
    }
}
