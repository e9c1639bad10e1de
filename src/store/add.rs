//! `Store::add`: ids, place and codes of rows that are added.

use super::Store;
use super::encode_rows::{InputVectors, encode_rows};
use super::row_ids::RowIds;
use super::segment::{RowClaim, Segment, SegmentData, VectorClaim};
use crate::kernels::Bound;
use crate::{CancelCheck, Error, Result};

/// A segment for rows that come a few at a time has room for as many rows as the store has, and for at least so many,
const MIN_CAPACITY_ROWS: usize = 1024;
/// or rows of so many bytes if these are fewer,
const MIN_CAPACITY_BYTES: usize = 1 << 20;
/// and at most rows of so many bytes.
const MAX_CAPACITY_BYTES: usize = 256 << 20;

/// Where rows go.
enum Destination {
    LastSegment,
    NewSegment,
}

impl Store {
    /// Adds `vectors [n, dimension]`, of which the first is called `first` in messages. Without ids they get numbers
    /// after the largest that was ever an id. A row with the same id as an earlier one supersedes it. `expected`: rows
    /// that will come with these, themselves included; one segment gets room for all.
    ///
    /// # Errors
    /// If a row cannot be stored, an id is negative or of another kind than the store's, or there is no memory.
    pub fn add(
        &self,
        vectors: &[f32],
        ids: Option<RowIds>,
        expected: usize,
        first: usize,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Self> {
        self.number_metric()?;
        let d = self.config.dimension;
        if !vectors.len().is_multiple_of(d) {
            return Err(Error::argument("vectors", format!("{} numbers are no rows of {d}", vectors.len())));
        }
        let row_error = |i: usize, why: &str| Error::argument("vectors", format!("row {} {why}", first + i));
        self.add_rows(vectors.len() / d, ids, expected, |claim| {
            encode_rows(&self.config, claim, InputVectors::Float32(vectors), &row_error, check_cancel)
        })
    }

    /// As [`Self::add`], of rows of bits `[n, dimension / 8]`.
    pub fn add_bits(&self, bits: &[u8], ids: Option<RowIds>, expected: usize) -> Result<Self> {
        let row_bytes = self.bit_row_bytes()?;
        if !bits.len().is_multiple_of(row_bytes) {
            return Err(Error::argument("vectors", format!("{} bytes are no rows of {row_bytes}", bits.len())));
        }
        self.add_rows(bits.len() / row_bytes, ids, expected, |claim| {
            let VectorClaim::Binary(copies) = &mut claim.vectors else { unreachable!("a store of bits claims bits") };
            copies.as_mut_slice().copy_from_slice(bits);
            Ok(())
        })
    }

    /// Adds `n` rows that `write` writes to their place.
    fn add_rows(
        &self,
        n: usize,
        ids: Option<RowIds>,
        expected: usize,
        write: impl FnOnce(&mut RowClaim) -> Result<()>,
    ) -> Result<Self> {
        let ids = ids.map_or_else(|| self.ids.number_rows(n), Ok)?;
        if ids.len() != n {
            return Err(Error::argument("ids", format!("{} ids for {n} vectors", ids.len())));
        }
        let (run, duplicates) = self.ids.new_run(ids)?;
        if n == 0 {
            return Ok(self.clone());
        }
        let mut superseded: Vec<usize> = duplicates.into_iter().map(|row| self.rows + row).collect();
        if !self.ids.are_new(run.ids()) {
            superseded.extend(self.ids.find(run.ids()).flatten().filter(|&row| self.is_live(row)));
        }
        let (destination, mut claim) = self.claim_rows(n, expected.max(n))?;
        write(&mut claim)?;
        let data = claim.publish();
        let mut store = self.clone();
        match destination {
            Destination::LastSegment => {
                let last = store.segments.pop().expect("the segment that gave the claim");
                store.segments.push(last.appended(n, data));
            }
            Destination::NewSegment => store.segments.push(Segment::new(self.rows, n, data)),
        }
        store.ids = self.ids.with_run(run);
        store.rows += n;
        store.live += n;
        store.delete(superseded);
        Ok(store)
    }

    /// A claim of `n` rows: at the end of the last segment where it has room for all that are expected, or in a new
    /// one.
    fn claim_rows(&self, n: usize, expected: usize) -> Result<(Destination, RowClaim)> {
        let d = self.config.dimension;
        let last = self.segments.last().and_then(Segment::data);
        if let Some(claim) = last.filter(|last| last.free_rows(d) >= expected).and_then(|last| last.claim(n, d)) {
            return Ok((Destination::LastSegment, claim));
        }
        let data = SegmentData::with_capacity(self.capacity(expected), d, self.config.dtype)?;
        let claim = data.claim(n, d).expect("a new segment has room for what it is made for");
        Ok((Destination::NewSegment, claim))
    }

    /// Rows that a new segment has room for when `expected` are to be added: just these where they are many, else some
    /// more.
    fn capacity(&self, expected: usize) -> usize {
        let row = self.row_bytes();
        let room = self.live.max(MIN_CAPACITY_ROWS.min(MIN_CAPACITY_BYTES / row)).min(MAX_CAPACITY_BYTES / row);
        if expected > room / 4 { expected } else { room }
    }

    /// Bytes of a row: vector, codes and bound.
    fn row_bytes(&self) -> usize {
        let (d, dtype) = (self.config.dimension, self.config.dtype);
        match dtype.code_bytes(d) {
            0 => dtype.vector_bytes(d),
            codes => dtype.vector_bytes(d) + codes + size_of::<Bound>(),
        }
    }

    /// Bytes that adding so many rows would allocate, with 8 for each id.
    pub fn size_of(&self, rows: usize) -> usize {
        let last = self.segments.last().and_then(Segment::data);
        let has_room = rows == 0 || last.is_some_and(|last| last.free_rows(self.config.dimension) >= rows);
        let capacity = if has_room { 0 } else { self.capacity(rows) };
        capacity.saturating_mul(self.row_bytes()).saturating_add(rows.saturating_mul(8))
    }
}
