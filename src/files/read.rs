//! Reading a file of a model: a regular one, of no more bytes than such a file can have.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use crate::memory::with_room;
use crate::{Error, Result};

/// Most bytes of a model's JSON files: configurations are kilobytes, and the longest are word lists.
pub(crate) const MAX_JSON_BYTES: u64 = 16 << 20;
/// Most bytes of a tokenizer.json: those of 256,000 tokens have 33 MB.
pub(crate) const MAX_TOKENIZER_BYTES: u64 = 256 << 20;
/// Most bytes of an index of shards: far above any real one (a few megabytes).
pub(crate) const MAX_INDEX_BYTES: u64 = 100_000_000;
/// Most bytes of the name of a commit, or of a token.
pub(crate) const MAX_LINE_BYTES: u64 = 1 << 16;

/// Reads the regular file at `path`, called `name` in messages. One of more than `most` bytes is refused before it is
/// read.
///
/// # Errors
/// [`Error::Io`] where it cannot be opened or read, [`Error::Model`] where it is no regular file, or too large.
pub(crate) fn read_file(path: &Path, name: &str, most: u64) -> Result<Vec<u8>> {
    let failed = |source| Error::io(path, source);
    let (file, bytes) = open_file(path)?;
    let too_large = |bytes: u64| Error::model(name, format!("is {bytes} bytes long; at most {most} are read"));
    if bytes > most {
        return Err(too_large(bytes));
    }
    let mut content = with_room(bytes as usize, name)?;
    // It may grow meanwhile.
    file.take(most + 1).read_to_end(&mut content).map_err(failed)?;
    match content.len() as u64 {
        bytes if bytes > most => Err(too_large(bytes)),
        _ => Ok(content),
    }
}

/// Opens the regular file at `path` for reading, and gives its size in bytes. Nothing else is waited for: a pipe
/// without a writer would never open.
pub(crate) fn open_file(path: &Path) -> Result<(File, u64)> {
    let failed = |source| Error::io(path, source);
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    match metadata.is_file() {
        true => Ok((file, metadata.len())),
        false => Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"))),
    }
}
