//! Read-only memory maps: the only unsafe code outside `kernels` and `python`.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::{Error, Result};

pub(super) fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    // SAFETY: the map is read-only and private to this process. Another process that truncates the file while it is
    // mapped can still fault this one, as with every reader of mapped files; the hub's cache never rewrites a file.
    unsafe { Mmap::map(&file) }.map_err(|source| Error::io(path, source))
}
