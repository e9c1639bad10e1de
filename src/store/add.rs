//! Rows that come, and the room for them.

use super::fill::{Given, fill};
use super::segment::{Held, Segment, Space};
use super::{Keys, Store};
use crate::kernels::{Bound, code_stride};
use crate::{CancelCheck, Error, Result};

/// A segment for rows that come a few at a time has room for as many as the store has, and for at least so many,
const MIN_ROOM: usize = 1024;
/// or rows of so many bytes if these are fewer,
const MIN_ROOM_BYTES: usize = 1 << 20;
/// and at most rows of so many bytes.
const MAX_ROOM_BYTES: usize = 256 << 20;

/// Where rows go.
enum Place {
    Tail,
    New,
}

impl Store {
    /// Adds `vectors [n, dimension]`, of which the first is called `first` in messages. Without ids they get numbers after the largest that
    /// was ever an id. A row with the same id as an earlier one takes its place. `expected`: rows that will come with these, themselves included;
    /// one segment gets room for all.
    pub fn add(
        &self,
        vectors: &[f32],
        ids: Option<Keys>,
        expected: usize,
        first: usize,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Self> {
        let d = self.fixed.dimension;
        if !vectors.len().is_multiple_of(d) {
            return Err(Error::argument("vectors", format!("{} numbers are no rows of {d}", vectors.len())));
        }
        let n = vectors.len() / d;
        let ids = ids.map_or_else(|| self.ids.count(n), Ok)?;
        if ids.len() != n {
            return Err(Error::argument("ids", format!("{} ids for {n} vectors", ids.len())));
        }
        let (level, again) = self.ids.level(ids)?;
        if n == 0 {
            return Ok(self.clone());
        }
        let mut superseded: Vec<usize> = again.into_iter().map(|row| self.rows + row).collect();
        if !self.ids.are_new(level.keys()) {
            superseded.extend(self.ids.find(level.keys()).flatten().filter(|&row| self.is_live(row)));
        }
        let (place, mut space) = self.space(n, expected.max(n))?;
        let refuse = |i: usize, why: &str| Error::argument("vectors", format!("row {} {why}", first + i));
        fill(&self.fixed, &mut space, Given::Float32(vectors), &refuse, check_cancel)?;
        let held = space.publish();
        let mut store = self.clone();
        match place {
            Place::Tail => {
                let tail = store.segments.pop().expect("the tail that gave the space");
                store.segments.push(tail.appended(n, held));
            }
            Place::New => store.segments.push(Segment::new(self.rows, n, held)),
        }
        store.ids = self.ids.with(level);
        store.rows += n;
        store.live += n;
        store.delete(superseded);
        Ok(store)
    }

    /// Places for `n` rows: at the end of the last segment where it has room for all that are expected, or in a new one.
    fn space(&self, n: usize, expected: usize) -> Result<(Place, Space)> {
        let d = self.fixed.dimension;
        let tail = self.segments.last().and_then(Segment::held);
        if let Some(space) = tail.filter(|tail| tail.room() >= expected).and_then(|tail| tail.claim(n, d)) {
            return Ok((Place::Tail, space));
        }
        let held = Held::with_capacity(self.capacity(expected), d, self.fixed.dtype)?;
        let space = held.claim(n, d).expect("a new segment has room for what it is made for");
        Ok((Place::New, space))
    }

    /// Rows that a new segment has room for when so many are to be added: just these where they are many, else some more.
    fn capacity(&self, expected: usize) -> usize {
        let row = self.row_bytes();
        let room = self.live.max(MIN_ROOM.min(MIN_ROOM_BYTES / row)).min(MAX_ROOM_BYTES / row);
        if expected > room / 4 { expected } else { room }
    }

    /// Bytes of a row without its id.
    fn row_bytes(&self) -> usize {
        let d = self.fixed.dimension;
        d * self.fixed.dtype.size() + code_stride(d) + size_of::<Bound>()
    }

    /// Bytes that adding so many rows would allocate, with 8 for each id.
    pub fn size_of(&self, rows: usize) -> usize {
        let tail = self.segments.last().and_then(Segment::held);
        let has_room = rows == 0 || tail.is_some_and(|tail| tail.room() >= rows);
        let capacity = if has_room { 0 } else { self.capacity(rows) };
        capacity.saturating_mul(self.row_bytes()).saturating_add(rows.saturating_mul(8))
    }
}
