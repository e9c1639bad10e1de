//! Vectors, their ids, and the search among them.
//!
//! A [`Store`] is a value: what changes one gives another, and both share the memory of the rows that they have in
//! common. So a search is not disturbed by a thread that adds, and a change that fails has changed nothing.
//!
//! The files, each below those that use it; `mod.rs` stands on top, with `add`, `attach`, `compact`, `hamming_search`,
//! `rescore` and `store_coarse_codes`, which hold methods of `Store`:
//!
//! ```text
//! add  attach  compact ──> encode_rows ──> segment        rows in
//!
//! hamming_search ──> collector                            brute force among rows of bits
//! rescore                                                 the second look at them
//! store_coarse_codes ──> search, segment                  what searches for few queries read first, made by and by
//! search                                                  the two passes and the proof
//!  ├─> device_pass ──> device_copy ──> error_bound        filter on a device
//!  │        │               └────────> device_context     its memory and its lock
//!  ├─> collector                                          filter on the CPU: kernels::scan
//!  │        └─> scorer                                    refine: float64 scores
//!  │              ├─> top_k                               candidates, thresholds
//!  └───────────────> search_request ──> segment           what all passes read
//!
//! segment ──> device_copy, config ──> device_context      arrays of consecutive rows
//!    └─> coarse_codes ──> segment_array                   what few queries read first
//! id_index ──> sorted_run ──> row_ids                     ids
//! value_bins ──> byte_columns                             texts and metadata
//! ```

mod add;
mod attach;
mod byte_columns;
mod coarse_codes;
mod collector;
mod compact;
mod config;
mod device_context;
mod device_copy;
mod device_pass;
#[cfg(test)]
mod device_pass_tests;
mod encode_rows;
mod error_bound;
mod hamming_search;
mod id_index;
mod rescore;
mod row_ids;
mod scorer;
mod search;
mod search_request;
#[cfg(test)]
mod search_tests;
mod segment;
mod segment_array;
mod sorted_run;
mod store_coarse_codes;
#[cfg(test)]
mod tests;
mod top_k;
mod value_bins;

use std::ops::Range;
use std::sync::Arc;

pub use attach::{AttachedCodes, AttachedRows, AttachedVectors};
pub use byte_columns::{ByteColumn, ByteComparison};
use config::{MAX_DIMENSION, StoreConfig, check_match, metric_named};
pub use config::{VectorDtype, metric_name};
use device_context::DeviceContext;
use id_index::IdIndex;
pub use row_ids::{IdKind, RowIds, Utf8Column};
pub use search::{SearchReport, SearchResults};
use search_request::SearchRequest;
use segment::segment_index;
pub use segment::{Segment, SegmentData, Vectors};
pub use segment_array::{ForeignArray, SegmentArray};
pub use value_bins::{ValueBins, select_codes};

use crate::device::Device;
use crate::kernels::{Metric, coarse_stride, code_stride};
use crate::nn::active_isa;
use crate::pool::Pool;
use crate::{CancelCheck, Error, Result};

/// Rows of vectors with their ids. Every row that was ever added has a number, from 0 on; deleted rows keep theirs
/// until the store is compacted.
#[derive(Clone)]
pub struct Store {
    config: Arc<StoreConfig>,
    segments: Vec<Segment>,
    ids: IdIndex,
    rows: usize,
    live: usize,
}

/// Bytes that a store takes: see [`Store::memory`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUsage {
    pub vectors: usize,
    /// Codes, bounds and coarse codes.
    pub codes: usize,
    /// Ids, the index to look them up, and the bits of deleted rows.
    pub ids: usize,
    /// Memory of another owner, in none of the others.
    pub mapped: usize,
    /// Allocated for rows to come.
    pub reserved: usize,
    /// Copies on a device, in none of the others.
    pub device: usize,
}

impl Store {
    /// An empty store. `dtype`, `metric` and `device` are given by their names.
    ///
    /// # Errors
    /// If an argument is not accepted, or the device is not there.
    pub fn new(dimension: usize, metric: &str, dtype: &str, device: &str, num_threads: Option<usize>) -> Result<Self> {
        let device = Device::choose_for_search(device)?;
        if !(1..=MAX_DIMENSION).contains(&dimension) {
            let message = format!("{dimension}; accepted: 1 to {MAX_DIMENSION}");
            return Err(Error::argument("dimension", message));
        }
        let metric = metric_named(metric)?;
        let dtype = VectorDtype::named(dtype)?;
        check_match(metric, dtype, dimension)?;
        let pool = Arc::new(Pool::new(num_threads)?);
        let config = StoreConfig {
            dimension,
            metric,
            dtype,
            isa: active_isa()?,
            pool,
            device_context: metric.and_then(|metric| DeviceContext::new(device.clone(), metric, dimension)),
            device,
        };
        Ok(Self { config: Arc::new(config), segments: Vec::new(), ids: IdIndex::default(), rows: 0, live: 0 })
    }

    /// The same rows, in the same memory, where searches begin on the device of that name. It gets copies of its own,
    /// if it is not the CPU.
    pub fn with_device(&self, name: &str) -> Result<Self> {
        Ok(self.on_device(Device::choose_for_search(name)?))
    }

    fn on_device(&self, device: Device) -> Self {
        let segments = self.segments.iter().map(Segment::without_device_copy).collect();
        Self { config: Arc::new(self.config.with_device(device)), segments, ..self.clone() }
    }

    /// The name of the device that searches begin on.
    pub fn device(&self) -> &str {
        self.config.device.name()
    }

    pub fn dimension(&self) -> usize {
        self.config.dimension
    }

    /// Bytes from one row of codes to the next.
    pub fn code_stride(&self) -> usize {
        code_stride(self.config.dimension)
    }

    /// Bytes from one row of coarse codes to the next.
    pub fn coarse_stride(&self) -> usize {
        coarse_stride(self.config.dimension)
    }

    /// How numbers are compared; None where bits that differ are counted.
    pub fn metric(&self) -> Option<Metric> {
        self.config.metric
    }

    pub fn dtype(&self) -> VectorDtype {
        self.config.dtype
    }

    pub fn threads(&self) -> usize {
        self.config.pool.threads()
    }

    /// What ids are; None while there was never a row.
    pub fn id_kind(&self) -> Option<IdKind> {
        self.ids.kind()
    }

    /// The largest number that was ever an id: rows without are numbered from the next one on.
    pub fn largest_id(&self) -> Option<i64> {
        self.ids.largest()
    }

    /// The same rows, where new ones are numbered as if `id` had been an id that was deleted.
    pub fn with_largest_id(&self, id: i64) -> Self {
        Self { ids: self.ids.with_largest(id), ..self.clone() }
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

    /// This store without some rows, given in any order. Those that are deleted already stay so.
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
            let index = segment_index(&self.segments, row);
            let segment = &mut self.segments[index];
            let (these, rest) = rows.split_at(rows.partition_point(|&row| row < segment.first_row + segment.rows));
            let before = segment.live();
            *segment = segment.without(these.iter().map(|row| row - segment.first_row));
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
        let segment = &self.segments[segment_index(&self.segments, row)];
        segment.is_live(row - segment.first_row)
    }

    /// The live row of each id; None where there is none.
    pub fn find(&self, ids: &RowIds) -> Result<Vec<Option<usize>>> {
        self.ids.check_kind(ids)?;
        Ok(self.ids.find(ids).map(|row| row.filter(|&row| self.is_live(row))).collect())
    }

    /// Live rows in ranges as long as can be within a segment.
    pub fn live_ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.segments.iter().flat_map(|segment| {
            segment
                .live_ranges()
                .into_iter()
                .map(|range| segment.first_row + range.start..segment.first_row + range.end)
        })
    }

    /// Deleted rows, ascending.
    pub fn deleted(&self) -> Vec<usize> {
        let segments = self.segments.iter().filter(|segment| !segment.is_fully_live());
        segments
            .flat_map(|segment| {
                (0..segment.rows).filter(|&row| !segment.is_live(row)).map(|row| segment.first_row + row)
            })
            .collect()
    }

    /// The ids of rows, deleted ones too.
    pub fn ids_of(&self, rows: &[usize]) -> Result<RowIds> {
        self.check_rows(rows)?;
        Ok(self.ids.take(rows.iter().map(|&row| row..row + 1)))
    }

    /// The ids of all live rows.
    pub fn live_ids(&self) -> RowIds {
        self.ids.take(self.live_ranges())
    }

    /// The ids of a range of rows, deleted ones too.
    pub fn id_slice(&self, rows: Range<usize>) -> Result<RowIds> {
        if rows.start > rows.end || rows.end > self.rows {
            let message = format!("{}..{} is no part of {} rows", rows.start, rows.end, self.rows);
            return Err(Error::argument("start, stop", message));
        }
        Ok(self.ids.take([rows]))
    }

    /// Writes live rows to `out [rows, dimension]`; of int8 what their codes stand for. Rows of bits are for
    /// [`Self::take_bits`].
    pub fn take(&self, rows: &[usize], out: &mut [f32]) -> Result<()> {
        self.number_metric()?;
        self.take_rows(rows, out, self.config.dimension, |data, row, out| data.take(row, out))
    }

    /// Has `write` write each of some live rows to `width` numbers of `out`.
    fn take_rows<T>(
        &self,
        rows: &[usize],
        out: &mut [T],
        width: usize,
        write: impl Fn(&SegmentData, usize, &mut [T]),
    ) -> Result<()> {
        self.check_rows(rows)?;
        for (&row, out) in rows.iter().zip(out.chunks_exact_mut(width)) {
            let segment = &self.segments[segment_index(&self.segments, row)];
            let data = segment.data().filter(|_| segment.is_live(row - segment.first_row));
            let deleted = || Error::argument("rows", format!("row {row} is deleted"));
            write(data.ok_or_else(deleted)?, row - segment.first_row, out);
        }
        Ok(())
    }

    /// How numbers are compared.
    ///
    /// # Errors
    /// If rows are bits.
    fn number_metric(&self) -> Result<Metric> {
        self.config.metric.ok_or_else(|| Error::argument("vectors", "a store of ubinary has bits and no numbers"))
    }

    /// The k best live rows for each of `queries [n, dimension]`, best first, of those that are not 0 in `mask [rows]`;
    /// fewer where fewer count.
    ///
    /// With `exact` these are the rows of the largest scores, as [`crate::kernels::exact_score`] computes them, and of
    /// equals the lower rows: the proof is in `search`. Else rows are chosen by their codes, or by float32 scores on a
    /// device.
    ///
    /// # Errors
    /// If a query is not finite or too long, `k` is 0, `mask` has another length, or the device fails.
    pub fn search(
        &self,
        queries: &[f32],
        k: usize,
        mask: Option<&[u8]>,
        exact: bool,
        check_cancel: CancelCheck<'_>,
    ) -> Result<SearchResults> {
        self.search_rows(queries, k, mask, exact, None, check_cancel)
    }

    /// As `search`, of rows whose scores in float64, see `search`, are at least `min_score`: all of them where `k` is None.
    /// Takes memory in proportion to what is found.
    ///
    /// # Errors
    /// As `search`; or `min_score` is NaN.
    pub fn search_range(
        &self,
        queries: &[f32],
        min_score: f64,
        k: Option<usize>,
        mask: Option<&[u8]>,
        exact: bool,
        check_cancel: CancelCheck<'_>,
    ) -> Result<SearchResults> {
        if min_score.is_nan() {
            return Err(Error::argument("min_score", "expected a number, found NaN"));
        }
        // As scores are compared bit by bit, where -0.0 is less than 0.0.
        let min_score = if min_score == 0.0 { -0.0 } else { min_score };
        self.search_rows(queries, k.unwrap_or(usize::MAX), mask, exact, Some(min_score), check_cancel)
    }

    fn search_rows(
        &self,
        queries: &[f32],
        k: usize,
        mask: Option<&[u8]>,
        exact: bool,
        min_score: Option<f64>,
        check_cancel: CancelCheck<'_>,
    ) -> Result<SearchResults> {
        let metric = self.number_metric()?;
        let StoreConfig { dimension, isa, .. } = *self.config;
        self.check_queries(queries)?;
        self.check_mask(mask)?;
        self.check_k(k)?;
        let k = k.min(self.live).max(1);
        let device_context = self.config.device_context.as_ref();
        let request = SearchRequest {
            isa,
            metric,
            dimension,
            segments: &self.segments,
            mask,
            k,
            min_score,
            exact,
            device_context,
        };
        request.run(queries, &self.config.pool, check_cancel)
    }

    /// Accepts rows of finite numbers, and under [`Metric::L2`], where a query is not brought to length 1, none as long as
    /// squares beyond float32.
    fn check_queries(&self, queries: &[f32]) -> Result<()> {
        let StoreConfig { dimension, metric, .. } = *self.config;
        if !queries.len().is_multiple_of(dimension) {
            return Err(Error::argument("queries", format!("{} numbers are no rows of {dimension}", queries.len())));
        }
        for (i, query) in queries.chunks_exact(dimension).enumerate() {
            if !query.iter().all(|x| x.is_finite()) {
                return Err(Error::argument("queries", format!("row {i} has NaN or infinity")));
            }
            let square = || query.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
            if metric == Some(Metric::L2) && square() > 1e36 {
                return Err(Error::argument("queries", format!("row {i} is longer than 1e18")));
            }
        }
        Ok(())
    }

    fn check_mask(&self, mask: Option<&[u8]>) -> Result<()> {
        match mask.filter(|mask| mask.len() != self.rows) {
            Some(mask) => Err(Error::argument("mask", format!("{} values for {} rows", mask.len(), self.rows))),
            None => Ok(()),
        }
    }

    fn check_k(&self, k: usize) -> Result<()> {
        if k == 0 { Err(Error::argument("k", "expected 1 or more, found 0")) } else { Ok(()) }
    }

    /// Bytes that the store takes now.
    pub fn memory(&self) -> MemoryUsage {
        let mut usage = MemoryUsage { ids: self.ids.bytes(), ..MemoryUsage::default() };
        for segment in &self.segments {
            usage.ids += segment.deleted_bytes();
            let Some(data) = segment.data() else { continue };
            let vectors = match &data.vectors {
                Vectors::Float32(vectors) => vectors.bytes(),
                Vectors::Float16(vectors) => vectors.bytes(),
                Vectors::Int8 => [0; 3],
                Vectors::Binary(bits) => bits.bytes(),
            };
            usage.vectors += vectors[0];
            let (of_codes, of_bounds, coarse) = (data.codes.bytes(), data.bounds.bytes(), data.coarse.bytes());
            let codes: [usize; 3] = std::array::from_fn(|i| of_codes[i] + of_bounds[i]);
            usage.codes += codes[0] + coarse[0];
            usage.mapped += vectors[1] + codes[1] + coarse[1];
            usage.reserved += vectors[2] + codes[2];
            usage.device += data.device_copy.bytes();
        }
        usage
    }
}
