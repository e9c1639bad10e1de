//! Read-only memory maps: the only unsafe code outside `kernels` and `python`.

use std::path::Path;

use memmap2::Mmap;

use crate::files::open_file;
use crate::{Error, Result};

pub(super) fn map(path: &Path) -> Result<Mmap> {
    let (file, _) = open_file(path)?;
    // SAFETY: the map is read-only and private to this process. Another process that truncates the file while it is
    // mapped can still fault this one, as with every reader of mapped files; the hub's cache never rewrites a file.
    unsafe { Mmap::map(&file) }.map_err(|source| Error::io(path, source))
}

/// Takes the map's pages out of this process's memory; the next read brings them back from the file.
pub(super) fn release(map: &Mmap) {
    // SAFETY: the advice is unchecked because dropping pages that were written to would lose what they held. A
    // read-only map of a file has no such pages: what is dropped is read again, byte for byte, so borrowed slices
    // stay true. Failure leaves the pages where they are, which costs memory and nothing else.
    #[cfg(unix)]
    let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
    #[cfg(not(unix))]
    let _ = map;
}
