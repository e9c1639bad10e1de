//! Coarse codes of a store: which rows get them with which search, and those that are saved.

use super::Store;
use super::attach::AttachedVectors;
use super::coarse_codes::encode_rows;
use super::config::StoreConfig;
use super::search::reads_coarse;
use super::segment::Segment;
use crate::kernels::{EncodeError, StoredRows};
use crate::memory::zeroed;
use crate::{CancelCheck, Error, Result};

/// Searches after which all rows in memory have coarse codes: to make those of a row takes as long as to scan about sixteen.
const SEARCHES_UNTIL_COARSE: usize = 16;

/// Rows of which coarse codes are made at least: a millisecond or two.
const MIN_COARSE_ROWS: usize = 1 << 14;

impl Store {
    /// Whether a search for so many queries reads coarse codes, and rows in memory have none.
    pub fn lacks_coarse_codes(&self, queries: usize) -> bool {
        let StoreConfig { dimension, ref device_context, .. } = *self.config;
        let lacks = |segment: &Segment| segment.data().is_some_and(|data| data.lacks_coarse(segment.rows, dimension));
        device_context.is_none() && reads_coarse(queries, self.live, dimension) && self.segments.iter().any(lacks)
    }

    /// Makes coarse codes for more of the rows in memory: at most so many bytes, and of few enough rows that the next search
    /// takes twice its time at most. After some calls all have theirs.
    ///
    /// # Errors
    /// If vectors are bits, or `check_cancel` says so.
    pub fn extend_coarse_codes(&self, max_bytes: usize, check_cancel: CancelCheck<'_>) -> Result<()> {
        let metric = self.number_metric()?;
        let StoreConfig { dimension, isa, .. } = *self.config;
        let most = (self.rows / SEARCHES_UNTIL_COARSE).max(MIN_COARSE_ROWS).min(max_bytes / self.coarse_stride());
        if most == 0 {
            return Ok(());
        }
        self.config.pool.run_on_team(check_cancel, |check_cancel| {
            let mut left = most;
            for segment in &self.segments {
                check_cancel()?;
                let Some(data) = segment.data() else { continue };
                left -= data.extend_coarse(isa, metric, dimension, segment.rows, left);
            }
            Ok(())
        })
    }

    /// Gives the memory of coarse codes that were made back. Searches make them anew.
    pub fn drop_coarse_codes(&self) {
        self.segments.iter().filter_map(Segment::data).for_each(|data| data.coarse.drop_made());
    }

    /// The coarse codes `[n, coarse_stride()]` of vectors `[n, dimension]`, as they are saved with rows.
    ///
    /// # Errors
    /// If they are no numbers of the store's type, or a row has NaN or infinity.
    pub fn coarse_codes(&self, vectors: &AttachedVectors, check_cancel: CancelCheck<'_>) -> Result<Vec<u8>> {
        let metric = self.number_metric()?;
        let StoreConfig { dimension, isa, .. } = *self.config;
        let (stored, numbers) = match vectors {
            AttachedVectors::Float32(vectors) => {
                let vectors = (**vectors).as_ref();
                (StoredRows::Float32(vectors), vectors.len())
            }
            AttachedVectors::Float16(vectors) => {
                let vectors = (**vectors).as_ref();
                (StoredRows::Float16(vectors), vectors.len())
            }
            AttachedVectors::Binary(_) => return Err(Error::argument("vectors", "bits have no codes")),
        };
        let mut coarse = zeroed(numbers / dimension * self.coarse_stride(), "coarse codes")?;
        self.config.pool.run_on_team(check_cancel, |_| {
            encode_rows(isa, metric, stored, dimension, 0, &mut coarse).map_err(|error| match error {
                EncodeError::NotFinite(row) | EncodeError::TooLong(row) => Error::CorruptStore {
                    argument: "vectors",
                    row: Some(row),
                    reason: format!("row {row} has NaN or infinity"),
                },
            })
        })?;
        Ok(coarse)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernels::testing::numbers;
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
