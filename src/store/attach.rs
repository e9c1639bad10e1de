//! Rows whose memory is another's.

use super::fill::{Given, fill};
use super::mirror::Mirror;
use super::segment::{Foreign, Held, Memory, Segment, Vectors};
use super::{Dtype, Keys, Store};
use crate::kernels::{Bound, code_stride};
use crate::{CancelCheck, Error, Result};

use half::f16;

/// Rows as they were kept.
pub struct Attached {
    pub vectors: Option<AttachedVectors>,
    /// `[rows, code_stride(dimension)]`, and as many bounds. None: made anew.
    pub codes: Option<(Foreign<i8>, Foreign<Bound>)>,
    pub ids: Keys,
}

/// `[rows, dimension]`
pub enum AttachedVectors {
    Float32(Foreign<f32>),
    Float16(Foreign<f16>),
}

fn unfit(argument: &'static str, reason: String) -> Error {
    Error::Store { argument, row: None, reason }
}

fn corrupt(argument: &'static str, row: Option<usize>, reason: String) -> Error {
    Error::CorruptStore { argument, row, reason }
}

impl Store {
    /// With rows at the end whose memory is held and not copied. `deleted`: numbers of deleted rows, ascending; those of other rows are passed
    /// over. Without vectors and codes the rows are gone: only their numbers and ids are there.
    ///
    /// Sizes, ids and bounds are checked, so that no search goes astray; numbers of vectors and codes are taken as they are.
    pub fn attach(&self, attached: Attached, deleted: &[usize], check_cancel: CancelCheck<'_>) -> Result<Self> {
        let Attached { vectors, codes, ids } = attached;
        let n = ids.len();
        self.ids.check_kind(&ids).map_err(|error| match error {
            Error::Argument { name, message } => unfit(name, message),
            error => error,
        })?;
        let (level, again) = self.ids.level(ids).map_err(|error| match error {
            Error::Argument { name, message } => corrupt(name, None, message),
            error => error,
        })?;
        if n == 0 {
            return Ok(self.clone());
        }
        let segment = match self.held(n, vectors, codes, check_cancel)? {
            Some(held) => Segment::new(self.rows, n, held),
            None => Segment::gone(self.rows, n),
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
        let twice =
            |row: usize| corrupt("ids", Some(row), format!("two rows have the id {}", self.ids.name(&level, row)));
        if let Some(&row) = again.iter().find(|&&row| segment.is_live(row)) {
            return Err(twice(row));
        }
        if !self.ids.are_new(level.keys()) {
            let mut found = self.ids.find(level.keys()).enumerate();
            if let Some((row, _)) = found.find(|(_, row)| row.is_some_and(|row| self.is_live(row))) {
                return Err(twice(row));
            }
        }
        let mut store = self.clone();
        store.ids = self.ids.with(level);
        store.rows += n;
        store.live += segment.live();
        store.segments.push(segment);
        Ok(store)
    }

    /// The memory of `n` rows, checked.
    fn held(
        &self,
        n: usize,
        vectors: Option<AttachedVectors>,
        codes: Option<(Foreign<i8>, Foreign<Bound>)>,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Option<Held>> {
        let d = self.fixed.dimension;
        let vectors = match (vectors, self.fixed.dtype) {
            (None, Dtype::Int8) if codes.is_some() => Vectors::Int8,
            (None, _) if codes.is_none() => return Ok(None),
            (Some(AttachedVectors::Float32(vectors)), Dtype::Float32) => Vectors::Float32(Memory::Foreign(vectors)),
            (Some(AttachedVectors::Float16(vectors)), Dtype::Float16) => Vectors::Float16(Memory::Foreign(vectors)),
            (vectors, dtype) => {
                let found = match vectors {
                    Some(AttachedVectors::Float32(_)) => "float32",
                    Some(AttachedVectors::Float16(_)) => "float16",
                    None => "none",
                };
                let expected = if dtype == Dtype::Int8 { "none" } else { dtype.name() };
                let reason = format!("found {found}, where a store of {} has {expected}", dtype.name());
                return Err(unfit("vectors", reason));
            }
        };
        let numbers = match &vectors {
            Vectors::Float32(vectors) => vectors.len(),
            Vectors::Float16(vectors) => vectors.len(),
            Vectors::Int8 => n * d,
        };
        if numbers != n * d {
            let reason = format!("found {numbers} numbers, where {n} rows of {d} have {}", n * d);
            return Err(unfit("vectors", reason));
        }
        let Some((codes, bounds)) = codes else {
            return self.encoded(n, vectors, check_cancel).map(Some);
        };
        let (codes, bounds) = (Memory::Foreign(codes), Memory::Foreign(bounds));
        if codes.len() != n * code_stride(d) {
            let reason = format!("found {} bytes, where {n} rows have {}", codes.len(), n * code_stride(d));
            return Err(unfit("codes", reason));
        }
        if bounds.len() != n {
            return Err(unfit("bounds", format!("found {} rows, where there are {n} ids", bounds.len())));
        }
        if let Some(row) = bounds.iter().position(|bound| !is_sane(bound)) {
            return Err(corrupt("bounds", Some(row), format!("row {row} has {:?}", bounds[row])));
        }
        Ok(Some(Held { vectors, codes, bounds, mirror: Mirror::default() }))
    }

    /// Vectors with codes made anew.
    fn encoded(&self, n: usize, vectors: Vectors, check_cancel: CancelCheck<'_>) -> Result<Held> {
        let d = self.fixed.dimension;
        // Codes and bounds alone.
        let mut space = Held::with_capacity(n, d, Dtype::Int8)?.claim(n, d).expect("a new segment has room");
        let given = match &vectors {
            Vectors::Float32(vectors) => Given::Float32(vectors),
            Vectors::Float16(vectors) => Given::Float16(vectors),
            Vectors::Int8 => unreachable!("codes are made of vectors"),
        };
        let refuse = |i: usize, why: &str| corrupt("vectors", Some(i), format!("row {i} {why}"));
        fill(&self.fixed, &mut space, given, &refuse, check_cancel)?;
        Ok(Held { vectors, ..space.publish() })
    }
}

/// Whether a search can compute with it.
fn is_sane(bound: &Bound) -> bool {
    let Bound { scale, error, norm, half_square, sum, step } = *bound;
    let finite = [scale, error, norm, half_square, sum, step].iter().all(|x| x.is_finite());
    finite && [scale, error, norm, half_square, step].iter().all(|&x| x >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{add, encoded, found, patient, rows, store, taken};
    use super::*;
    use std::sync::Arc;

    fn attached(store: &Store, ids: Keys) -> Attached {
        let held = store.segments()[0].held().unwrap();
        let vectors = match &held.vectors {
            Vectors::Float32(vectors) => Some(AttachedVectors::Float32(Arc::new(vectors.to_vec()))),
            Vectors::Float16(vectors) => Some(AttachedVectors::Float16(Arc::new(vectors.to_vec()))),
            Vectors::Int8 => None,
        };
        Attached { vectors, codes: Some((Arc::new(held.codes.to_vec()), Arc::new(held.bounds.to_vec()))), ids }
    }

    #[test]
    fn foreign_memory_is_as_good_as_its_own() {
        for dtype in ["float32", "float16", "int8"] {
            let own = add(&store(40, dtype), &rows(0, 500, 40), None);
            let keys = own.live_ids();
            let foreign = store(40, dtype).attach(attached(&own, keys.clone()), &[], &patient).unwrap();
            assert_eq!((encoded(&foreign), foreign.live_ids(), foreign.live()), (encoded(&own), keys.clone(), 500));
            assert_eq!((foreign.memory().vectors, foreign.memory().codes, foreign.memory().reserved), (0, 0, 0));
            assert_eq!(foreign.memory().mapped, own.memory().vectors + own.memory().codes);
            let more = add(&foreign, &rows(500, 3, 40), None);
            assert_eq!((taken(&more, &[499, 500]), more.segments().len()), (rows(499, 2, 40), 2));
            if dtype != "int8" {
                let without_codes = Attached { codes: None, ..attached(&own, keys) };
                let anew = store(40, dtype).attach(without_codes, &[], &patient).unwrap();
                assert_eq!(encoded(&anew), encoded(&own));
            }
        }
    }

    #[test]
    fn attached_rows_may_be_deleted_ones() {
        let own = add(&store(4, "float32"), &rows(0, 4, 4), None);
        let ids = |ids: [i64; 4]| Keys::Int64(ids.to_vec());
        let one = store(4, "float32").attach(attached(&own, ids([1, 2, 1, 3])), &[0, 3, 7], &patient).unwrap();
        let gone =
            one.attach(Attached { vectors: None, codes: None, ids: ids([4, 5, 6, 3]) }, &[0, 3], &patient).unwrap();
        let two = gone.attach(attached(&own, ids([9, 3, 5, 4])), &[0, 3, 8], &patient).unwrap();
        assert_eq!((two.rows(), two.live(), two.deleted()), (12, 5, vec![0, 3, 4, 5, 6, 7, 8]));
        assert_eq!(found(&two, [1, 2, 3, 4, 5, 6, 9]), [Some(2), Some(1), Some(9), Some(11), Some(10), None, None]);
    }

    #[test]
    fn what_does_not_fit_is_not_attached() {
        let own = add(&store(4, "float32"), &rows(0, 4, 4), None);
        let base = store(4, "float32").attach(attached(&own, own.live_ids()), &[1], &patient).unwrap();
        let refused = |to: &Store, attached: Attached, deleted: &[usize], why: &str| {
            let error = to.attach(attached, deleted, &patient).err().unwrap();
            assert!(error.to_string().contains(why), "{error}");
            matches!(error, Error::CorruptStore { .. })
        };
        let keys = || Keys::Counted(10..14);
        let twice = "two rows have the id";
        assert!(refused(&base, attached(&own, Keys::Int64(vec![7, 8, 7, 9])), &[], twice));
        assert!(refused(&base, attached(&own, Keys::Int64(vec![7, 8, 7, 9])), &[6], twice));
        assert!(refused(&base, attached(&own, Keys::Int64(vec![9, 8, 7, 0])), &[], "two rows have the id 0"));
        assert!(base.attach(attached(&own, Keys::Int64(vec![9, 8, 7, 1])), &[], &patient).is_ok());
        assert!(refused(&base, attached(&own, Keys::Int64(vec![-9, 8, 7, 6])), &[], "-9"));
        assert!(refused(&base, attached(&own, keys()), &[6, 9, 5], "do not ascend"));
        assert!(!refused(&base, attached(&own, Keys::Counted(10..15)), &[], "vectors: found 16 numbers"));
        let float16 = add(&store(4, "float16"), &rows(0, 4, 4), None);
        assert!(!refused(&base, attached(&float16, keys()), &[], "found float16"));
        let int8 = add(&store(4, "int8"), &rows(0, 4, 4), None);
        assert!(!refused(&base, attached(&int8, keys()), &[], "found none"));
        assert!(!refused(&int8, attached(&own, keys()), &[], "store of int8 has none"));
        for (codes, bounds, corrupt) in [(255, 4, false), (256, 3, false)] {
            let codes = Some((
                Arc::new(vec![0_i8; codes]) as Foreign<i8>,
                Arc::new(vec![Bound::default(); bounds]) as Foreign<Bound>,
            ));
            assert_eq!(refused(&base, Attached { codes, ..attached(&own, keys()) }, &[], "found"), corrupt);
        }
        for bad in [f32::NAN, f32::INFINITY, -1.0] {
            let mut bounds = own.segments()[0].held().unwrap().bounds.to_vec();
            bounds[2].error = bad;
            let codes = Some((Arc::new(vec![0_i8; 256]) as Foreign<i8>, Arc::new(bounds) as Foreign<Bound>));
            assert!(refused(&base, Attached { codes, ..attached(&own, keys()) }, &[], "bounds: row 2"));
        }
        let vectors = Some(AttachedVectors::Float32(Arc::new(vec![f32::NAN; 16])));
        assert!(refused(&base, Attached { vectors, codes: None, ids: keys() }, &[], "row 0 has NaN"));
    }
}
