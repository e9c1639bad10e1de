//! Rows whose memory is another's.

use super::fill::{Given, fill};
use super::segment::{Foreign, Held, Memory, Segment, Vectors};
use super::{Dtype, Keys, Store};
use crate::kernels::{Bound, code_stride};
use crate::pool::Check;
use crate::{Error, Result};

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

fn store_error(message: String) -> Error {
    Error::Store { message }
}

fn corrupt(message: String) -> Error {
    Error::CorruptStore { message }
}

impl Store {
    /// With rows at the end whose memory is held and not copied. `deleted`: numbers of deleted rows, ascending; those of other rows are passed
    /// over. Without vectors and codes the rows are gone: only their numbers and ids are there.
    ///
    /// Sizes, ids and bounds are checked, so that no search goes astray; numbers of vectors and codes are taken as they are.
    pub fn attach(&self, attached: Attached, deleted: &[usize], check: Check<'_>) -> Result<Self> {
        let Attached { vectors, codes, ids } = attached;
        let n = ids.len();
        self.ids.check_kind(&ids)?;
        let (level, again) = self.ids.level(ids).map_err(|error| corrupt(error.to_string()))?;
        if n == 0 {
            return Ok(self.clone());
        }
        let segment = match self.held(n, vectors, codes, check)? {
            Some(held) => Segment::new(self.rows, n, held),
            None => Segment::gone(self.rows, n),
        };
        if !deleted.is_sorted() {
            return Err(corrupt("deleted rows do not ascend".to_owned()));
        }
        let start = deleted.partition_point(|&row| row < self.rows);
        let end = deleted.partition_point(|&row| row < self.rows + n);
        let deleted = &deleted[start..end];
        let segment = match deleted {
            [] => segment,
            rows => segment.without(rows.iter().map(|row| row - self.rows)),
        };
        let twice = |row: usize| corrupt(format!("two rows have the id {}", self.ids.name(&level, row)));
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
        check: Check<'_>,
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
                return Err(store_error(format!(
                    "vectors: found {found}, where a store of {} has {}",
                    dtype.name(),
                    if dtype == Dtype::Int8 { "none" } else { dtype.name() }
                )));
            }
        };
        let numbers = match &vectors {
            Vectors::Float32(vectors) => vectors.len(),
            Vectors::Float16(vectors) => vectors.len(),
            Vectors::Int8 => n * d,
        };
        if numbers != n * d {
            return Err(store_error(format!("vectors: found {numbers} numbers, where {n} rows of {d} have {}", n * d)));
        }
        let Some((codes, bounds)) = codes else {
            return self.encoded(n, vectors, check).map(Some);
        };
        let (codes, bounds) = (Memory::Foreign(codes), Memory::Foreign(bounds));
        if codes.len() != n * code_stride(d) {
            let message = format!("codes: found {} bytes, where {n} rows have {}", codes.len(), n * code_stride(d));
            return Err(store_error(message));
        }
        if bounds.len() != n {
            return Err(store_error(format!("bounds: found {} rows, where there are {n} ids", bounds.len())));
        }
        if let Some(row) = bounds.iter().position(|bound| !is_sane(bound)) {
            return Err(corrupt(format!("bounds: row {row} has {:?}", bounds[row])));
        }
        Ok(Some(Held { vectors, codes, bounds }))
    }

    /// Vectors with codes made anew.
    fn encoded(&self, n: usize, vectors: Vectors, check: Check<'_>) -> Result<Held> {
        let d = self.fixed.dimension;
        // Codes and bounds alone.
        let mut space = Held::with_capacity(n, d, Dtype::Int8)?.claim(n, d).expect("a new segment has room");
        let given = match &vectors {
            Vectors::Float32(vectors) => Given::Float32(vectors),
            Vectors::Float16(vectors) => Given::Float16(vectors),
            Vectors::Int8 => unreachable!("codes are made of vectors"),
        };
        let refuse = |i: usize, why: &str| corrupt(format!("vectors: row {i} {why}"));
        fill(&self.fixed, &mut space, given, &refuse, check)?;
        Ok(Held { vectors, ..space.publish() })
    }
}

/// Whether a search can compute with it.
fn is_sane(bound: &Bound) -> bool {
    let Bound { scale, error, norm, half_square, sum, step } = *bound;
    let finite = [scale, error, norm, half_square, sum, step].iter().all(|x| x.is_finite());
    finite && [scale, error, norm, half_square, step].iter().all(|&x| x >= 0.0)
}
