//! Vectors into a segment: copied and encoded while they are in the cache.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::segment::{Space, SpaceForVectors};
use super::{Dtype, Fixed};
use crate::kernels::{Bound, CodesOf, FlushDenormals, Unencodable, code_stride, encode};
use crate::{CancelCheck, Error, Result};

/// Numbers of a job: a few milliseconds, and less than a caller wants to wait before it is asked whether to go on.
const JOB: usize = 1 << 20;

/// Numbers that are copied and encoded at a time: they, their codes and a copy fit in a first- or second-level cache.
const BLOCK: usize = 1 << 13;

/// Numbers below which handing work to threads costs more than it gains.
const ALONE: usize = 1 << 16;

/// Vectors to be stored, `[rows, dimension]`.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    Float32(&'a [f32]),
    Float16(&'a [f16]),
}

/// Where rows that are given go.
struct Job<'a> {
    /// The first row.
    row: usize,
    given: Given<'a>,
    vectors: Copies<'a>,
    codes: &'a mut [i8],
    bounds: &'a mut [Bound],
}

enum Copies<'a> {
    Float32(&'a mut [f32]),
    Float16(&'a mut [f16]),
    None,
}

/// Why a row is refused.
const NOT_FINITE: &str = "has NaN or infinity";
const TOO_LONG: &str = "is longer than 1e18";
const NO_FLOAT16: &str = "has a number beyond 65504, the largest of float16";

/// Fills all of `space` with `given`. `refuse` makes the error of a row that cannot be stored, from its number and the reason.
pub(super) fn fill(
    fixed: &Fixed,
    space: &mut Space,
    given: Given<'_>,
    refuse: &(dyn Fn(usize, &str) -> Error + Sync),
    check_cancel: CancelCheck<'_>,
) -> Result<()> {
    let d = fixed.dimension;
    let bounds = space.bounds.as_mut_slice();
    let codes = space.codes.as_mut_slice();
    let rows = bounds.len();
    let vectors = match &mut space.vectors {
        SpaceForVectors::Float32(claim) => Copies::Float32(claim.as_mut_slice()),
        SpaceForVectors::Float16(claim) => Copies::Float16(claim.as_mut_slice()),
        SpaceForVectors::None => Copies::None,
    };
    let whole = Job { row: 0, given, vectors, codes, bounds };
    if rows * d <= ALONE {
        // As on the pool's threads: the same bits wherever it is done.
        let _flush = FlushDenormals::new();
        return whole.run(fixed, refuse);
    }
    fixed.pool.for_each(whole.cut(JOB.div_ceil(d), d), check_cancel, |job, _| job.run(fixed, refuse))
}

impl<'a> Given<'a> {
    fn split_at(self, mid: usize) -> (Self, Self) {
        match self {
            Self::Float32(given) => (Self::Float32(&given[..mid]), Self::Float32(&given[mid..])),
            Self::Float16(given) => (Self::Float16(&given[..mid]), Self::Float16(&given[mid..])),
        }
    }
}

impl<'a> Copies<'a> {
    fn split_at(self, mid: usize) -> (Self, Self) {
        match self {
            Self::Float32(copies) => {
                let (head, tail) = copies.split_at_mut(mid);
                (Self::Float32(head), Self::Float32(tail))
            }
            Self::Float16(copies) => {
                let (head, tail) = copies.split_at_mut(mid);
                (Self::Float16(head), Self::Float16(tail))
            }
            Self::None => (Self::None, Self::None),
        }
    }
}

impl<'a> Job<'a> {
    /// Jobs of at most so many rows.
    fn cut(self, rows: usize, dimension: usize) -> Vec<Self> {
        let mut jobs = Vec::with_capacity(self.bounds.len().div_ceil(rows));
        let mut rest = self;
        while rest.bounds.len() > rows {
            let (given, given_rest) = rest.given.split_at(rows * dimension);
            let (vectors, vectors_rest) = rest.vectors.split_at(rows * dimension);
            let (codes, codes_rest) = rest.codes.split_at_mut(rows * code_stride(dimension));
            let (bounds, bounds_rest) = rest.bounds.split_at_mut(rows);
            jobs.push(Self { row: rest.row, given, vectors, codes, bounds });
            rest = Self {
                row: rest.row + rows,
                given: given_rest,
                vectors: vectors_rest,
                codes: codes_rest,
                bounds: bounds_rest,
            };
        }
        jobs.push(rest);
        jobs
    }

    fn run(self, fixed: &Fixed, refuse: &(dyn Fn(usize, &str) -> Error + Sync)) -> Result<()> {
        let mut widened = Vec::new();
        let d = fixed.dimension;
        self.cut((BLOCK / d).max(1), d).into_iter().try_for_each(|block| block.store(fixed, &mut widened, refuse))
    }

    /// Copies and encodes rows that fit in a cache. What is encoded is what was copied: the given numbers may be another's to change.
    fn store(
        self,
        fixed: &Fixed,
        widened: &mut Vec<f32>,
        refuse: &(dyn Fn(usize, &str) -> Error + Sync),
    ) -> Result<()> {
        let d = fixed.dimension;
        let of = if fixed.dtype == Dtype::Int8 { CodesOf::Themselves } else { CodesOf::Kept };
        let values: &[f32] = match (self.given, self.vectors) {
            (Given::Float32(given), Copies::Float32(copies)) => {
                copies.copy_from_slice(given);
                copies
            }
            (Given::Float32(given), Copies::Float16(copies)) => {
                copies.convert_from_f32_slice(given);
                widened.resize(given.len(), 0.0);
                copies.convert_to_f32_slice(widened);
                widened
            }
            (Given::Float32(given), Copies::None) => given,
            (Given::Float16(given), _) => {
                widened.resize(given.len(), 0.0);
                given.convert_to_f32_slice(widened);
                widened
            }
        };
        let was_so = |i: usize| match self.given {
            Given::Float32(given) => !given[i * d..][..d].iter().all(|x| x.is_finite()),
            Given::Float16(_) => true,
        };
        encode(fixed.isa, fixed.metric, of, values, d, self.codes, self.bounds).map_err(|error| match error {
            Unencodable::NotFinite(i) => refuse(self.row + i, if was_so(i) { NOT_FINITE } else { NO_FLOAT16 }),
            Unencodable::TooLong(i) => refuse(self.row + i, TOO_LONG),
        })
    }
}
