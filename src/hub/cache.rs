//! One repository in the Hugging Face cache, in the layout that huggingface_hub reads and writes.
//!
//! `blobs/{etag}` holds each file once, `snapshots/{commit}/{file}` links to it, `refs/{revision}` names the commit that
//! a branch or tag stood at, `.no_exist/{commit}/{file}` remembers that a commit has no such file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::Builder;

use super::own_file::open_own;
use super::watch::{DownloadWatch, pause};
use crate::files::{MAX_LINE_BYTES, read_file};
use crate::{Error, Result};

const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct RepoCache {
    /// `{cache folder}/models--{owner}--{name}`
    root: PathBuf,
    locks: PathBuf,
}

impl RepoCache {
    pub(super) fn new(cache_folder: &Path, repo: &str) -> Self {
        let folder = format!("models--{}", repo.replace('/', "--"));
        Self { root: cache_folder.join(&folder), locks: cache_folder.join(".locks").join(folder) }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The commit of `revision`: what the branch or tag stood at when it was last asked for, or itself a commit.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        let stored = read_file(&self.root.join("refs").join(revision), revision, MAX_LINE_BYTES).ok();
        let commit = match stored.and_then(|stored| String::from_utf8(stored).ok()) {
            Some(commit) => commit.trim().to_owned(),
            None => revision.to_owned(),
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
        let path = self.root.join("refs").join(revision);
        let failed = |source| Error::io(&path, source);
        let folder = self.create_parent(&path)?;
        // A ref is replaced whole: another process may be reading it.
        let mut new = temporary_names().tempfile_in(folder).map_err(failed)?;
        new.write_all(commit.as_bytes()).map_err(failed)?;
        new.persist(&path).map(drop).map_err(|error| failed(error.error))
    }

    pub(super) fn is_known_absent(&self, commit: &str, file: &str) -> bool {
        self.root.join(".no_exist").join(commit).join(file).is_file()
    }

    pub(super) fn set_known_absent(&self, commit: &str, file: &str) -> Result<()> {
        let path = self.root.join(".no_exist").join(commit).join(file);
        self.create_parent(&path)?;
        open_own(&path, OpenOptions::new().write(true)).map(drop)
    }

    /// Waits until no other process downloads `etag`. The lock goes with the returned file.
    pub(super) fn lock(&self, etag: &str, watch: &dyn DownloadWatch) -> Result<File> {
        let path = self.locks.join(format!("{etag}.lock"));
        fs::create_dir_all(&self.locks).map_err(|source| Error::io(&self.locks, source))?;
        let file = open_own(&path, OpenOptions::new().write(true))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => pause(LOCK_POLL_INTERVAL, watch)?,
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
        let failed = |source| Error::io(&pointer, source);
        self.create_parent(&pointer)?;
        // Relative, so that the cache can be moved: up from snapshots/{commit}/{folders of file}.
        let up = iter::repeat_n("..", 2 + file.matches('/').count());
        let target: PathBuf = up.chain(["blobs", etag]).collect();
        // Made beside and renamed: another thread may be reading what is there.
        #[cfg(unix)]
        let link = |new: &Path| std::os::unix::fs::symlink(&target, new);
        #[cfg(windows)]
        let link = |new: &Path| std::os::windows::fs::symlink_file(&target, new);
        match temporary_names().make_in(self.root.join("blobs"), link) {
            Ok(link) => link.persist(&pointer).map_err(|error| failed(error.error)),
            // Windows lets only some users make links; huggingface_hub also moves the blob then.
            Err(_) => fs::rename(blob, &pointer).map_err(failed),
        }
    }

    /// Makes the folder that `path`, in this cache, is to be in. Below the folders that all repositories have, no link
    /// leads anywhere else: what is made there must not land outside.
    pub(super) fn create_parent<'a>(&self, path: &'a Path) -> Result<&'a Path> {
        let parent = path.parent().unwrap_or(path);
        fs::create_dir_all(parent).map_err(|source| Error::io(parent, source))?;
        let depth = self.root.components().count() + 1;
        let is_inside = |folder: &&Path| folder.components().count() > depth;
        match parent.ancestors().take_while(is_inside).find(|folder| folder.is_symlink()) {
            Some(link) => Err(Error::io(link, io::Error::new(io::ErrorKind::InvalidInput, "is a link, not a folder"))),
            None => Ok(parent),
        }
    }
}

/// Makes files that are renamed when they are whole: under names that no other program can foresee, with the permissions of
/// the process's own files.
fn temporary_names() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

/// Whether a name that the hub gave (a commit, an etag) can stand for one file and nothing else.
pub(super) fn is_file_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=128).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.')
}
