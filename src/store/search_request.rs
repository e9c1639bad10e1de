//! What is searched, and how: the input that all passes of a search read.

use super::device_context::DeviceContext;
use super::segment::{Segment, SegmentData, segment_index};
use crate::kernels::{Isa, Metric, StoredRows};

/// One search's rows and choices, the same for all of its queries.
pub(super) struct SearchRequest<'a> {
    pub(super) isa: Isa,
    pub(super) metric: Metric,
    pub(super) dimension: usize,
    pub(super) segments: &'a [Segment],
    /// `[rows]`: 0 where a row does not count; None where all live ones do.
    pub(super) mask: Option<&'a [u8]>,
    /// Results wanted for each query, from 1.
    pub(super) k: usize,
    /// The least score, as a caller gets it, of a result. None for no least.
    pub(super) min_score: Option<f64>,
    /// Whether a row is a candidate until its bound says otherwise. Else its code alone says how good it is.
    pub(super) exact: bool,
    /// Where scores of all rows are computed first. None: codes are scanned.
    pub(super) device_context: Option<&'a DeviceContext>,
}

/// Results of a query that a range search makes room for before it finds any.
const MAX_ROWS_AHEAD: usize = 1024;

impl SearchRequest<'_> {
    /// Results of a query that there is room for from the start: k, but in a range search, which may find few of them.
    pub(super) fn rows_ahead(&self) -> usize {
        if self.min_score.is_some() { self.k.min(MAX_ROWS_AHEAD) } else { self.k }
    }

    /// The memory that has a row, and its number there; None where the row is deleted with all of its segment.
    pub(super) fn locate(&self, row: usize) -> Option<(&SegmentData, usize)> {
        let segment = &self.segments[segment_index(self.segments, row)];
        Some((segment.data()?, row - segment.first_row))
    }

    /// Bytes of a stored vector.
    pub(super) fn vector_bytes(&self) -> usize {
        match self.segments.iter().find_map(|segment| Some(segment.data()?.stored())) {
            Some(StoredRows::Float32(_)) => 4 * self.dimension,
            Some(StoredRows::Float16(_)) => 2 * self.dimension,
            Some(StoredRows::Int8(..)) | None => self.dimension,
        }
    }
}
