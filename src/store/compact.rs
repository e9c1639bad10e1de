//! Live rows in one segment.

use super::Store;
use super::segment::{Held, Segment, SpaceForVectors, Vectors};
use crate::kernels::code_stride;
use crate::{CancelCheck, Result};

/// Bytes of a job: a millisecond or so.
const JOB: usize = 4 << 20;

/// Bytes to be copied.
struct Job<'a> {
    from: &'a [u8],
    to: &'a mut [u8],
}

impl Store {
    /// The live rows in one segment, in their order. Their numbers change, their ids stay.
    pub fn compact(&self, check_cancel: CancelCheck<'_>) -> Result<Self> {
        if self.live == self.rows && self.segments.len() <= 1 {
            return Ok(self.clone());
        }
        let d = self.fixed.dimension;
        let mut segments = Vec::new();
        if self.live > 0 {
            let held = Held::with_capacity(self.live, d, self.fixed.dtype)?;
            let mut space = held.claim(self.live, d).expect("a new segment has room for what it is made for");
            let mut jobs = Vec::new();
            match &mut space.vectors {
                SpaceForVectors::Float32(claim) => self.copies(&mut jobs, claim.as_mut_slice(), d, |held| {
                    if let Vectors::Float32(vectors) = &held.vectors { vectors } else { &[] }
                }),
                SpaceForVectors::Float16(claim) => self.copies(&mut jobs, claim.as_mut_slice(), d, |held| {
                    if let Vectors::Float16(vectors) = &held.vectors { vectors } else { &[] }
                }),
                SpaceForVectors::None => {}
            }
            self.copies(&mut jobs, space.codes.as_mut_slice(), code_stride(d), |held| &held.codes);
            self.copies(&mut jobs, space.bounds.as_mut_slice(), 1, |held| &held.bounds);
            self.fixed.pool.for_each(batches(jobs), check_cancel, |batch, _| {
                batch.into_iter().for_each(|job| job.to.copy_from_slice(job.from));
                Ok(())
            })?;
            segments.push(Segment::new(0, self.live, space.publish()));
        }
        let ids = self.ids.replaced(self.live_ids());
        Ok(Self { fixed: self.fixed.clone(), segments, ids, rows: self.live, live: self.live })
    }

    /// The copying of live rows of `width` numbers each to the one memory.
    fn copies<'a, T: bytemuck::Pod>(
        &'a self,
        jobs: &mut Vec<Job<'a>>,
        to: &'a mut [T],
        width: usize,
        from: impl Fn(&'a Held) -> &'a [T],
    ) {
        let mut to: &mut [u8] = bytemuck::cast_slice_mut(to);
        let width = width * size_of::<T>();
        for segment in &self.segments {
            let Some(held) = segment.held() else { continue };
            let from: &[u8] = bytemuck::cast_slice(from(held));
            for run in segment.runs() {
                for from in from[run.start * width..run.end * width].chunks(JOB) {
                    let (these, rest) = to.split_at_mut(from.len());
                    jobs.push(Job { from, to: these });
                    to = rest;
                }
            }
        }
    }
}

/// Jobs together, so that each batch is worth handing over.
fn batches(jobs: Vec<Job<'_>>) -> Vec<Vec<Job<'_>>> {
    let mut batches: Vec<Vec<Job>> = Vec::new();
    let mut bytes = JOB;
    for job in jobs {
        if bytes >= JOB {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += job.from.len();
        batches.last_mut().expect("one was pushed").push(job);
    }
    batches
}
