//! Finding a model in the Hugging Face cache and on a hub: a small one on 127.0.0.1.

mod cache;
mod download;
mod hostile;
mod integrity;
mod network;
mod refusals;
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use server::{Files, Hub, REPO};
use tempfile::TempDir;
use votive::files::ModelFolder;
use votive::hub::{DownloadWatch, FindOptions, HubEnvironment, NetworkEnvironment, Token, find};
use votive::{Error, Result};

/// One file's download, as a watch was told of it.
#[derive(Debug, Clone, PartialEq)]
struct Progress {
    file: String,
    bytes: u64,
    resumed_at: u64,
    advanced: u64,
    finished: bool,
}

/// Remembers what it is told, and stops the download after some bytes or looks.
struct Watch {
    files: Mutex<Vec<Progress>>,
    bytes_left: AtomicU64,
    looks_left: AtomicU64,
}

impl Watch {
    fn new() -> Self {
        Self {
            files: Mutex::default(),
            bytes_left: AtomicU64::new(u64::MAX / 2),
            looks_left: AtomicU64::new(u64::MAX / 2),
        }
    }

    fn stopping_after_bytes(bytes: u64) -> Self {
        Self { bytes_left: AtomicU64::new(bytes), ..Self::new() }
    }

    fn stopping_after_looks(looks: u64) -> Self {
        Self { looks_left: AtomicU64::new(looks), ..Self::new() }
    }

    /// What was told of `file`, once per start.
    fn of(&self, file: &str) -> Vec<Progress> {
        self.files.lock().unwrap().iter().filter(|progress| progress.file == file).cloned().collect()
    }
}

impl DownloadWatch for Watch {
    fn start(&self, file: &str, bytes: u64, resumed_at: u64) {
        let mut files = self.files.lock().unwrap();
        assert!(files.last().is_none_or(|last| last.finished), "{file} begins before the last file is finished");
        files.push(Progress { file: file.to_owned(), bytes, resumed_at, advanced: 0, finished: false });
    }

    fn advance(&self, bytes: u64) {
        self.files.lock().unwrap().last_mut().unwrap().advanced += bytes;
        let left = self.bytes_left.load(Ordering::Relaxed);
        self.bytes_left.store(left.saturating_sub(bytes), Ordering::Relaxed);
    }

    fn finish(&self) {
        self.files.lock().unwrap().last_mut().unwrap().finished = true;
    }

    fn check(&self) -> Result<()> {
        let looks = self.looks_left.load(Ordering::Relaxed);
        self.looks_left.store(looks.saturating_sub(1), Ordering::Relaxed);
        match looks == 0 || self.bytes_left.load(Ordering::Relaxed) == 0 {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }
}

/// A cache and the ways to look for `REPO` with it.
struct Place {
    cache: TempDir,
    environment: HubEnvironment,
}

impl Place {
    fn new(endpoint: impl Into<String>) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let environment = HubEnvironment {
            endpoint: endpoint.into(),
            credentials: None,
            cache_folder: Some(cache.path().to_owned()),
            token: None,
            offline: false,
            timeout: Duration::from_secs(10),
            network: NetworkEnvironment::default(),
        };
        Self { cache, environment }
    }

    fn of(hub: &Hub) -> Self {
        Self::new(hub.api.url())
    }

    fn options(&self) -> FindOptions<'_> {
        FindOptions {
            revision: None,
            base: None,
            gguf_file: None,
            cache_folder: None,
            local_files_only: false,
            token: Token::Implicit,
            packaged: &|_| None,
            environment: self.environment.clone(),
        }
    }

    fn find(&self) -> Result<ModelFolder> {
        find(REPO, &self.options(), &Watch::new())
    }

    fn find_watched(&self, watch: &Watch) -> Result<ModelFolder> {
        find(REPO, &self.options(), watch)
    }

    fn find_offline(&self) -> Result<ModelFolder> {
        find(REPO, &FindOptions { local_files_only: true, ..self.options() }, &Watch::new())
    }

    fn find_revision(&self, revision: &str) -> Result<ModelFolder> {
        find(REPO, &FindOptions { revision: Some(revision), ..self.options() }, &Watch::new())
    }

    fn repo(&self) -> PathBuf {
        self.cache.path().join("models--ada--tiny")
    }

    /// The names in a folder of the repository's cache.
    fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.repo().join(folder)) else { return vec![] };
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A safetensors file of one tensor of `length` values.
fn safetensors(name: &str, length: usize) -> Vec<u8> {
    let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[{length}],"data_offsets":[0,{}]}}}}"#, 4 * length);
    let data = (0..length).flat_map(|value| (value as f32).to_le_bytes());
    (header.len() as u64).to_le_bytes().into_iter().chain(header.bytes()).chain(data).collect()
}

fn files(entries: &[(&str, &[u8])]) -> Files {
    entries.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect()
}

/// What votive reads of a sentence-transformers model, with weights of 400 KB.
fn tiny_model() -> Files {
    let modules = br#"[{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},
        {"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.models.Pooling"},
        {"idx":2,"name":"2","path":"2_Normalize","type":"sentence_transformers.models.Normalize"}]"#;
    files(&[
        ("1_Pooling/config.json", br#"{"pooling_mode_mean_tokens":true}"#),
        ("config.json", br#"{"model_type":"bert"}"#),
        ("config_sentence_transformers.json", br#"{"prompts":{}}"#),
        ("model.safetensors", &safetensors("weight", 100_000)),
        ("modules.json", modules),
        ("sentence_bert_config.json", br#"{"max_seq_length":256}"#),
        ("special_tokens_map.json", b"{}"),
        ("tokenizer.json", br#"{"version":"1.0"}"#),
        ("tokenizer_config.json", br#"{"do_lower_case":true}"#),
    ])
}

/// Asserts that `folder` holds exactly `files`.
fn assert_holds(folder: &ModelFolder, files: &Files) {
    for (name, content) in files {
        let path = folder.file(name).unwrap().unwrap_or_else(|| panic!("{name} is not there"));
        assert!(fs::read(path).unwrap() == *content, "{name} has another content");
    }
    assert_eq!(count_files(folder.root()), files.len());
}

fn count_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}
