//! Coarse codes of a segment's rows. Rows in files have those that were saved with them; rows in memory get theirs by and
//! by, from the searches that read them.
//!
//! So adding takes neither their time nor their memory, and a store that is searched for many queries at a time, or is
//! small, never has them. What a search makes is the rows that follow those which have them.

use std::sync::{Arc, Mutex, PoisonError};

use super::segment_array::{ForeignArray, SegmentArray};
use crate::kernels::{AppendBuffer, EncodeError, Isa, Metric, StoredRows, coarse_stride, encode_coarse, parallel_for};

/// Rows that are encoded at a time: they and their codes stay in a first- or second-level cache.
const BLOCK_ROWS: usize = 16;

/// Coarse codes of the first rows of a segment. All stores that have the segment share them.
#[derive(Clone, Default)]
pub struct CoarseCodes(Arc<Mutex<Option<SegmentArray<u8>>>>);

impl CoarseCodes {
    /// Those of all rows, as they were saved.
    pub(super) fn of_saved(array: ForeignArray<u8>) -> Self {
        Self(Arc::new(Mutex::new(Some(SegmentArray::Foreign(array)))))
    }

    /// `[rows, coarse_stride(dimension)]` of the first rows; None where no row has them.
    pub(super) fn get(&self) -> Option<SegmentArray<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those that were saved, which are of all rows.
    pub fn saved(&self) -> Option<SegmentArray<u8>> {
        self.get().filter(|codes| matches!(codes, SegmentArray::Foreign(_)))
    }

    /// Bytes in use, and foreign bytes in use.
    pub(super) fn bytes(&self) -> [usize; 2] {
        self.get().map_or([0; 2], |array| {
            let [own, foreign, _] = array.bytes();
            [own, foreign]
        })
    }

    /// Gives the memory of those that were made back, once no search reads them.
    pub(super) fn drop_made(&self) {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.take_if(|codes| matches!(codes, SegmentArray::Own(_)));
    }

    /// Makes those of up to `most` rows more of `stored [rows, dimension]`, in memory for `capacity` rows. Returns how many
    /// rows got them: none where there is no memory, where all have them or while another thread makes them.
    pub(super) fn extend(
        &self,
        isa: Isa,
        metric: Metric,
        (stored, dimension): (StoredRows<'_>, usize),
        (rows, capacity): (usize, usize),
        most: usize,
    ) -> usize {
        let stride = coarse_stride(dimension);
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, n, mut claim) = {
            let mut codes = lock();
            if codes.is_none() {
                let buffer = capacity.checked_mul(stride).and_then(AppendBuffer::with_capacity);
                *codes = buffer.map(SegmentArray::Own);
            }
            let Some(SegmentArray::Own(buffer)) = &*codes else { return 0 };
            let start = buffer.as_slice().len() / stride;
            let n = most.min(rows.saturating_sub(start));
            match buffer.claim(n * stride) {
                Some(claim) if n > 0 => (start, n, claim),
                _ => return 0,
            }
        };
        if encode_rows(isa, metric, stored, dimension, start, claim.as_mut_slice()).is_err() {
            return 0;
        }
        let mut codes = lock();
        // They may have been dropped meanwhile.
        let is_next = matches!(&*codes, Some(SegmentArray::Own(buffer)) if buffer.as_slice().len() == start * stride);
        if is_next {
            *codes = Some(SegmentArray::Own(claim.publish()));
        }
        n
    }
}

/// Writes the coarse codes of the rows from `first` on to `coarse`. The caller's team shares the work.
///
/// # Errors
/// If a row is not finite; its number counts from `first`.
pub(super) fn encode_rows(
    isa: Isa,
    metric: Metric,
    stored: StoredRows<'_>,
    dimension: usize,
    first: usize,
    coarse: &mut [u8],
) -> Result<(), EncodeError> {
    let failed = Mutex::new(None);
    let blocks: Vec<_> = coarse.chunks_mut(BLOCK_ROWS * coarse_stride(dimension)).map(Mutex::new).collect();
    // A number takes about four instructions of a vector, as many as four products.
    parallel_for(blocks.len(), 4 * BLOCK_ROWS * dimension, |range| {
        let mut widened = Vec::new();
        for i in range {
            let mut coarse = blocks[i].lock().unwrap_or_else(PoisonError::into_inner);
            let n = coarse.len() / coarse_stride(dimension);
            let numbers = (first + i * BLOCK_ROWS) * dimension..(first + i * BLOCK_ROWS + n) * dimension;
            let vectors = match stored {
                StoredRows::Float32(vectors) => &vectors[numbers],
                StoredRows::Float16(vectors) => {
                    widened.resize(numbers.len(), 0.0);
                    half::slice::HalfFloatSliceExt::convert_to_f32_slice(&vectors[numbers], &mut widened);
                    &widened
                }
                StoredRows::Int8(..) => unreachable!("only vectors have coarse codes"),
            };
            if let Err(error) = encode_coarse(isa, metric, vectors, dimension, &mut coarse) {
                let error = match error {
                    EncodeError::NotFinite(row) => EncodeError::NotFinite(i * BLOCK_ROWS + row),
                    EncodeError::TooLong(row) => EncodeError::TooLong(i * BLOCK_ROWS + row),
                };
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}
