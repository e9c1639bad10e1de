//! Vectors, their ids, and the search among them.
//!
//! A [`Store`] is a value: what changes one gives another, and both share the memory of the rows that they have in common. So
//! whoever searches is not disturbed by whoever adds, and a change that fails has changed nothing.

mod add;
mod attach;
mod compact;
mod fill;
mod first_pass;
#[cfg(test)]
mod first_pass_tests;
mod ids;
mod keys;
mod leaders;
mod level;
mod mirror;
mod place;
mod scorer;
mod search;
#[cfg(test)]
mod search_tests;
mod segment;
mod slack;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use ids::Ids;
pub use keys::{IdKind, Keys, Strings};
use place::Place;
use search::Search;
pub use search::{Found, Report};
use segment::position;
pub use segment::{Foreign, Held, Memory, Segment, Vectors};

use crate::device::Device;
use crate::kernels::{Isa, Metric, code_stride};
use crate::nn::active_isa;
use crate::pool::Pool;
use crate::{CancelCheck, Error, Result};

pub use attach::{Attached, AttachedVectors};

/// The largest dimension: sums of products of codes stay within 32 bits.
const MAX_DIMENSIONS: usize = 1 << 16;

/// How a store keeps vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    Float32,
    Float16,
    /// By their codes alone.
    Int8,
}

/// What all stores that come from one have in common.
struct Fixed {
    dimension: usize,
    metric: Metric,
    dtype: Dtype,
    isa: Isa,
    pool: Arc<Pool>,
    device: Device,
    /// None where the CPU's kernels search.
    place: Option<Place>,
}

/// Rows of vectors with their ids. Every row that was ever added has a number, from 0 on; deleted rows keep theirs until the store is
/// compacted.
#[derive(Clone)]
pub struct Store {
    fixed: Arc<Fixed>,
    segments: Vec<Segment>,
    ids: Ids,
    rows: usize,
    live: usize,
}

/// Bytes that a store takes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub vectors: usize,
    /// And bounds.
    pub codes: usize,
    /// With the index to look them up, and the bits of deleted rows.
    pub ids: usize,
    /// Of memory that is another's, in none of the others.
    pub mapped: usize,
    /// Allocated for rows to come.
    pub reserved: usize,
    /// Of copies on a device, in none of the others.
    pub device: usize,
}

impl Store {
    /// An empty store. `dtype`, `metric` and `device` by their names.
    pub fn new(dimension: usize, metric: &str, dtype: &str, device: &str, num_threads: Option<usize>) -> Result<Self> {
        let device = Device::choose(device)?;
        if !(1..=MAX_DIMENSIONS).contains(&dimension) {
            let message = format!("{dimension}; accepted: 1 to {MAX_DIMENSIONS}");
            return Err(Error::argument("dimension", message));
        }
        let metric = metric_named(metric)?;
        let dtype = Dtype::named(dtype)?;
        let pool = Arc::new(Pool::new(num_threads)?);
        let fixed = Fixed {
            dimension,
            metric,
            dtype,
            isa: active_isa()?,
            pool,
            place: Place::new(device.clone(), metric, dimension),
            device,
        };
        Ok(Self { fixed: Arc::new(fixed), segments: Vec::new(), ids: Ids::default(), rows: 0, live: 0 })
    }

    /// The same rows, in the same memory, where searches begin on another device. That has copies of its own, if it is not the CPU.
    pub fn on(&self, device: &str) -> Result<Self> {
        Ok(self.moved_to(Device::choose(device)?))
    }

    fn moved_to(&self, device: Device) -> Self {
        let Fixed { dimension, metric, dtype, isa, ref pool, .. } = *self.fixed;
        let place = Place::new(device.clone(), metric, dimension);
        let fixed = Fixed { dimension, metric, dtype, isa, pool: pool.clone(), device, place };
        let segments = self.segments.iter().map(Segment::unmirrored).collect();
        Self { fixed: Arc::new(fixed), segments, ..self.clone() }
    }

    /// The name of the device that searches begin on.
    pub fn device(&self) -> &str {
        self.fixed.device.name()
    }

    pub fn dimension(&self) -> usize {
        self.fixed.dimension
    }

    /// Bytes from one row of codes to the next.
    pub fn code_stride(&self) -> usize {
        code_stride(self.fixed.dimension)
    }

    pub fn metric(&self) -> Metric {
        self.fixed.metric
    }

    pub fn dtype(&self) -> Dtype {
        self.fixed.dtype
    }

    pub fn threads(&self) -> usize {
        self.fixed.pool.threads()
    }

    /// None while there was never a row.
    pub fn id_kind(&self) -> Option<IdKind> {
        self.ids.kind()
    }

    /// The largest number that was ever an id: rows without are numbered from the next one on.
    pub fn largest_id(&self) -> Option<i64> {
        self.ids.largest()
    }

    /// As if `id` had been an id and were deleted.
    pub fn numbered_after(&self, id: i64) -> Self {
        Self { ids: self.ids.after(id), ..self.clone() }
    }

    /// Rows with a number, deleted ones included.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that are not deleted.
    pub fn live(&self) -> usize {
        self.live
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Without some rows, in any order. Those that are deleted already stay so.
    pub fn without(&self, rows: &[usize]) -> Result<Self> {
        self.check_rows(rows)?;
        let mut store = self.clone();
        store.delete(rows.to_vec());
        Ok(store)
    }

    fn delete(&mut self, mut rows: Vec<usize>) {
        rows.sort_unstable();
        let mut rows = &rows[..];
        while let Some(&row) = rows.first() {
            let at = position(&self.segments, row);
            let segment = &mut self.segments[at];
            let (these, rest) = rows.split_at(rows.partition_point(|&row| row < segment.first + segment.rows));
            let before = segment.live();
            *segment = segment.without(these.iter().map(|row| row - segment.first));
            self.live -= before - segment.live();
            rows = rest;
        }
    }

    fn check_rows(&self, rows: &[usize]) -> Result<()> {
        match rows.iter().find(|&&row| row >= self.rows) {
            Some(row) => Err(Error::argument("rows", format!("there is no row {row} among {}", self.rows))),
            None => Ok(()),
        }
    }

    fn is_live(&self, row: usize) -> bool {
        let segment = &self.segments[position(&self.segments, row)];
        segment.is_live(row - segment.first)
    }

    /// The live row of each id; None where there is none.
    pub fn find(&self, ids: &Keys) -> Result<Vec<Option<usize>>> {
        self.ids.check_kind(ids)?;
        Ok(self.ids.find(ids).map(|row| row.filter(|&row| self.is_live(row))).collect())
    }

    /// Live rows in runs as long as can be within a segment.
    pub fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        self.segments.iter().flat_map(|segment| {
            segment.runs().into_iter().map(|run| segment.first + run.start..segment.first + run.end)
        })
    }

    /// Deleted rows, ascending.
    pub fn deleted(&self) -> Vec<usize> {
        let segments = self.segments.iter().filter(|segment| !segment.is_whole());
        segments
            .flat_map(|segment| (0..segment.rows).filter(|&row| !segment.is_live(row)).map(|row| segment.first + row))
            .collect()
    }

    /// The ids of rows, deleted ones too.
    pub fn ids_of(&self, rows: &[usize]) -> Result<Keys> {
        self.check_rows(rows)?;
        Ok(self.ids.take(rows.iter().map(|&row| row..row + 1)))
    }

    /// The ids of all live rows.
    pub fn live_ids(&self) -> Keys {
        self.ids.take(self.runs())
    }

    /// The ids of a range of rows, deleted ones too.
    pub fn id_slice(&self, rows: Range<usize>) -> Result<Keys> {
        if rows.start > rows.end || rows.end > self.rows {
            let message = format!("{}..{} is no part of {} rows", rows.start, rows.end, self.rows);
            return Err(Error::argument("start, stop", message));
        }
        Ok(self.ids.take([rows]))
    }

    /// Writes live rows to `out [rows, dimension]`; those kept as int8 are about what they were.
    pub fn take(&self, rows: &[usize], out: &mut [f32]) -> Result<()> {
        self.check_rows(rows)?;
        for (&row, out) in rows.iter().zip(out.chunks_exact_mut(self.fixed.dimension)) {
            let segment = &self.segments[position(&self.segments, row)];
            let held = segment.held().filter(|_| segment.is_live(row - segment.first));
            let deleted = || Error::argument("rows", format!("row {row} is deleted"));
            held.ok_or_else(deleted)?.take(row - segment.first, out);
        }
        Ok(())
    }

    /// The k best live rows for each of `queries [n, dimension]`, best first, of those that are not 0 in `mask [rows]`; fewer where fewer count.
    ///
    /// With `exact` these are the rows of the largest scores, as [`crate::kernels::exact`] computes them, and of equals the lower rows. Else rows are chosen
    /// by their codes, or by float32 scores on a device.
    pub fn search(
        &self,
        queries: &[f32],
        k: usize,
        mask: Option<&[u8]>,
        exact: bool,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Found> {
        let Fixed { dimension, metric, isa, .. } = *self.fixed;
        if !queries.len().is_multiple_of(dimension) {
            return Err(Error::argument("queries", format!("{} numbers are no rows of {dimension}", queries.len())));
        }
        check_queries(metric, queries, dimension)?;
        if let Some(mask) = mask.filter(|mask| mask.len() != self.rows) {
            return Err(Error::argument("mask", format!("{} values for {} rows", mask.len(), self.rows)));
        }
        if k == 0 {
            return Err(Error::argument("k", "expected 1 or more, found 0"));
        }
        let k = k.min(self.live).max(1);
        let place = self.fixed.place.as_ref();
        let search = Search { isa, metric, dimension, segments: &self.segments, mask, k, exact, place };
        search.run(queries, &self.fixed.pool, check_cancel)
    }

    pub fn memory(&self) -> Usage {
        let mut usage = Usage { ids: self.ids.bytes(), ..Usage::default() };
        for segment in &self.segments {
            usage.ids += segment.deleted_bytes();
            let Some(held) = segment.held() else { continue };
            let vectors = match &held.vectors {
                Vectors::Float32(vectors) => vectors.bytes(),
                Vectors::Float16(vectors) => vectors.bytes(),
                Vectors::Int8 => [0; 3],
            };
            usage.vectors += vectors[0];
            let (codes, bounds) = (held.codes.bytes(), held.bounds.bytes());
            usage.codes += codes[0] + bounds[0];
            usage.mapped += vectors[1] + codes[1] + bounds[1];
            usage.reserved += vectors[2] + codes[2] + bounds[2];
            usage.device += held.mirror.bytes();
        }
        usage
    }
}

/// Accepts finite numbers, and under [`Metric::L2`], where a query is not brought to length 1, none as long as squares beyond float32.
fn check_queries(metric: Metric, queries: &[f32], dimension: usize) -> Result<()> {
    for (i, query) in queries.chunks_exact(dimension).enumerate() {
        if !query.iter().all(|x| x.is_finite()) {
            return Err(Error::argument("queries", format!("row {i} has NaN or infinity")));
        }
        let square = || query.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        if metric == Metric::L2 && square() > 1e36 {
            return Err(Error::argument("queries", format!("row {i} is longer than 1e18")));
        }
    }
    Ok(())
}

impl Dtype {
    fn named(name: &str) -> Result<Self> {
        match name {
            "float32" => Ok(Self::Float32),
            "float16" => Ok(Self::Float16),
            "int8" => Ok(Self::Int8),
            _ => Err(Error::argument("dtype", format!("{name:?} is not a type; accepted: float32, float16, int8"))),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Int8 => "int8",
        }
    }

    /// Bytes of a number beside the codes.
    fn size(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float16 => 2,
            Self::Int8 => 0,
        }
    }
}

fn metric_named(name: &str) -> Result<Metric> {
    match name {
        "cosine" => Ok(Metric::Cosine),
        "dot" => Ok(Metric::Dot),
        "l2" => Ok(Metric::L2),
        _ => Err(Error::argument("metric", format!("{name:?} is not a metric; accepted: cosine, dot, l2"))),
    }
}

/// The name of a metric.
pub fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "cosine",
        Metric::Dot => "dot",
        Metric::L2 => "l2",
    }
}
