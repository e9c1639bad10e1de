//! Opening files in the cache for writing, but for those that another user or program put there.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use crate::{Error, Result};

/// Opens the regular file at `path` for writing, or makes it, without touching what it holds. A link, or a file that
/// has another name besides, may be another user's and is refused.
pub(super) fn open_own(path: &Path, options: &mut OpenOptions) -> Result<File> {
    let failed = |source| Error::io(path, source);
    let foreign = |what| {
        failed(io::Error::new(io::ErrorKind::InvalidInput, format!("is {what}, which votive does not write to")))
    };
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = match options.create(true).truncate(false).open(path) {
        Err(_) if path.is_symlink() => return Err(foreign("a link")),
        file => file.map_err(failed)?,
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(foreign("no regular file"));
    }
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::nlink(&metadata) > 1 {
        return Err(foreign("a file of two names"));
    }
    #[cfg(windows)]
    if path.is_symlink() {
        return Err(foreign("a link"));
    }
    Ok(file)
}
