//! Rows that lie one after the other in memory.

use std::ops::{Deref, Range};
use std::sync::Arc;

use half::f16;

use super::Dtype;
use super::mirror::Mirror;
use crate::Result;
use crate::kernels::{AppendBuffer, Bound, Claim, Stored, code_stride};
use crate::memory::lack;

/// Memory of another's, such as a mapped file, which stays as it is for as long as this is held.
pub type Foreign<T> = Arc<dyn AsRef<[T]> + Send + Sync>;

/// Numbers that never change.
pub enum Memory<T> {
    Own(AppendBuffer<T>),
    Foreign(Foreign<T>),
}

/// Vectors of a segment, `[rows, dimension]`.
#[derive(Clone)]
pub enum Vectors {
    Float32(Memory<f32>),
    Float16(Memory<f16>),
    /// The codes are the vectors.
    Int8,
}

/// What is in memory of a segment.
#[derive(Clone)]
pub struct Held {
    pub vectors: Vectors,
    /// `[rows, code_stride(dimension)]`
    pub codes: Memory<i8>,
    /// `[rows]`
    pub bounds: Memory<Bound>,
    pub(super) mirror: Mirror,
}

/// Rows of a store, one after the other. Those that are deleted keep their place.
#[derive(Clone)]
pub struct Segment {
    /// The number of its first row in the store.
    pub first: usize,
    pub rows: usize,
    /// Rows that are not deleted.
    live: usize,
    /// Bits of deleted rows, 64 to a word. Rows beyond its end are live, so it stays as rows are appended.
    deleted: Option<Arc<[u64]>>,
    /// None where no row is live.
    held: Option<Held>,
}

/// Places for rows that are being added.
pub(super) struct Space {
    pub(super) vectors: SpaceForVectors,
    pub(super) codes: Claim<i8>,
    pub(super) bounds: Claim<Bound>,
    mirror: Mirror,
}

pub(super) enum SpaceForVectors {
    Float32(Claim<f32>),
    Float16(Claim<f16>),
    None,
}

impl<T: bytemuck::Pod> Deref for Memory<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Own(buffer) => buffer.as_slice(),
            Self::Foreign(foreign) => (**foreign).as_ref(),
        }
    }
}

impl<T> Clone for Memory<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Own(buffer) => Self::Own(buffer.clone()),
            Self::Foreign(foreign) => Self::Foreign(foreign.clone()),
        }
    }
}

impl<T: bytemuck::Pod> Memory<T> {
    fn claim(&self, n: usize) -> Option<Claim<T>> {
        match self {
            Self::Own(buffer) => buffer.claim(n),
            Self::Foreign(_) => None,
        }
    }

    /// Bytes in use, foreign bytes in use, bytes allocated and not in use.
    pub(super) fn bytes(&self) -> [usize; 3] {
        match self {
            Self::Own(buffer) => {
                let used = size_of_val(buffer.as_slice());
                [used, 0, buffer.capacity() * size_of::<T>() - used]
            }
            Self::Foreign(_) => [0, size_of_val(&**self), 0],
        }
    }
}

/// An empty buffer for so many rows of `width` numbers.
fn buffer<T: bytemuck::Pod>(rows: usize, width: usize) -> Result<Memory<T>> {
    let buffer = rows.checked_mul(width).and_then(AppendBuffer::with_capacity);
    Ok(Memory::Own(buffer.ok_or_else(|| lack(size_of::<T>(), rows.saturating_mul(width), "rows of a store"))?))
}

impl Held {
    /// Room for so many rows.
    pub(super) fn with_capacity(rows: usize, dimension: usize, dtype: Dtype) -> Result<Self> {
        Ok(Self {
            vectors: match dtype {
                Dtype::Float32 => Vectors::Float32(buffer(rows, dimension)?),
                Dtype::Float16 => Vectors::Float16(buffer(rows, dimension)?),
                Dtype::Int8 => Vectors::Int8,
            },
            codes: buffer(rows, code_stride(dimension))?,
            bounds: buffer(rows, 1)?,
            mirror: Mirror::default(),
        })
    }

    /// How many rows can be appended now.
    pub(super) fn room(&self) -> usize {
        match &self.bounds {
            Memory::Own(bounds) => bounds.room(),
            Memory::Foreign(_) => 0,
        }
    }

    /// Places after the last row; None where there is no room, or another store that began with the same rows has them.
    pub(super) fn claim(&self, rows: usize, dimension: usize) -> Option<Space> {
        Some(Space {
            // First, as it tells of the room for the others too: every claim takes rows of all three.
            bounds: self.bounds.claim(rows)?,
            vectors: match &self.vectors {
                Vectors::Float32(memory) => SpaceForVectors::Float32(memory.claim(rows * dimension)?),
                Vectors::Float16(memory) => SpaceForVectors::Float16(memory.claim(rows * dimension)?),
                Vectors::Int8 => SpaceForVectors::None,
            },
            codes: self.codes.claim(rows * code_stride(dimension))?,
            mirror: self.mirror.clone(),
        })
    }

    /// As the kernels take them.
    pub fn stored(&self) -> Stored<'_> {
        match &self.vectors {
            Vectors::Float32(vectors) => Stored::Float32(vectors),
            Vectors::Float16(vectors) => Stored::Float16(vectors),
            Vectors::Int8 => Stored::Int8(&self.codes, &self.bounds),
        }
    }

    /// Writes the row as float32.
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
        }
    }
}

impl Space {
    /// What is there once all of it is written.
    pub(super) fn publish(self) -> Held {
        Held {
            vectors: match self.vectors {
                SpaceForVectors::Float32(claim) => Vectors::Float32(Memory::Own(claim.publish())),
                SpaceForVectors::Float16(claim) => Vectors::Float16(Memory::Own(claim.publish())),
                SpaceForVectors::None => Vectors::Int8,
            },
            codes: Memory::Own(self.codes.publish()),
            bounds: Memory::Own(self.bounds.publish()),
            mirror: self.mirror,
        }
    }
}

impl Segment {
    /// All rows live.
    pub(super) fn new(first: usize, rows: usize, held: Held) -> Self {
        Self { first, rows, live: rows, deleted: None, held: Some(held).filter(|_| rows > 0) }
    }

    /// Rows that are gone, and keep their numbers.
    pub(super) fn gone(first: usize, rows: usize) -> Self {
        Self { first, rows, live: 0, deleted: None, held: None }
    }

    /// With rows after its own, `held` being the memory of all.
    pub(super) fn appended(&self, rows: usize, held: Held) -> Self {
        let deleted = self.deleted.clone();
        Self { first: self.first, rows: self.rows + rows, live: self.live + rows, deleted, held: Some(held) }
    }

    /// Without rows of its own, counted from its first.
    pub(super) fn without(&self, rows: impl Iterator<Item = usize>) -> Self {
        let Some(held) = &self.held else { return self.clone() };
        let mut deleted = self.deleted.as_deref().unwrap_or_default().to_vec();
        deleted.resize(self.rows.div_ceil(64), 0);
        let mut live = self.live;
        for row in rows {
            let (word, bit) = (row / 64, 1 << (row % 64));
            live -= usize::from(deleted[word] & bit == 0);
            deleted[word] |= bit;
        }
        if live == 0 {
            return Self::gone(self.first, self.rows);
        }
        Self { first: self.first, rows: self.rows, live, deleted: Some(deleted.into()), held: Some(held.clone()) }
    }

    /// With nothing on a device.
    pub(super) fn unmirrored(&self) -> Self {
        let held = self.held.as_ref().map(|held| Held { mirror: Mirror::default(), ..held.clone() });
        Self { held, deleted: self.deleted.clone(), ..*self }
    }

    pub fn live(&self) -> usize {
        self.live
    }

    /// What is in memory; None where no row is live.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// A bit for each of the rows from `64 * word`: whether it is there and live.
    pub fn live_bits(&self, word: usize) -> u64 {
        let rows = self.rows.saturating_sub(64 * word);
        if self.held.is_none() || rows == 0 {
            return 0;
        }
        let there = u64::MAX >> (64 - rows.min(64));
        there & !self.deleted.as_ref().and_then(|deleted| deleted.get(word)).unwrap_or(&0)
    }

    /// Whether none of its rows is deleted.
    pub fn is_whole(&self) -> bool {
        self.live == self.rows
    }

    pub(super) fn is_live(&self, row: usize) -> bool {
        self.live_bits(row / 64) >> (row % 64) & 1 == 1
    }

    /// Live rows, counted from its first, in runs as long as can be.
    pub fn runs(&self) -> Vec<Range<usize>> {
        if self.is_whole() {
            return (self.rows > 0).then_some(0..self.rows).into_iter().collect();
        }
        let mut runs: Vec<Range<usize>> = Vec::new();
        for word in 0..self.rows.div_ceil(64) {
            let mut bits = self.live_bits(word);
            let mut at = 64 * word;
            while bits != 0 {
                at += bits.trailing_zeros() as usize;
                bits >>= bits.trailing_zeros();
                let ones = bits.trailing_ones();
                match runs.last_mut().filter(|last| last.end == at) {
                    Some(last) => last.end += ones as usize,
                    None => runs.push(at..at + ones as usize),
                }
                at += ones as usize;
                bits = bits.checked_shr(ones).unwrap_or(0);
            }
        }
        runs
    }

    /// Bytes of the bits of deleted rows.
    pub(super) fn deleted_bytes(&self) -> usize {
        self.deleted.as_ref().map_or(0, |deleted| size_of_val(&**deleted))
    }
}

/// Which of `segments`, one after the other, has the row with that number.
pub(super) fn position(segments: &[Segment], row: usize) -> usize {
    segments.partition_point(|segment| segment.first + segment.rows <= row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(rows: usize) -> Segment {
        let held = Held::with_capacity(rows, 3, Dtype::Float32).unwrap();
        let space = held.claim(rows, 3).unwrap();
        Segment::new(0, rows, space.publish())
    }

    #[test]
    fn deleted_rows_are_known_by_bits_and_by_runs() {
        for rows in [1, 63, 64, 65, 200] {
            let whole = segment(rows);
            assert!(whole.runs().into_iter().eq(Some(0..rows)));
            for keep in [2, 3, 70] {
                let some = whole.without((0..rows).filter(|row| row % keep == 1));
                let live: Vec<usize> = some.runs().into_iter().flatten().collect();
                assert!(live.iter().copied().eq((0..rows).filter(|row| row % keep != 1)));
                assert_eq!(some.live(), live.len());
                assert!((0..rows + 70).all(|row| some.is_live(row) == live.contains(&row)), "{rows} {keep}");
                let runs = some.runs();
                assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }

    #[test]
    fn deleting_twice_deletes_once_and_the_last_takes_the_memory_along() {
        let some = segment(5).without([1, 1, 3].into_iter()).without([3].into_iter());
        assert_eq!((some.live(), some.runs()), (3, vec![0..1, 2..3, 4..5]));
        let none = some.without(0..5);
        assert_eq!((none.live(), none.rows, none.held().is_none(), none.runs().len()), (0, 5, true, 0));
        assert_eq!(none.live_bits(0), 0);
    }

    #[test]
    fn appended_rows_are_live() {
        let held = Held::with_capacity(200, 3, Dtype::Int8).unwrap();
        let first = Segment::new(0, 10, held.claim(10, 3).unwrap().publish()).without(2..4);
        let more = first.held().unwrap().claim(100, 3).unwrap().publish();
        let both = first.appended(100, more);
        assert_eq!((both.live(), both.runs()), (108, vec![0..2, 4..110]));
        assert_eq!(both.without(64..110).runs(), [0..2, 4..64]);
    }
}
