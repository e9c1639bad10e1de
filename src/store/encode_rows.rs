//! Copies vectors into a segment and encodes them while they are in the cache.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::config::{StoreConfig, VectorDtype};
use super::segment::{RowClaim, VectorClaim};
use crate::kernels::{Bound, BoundReference, CodeOutput, EncodeError, FlushDenormals, code_stride, encode};
use crate::{CancelCheck, Error, Result};

/// The most numbers of a job: a few milliseconds, and less than a caller wants to wait before it is asked whether to go
/// on.
const MAX_JOB_NUMBERS: usize = 1 << 20;

/// The most numbers that are copied and encoded at a time: they, their codes and a copy fit in a first- or second-level
/// cache.
const MAX_BLOCK_NUMBERS: usize = 1 << 13;

/// The most numbers for which handing work to threads costs more than it gains.
const MAX_INLINE_NUMBERS: usize = 1 << 16;

/// Vectors to be stored, `[rows, dimension]`.
#[derive(Clone, Copy)]
pub(super) enum InputVectors<'a> {
    Float32(&'a [f32]),
    Float16(&'a [f16]),
}

/// Consecutive rows to be encoded, and where they go.
struct EncodeJob<'a> {
    /// Number of the first row among the input.
    row: usize,
    input: InputVectors<'a>,
    vectors: VectorOutput<'a>,
    codes: &'a mut [i8],
    bounds: &'a mut [Bound],
}

/// Where the vectors are copied to, if they are kept beside their codes.
enum VectorOutput<'a> {
    Float32(&'a mut [f32]),
    Float16(&'a mut [f16]),
    None,
}

/// Why a row is refused.
const NOT_FINITE: &str = "has NaN or infinity";
const TOO_LONG: &str = "is longer than 1e18";
const BEYOND_FLOAT16: &str = "has a number beyond 65504, the largest of float16";

/// Copies and encodes `input`, which is as long as `claim`, into it. `row_error` makes the error of a row that cannot
/// be stored, from its number and the reason.
pub(super) fn encode_rows(
    config: &StoreConfig,
    claim: &mut RowClaim,
    input: InputVectors<'_>,
    row_error: &(dyn Fn(usize, &str) -> Error + Sync),
    check_cancel: CancelCheck<'_>,
) -> Result<()> {
    let bounds = claim.bounds.as_mut_slice();
    let codes = claim.codes.as_mut_slice();
    let vectors = match &mut claim.vectors {
        VectorClaim::Float32(vectors) => VectorOutput::Float32(vectors.as_mut_slice()),
        VectorClaim::Float16(vectors) => VectorOutput::Float16(vectors.as_mut_slice()),
        VectorClaim::None => VectorOutput::None,
        VectorClaim::Binary(_) => unreachable!("bits have no codes"),
    };
    EncodeJob { row: 0, input, vectors, codes, bounds }.run_on_pool(config, row_error, check_cancel)
}

impl<'a> InputVectors<'a> {
    fn split_at(self, mid: usize) -> (Self, Self) {
        match self {
            Self::Float32(input) => (Self::Float32(&input[..mid]), Self::Float32(&input[mid..])),
            Self::Float16(input) => (Self::Float16(&input[..mid]), Self::Float16(&input[mid..])),
        }
    }
}

impl<'a> VectorOutput<'a> {
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

impl<'a> EncodeJob<'a> {
    /// Jobs of at most so many rows.
    fn split(self, rows: usize, dimension: usize) -> Vec<Self> {
        let mut jobs = Vec::with_capacity(self.bounds.len().div_ceil(rows));
        let mut rest = self;
        while rest.bounds.len() > rows {
            let (input, input_rest) = rest.input.split_at(rows * dimension);
            let (vectors, vectors_rest) = rest.vectors.split_at(rows * dimension);
            let (codes, codes_rest) = rest.codes.split_at_mut(rows * code_stride(dimension));
            let (bounds, bounds_rest) = rest.bounds.split_at_mut(rows);
            jobs.push(Self { row: rest.row, input, vectors, codes, bounds });
            rest = Self {
                row: rest.row + rows,
                input: input_rest,
                vectors: vectors_rest,
                codes: codes_rest,
                bounds: bounds_rest,
            };
        }
        jobs.push(rest);
        jobs
    }

    fn run_on_pool(
        self,
        config: &StoreConfig,
        row_error: &(dyn Fn(usize, &str) -> Error + Sync),
        check_cancel: CancelCheck<'_>,
    ) -> Result<()> {
        let d = config.dimension;
        if self.bounds.len() * d <= MAX_INLINE_NUMBERS {
            // As on the pool's threads: the same bits wherever it is done.
            let _flush = FlushDenormals::new();
            return self.run(config, row_error);
        }
        let jobs = self.split(MAX_JOB_NUMBERS.div_ceil(d), d);
        config.pool.for_each(jobs, check_cancel, |job, _| job.run(config, row_error))
    }

    fn run(self, config: &StoreConfig, row_error: &(dyn Fn(usize, &str) -> Error + Sync)) -> Result<()> {
        let mut widened = Vec::new();
        let d = config.dimension;
        self.split((MAX_BLOCK_NUMBERS / d).max(1), d)
            .into_iter()
            .try_for_each(|block| block.encode_block(config, &mut widened, row_error))
    }

    /// Copies and encodes rows that fit in a cache. What is encoded is what was copied: another thread may change the
    /// input.
    fn encode_block(
        self,
        config: &StoreConfig,
        widened: &mut Vec<f32>,
        row_error: &(dyn Fn(usize, &str) -> Error + Sync),
    ) -> Result<()> {
        let d = config.dimension;
        let reference = if config.dtype == VectorDtype::Int8 { BoundReference::Codes } else { BoundReference::Vectors };
        let values: &[f32] = match (self.input, self.vectors) {
            (InputVectors::Float32(input), VectorOutput::Float32(copies)) => {
                copies.copy_from_slice(input);
                copies
            }
            (InputVectors::Float32(input), VectorOutput::Float16(copies)) => {
                copies.convert_from_f32_slice(input);
                widened.resize(input.len(), 0.0);
                copies.convert_to_f32_slice(widened);
                widened
            }
            (InputVectors::Float32(input), VectorOutput::None) => input,
            (InputVectors::Float16(input), _) => {
                widened.resize(input.len(), 0.0);
                input.convert_to_f32_slice(widened);
                widened
            }
        };
        let was_not_finite = |i: usize| match self.input {
            InputVectors::Float32(input) => !input[i * d..][..d].iter().all(|x| x.is_finite()),
            InputVectors::Float16(_) => true,
        };
        let metric = config.metric.expect("numbers are compared by a metric");
        let output = CodeOutput { codes: self.codes, bounds: self.bounds };
        encode(config.isa, metric, reference, values, d, output).map_err(|error| match error {
            EncodeError::NotFinite(i) => {
                row_error(self.row + i, if was_not_finite(i) { NOT_FINITE } else { BEYOND_FLOAT16 })
            }
            EncodeError::TooLong(i) => row_error(self.row + i, TOO_LONG),
        })
    }
}
