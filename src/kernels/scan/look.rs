//! The first look at rows: few queries are multiplied with coarse codes, and only rows in question with codes.
//!
//! ```text
//! for each group of rows:
//!     upper := upper bound of the score, by coarse codes
//!     rows with upper >= threshold of a query: are pending
//!     a group of rows is pending: multiply their codes, as `panel` does with rows that were not looked at
//!     more than a quarter of the group is pending: 16 groups without a first look, then 32, then 64 each time;
//!                                                  raise the threshold before the next look
//! ```
//!
//! One query is bound by memory, and coarse codes are half the bytes. Rows that are pending wait for more of them, so that
//! their codes are on their way from memory meanwhile. Where a coarse bound rules out too little, as before the threshold
//! has risen, looks that rule out nothing cost a percent of the time.

use super::coarse::{COARSE_BOUND_BYTES, CoarseBound, coarse_stride};
use super::panel::{Collector, MAX_GROUP_ROWS, ROWS_PER_DOT, RowGroup, RowSelection, Scan};
use super::row_sums::rounding;
use crate::kernels::prefetch::prefetch;
use crate::kernels::simd::Int8;

impl<C: Collector> Scan<'_, C> {
    /// Looks at up to `width` rows from `start` on, while the memory is asked for the next ones.
    #[inline(always)]
    pub(super) fn look<D: Int8>(&mut self, d: D, start: usize, width: usize, group: &mut RowGroup) {
        let stride = coarse_stride(self.queries.dimension);
        let count = width.min(self.rows.len() - start);
        group.count = count;
        self.bytes += count * stride;
        if self.first_look.pause > 0 {
            (0..self.queries.len()).for_each(|query| self.collector.prune(query));
        }
        let mut may_reach = [false; MAX_GROUP_ROWS];
        let mut any = false;
        for (query, coarse) in self.queries.coarse.iter().enumerate() {
            for at in (0..count).step_by(ROWS_PER_DOT) {
                let rows: [&[u8]; ROWS_PER_DOT] = std::array::from_fn(|i| {
                    let row = self.rows.get(start + (at + i).min(count - 1));
                    &self.coded.coarse[row * stride..][..stride]
                });
                if query == 0 {
                    self.prefetch_coarse(start + width + at, stride);
                    for (i, row) in rows.into_iter().enumerate() {
                        let CoarseBound { scale, error, norm, half_square } =
                            bytemuck::pod_read_unaligned(&row[..COARSE_BOUND_BYTES]);
                        group.scale[at + i] = scale;
                        group.error[at + i] = error;
                        group.norm[at + i] = norm;
                        group.half_square[at + i] = half_square;
                    }
                }
                let levels = rows.map(|row| row[COARSE_BOUND_BYTES..].as_ptr());
                // SAFETY: each row has half a byte for each byte of the query, 32 or a multiple of it.
                let products = unsafe { d.dot_levels(coarse.bytes.as_ptr(), levels, stride - COARSE_BOUND_BYTES) };
                for (sum, product) in group.sums[at..at + ROWS_PER_DOT].iter_mut().zip(products) {
                    *sum = (2 * product - coarse.fifteen_sums) as f32;
                }
            }
            if query == 0 && self.collector.compares_middles() {
                self.widen_bounds(start, group);
            }
            let threshold = self.collector.threshold(query);
            if group.bound(d.simd(), coarse.bound) >= threshold {
                any = true;
                for (may_reach, &upper) in may_reach.iter_mut().zip(&group.uppers[..count]) {
                    *may_reach |= upper >= threshold;
                }
            }
        }
        let before = self.first_look.pending_count;
        if any {
            for (i, _) in may_reach[..count].iter().enumerate().filter(|(_, may_reach)| **may_reach) {
                let row = self.rows.get(start + i);
                self.prefetch_row(row);
                self.first_look.pending[self.first_look.pending_count] = row;
                self.first_look.pending_count += 1;
            }
        }
        self.first_look.learn(count, self.first_look.pending_count - before);
    }

    /// Adds to the coarse bounds by how much the middle of the bounds by codes may be above the score. A query's bytes have
    /// half of the steps there at least.
    #[inline(never)]
    fn widen_bounds(&self, start: usize, group: &mut RowGroup) {
        let half_square_margin = 16.0 * rounding(self.queries.dimension);
        for i in 0..group.count {
            let bound = &self.coded.bounds[self.rows.get(start + i)];
            group.error[i] += bound.error;
            group.norm[i] += 2.0 * bound.norm;
            group.half_square[i] -= half_square_margin * bound.half_square;
        }
    }

    /// Multiplies the codes of the rows that first looks left.
    #[inline(always)]
    pub(super) fn multiply_pending<D: Int8>(&mut self, d: D, width: usize, group: &mut RowGroup) {
        let (pending, count) = (self.first_look.pending, self.first_look.pending_count);
        for start in (0..count).step_by(width) {
            self.load_group(width, width.min(count - start), |i| pending[start + i], group);
            self.multiply_rows(d, None, group);
        }
        self.first_look.pending_count = 0;
    }

    /// Prefetches the coarse codes of ROWS_PER_DOT rows from `start` on.
    #[inline(always)]
    fn prefetch_coarse(&self, start: usize, stride: usize) {
        let prefetch_bytes = |row: usize, bytes: usize| {
            let from = self.coded.coarse.as_ptr().wrapping_add(row * stride);
            for line in (0..bytes).step_by(64) {
                prefetch(from.wrapping_add(line));
            }
        };
        match self.rows {
            // One after the other; beyond the last there is no harm.
            RowSelection::Range(range) => prefetch_bytes(range.start + start, ROWS_PER_DOT * stride),
            RowSelection::List(list) => {
                for &row in &list[start.min(list.len())..list.len().min(start + ROWS_PER_DOT)] {
                    prefetch_bytes(row as usize, stride);
                }
            }
        }
    }
}
