//! Reading weights that were packed before: `panel_index.rs` has the format of their file.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use memmap2::Mmap;
use safetensors::Dtype;

use super::Weights;
use super::panel_index::{CHECKED_BYTES, PREFIX, PanelIndex, PanelMatrix};
use crate::{Error, Result};

/// Parts after which the file's pages are released, so that they are never there as a whole.
const RELEASED_PARTS: usize = 4;

impl Weights {
    /// What the file says of its panels, where the weights were packed before.
    pub fn panels(&self) -> Option<&PanelIndex> {
        self.panels.as_ref()
    }

    /// A matrix that was packed before, and where its bytes are mapped.
    pub fn panel_matrix(&self, key: &str) -> Option<(&PanelMatrix, Arc<Mmap>, Range<usize>)> {
        let matrix = self.panels.as_ref()?.matrices.get(key)?;
        let file = self.files.first()?;
        Some((matrix, file.map(), file.tensors.get(&format!("{PREFIX}{key}"))?.bytes.clone()))
    }

    /// What is wrong with the panels of that key.
    pub fn panel_error(&self, key: &str, message: impl std::fmt::Display) -> Error {
        Error::model_tensor(&self.source, &format!("{PREFIX}{key}"), message)
    }

    /// The type of a tensor's numbers, and where they are mapped, row after row, in a file that is kept mapped.
    pub fn mapped(&self, name: &str) -> Option<(Dtype, Arc<Mmap>, Range<usize>)> {
        let file = self.files.first().filter(|_| self.panels.is_some())?;
        let extent = file.tensors.get(name).filter(|extent| extent.ggml.is_none() && extent.strides.is_none())?;
        Some((extent.dtype, file.map(), extent.bytes.clone()))
    }

    /// Compares all bytes of weights that were packed before with their checksums, on so many threads.
    ///
    /// # Errors
    /// [`Error::Model`] that names a tensor with other bytes.
    pub fn verify(&self, threads: usize) -> Result<()> {
        let (Some(index), Some(file)) = (&self.panels, self.files.first()) else { return Ok(()) };
        let parts: Vec<_> = file
            .tensors
            .iter()
            .flat_map(|(name, extent)| {
                let parts = file.bytes(extent).chunks(CHECKED_BYTES).zip(&index.checksums[name]);
                parts.map(move |(bytes, checksum)| (name, bytes, checksum))
            })
            .collect();
        let next = AtomicUsize::new(0);
        let check = || {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some((name, bytes, checksum)) = parts.get(i) else { return Ok(()) };
                if crc32c::crc32c(bytes) != **checksum {
                    let message =
                        "has other bytes than were written: the file is damaged; write it again with votive quantize";
                    return Err(Error::model_tensor(&file.name, name, message));
                }
                if i.is_multiple_of(RELEASED_PARTS) {
                    file.release();
                }
            }
        };
        thread::scope(|scope| {
            // Where no thread can be had, those that there are do the work.
            let spawn = |_| thread::Builder::new().spawn_scoped(scope, check).ok();
            let others: Vec<_> = (1..threads).filter_map(spawn).collect();
            let own = check();
            let others = others.into_iter().map(|other| other.join().expect("comparing does not panic"));
            others.fold(own, Result::and)
        })
    }
}
