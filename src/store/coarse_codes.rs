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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::numbers;
    use crate::store::Store;
    use crate::store::tests::{add, never_cancel, store};

    /// Coarse codes in memory, of all segments.
    fn made(store: &Store) -> Vec<u8> {
        let data = store.segments().iter().filter_map(|segment| segment.data());
        data.filter_map(|data| data.coarse.get()).flat_map(|codes| codes.to_vec()).collect()
    }

    fn extend(store: &Store, max_bytes: usize) -> usize {
        store.extend_coarse_codes(max_bytes, &never_cancel).unwrap();
        made(store).len() / store.coarse_stride()
    }

    #[test]
    fn rows_get_them_a_part_at_a_time_within_a_limit() {
        for dtype in ["float32", "float16"] {
            let vectors = numbers(40_000 * 8, 1);
            let some = add(&store(8, dtype), &vectors, None);
            let stride = some.coarse_stride();
            assert_eq!(extend(&some, stride - 1), 0);
            assert_eq!(extend(&some, 3 * stride + 5), 3);
            let before = some.memory();
            assert_eq!(extend(&some, usize::MAX), 3 + (1 << 14));
            assert_eq!(some.memory().codes - before.codes, (1 << 14) * stride);
            assert_eq!(some.memory().reserved, before.reserved);
            // Stores with the same rows have them, too, whatever else they have.
            let more = add(&some, &numbers(100 * 8, 2), None).compact(&never_cancel).unwrap();
            let without = some.without(&[0, 1, 39_999]).unwrap();
            for expected in [3 + (2 << 14), 40_000, 40_000] {
                assert_eq!((extend(&without, usize::MAX), made(&some).len() / stride), (expected, expected));
            }
            assert_eq!(made(&more).len(), 0);
            let saved = some.coarse_codes(&attached(&some), &never_cancel).unwrap();
            assert!(made(&some) == saved, "{dtype}");
            some.drop_coarse_codes();
            assert_eq!((made(&without).len(), some.memory().codes), (0, before.codes - 3 * stride));
            assert_eq!(extend(&some, 7 * stride), 7);
        }
    }

    fn attached(store: &Store) -> crate::store::AttachedVectors {
        use crate::store::{AttachedVectors, Vectors};
        match &store.segments()[0].data().unwrap().vectors {
            Vectors::Float32(vectors) => AttachedVectors::Float32(Arc::new(vectors.to_vec())),
            Vectors::Float16(vectors) => AttachedVectors::Float16(Arc::new(vectors.to_vec())),
            Vectors::Int8 | Vectors::Binary(_) => unreachable!("no vectors beside codes"),
        }
    }

    #[test]
    fn rows_that_are_appended_follow() {
        let first = add(&store(5, "float32"), &numbers(300 * 5, 3), None);
        assert_eq!(extend(&first, usize::MAX), 300);
        let both = add(&first, &numbers(200 * 5, 4), None);
        // Of another store that began with the same rows: they lie elsewhere.
        let other = add(&first, &numbers(200 * 5, 5), None);
        assert_eq!((extend(&both, usize::MAX), extend(&other, usize::MAX)), (500, 500));
        let rows: Vec<f32> = [(300, 3), (200, 4)].iter().flat_map(|&(n, seed)| numbers(n * 5, seed)).collect();
        let alone = add(&store(5, "float32"), &rows, None);
        extend(&alone, usize::MAX);
        assert!(made(&both) == made(&alone));
    }

    #[test]
    fn many_queries_and_rows_without_vectors_have_no_use_for_them() {
        let some = add(&store(5, "float32"), &numbers(300 * 5, 3), None);
        assert_eq!([1, 3, 4].map(|queries| some.lacks_coarse_codes(queries)), [true, true, false]);
        extend(&some, usize::MAX);
        assert!(!some.lacks_coarse_codes(1));
        let int8 = add(&store(5, "int8"), &numbers(300 * 5, 3), None);
        assert_eq!((int8.lacks_coarse_codes(1), extend(&int8, usize::MAX)), (false, 0));
    }

    #[test]
    fn threads_that_make_them_at_once_do_each_row_once() {
        let some = add(&store(64, "float32"), &numbers(60_000 * 64, 6), None);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| while extend(&some, usize::MAX) < 60_000 {});
            }
        });
        assert!(made(&some) == some.coarse_codes(&attached(&some), &never_cancel).unwrap());
    }
}
