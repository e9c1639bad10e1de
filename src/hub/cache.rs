//! One repository in the Hugging Face cache, in the layout that huggingface_hub reads and writes.
//!
//! `blobs/{etag}` holds each file once, `snapshots/{commit}/{file}` links to it, `refs/{revision}` names the commit that
//! a branch or tag stood at, `.no_exist/{commit}/{file}` remembers that a commit has no such file.

use std::fs::{self, File, TryLockError};
use std::io;
use std::iter;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use hf_hub::{Repo, RepoType};

use super::download::{self, DownloadWatch};
use crate::{Error, Result};

const LOCK_POLL: Duration = Duration::from_millis(100);

pub(super) struct RepoCache {
    /// `{cache folder}/models--{owner}--{name}`
    root: PathBuf,
    locks: PathBuf,
}

impl RepoCache {
    pub(super) fn new(cache_folder: &Path, repo: &str) -> Self {
        let folder = Repo::new(repo.to_owned(), RepoType::Model).folder_name();
        Self { root: cache_folder.join(&folder), locks: cache_folder.join(".locks").join(folder) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The commit of `revision`: what the branch or tag stood at when it was last asked for, or itself a commit.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        let commit = match fs::read_to_string(self.root.join("refs").join(revision)) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => revision.to_owned(),
        };
        (is_file_name(&commit) && self.snapshot(&commit).is_dir()).then_some(commit)
    }

    /// Where `commit`'s files are, or would be. `commit` must have passed [`is_file_name`].
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// Where a download lies until it is whole.
    pub(super) fn partial(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(format!("{etag}.incomplete"))
    }

    pub(super) fn set_commit(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit {
            return Ok(());
        }
        let refs = self.root.join("refs");
        let path = refs.join(revision);
        // A ref is replaced whole: another process may be reading it.
        let new = refs.join(format!("{revision}.{}.tmp", process::id()));
        create_parent(&new)?;
        fs::write(&new, commit).map_err(|source| Error::io(&new, source))?;
        fs::rename(&new, &path).map_err(|source| Error::io(&path, source))
    }

    pub(super) fn is_known_absent(&self, commit: &str, file: &str) -> bool {
        self.root.join(".no_exist").join(commit).join(file).is_file()
    }

    pub(super) fn set_known_absent(&self, commit: &str, file: &str) -> Result<()> {
        let path = self.root.join(".no_exist").join(commit).join(file);
        create_parent(&path)?;
        File::create(&path).map(drop).map_err(|source| Error::io(&path, source))
    }

    /// Waits until no other process downloads `etag`. The lock goes with the returned file.
    pub(super) fn lock(&self, etag: &str, watch: &dyn DownloadWatch) -> Result<File> {
        let path = self.locks.join(format!("{etag}.lock"));
        create_parent(&path)?;
        let file = File::create(&path).map_err(|source| Error::io(&path, source))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => download::pause(LOCK_POLL, watch)?,
                // A file system without locks: what it costs is a second download at the same time, and its size is
                // checked like any other's.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(file),
                Err(TryLockError::Error(source)) => return Err(Error::io(path, source)),
            }
        }
    }

    /// With the lock of `etag` held, puts its blob at `file` of `commit`'s snapshot.
    pub(super) fn link(&self, etag: &str, commit: &str, file: &str) -> Result<()> {
        let (blob, pointer) = (self.blob(etag), self.snapshot(commit).join(file));
        create_parent(&pointer)?;
        // Relative, so that the cache can be moved: up from snapshots/{commit}/{folders of file}.
        let up = iter::repeat_n("..", 2 + file.matches('/').count());
        let target: PathBuf = up.chain(["blobs", etag]).collect();
        // Made beside and renamed: another thread may be reading what is there.
        let link = self.root.join("blobs").join(format!("{etag}.link"));
        drop(fs::remove_file(&link));
        #[cfg(unix)]
        let linked = std::os::unix::fs::symlink(&target, &link);
        #[cfg(windows)]
        let linked = std::os::windows::fs::symlink_file(&target, &link);
        // Windows lets only some users make links; huggingface_hub also moves the blob then.
        let source = if linked.is_ok() { link } else { blob };
        fs::rename(source, &pointer).map_err(|source| Error::io(pointer, source))
    }
}

pub(super) fn create_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(|source| Error::io(parent, source)),
        None => Ok(()),
    }
}

/// Whether a name that the hub gave (a commit, an etag) can stand for one file and nothing else.
pub(super) fn is_file_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=128).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.')
}
