//! Segments: consecutive rows of a store, in arrays that never change.
//!
//! A segment is a value. One with more rows, or with fewer live ones, is another that shares its memory: rows are
//! appended to an append-only buffer ([`AppendBuffer`], where several threads that append to the same prefix race for
//! the place and one gets it), and deleting copies the bits of deleted rows alone. So a search never waits for a
//! change, and a change that fails leaves nothing behind.

use std::ops::Range;
use std::sync::Arc;

use half::f16;

use super::coarse_codes::CoarseCodes;
use super::config::VectorDtype;
use super::device_copy::DeviceCopy;
use super::segment_array::{SegmentArray, buffer};
use crate::Result;
use crate::kernels::{Bound, Claim, Isa, Metric, StoredRows, coarse_stride, code_stride};

/// Vectors of a segment, `[rows, dimension]`.
#[derive(Clone)]
pub enum Vectors {
    Float32(SegmentArray<f32>),
    Float16(SegmentArray<f16>),
    /// The codes are the vectors.
    Int8,
    /// `[rows, dimension / 8]`: see [`VectorDtype::Binary`].
    Binary(SegmentArray<u8>),
}

/// The arrays of a segment.
#[derive(Clone)]
pub struct SegmentData {
    pub vectors: Vectors,
    /// `[rows, code_stride(dimension)]`; empty where vectors are bits.
    pub codes: SegmentArray<i8>,
    /// `[rows]`; empty where vectors are bits.
    pub bounds: SegmentArray<Bound>,
    /// None where vectors are bits or codes.
    pub coarse: CoarseCodes,
    pub(super) device_copy: DeviceCopy,
}

/// Rows of a store, one after the other. Those that are deleted keep their place.
#[derive(Clone)]
pub struct Segment {
    /// Number of its first row in the store.
    pub first_row: usize,
    /// Rows, deleted ones included.
    pub rows: usize,
    /// Rows that are not deleted.
    live: usize,
    /// Bits of deleted rows, 64 to a word. Rows beyond its end are live, so it stays as rows are appended.
    deleted: Option<Arc<[u64]>>,
    /// None where no row is live.
    data: Option<SegmentData>,
}

/// The place of rows that are being added, until they are published.
pub(super) struct RowClaim {
    pub(super) vectors: VectorClaim,
    pub(super) codes: Claim<i8>,
    pub(super) bounds: Claim<Bound>,
    coarse: CoarseCodes,
    device_copy: DeviceCopy,
}

pub(super) enum VectorClaim {
    Float32(Claim<f32>),
    Float16(Claim<f16>),
    None,
    Binary(Claim<u8>),
}

impl SegmentData {
    /// Empty arrays with room for so many rows.
    pub(super) fn with_capacity(rows: usize, dimension: usize, dtype: VectorDtype) -> Result<Self> {
        Ok(Self {
            vectors: match dtype {
                VectorDtype::Float32 => Vectors::Float32(buffer(rows, dimension)?),
                VectorDtype::Float16 => Vectors::Float16(buffer(rows, dimension)?),
                VectorDtype::Int8 => Vectors::Int8,
                VectorDtype::Binary => return Self::of_bits(buffer(rows, dimension / 8)?),
            },
            ..Self::codes_with_capacity(rows, dimension)?
        })
    }

    /// Empty arrays for codes and bounds alone, with room for so many rows.
    pub(super) fn codes_with_capacity(rows: usize, dimension: usize) -> Result<Self> {
        Ok(Self {
            vectors: Vectors::Int8,
            codes: buffer(rows, code_stride(dimension))?,
            bounds: buffer(rows, 1)?,
            coarse: CoarseCodes::default(),
            device_copy: DeviceCopy::default(),
        })
    }

    /// Rows of bits.
    pub(super) fn of_bits(bits: SegmentArray<u8>) -> Result<Self> {
        let (codes, bounds) = (buffer(0, 0)?, buffer(0, 0)?);
        let (coarse, device_copy) = (CoarseCodes::default(), DeviceCopy::default());
        Ok(Self { vectors: Vectors::Binary(bits), codes, bounds, coarse, device_copy })
    }

    /// How many rows can be appended now.
    pub(super) fn free_rows(&self, dimension: usize) -> usize {
        match (&self.vectors, &self.bounds) {
            (Vectors::Binary(SegmentArray::Own(bits)), _) => bits.room() / (dimension / 8),
            (Vectors::Binary(SegmentArray::Foreign(_)), _) | (_, SegmentArray::Foreign(_)) => 0,
            (_, SegmentArray::Own(bounds)) => bounds.room(),
        }
    }

    /// A claim of `rows` rows after the last; None where there is no room, or another store that began with the same
    /// rows has it.
    pub(super) fn claim(&self, rows: usize, dimension: usize) -> Option<RowClaim> {
        if let Vectors::Binary(bits) = &self.vectors {
            return Some(RowClaim {
                vectors: VectorClaim::Binary(bits.claim(rows * (dimension / 8))?),
                bounds: self.bounds.claim(0)?,
                codes: self.codes.claim(0)?,
                coarse: self.coarse.clone(),
                device_copy: self.device_copy.clone(),
            });
        }
        Some(RowClaim {
            // First, as it tells of the room for the others too: every claim takes rows of all.
            bounds: self.bounds.claim(rows)?,
            vectors: match &self.vectors {
                Vectors::Float32(memory) => VectorClaim::Float32(memory.claim(rows * dimension)?),
                Vectors::Float16(memory) => VectorClaim::Float16(memory.claim(rows * dimension)?),
                Vectors::Int8 | Vectors::Binary(_) => VectorClaim::None,
            },
            codes: self.codes.claim(rows * code_stride(dimension))?,
            coarse: self.coarse.clone(),
            device_copy: self.device_copy.clone(),
        })
    }

    /// Whether these are vectors in memory, with codes beside them.
    fn is_in_memory_beside_codes(&self) -> bool {
        matches!(self.vectors, Vectors::Float32(SegmentArray::Own(_)) | Vectors::Float16(SegmentArray::Own(_)))
    }

    /// A row of bits.
    ///
    /// # Panics
    /// If vectors are no bits.
    pub(super) fn bit_row(&self, row: usize, row_bytes: usize) -> &[u8] {
        let Vectors::Binary(bits) = &self.vectors else { unreachable!("a store of bits has bits") };
        &bits[row * row_bytes..][..row_bytes]
    }

    /// Whether some of the `rows` that there are could get coarse codes.
    pub(super) fn lacks_coarse(&self, rows: usize, dimension: usize) -> bool {
        self.is_in_memory_beside_codes() && self.coarse.bytes()[0] < rows * coarse_stride(dimension)
    }

    /// Makes the coarse codes of up to `most` rows more of the `rows` that there are, where they are in memory and have
    /// vectors beside codes. Returns how many rows got them.
    pub(super) fn extend_coarse(&self, isa: Isa, metric: Metric, dimension: usize, rows: usize, most: usize) -> usize {
        match &self.bounds {
            SegmentArray::Own(bounds) if self.is_in_memory_beside_codes() => {
                self.coarse.extend(isa, metric, (self.stored(), dimension), (rows, bounds.capacity()), most)
            }
            _ => 0,
        }
    }

    /// As the kernels take them.
    ///
    /// # Panics
    /// If vectors are bits.
    pub fn stored(&self) -> StoredRows<'_> {
        match &self.vectors {
            Vectors::Float32(vectors) => StoredRows::Float32(vectors),
            Vectors::Float16(vectors) => StoredRows::Float16(vectors),
            Vectors::Int8 => StoredRows::Int8(&self.codes, &self.bounds),
            Vectors::Binary(_) => unreachable!("bits have no products"),
        }
    }

    /// Writes a row to `out [dimension]` as float32.
    pub(super) fn take(&self, row: usize, out: &mut [f32]) {
        let d = out.len();
        match &self.vectors {
            Vectors::Float32(vectors) => out.copy_from_slice(&vectors[row * d..][..d]),
            Vectors::Float16(vectors) => {
                for (x, stored) in out.iter_mut().zip(&vectors[row * d..][..d]) {
                    *x = stored.to_f32();
                }
            }
            Vectors::Int8 => {
                let step = self.bounds[row].step;
                for (x, &code) in out.iter_mut().zip(&self.codes[row * code_stride(d)..][..d]) {
                    *x = f32::from(code) * step;
                }
            }
            Vectors::Binary(_) => unreachable!("bits are no numbers"),
        }
    }
}

impl RowClaim {
    /// What is there once all of it is written.
    pub(super) fn publish(self) -> SegmentData {
        SegmentData {
            vectors: match self.vectors {
                VectorClaim::Float32(claim) => Vectors::Float32(SegmentArray::Own(claim.publish())),
                VectorClaim::Float16(claim) => Vectors::Float16(SegmentArray::Own(claim.publish())),
                VectorClaim::None => Vectors::Int8,
                VectorClaim::Binary(claim) => Vectors::Binary(SegmentArray::Own(claim.publish())),
            },
            codes: SegmentArray::Own(self.codes.publish()),
            bounds: SegmentArray::Own(self.bounds.publish()),
            coarse: self.coarse,
            device_copy: self.device_copy,
        }
    }
}

impl Segment {
    /// A segment of live rows.
    pub(super) fn new(first_row: usize, rows: usize, data: SegmentData) -> Self {
        Self { first_row, rows, live: rows, deleted: None, data: Some(data).filter(|_| rows > 0) }
    }

    /// A segment of deleted rows, which keep their numbers.
    pub(super) fn all_deleted(first_row: usize, rows: usize) -> Self {
        Self { first_row, rows, live: 0, deleted: None, data: None }
    }

    /// This segment and `rows` more, `data` being the arrays of all.
    pub(super) fn appended(&self, rows: usize, data: SegmentData) -> Self {
        let deleted = self.deleted.clone();
        Self { first_row: self.first_row, rows: self.rows + rows, live: self.live + rows, deleted, data: Some(data) }
    }

    /// This segment without some rows, counted from its first.
    pub(super) fn without(&self, rows: impl Iterator<Item = usize>) -> Self {
        let Some(data) = &self.data else { return self.clone() };
        let mut deleted = self.deleted.as_deref().unwrap_or_default().to_vec();
        deleted.resize(self.rows.div_ceil(64), 0);
        let mut live = self.live;
        for row in rows {
            let (word, bit) = (row / 64, 1 << (row % 64));
            live -= usize::from(deleted[word] & bit == 0);
            deleted[word] |= bit;
        }
        if live == 0 {
            return Self::all_deleted(self.first_row, self.rows);
        }
        Self {
            first_row: self.first_row,
            rows: self.rows,
            live,
            deleted: Some(deleted.into()),
            data: Some(data.clone()),
        }
    }

    /// This segment without its copy on a device.
    pub(super) fn without_device_copy(&self) -> Self {
        let data = self.data.as_ref().map(|data| SegmentData { device_copy: DeviceCopy::default(), ..data.clone() });
        Self { data, deleted: self.deleted.clone(), ..*self }
    }

    pub fn live(&self) -> usize {
        self.live
    }

    /// Its arrays; None where no row is live.
    pub fn data(&self) -> Option<&SegmentData> {
        self.data.as_ref()
    }

    /// A bit for each of the rows from `64 * word`: whether it is there and live.
    pub fn live_bits(&self, word: usize) -> u64 {
        let rows = self.rows.saturating_sub(64 * word);
        if self.data.is_none() || rows == 0 {
            return 0;
        }
        let there = u64::MAX >> (64 - rows.min(64));
        there & !self.deleted.as_ref().and_then(|deleted| deleted.get(word)).unwrap_or(&0)
    }

    /// Whether none of its rows is deleted.
    pub fn is_fully_live(&self) -> bool {
        self.live == self.rows
    }

    pub(super) fn is_live(&self, row: usize) -> bool {
        self.live_bits(row / 64) >> (row % 64) & 1 == 1
    }

    /// Live rows, counted from its first, in ranges as long as can be.
    pub fn live_ranges(&self) -> Vec<Range<usize>> {
        if self.is_fully_live() {
            return (self.rows > 0).then_some(0..self.rows).into_iter().collect();
        }
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for word in 0..self.rows.div_ceil(64) {
            let mut bits = self.live_bits(word);
            let mut at = 64 * word;
            while bits != 0 {
                at += bits.trailing_zeros() as usize;
                bits >>= bits.trailing_zeros();
                let ones = bits.trailing_ones();
                match ranges.last_mut().filter(|last| last.end == at) {
                    Some(last) => last.end += ones as usize,
                    None => ranges.push(at..at + ones as usize),
                }
                at += ones as usize;
                bits = bits.checked_shr(ones).unwrap_or(0);
            }
        }
        ranges
    }

    /// Bytes of the bits of deleted rows.
    pub(super) fn deleted_bytes(&self) -> usize {
        self.deleted.as_ref().map_or(0, |deleted| size_of_val(&**deleted))
    }
}

/// Which of `segments`, ordered by their rows, has the row with that number.
pub(super) fn segment_index(segments: &[Segment], row: usize) -> usize {
    segments.partition_point(|segment| segment.first_row + segment.rows <= row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(rows: usize) -> Segment {
        let data = SegmentData::with_capacity(rows, 3, VectorDtype::Float32).unwrap();
        let claim = data.claim(rows, 3).unwrap();
        Segment::new(0, rows, claim.publish())
    }

    #[test]
    fn deleted_rows_are_known_by_bits_and_by_ranges() {
        for rows in [1, 63, 64, 65, 200] {
            let whole = segment(rows);
            assert!(whole.live_ranges().into_iter().eq(Some(0..rows)));
            for keep in [2, 3, 70] {
                let some = whole.without((0..rows).filter(|row| row % keep == 1));
                let live: Vec<usize> = some.live_ranges().into_iter().flatten().collect();
                assert!(live.iter().copied().eq((0..rows).filter(|row| row % keep != 1)));
                assert_eq!(some.live(), live.len());
                assert!((0..rows + 70).all(|row| some.is_live(row) == live.contains(&row)), "{rows} {keep}");
                let ranges = some.live_ranges();
                assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }

    #[test]
    fn deleting_twice_deletes_once_and_the_last_takes_the_memory_along() {
        let some = segment(5).without([1, 1, 3].into_iter()).without([3].into_iter());
        assert_eq!((some.live(), some.live_ranges()), (3, vec![0..1, 2..3, 4..5]));
        let none = some.without(0..5);
        assert_eq!((none.live(), none.rows, none.data().is_none(), none.live_ranges().len()), (0, 5, true, 0));
        assert_eq!(none.live_bits(0), 0);
    }

    #[test]
    fn appended_rows_are_live() {
        let data = SegmentData::with_capacity(200, 3, VectorDtype::Int8).unwrap();
        let first = Segment::new(0, 10, data.claim(10, 3).unwrap().publish()).without(2..4);
        let more = first.data().unwrap().claim(100, 3).unwrap().publish();
        let both = first.appended(100, more);
        assert_eq!((both.live(), both.live_ranges()), (108, vec![0..2, 4..110]));
        assert_eq!(both.without(64..110).live_ranges(), [0..2, 4..64]);
    }
}
