//! `Store::compact`: live rows in one segment.

use super::Store;
use super::segment::{Segment, SegmentData, VectorClaim, Vectors};
use crate::kernels::code_stride;
use crate::{CancelCheck, Result};

/// The most bytes of a job: a millisecond or so.
const MAX_JOB_BYTES: usize = 4 << 20;

/// Bytes to be copied.
struct CopyJob<'a> {
    from: &'a [u8],
    to: &'a mut [u8],
}

impl Store {
    /// The live rows in one segment, in their order. Their numbers change, their ids stay.
    pub fn compact(&self, check_cancel: CancelCheck<'_>) -> Result<Self> {
        if self.live == self.rows && self.segments.len() <= 1 {
            return Ok(self.clone());
        }
        let d = self.config.dimension;
        let mut segments = Vec::new();
        if self.live > 0 {
            let data = SegmentData::with_capacity(self.live, d, self.config.dtype)?;
            let mut claim = data.claim(self.live, d).expect("a new segment has room for what it is made for");
            let mut jobs = Vec::new();
            match &mut claim.vectors {
                VectorClaim::Float32(vectors) => self.push_copies(&mut jobs, vectors.as_mut_slice(), d, |data| {
                    if let Vectors::Float32(vectors) = &data.vectors { vectors } else { &[] }
                }),
                VectorClaim::Float16(vectors) => self.push_copies(&mut jobs, vectors.as_mut_slice(), d, |data| {
                    if let Vectors::Float16(vectors) = &data.vectors { vectors } else { &[] }
                }),
                VectorClaim::None => {}
                VectorClaim::Binary(bits) => self.push_copies(&mut jobs, bits.as_mut_slice(), d / 8, |data| {
                    if let Vectors::Binary(bits) = &data.vectors { bits } else { &[] }
                }),
            }
            if self.config.metric.is_some() {
                self.push_copies(&mut jobs, claim.codes.as_mut_slice(), code_stride(d), |data| &data.codes);
                self.push_copies(&mut jobs, claim.bounds.as_mut_slice(), 1, |data| &data.bounds);
            }
            self.config.pool.for_each(batch_jobs(jobs), check_cancel, |batch, _| {
                batch.into_iter().for_each(|job| job.to.copy_from_slice(job.from));
                Ok(())
            })?;
            segments.push(Segment::new(0, self.live, claim.publish()));
        }
        let ids = self.ids.rebuilt(self.live_ids());
        Ok(Self { config: self.config.clone(), segments, ids, rows: self.live, live: self.live })
    }

    /// Pushes jobs that copy live rows of `width` numbers each to one array.
    fn push_copies<'a, T: bytemuck::Pod>(
        &'a self,
        jobs: &mut Vec<CopyJob<'a>>,
        to: &'a mut [T],
        width: usize,
        from: impl Fn(&'a SegmentData) -> &'a [T],
    ) {
        let mut to: &mut [u8] = bytemuck::cast_slice_mut(to);
        let width = width * size_of::<T>();
        for segment in &self.segments {
            let Some(data) = segment.data() else { continue };
            let from: &[u8] = bytemuck::cast_slice(from(data));
            for range in segment.live_ranges() {
                for from in from[range.start * width..range.end * width].chunks(MAX_JOB_BYTES) {
                    let (these, rest) = to.split_at_mut(from.len());
                    jobs.push(CopyJob { from, to: these });
                    to = rest;
                }
            }
        }
    }
}

/// Groups jobs, so that each batch is worth handing to a thread.
fn batch_jobs(jobs: Vec<CopyJob<'_>>) -> Vec<Vec<CopyJob<'_>>> {
    let mut batches: Vec<Vec<CopyJob>> = Vec::new();
    let mut bytes = MAX_JOB_BYTES;
    for job in jobs {
        if bytes >= MAX_JOB_BYTES {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += job.from.len();
        batches.last_mut().expect("one was pushed").push(job);
    }
    batches
}
