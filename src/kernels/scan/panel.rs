//! The scan: products of queries with codes, and the rows whose upper bound reaches a query's threshold.
//!
//! ```text
//! for each group of 64 rows (or the width of the set's tile):
//!     few queries:  rows that coarse codes rule out are left out, see `look`
//!     few queries:  a dot product of bytes for each query and row, four rows at a time, as they lie in memory
//!     from 4 on:    lay the rows out as a panel [stride / 4, width, 4], then register tiles of queries x rows
//!     upper := product * scales - half_square + |q| * error + query_error * norm
//!     pass the rows with upper >= threshold to the collector
//! ```
//!
//! One query is bound by memory: rows are read once, in their order, with the next ones prefetched. Many queries are
//! bound by multiplication, for which a panel serves every query once it is laid out: the micro-kernel of a matrix
//! product (Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", 2008), the one of
//! `kernels::tile`. The maximum of the upper bounds is compared first, as most groups have no row that reaches the
//! threshold.

use std::ops::Range;

use super::coarse::coarse_stride;
use super::first_look::FirstLook;
use super::queries::{MIN_PANEL_QUERIES, QuantizedQueries, QueryBound};
use super::row_sums::rounding;
use super::{Bound, code_stride};
use crate::kernels::Isa;
use crate::kernels::aligned::scratch;
use crate::kernels::prefetch::{Prefetch, prefetch};
use crate::kernels::simd::{Int8, Int8Operation, Simd};
use crate::kernels::tile::{Bytes, MicroKernel, tile, with_tile};

/// The most rows of a group: a panel's on any instruction set, 4 vectors of 16 at most.
pub(super) const MAX_GROUP_ROWS: usize = 64;

/// Rows of a group that few queries are multiplied with: those that follow are on their way to the first-level cache
/// meanwhile.
const FEW_QUERIES_GROUP_ROWS: usize = 32;

/// Rows that one query is multiplied with at a time.
pub(super) const ROWS_PER_DOT: usize = 4;

/// Some rows of a block.
#[derive(Debug, Clone)]
pub enum RowSelection<'a> {
    Range(Range<usize>),
    /// Ascending.
    List(&'a [u32]),
}

impl RowSelection<'_> {
    #[expect(clippy::len_without_is_empty, reason = "no caller asks")]
    pub fn len(&self) -> usize {
        match self {
            RowSelection::Range(range) => range.len(),
            RowSelection::List(list) => list.len(),
        }
    }

    #[inline(always)]
    pub(in crate::kernels) fn get(&self, i: usize) -> usize {
        match self {
            RowSelection::Range(range) => range.start + i,
            RowSelection::List(list) => list[i] as usize,
        }
    }
}

/// What a scan passes rows to.
pub trait Collector {
    /// The least score that is of interest for the query: rows that cannot reach it are not collected.
    fn threshold(&self, query: usize) -> f32;

    /// Drops what cannot be of interest any more, and raises the threshold to what is known by now: else it may lag behind.
    fn prune(&mut self, query: usize);

    /// The score of a row is from `lower` to `upper`. Scores are here ⟨q, x⟩, with `q` as [`QuantizedQueries`] and `x`
    /// as [`Bound`] see them, less half the square of the length of `x` under [`super::Metric::L2`].
    fn collect(&mut self, query: usize, row: usize, lower: f32, upper: f32);

    /// Whether rows are compared by the middle of their bounds, which may be above the score.
    fn compares_middles(&self) -> bool;
}

/// The codes of consecutive rows.
#[derive(Debug, Clone, Copy)]
pub struct CodedRows<'a> {
    /// `[n, code_stride(dimension)]`
    pub codes: &'a [i8],
    /// `[n]`
    pub bounds: &'a [Bound],
    /// `[m, coarse_stride(dimension)]`: those of the first `m` rows, which may be none.
    pub coarse: &'a [u8],
}

/// Passes to `collector` all `rows` of `coded` that may reach a query's threshold. Returns how many bytes were read.
pub fn scan(
    isa: Isa,
    queries: &QuantizedQueries,
    coded: CodedRows<'_>,
    rows: &RowSelection<'_>,
    first_look: &mut FirstLook,
    collector: &mut impl Collector,
) -> usize {
    let (stride, n) = (code_stride(queries.dimension), coded.bounds.len());
    assert_eq!(coded.codes.len(), n * stride, "a bound for each row of codes");
    let coarse_stride = coarse_stride(queries.dimension);
    assert!(coded.coarse.len() <= n * coarse_stride && coded.coarse.len().is_multiple_of(coarse_stride), "whole rows");
    if rows.len() == 0 || queries.is_empty() {
        return 0;
    }
    assert!(rows.get(rows.len() - 1) < n, "rows of the block");
    // Around `run_int8` and not inside it: a closure in there would be compiled without the instruction set.
    scratch(2 * MAX_GROUP_ROWS * stride, |panel: &mut [i8]| {
        isa.run_int8(Scan { queries, coded, stride, rows, panel, first_look, collector, bytes: 0 })
    })
}

pub(super) struct Scan<'a, C> {
    pub(super) queries: &'a QuantizedQueries,
    pub(super) coded: CodedRows<'a>,
    stride: usize,
    pub(super) rows: &'a RowSelection<'a>,
    /// Memory for a panel, and for its rows where they are not side by side.
    panel: &'a mut [i8],
    pub(super) first_look: &'a mut FirstLook,
    pub(super) collector: &'a mut C,
    /// Bytes that were read.
    pub(super) bytes: usize,
}

/// Rows that are multiplied together, and their bounds, column by column.
pub(super) struct RowGroup {
    pub(super) scale: [f32; MAX_GROUP_ROWS],
    pub(super) error: [f32; MAX_GROUP_ROWS],
    pub(super) norm: [f32; MAX_GROUP_ROWS],
    pub(super) half_square: [f32; MAX_GROUP_ROWS],
    /// What the offset of a query's bytes adds to the sums.
    excess: [f32; MAX_GROUP_ROWS],
    row: [usize; MAX_GROUP_ROWS],
    codes: [*const i8; MAX_GROUP_ROWS],
    pub(super) count: usize,
    /// Products of the rows' integers with a query's.
    pub(super) sums: [f32; MAX_GROUP_ROWS],
    /// Upper bounds of the rows' scores.
    pub(super) uppers: [f32; MAX_GROUP_ROWS],
}

impl RowGroup {
    #[inline(always)]
    pub(super) fn new() -> Self {
        let zeros = [0.0; MAX_GROUP_ROWS];
        Self {
            scale: zeros,
            error: zeros,
            norm: zeros,
            half_square: zeros,
            excess: zeros,
            row: [0; MAX_GROUP_ROWS],
            codes: [std::ptr::null(); MAX_GROUP_ROWS],
            count: 0,
            sums: zeros,
            uppers: zeros,
        }
    }

    /// Computes the rows' upper bounds from their sums. Returns what is at least the largest of them.
    #[inline(always)]
    pub(super) fn bound<S: Simd>(&mut self, s: S, query: QueryBound) -> f32 {
        let QueryBound { scale, length, error } = query;
        let [scale, length, error] = [scale, length, error].map(|x| s.splat(x));
        let mut most = s.splat(f32::NEG_INFINITY);
        for at in (0..self.count).step_by(S::LANES) {
            // SAFETY: each has MAX_GROUP_ROWS numbers, a multiple of the lanes.
            unsafe {
                let at_row = |numbers: &[f32; MAX_GROUP_ROWS]| s.load(numbers.as_ptr().add(at));
                let product = s.mul(s.sub(at_row(&self.sums), at_row(&self.excess)), s.mul(scale, at_row(&self.scale)));
                let product = s.sub(product, at_row(&self.half_square));
                let upper = s.mul_add(length, at_row(&self.error), s.mul_add(error, at_row(&self.norm), product));
                s.store(self.uppers.as_mut_ptr().add(at), upper);
                most = s.max(most, upper);
            }
        }
        s.largest(most)
    }
}

impl<C: Collector> Int8Operation for Scan<'_, C> {
    type Output = usize;

    #[inline(always)]
    fn run<D: Int8>(mut self, d: D) -> usize {
        let (mut group, mut looked_at) = (RowGroup::new(), RowGroup::new());
        let few = self.queries.len() < MIN_PANEL_QUERIES;
        let width = if few { FEW_QUERIES_GROUP_ROWS } else { Bytes::<D>::WIDTH };
        let coarse_rows = match self.queries.read_coarse() {
            true => self.coded.coarse.len() / coarse_stride(self.queries.dimension),
            false => 0,
        };
        for start in (0..self.rows.len()).step_by(width) {
            let last = self.rows.get(self.rows.len().min(start + width) - 1);
            if last < coarse_rows && self.first_look.is_worth_it() {
                self.look(d, start, width, &mut looked_at);
                if self.first_look.has(width) {
                    self.multiply_pending(d, width, &mut group);
                }
                continue;
            }
            let (rows, count) = (self.rows, width.min(self.rows.len() - start));
            self.load_group(width, count, |i| rows.get(start + i), &mut group);
            if few {
                self.multiply_rows(d, Some(start + width), &mut group);
            } else {
                self.pack(d, &group);
                self.multiply_panel(d, start + width, &mut group);
            }
        }
        self.multiply_pending(d, width, &mut group);
        self.bytes
    }
}

impl<C: Collector> Scan<'_, C> {
    /// Loads `count` rows; the last one again and again where `width` are more.
    #[inline(always)]
    pub(super) fn load_group(
        &mut self,
        width: usize,
        count: usize,
        row: impl Fn(usize) -> usize,
        group: &mut RowGroup,
    ) {
        group.count = count;
        self.bytes += count * (self.stride + size_of::<Bound>());
        for i in 0..width {
            let row = row(i.min(count - 1));
            let Bound { scale, error, norm, half_square, sum, .. } = self.coded.bounds[row];
            group.scale[i] = scale;
            group.error[i] = error;
            group.norm[i] = norm;
            group.half_square[i] = half_square;
            group.excess[i] = sum * self.queries.offset;
            group.row[i] = row;
            group.codes[i] = self.coded.codes[row * self.stride..][..self.stride].as_ptr();
        }
    }

    /// Multiplies few queries, while the memory is asked for the rows from `next` on.
    #[inline(always)]
    pub(super) fn multiply_rows<D: Int8>(&mut self, d: D, next: Option<usize>, group: &mut RowGroup) {
        let bytes = 4 * <D::Simd as Simd>::LANES;
        let queries = self.queries;
        for query in 0..queries.len() {
            let x = queries.bytes[query * self.stride..][..self.stride].as_ptr();
            for i in (0..group.count).step_by(ROWS_PER_DOT) {
                if let Some(next) = next.filter(|_| query == 0) {
                    for i in next + i..self.rows.len().min(next + i + ROWS_PER_DOT) {
                        self.prefetch_row(self.rows.get(i));
                    }
                }
                let mut along = [d.zero(); ROWS_PER_DOT];
                for at in (0..self.stride).step_by(bytes) {
                    for (j, sum) in along.iter_mut().enumerate() {
                        // SAFETY: the query and each row have `stride` bytes, a multiple of 64 and so of `bytes`.
                        *sum = unsafe { d.dot_along(x.add(at), group.codes[i + j].add(at), *sum) };
                    }
                }
                for (j, sum) in along.into_iter().enumerate() {
                    group.sums[i + j] = d.total(sum) as f32;
                }
            }
            self.compare(d, query, group);
        }
    }

    #[inline(always)]
    pub(super) fn prefetch_row(&self, row: usize) {
        prefetch(self.coded.bounds.as_ptr().wrapping_add(row).cast());
        let codes = self.coded.codes.as_ptr().wrapping_add(row * self.stride);
        for line in (0..self.stride).step_by(64) {
            prefetch(codes.wrapping_add(line).cast());
        }
    }

    /// Lays the codes of a group out as a panel `[stride / 4, width, 4]`.
    #[inline(always)]
    fn pack<D: Int8>(&mut self, d: D, group: &RowGroup) {
        let (lanes, width) = (<D::Simd as Simd>::LANES, Bytes::<D>::WIDTH);
        let (panel, side_by_side) = self.panel.split_at_mut(width * self.stride);
        let rows = match self.rows {
            RowSelection::Range(_) if group.count == width => {
                &self.coded.codes[group.row[0] * self.stride..][..width * self.stride]
            }
            _ => {
                for (to, &row) in side_by_side.chunks_exact_mut(self.stride).zip(&group.row[..width]) {
                    to.copy_from_slice(&self.coded.codes[row * self.stride..][..self.stride]);
                }
                &side_by_side[..width * self.stride]
            }
        };
        let bytes = 4 * lanes;
        for vector in 0..width / lanes {
            let rows = &rows[vector * lanes * self.stride..][..lanes * self.stride];
            for at in (0..self.stride).step_by(bytes) {
                // SAFETY: each row has `stride` bytes, a multiple of 64 and so of `bytes`; the panel holds `width` of
                // them.
                unsafe {
                    let to = panel.as_mut_ptr().add(at * width + vector * bytes);
                    d.simd().interleave(rows.as_ptr().add(at), self.stride, to, 4 * width);
                }
            }
        }
    }

    /// Multiplies all queries with the panel, while the memory is asked for the rows from `next` on.
    #[inline(always)]
    fn multiply_panel<D: Int8>(&mut self, d: D, next: usize, group: &mut RowGroup) {
        let (lanes, width) = (<D::Simd as Simd>::LANES, Bytes::<D>::WIDTH);
        let (groups, queries) = (self.stride / 4, self.queries.len());
        let tiles = queries.div_ceil(Bytes::<D>::ROWS);
        // Where the rows lie one after the other.
        let next = match self.rows {
            RowSelection::Range(range) if next < range.len() => {
                Some(self.coded.codes.as_ptr().wrapping_add((range.start + next) * self.stride))
            }
            _ => None,
        };
        for i in 0..tiles {
            // About the same size each, since a tile of one row computes no faster than one of two.
            let tile_queries = queries * i / tiles..queries * (i + 1) / tiles;
            let ahead = next
                .map_or(Prefetch::NONE, |from| Prefetch::part((from.cast(), groups * 4 * width), groups, (i, tiles)));
            let a = self.queries.bytes[tile_queries.start * self.stride..].as_ptr();
            // SAFETY: the queries have `stride` bytes each, the panel `width` for each of them, and `sums` has room for
            // the lanes of as many vectors as a panel has.
            unsafe {
                with_tile!(Bytes<D>, tile_queries.len(), Bytes::<D>::VECTORS, MR, NV => {
                    let (a, b) = ((a, self.stride), (self.panel.as_ptr(), 4 * width));
                    let sums = tile::<Bytes<D>, MR, NV>(Bytes(d), groups, a, b, ahead);
                    for (i, sums) in sums.iter().enumerate() {
                        for (j, &sum) in sums.iter().enumerate() {
                            d.simd().store(group.sums.as_mut_ptr().add(j * lanes), d.floats(sum));
                        }
                        self.compare(d, tile_queries.start + i, group);
                    }
                });
            }
        }
    }

    /// Compares the rows' upper bounds with the query's threshold, and collects those that reach it.
    #[inline(always)]
    fn compare<D: Int8>(&mut self, d: D, query: usize, group: &mut RowGroup) {
        if group.bound(d.simd(), self.queries.bounds[query]) >= self.collector.threshold(query) {
            self.collect_rows(query, group);
        }
    }

    /// Not compiled for each set and size of a tile.
    #[inline(never)]
    fn collect_rows(&mut self, query: usize, group: &RowGroup) {
        let range = self.queries.bounds[query];
        let half_square_margin = 16.0 * rounding(self.queries.dimension);
        for (i, &upper) in group.uppers[..group.count].iter().enumerate() {
            if upper >= self.collector.threshold(query) {
                let slack = range.length * group.error[i] + range.error * group.norm[i];
                let lower = upper - 2.0 * slack - half_square_margin * group.half_square[i];
                self.collector.collect(query, group.row[i], lower, upper);
            }
        }
    }
}
