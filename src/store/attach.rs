//! `Store::attach`: rows whose memory is another owner's, such as mapped files, checked and not copied.

use super::Store;
use super::coarse_codes::CoarseCodes;
use super::config::VectorDtype;
use super::device_copy::DeviceCopy;
use super::encode_rows::{InputVectors, encode_rows};
use super::row_ids::RowIds;
use super::segment::{Segment, SegmentData, Vectors};
use super::segment_array::{ForeignArray, SegmentArray};
use crate::kernels::{Bound, coarse_stride, code_stride};
use crate::{CancelCheck, Error, Result};

use half::f16;

/// Rows as they were saved.
pub struct AttachedRows {
    pub vectors: Option<AttachedVectors>,
    /// `[rows, code_stride(dimension)]`, and as many bounds. None: encoded again.
    pub codes: Option<AttachedCodes>,
    pub ids: RowIds,
}

pub struct AttachedCodes {
    /// `[rows, code_stride(dimension)]`
    pub codes: ForeignArray<i8>,
    /// `[rows]`
    pub bounds: ForeignArray<Bound>,
    /// `[rows, coarse_stride(dimension)]`. None where they were saved without: a search then reads `codes` first.
    pub coarse: Option<ForeignArray<u8>>,
}

/// `[rows, dimension]`
pub enum AttachedVectors {
    Float32(ForeignArray<f32>),
    Float16(ForeignArray<f16>),
    /// `[rows, dimension / 8]`
    Binary(ForeignArray<u8>),
}

fn unfit(argument: &'static str, reason: String) -> Error {
    Error::Store { argument, row: None, reason }
}

fn corrupt(argument: &'static str, row: Option<usize>, reason: String) -> Error {
    Error::CorruptStore { argument, row, reason }
}

impl Store {
    /// This store and more rows, whose memory is held and not copied. `deleted`: numbers of deleted rows, ascending;
    /// those of other rows are passed over. Without vectors and codes the rows are deleted ones: only their numbers and
    /// ids are there.
    ///
    /// Sizes, ids and bounds are checked, so that searches stay within the memory and bounds are bounds; numbers of
    /// vectors and codes are taken as they are.
    ///
    /// # Errors
    /// [`Error::Store`] if an array has the wrong size or type, [`Error::CorruptStore`] if what is in it contradicts
    /// itself.
    pub fn attach(&self, attached: AttachedRows, deleted: &[usize], check_cancel: CancelCheck<'_>) -> Result<Self> {
        self.attach_rows(attached, deleted, false, check_cancel)
    }

    /// As [`Store::attach`], but that two live rows have one id is not found out here: see
    /// [`Store::refuse_duplicate_ids`]. The index of the ids is made when it is first needed.
    pub fn attach_deferred(
        &self,
        attached: AttachedRows,
        deleted: &[usize],
        check_cancel: CancelCheck<'_>,
    ) -> Result<Self> {
        self.attach_rows(attached, deleted, true, check_cancel)
    }

    /// Accepts live rows of which no two have the same id.
    ///
    /// # Errors
    /// [`Error::CorruptStore`] if two have.
    pub fn refuse_duplicate_ids(&self) -> Result<()> {
        let (run, superseded) = self.ids.new_run(self.ids.take(std::iter::once(0..self.rows)))?;
        match superseded.into_iter().find(|&row| self.is_live(row)) {
            Some(row) => {
                let reason = format!("two rows have the id {}", self.ids.display_id(&run, row));
                Err(corrupt("ids", Some(row), reason))
            }
            None => Ok(()),
        }
    }

    fn attach_rows(
        &self,
        attached: AttachedRows,
        deleted: &[usize],
        deferred: bool,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Self> {
        let AttachedRows { vectors, codes, ids } = attached;
        let n = ids.len();
        self.ids.check_kind(&ids).map_err(|error| match error {
            Error::Argument { name, message, .. } => unfit(name, message),
            error => error,
        })?;
        let run =
            if deferred { self.ids.deferred_run(ids).map(|run| (run, Vec::new())) } else { self.ids.new_run(ids) };
        let (run, duplicates) = run.map_err(|error| match error {
            Error::Argument { name, message, .. } => corrupt(name, None, message),
            error => error,
        })?;
        if n == 0 {
            return Ok(self.clone());
        }
        let segment = match self.checked_data(n, vectors, codes, check_cancel)? {
            Some(data) => Segment::new(self.rows, n, data),
            None => Segment::all_deleted(self.rows, n),
        };
        if !deleted.is_sorted() {
            return Err(corrupt("deleted", None, "the numbers of deleted rows do not ascend".to_owned()));
        }
        let start = deleted.partition_point(|&row| row < self.rows);
        let end = deleted.partition_point(|&row| row < self.rows + n);
        let deleted = &deleted[start..end];
        let segment = match deleted {
            [] => segment,
            rows => segment.without(rows.iter().map(|row| row - self.rows)),
        };
        let duplicate =
            |row: usize| corrupt("ids", Some(row), format!("two rows have the id {}", self.ids.display_id(&run, row)));
        if let Some(&row) = duplicates.iter().find(|&&row| segment.is_live(row)) {
            return Err(duplicate(row));
        }
        if !deferred && !self.ids.are_new(run.ids()) {
            let mut found = self.ids.find(run.ids()).enumerate();
            if let Some((row, _)) = found.find(|(_, row)| row.is_some_and(|row| self.is_live(row))) {
                return Err(duplicate(row));
            }
        }
        let mut store = self.clone();
        store.ids = if deferred { self.ids.with_deferred_run(run) } else { self.ids.with_run(run) };
        store.rows += n;
        store.live += segment.live();
        store.segments.push(segment);
        Ok(store)
    }

    /// The arrays of `n` rows, checked; None where there are neither vectors nor codes.
    fn checked_data(
        &self,
        n: usize,
        vectors: Option<AttachedVectors>,
        codes: Option<AttachedCodes>,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Option<SegmentData>> {
        let d = self.config.dimension;
        let vectors = match (vectors, self.config.dtype) {
            (None, VectorDtype::Int8) if codes.is_some() => Vectors::Int8,
            (None, _) if codes.is_none() => return Ok(None),
            (Some(AttachedVectors::Float32(vectors)), VectorDtype::Float32) => {
                Vectors::Float32(SegmentArray::Foreign(vectors))
            }
            (Some(AttachedVectors::Float16(vectors)), VectorDtype::Float16) => {
                Vectors::Float16(SegmentArray::Foreign(vectors))
            }
            (Some(AttachedVectors::Binary(bits)), VectorDtype::Binary) => return checked_bits(n, d / 8, bits, codes),
            (vectors, dtype) => {
                let found = match vectors {
                    Some(AttachedVectors::Float32(_)) => "float32",
                    Some(AttachedVectors::Float16(_)) => "float16",
                    Some(AttachedVectors::Binary(_)) => "ubinary",
                    None => "none",
                };
                let expected = if dtype == VectorDtype::Int8 { "none" } else { dtype.name() };
                let reason = format!("found {found}, where a store of {} has {expected}", dtype.name());
                return Err(unfit("vectors", reason));
            }
        };
        let numbers = match &vectors {
            Vectors::Float32(vectors) => vectors.len(),
            Vectors::Float16(vectors) => vectors.len(),
            Vectors::Int8 | Vectors::Binary(_) => n * d,
        };
        if numbers != n * d {
            let reason = format!("found {numbers} numbers, where {n} rows of {d} have {}", n * d);
            return Err(unfit("vectors", reason));
        }
        let Some(AttachedCodes { codes, bounds, coarse }) = codes else {
            return self.encode_attached(n, vectors, check_cancel).map(Some);
        };
        let (codes, bounds) = (SegmentArray::Foreign(codes), SegmentArray::Foreign(bounds));
        if codes.len() != n * code_stride(d) {
            let reason = format!("found {} bytes, where {n} rows have {}", codes.len(), n * code_stride(d));
            return Err(unfit("codes", reason));
        }
        if bounds.len() != n {
            return Err(unfit("bounds", format!("found {} rows, where there are {n} ids", bounds.len())));
        }
        if let Some(row) = bounds.iter().position(|bound| !is_valid_bound(bound)) {
            return Err(corrupt("bounds", Some(row), format!("row {row} has {:?}", bounds[row])));
        }
        let coarse = match coarse {
            None => CoarseCodes::default(),
            Some(_) if matches!(vectors, Vectors::Int8) => {
                return Err(unfit("coarse", "found coarse codes, where a store of int8 has none".to_owned()));
            }
            Some(coarse) => {
                let (found, expected) = ((*coarse).as_ref().len(), n * coarse_stride(d));
                if found != expected {
                    let reason = format!("found {found} bytes, where {n} rows have {expected}");
                    return Err(unfit("coarse", reason));
                }
                CoarseCodes::of_saved(coarse)
            }
        };
        Ok(Some(SegmentData { vectors, codes, bounds, coarse, device_copy: DeviceCopy::default() }))
    }

    /// Arrays of vectors that are encoded here.
    fn encode_attached(&self, n: usize, vectors: Vectors, check_cancel: CancelCheck<'_>) -> Result<SegmentData> {
        let d = self.config.dimension;
        let data = SegmentData::codes_with_capacity(n, d)?;
        let mut claim = data.claim(n, d).expect("a new segment has room");
        let input = match &vectors {
            Vectors::Float32(vectors) => InputVectors::Float32(vectors),
            Vectors::Float16(vectors) => InputVectors::Float16(vectors),
            Vectors::Int8 | Vectors::Binary(_) => unreachable!("codes are made of numbers"),
        };
        let row_error = |i: usize, why: &str| corrupt("vectors", Some(i), format!("row {i} {why}"));
        encode_rows(&self.config, &mut claim, input, &row_error, check_cancel)?;
        Ok(SegmentData { vectors, ..claim.publish() })
    }
}

/// `n` rows of bits, which have no codes.
fn checked_bits(
    n: usize,
    row_bytes: usize,
    bits: ForeignArray<u8>,
    codes: Option<AttachedCodes>,
) -> Result<Option<SegmentData>> {
    let bits = SegmentArray::Foreign(bits);
    if bits.len() != n * row_bytes {
        let reason = format!("found {} bytes, where {n} rows of {row_bytes} have {}", bits.len(), n * row_bytes);
        return Err(unfit("vectors", reason));
    }
    if codes.is_some() {
        return Err(unfit("codes", "found codes, where a store of ubinary has none".to_owned()));
    }
    SegmentData::of_bits(bits).map(Some)
}

/// Whether a bound is one that a search can compute with.
fn is_valid_bound(bound: &Bound) -> bool {
    let Bound { scale, error, norm, half_square, sum, step } = *bound;
    let finite = [scale, error, norm, half_square, sum, step].iter().all(|x| x.is_finite());
    finite && [scale, error, norm, half_square, step].iter().all(|&x| x >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{add, attached_codes, encoded, found, never_cancel, rows, store, taken};
    use super::*;
    use std::sync::Arc;

    fn attached(store: &Store, ids: RowIds) -> AttachedRows {
        let data = store.segments()[0].data().unwrap();
        let vectors = match &data.vectors {
            Vectors::Float32(vectors) => Some(AttachedVectors::Float32(Arc::new(vectors.to_vec()))),
            Vectors::Float16(vectors) => Some(AttachedVectors::Float16(Arc::new(vectors.to_vec()))),
            Vectors::Int8 | Vectors::Binary(_) => None,
        };
        AttachedRows { vectors, codes: Some(attached_codes(data, data.bounds.to_vec())), ids }
    }

    #[test]
    fn foreign_memory_is_as_good_as_its_own() {
        for dtype in ["float32", "float16", "int8"] {
            let own = add(&store(40, dtype), &rows(0, 500, 40), None);
            let keys = own.live_ids();
            let foreign = store(40, dtype).attach(attached(&own, keys.clone()), &[], &never_cancel).unwrap();
            assert_eq!((encoded(&foreign), foreign.live_ids(), foreign.live()), (encoded(&own), keys.clone(), 500));
            assert_eq!((foreign.memory().vectors, foreign.memory().codes, foreign.memory().reserved), (0, 0, 0));
            assert_eq!(foreign.memory().mapped, own.memory().vectors + own.memory().codes);
            let more = add(&foreign, &rows(500, 3, 40), None);
            assert_eq!((taken(&more, &[499, 500]), more.segments().len()), (rows(499, 2, 40), 2));
            if dtype != "int8" {
                let without_codes = AttachedRows { codes: None, ..attached(&own, keys) };
                let anew = store(40, dtype).attach(without_codes, &[], &never_cancel).unwrap();
                assert_eq!(encoded(&anew), encoded(&own));
            }
        }
    }

    #[test]
    fn deferred_ids_are_found_and_refused_when_they_are_asked_for() {
        let own = add(&store(4, "float32"), &rows(0, 4, 4), None);
        let defer = |to: &Store, ids: [i64; 4], deleted: &[usize]| {
            to.attach_deferred(attached(&own, RowIds::Int64(ids.to_vec())), deleted, &never_cancel).unwrap()
        };
        let one = defer(&store(4, "float32"), [9, 2, 7, 3], &[]);
        let two = defer(&one, [1, 8, 5, 2], &[1]);
        assert_eq!(found(&two, [1, 2, 3, 4, 7, 9]), [Some(4), Some(7), Some(3), None, Some(2), Some(0)]);
        // What was deleted in one segment is live in the next only if the first says so.
        assert!(two.refuse_duplicate_ids().is_err_and(|error| error.to_string().contains("two rows have the id 2")));
        let three = defer(&one.without(&[1]).unwrap(), [1, 8, 5, 2], &[]);
        three.refuse_duplicate_ids().unwrap();
        let more = add(&three, &rows(0, 2, 4), Some(RowIds::Int64(vec![8, 100])));
        assert_eq!((found(&more, [8, 100, 9]), more.live()), (vec![Some(8), Some(9), Some(0)], 8));
        more.refuse_duplicate_ids().unwrap();
        let twice = defer(&store(4, "float32"), [7, 8, 7, 9], &[]);
        assert!(twice.refuse_duplicate_ids().is_err());
    }

    #[test]
    fn attached_rows_may_be_deleted_ones() {
        let own = add(&store(4, "float32"), &rows(0, 4, 4), None);
        let ids = |ids: [i64; 4]| RowIds::Int64(ids.to_vec());
        let one = store(4, "float32").attach(attached(&own, ids([1, 2, 1, 3])), &[0, 3, 7], &never_cancel).unwrap();
        let gone = one
            .attach(AttachedRows { vectors: None, codes: None, ids: ids([4, 5, 6, 3]) }, &[0, 3], &never_cancel)
            .unwrap();
        let two = gone.attach(attached(&own, ids([9, 3, 5, 4])), &[0, 3, 8], &never_cancel).unwrap();
        assert_eq!((two.rows(), two.live(), two.deleted()), (12, 5, vec![0, 3, 4, 5, 6, 7, 8]));
        assert_eq!(found(&two, [1, 2, 3, 4, 5, 6, 9]), [Some(2), Some(1), Some(9), Some(11), Some(10), None, None]);
    }

    #[test]
    fn what_does_not_fit_is_not_attached() {
        let own = add(&store(4, "float32"), &rows(0, 4, 4), None);
        let base = store(4, "float32").attach(attached(&own, own.live_ids()), &[1], &never_cancel).unwrap();
        let refused = |to: &Store, attached: AttachedRows, deleted: &[usize], why: &str| {
            let error = to.attach(attached, deleted, &never_cancel).err().unwrap();
            assert!(error.to_string().contains(why), "{error}");
            matches!(error, Error::CorruptStore { .. })
        };
        let keys = || RowIds::Range(10..14);
        let duplicate = "two rows have the id";
        assert!(refused(&base, attached(&own, RowIds::Int64(vec![7, 8, 7, 9])), &[], duplicate));
        assert!(refused(&base, attached(&own, RowIds::Int64(vec![7, 8, 7, 9])), &[6], duplicate));
        assert!(refused(&base, attached(&own, RowIds::Int64(vec![9, 8, 7, 0])), &[], "two rows have the id 0"));
        assert!(base.attach(attached(&own, RowIds::Int64(vec![9, 8, 7, 1])), &[], &never_cancel).is_ok());
        assert!(refused(&base, attached(&own, RowIds::Int64(vec![-9, 8, 7, 6])), &[], "-9"));
        assert!(refused(&base, attached(&own, keys()), &[6, 9, 5], "do not ascend"));
        assert!(!refused(&base, attached(&own, RowIds::Range(10..15)), &[], "vectors: found 16 numbers"));
        let float16 = add(&store(4, "float16"), &rows(0, 4, 4), None);
        assert!(!refused(&base, attached(&float16, keys()), &[], "found float16"));
        let int8 = add(&store(4, "int8"), &rows(0, 4, 4), None);
        assert!(!refused(&base, attached(&int8, keys()), &[], "found none"));
        assert!(!refused(&int8, attached(&own, keys()), &[], "store of int8 has none"));
        for (codes, bounds, coarse) in [(255, 4, 4 * 48), (256, 3, 4 * 48), (256, 4, 4 * 47), (256, 4, 3 * 48)] {
            let codes = Some(AttachedCodes {
                codes: Arc::new(vec![0_i8; codes]),
                bounds: Arc::new(vec![Bound::default(); bounds]),
                coarse: Some(Arc::new(vec![0_u8; coarse])),
            });
            assert!(!refused(&base, AttachedRows { codes, ..attached(&own, keys()) }, &[], "found"));
        }
        let coarse_of_int8 = {
            let Some(codes) = attached(&int8, keys()).codes else { unreachable!("int8 has codes") };
            AttachedCodes { coarse: Some(Arc::new(vec![0_u8; 4 * 48])), ..codes }
        };
        let coarse_of_int8 = AttachedRows { vectors: None, codes: Some(coarse_of_int8), ids: keys() };
        assert!(!refused(&int8, coarse_of_int8, &[], "coarse: found coarse codes"));
        for bad in [f32::NAN, f32::INFINITY, -1.0] {
            let data = own.segments()[0].data().unwrap();
            let mut bounds = data.bounds.to_vec();
            bounds[2].error = bad;
            let codes = Some(attached_codes(data, bounds));
            assert!(refused(&base, AttachedRows { codes, ..attached(&own, keys()) }, &[], "bounds: row 2"));
        }
        let vectors = Some(AttachedVectors::Float32(Arc::new(vec![f32::NAN; 16])));
        assert!(refused(&base, AttachedRows { vectors, codes: None, ids: keys() }, &[], "row 0 has NaN"));
    }
}
