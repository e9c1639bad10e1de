//! The filter of a search on a device: float32 scores of all rows, of which a few of each tile of rows come back.
//!
//! Brute force by a matrix product, then partial selection tile by tile, made a filter by a proven bound on each
//! score's rounding:
//!
//! ```text
//! for each block of rows, as many queries and tiles at a time as there is memory for:
//!     scores := queries x rows, in float32 on the device
//!     sort each tile of 1,024 scores there; copy the `kept_per_tile` largest back
//!     for each of them: candidate with the bounds score +- error_bound(tile, query)
//!     if the last of them can still reach the threshold: copy all scores of the tile, and collect the others too
//! ```
//!
//! Why it is right: [`ErrorBound`](super::error_bound::ErrorBound) is how far a float32 score can be from the real one
//! in whatever order the device sums, so the bounds hold, and the refine step of `search` proves the answer as it does
//! for codes. Rows of a tile that were not copied have scores no larger than the last that was: where that one plus the
//! bound is below the threshold, so are they. What the device returns is checked as far as it can be: a list that no
//! sort could give, a score that is not finite, and, in the refine step, an exact score outside its bounds void the
//! pass, and codes are scanned instead.

use std::ops::Range;

use candle_core::{DType, Tensor};

use super::collector::{CandidateCollector, SegmentCollector};
use super::device_context::DeviceContext;
use super::device_copy::{DeviceBlock, TILE_ROWS};
use super::scorer::Scorer;
use super::search_request::SearchRequest;
use super::segment::Segment;
use super::top_k::SharedThreshold;
use crate::kernels::{Collector, Metric};
use crate::{CancelCheck, Result};

/// Rows of a tile that are copied back on top of twice the share that a tile has in the rows wanted. Of tiles that have more of the
/// best rows, which are few, all scores are.
const MIN_KEPT_ROWS: usize = 32;

/// What is added to the score of a row that does not count. No score is half as low: vectors are no longer than 1e18.
const MASKED_SCORE: f32 = -1e38;

/// The rows of a tile that were copied back: scores, falling, and columns in the tile.
type RankedScores<'a> = &'a [(f32, u32)];

/// The pass of one search, for all its queries.
pub(super) struct DevicePass<'a> {
    request: &'a SearchRequest<'a>,
    context: &'a DeviceContext,
    scorers: &'a [Scorer<'a>],
    thresholds: &'a [SharedThreshold],
    /// `[n, dimension]`: of length 1 but under [`Metric::L2`].
    queries: Tensor,
    /// `[n]`: lengths of the rows of `queries`.
    lengths: Vec<f64>,
    /// Rows of a tile that are copied back.
    kept_per_tile: usize,
}

/// The rows of a block that the store has.
struct BlockScan<'a> {
    block: &'a DeviceBlock,
    /// Number of the block's first row in the store.
    first_row: usize,
    /// How many of the block's rows, from its first on.
    rows: usize,
    /// `[1, rows]`: 0, or MASKED_SCORE where a row does not count. None where all do.
    mask_tensor: Option<Tensor>,
}

impl<'a> DevicePass<'a> {
    pub(super) fn new(
        request: &'a SearchRequest<'a>,
        context: &'a DeviceContext,
        scorers: &'a [Scorer<'a>],
        thresholds: &'a [SharedThreshold],
    ) -> Result<Self> {
        let is_unit = |scorer: &Scorer<'_>| request.metric != Metric::L2 && scorer.query_length > 0.0;
        let numbers = |scorer: &Scorer<'_>| {
            let divisor = if is_unit(scorer) { scorer.query_length } else { 1.0 };
            scorer.query.iter().map(move |x| (x / divisor) as f32).collect::<Vec<_>>()
        };
        let numbers: Vec<f32> = scorers.iter().flat_map(numbers).collect();
        let lengths = scorers.iter().map(|scorer| if is_unit(scorer) { 1.0 } else { scorer.query_length }).collect();
        let queries = context.tensor(numbers, (scorers.len(), request.dimension))?;
        let tiles: usize = request.segments.iter().map(|segment| segment.rows.div_ceil(TILE_ROWS)).sum();
        let kept_per_tile = 2 * (request.rows_ahead() / tiles.max(1)) + MIN_KEPT_ROWS;
        Ok(Self { request, context, scorers, thresholds, queries, lengths, kept_per_tile })
    }

    /// Collects from all rows of the segments.
    pub(super) fn run(&self, collector: &mut CandidateCollector, check_cancel: CancelCheck<'_>) -> Result<()> {
        for segment in self.request.segments {
            let Some(data) = segment.data() else { continue };
            let blocks =
                data.device_copy.extend_to(segment.rows, data.stored(), &data.bounds, self.context, check_cancel)?;
            for block in blocks.iter().take_while(|block| block.rows.start < segment.rows) {
                let Some(part) = self.block_scan(segment, block, &mut collector.rows_seen)? else { continue };
                let mut collector = SegmentCollector {
                    collector: &mut *collector,
                    scorers: self.scorers,
                    thresholds: self.thresholds,
                    first_row: part.first_row,
                };
                self.scan_block(&part, &mut collector, check_cancel)?;
            }
        }
        Ok(())
    }

    /// The rows of a block that the store has; None where no row counts. `seen` is raised by those that do.
    fn block_scan<'b>(
        &self,
        segment: &Segment,
        block: &'b DeviceBlock,
        seen: &mut usize,
    ) -> Result<Option<BlockScan<'b>>> {
        let first_row = segment.first_row + block.rows.start;
        let rows = block.rows.end.min(segment.rows) - block.rows.start;
        let mask = self.request.mask;
        if segment.is_fully_live() && mask.is_none() {
            *seen += rows;
            return Ok(Some(BlockScan { block, first_row, rows, mask_tensor: None }));
        }
        let counts =
            |row: usize| segment.is_live(block.rows.start + row) && mask.is_none_or(|mask| mask[first_row + row] != 0);
        let mask_tensor: Vec<f32> = (0..rows).map(|row| if counts(row) { 0.0 } else { MASKED_SCORE }).collect();
        let counted = mask_tensor.iter().filter(|&&addend| addend == 0.0).count();
        *seen += counted;
        if counted == 0 {
            return Ok(None);
        }
        let mask_tensor = self.context.tensor(mask_tensor, (1, rows))?;
        Ok(Some(BlockScan { block, first_row, rows, mask_tensor: Some(mask_tensor) }))
    }

    /// Collects the best rows of each tile, for as many queries and tiles at a time as there is memory for.
    fn scan_block(
        &self,
        part: &BlockScan<'_>,
        collector: &mut SegmentCollector<'_>,
        check_cancel: CancelCheck<'_>,
    ) -> Result<()> {
        let n = self.lengths.len();
        let whole = part.rows / TILE_ROWS * TILE_ROWS;
        // Last comes what is done first.
        let mut todo = vec![(0..n, whole..part.rows), (0..n, 0..whole)];
        while let Some((queries, rows)) = todo.pop() {
            if rows.is_empty() {
                continue;
            }
            let numbers = queries.len() * rows.len();
            if numbers > self.context.max_numbers() && (queries.len() > 1 || rows.len() > TILE_ROWS) {
                todo.extend(split_in_two(queries, rows));
                continue;
            }
            check_cancel()?;
            if !self.scan_tiles(part, queries.clone(), rows.clone(), collector)? {
                if queries.len() == 1 && rows.len() <= TILE_ROWS {
                    return Err(self.context.out_of_memory(numbers));
                }
                todo.extend(split_in_two(queries, rows));
            }
        }
        Ok(())
    }

    /// Scores `[queries, rows]` on the device.
    fn scores(&self, part: &BlockScan<'_>, queries: &Tensor, rows: &Range<usize>) -> Result<Tensor> {
        let DeviceBlock { vectors, weights, half_squares, .. } = part.block;
        // Numbers of float16 are exact in float32, and so are their products.
        let vectors = vectors.narrow(0, rows.start, rows.len())?.to_dtype(DType::F32)?;
        let mut scores = queries.matmul(&vectors.t()?)?;
        let of_rows = |numbers: &Tensor| numbers.narrow(1, rows.start, rows.len());
        if let Some(weights) = weights {
            scores = scores.broadcast_mul(&of_rows(weights)?)?;
        }
        if let Some(half_squares) = half_squares {
            scores = scores.broadcast_sub(&of_rows(half_squares)?)?;
        }
        if let Some(mask_tensor) = &part.mask_tensor {
            scores = scores.broadcast_add(&of_rows(mask_tensor)?)?;
        }
        Ok(scores)
    }

    /// Collects the best rows of tiles, and all rows of tiles where others may be candidates. False where there was no
    /// memory.
    fn scan_tiles(
        &self,
        part: &BlockScan<'_>,
        queries: Range<usize>,
        rows: Range<usize>,
        collector: &mut SegmentCollector<'_>,
    ) -> Result<bool> {
        let width = rows.len().min(TILE_ROWS);
        // A row that is picked takes more bytes to copy than one of a whole tile.
        let lists = match self.kept_per_tile < width / 4 {
            true => match self.top_scores(part, &queries, &rows, width)? {
                Some(lists) => lists,
                None => return Ok(false),
            },
            false => Vec::new(),
        };
        let mut lists = lists.chunks_exact(self.kept_per_tile);
        // For each tile the queries that more of its rows may be candidates of, with those rows that were collected.
        let mut unfinished: Vec<Vec<(usize, RankedScores<'_>)>> = vec![Vec::new(); rows.len() / width];
        for query in queries {
            collector.raise_threshold(query);
            let lists: Vec<_> = lists.by_ref().take(unfinished.len()).collect();
            for (tile, list) in lists.iter().enumerate() {
                if !is_ranking(list, width) {
                    self.scorers[query].report_violation();
                    continue;
                }
                let error_bound = self.error_bound(part, rows.start + tile * width, query);
                for &(score, column) in *list {
                    if !self.collect(collector, query, rows.start + tile * width + column as usize, score, error_bound)
                    {
                        break;
                    }
                }
            }
            collector.prune(query);
            for (tile, unfinished) in unfinished.iter_mut().enumerate() {
                let list = lists.get(tile).copied().unwrap_or_default();
                let rest = list.last().map_or(f32::INFINITY, |&(score, _)| score);
                let error_bound = self.error_bound(part, rows.start + tile * width, query);
                if rest > MASKED_SCORE / 2.0 && rest + error_bound >= collector.threshold(query) {
                    unfinished.push((query, list));
                }
            }
        }
        for (tile, unfinished) in unfinished.iter().enumerate().filter(|(_, unfinished)| !unfinished.is_empty()) {
            let start = rows.start + tile * width;
            self.rescan_tile(part, start..start + width, unfinished, collector)?;
        }
        Ok(true)
    }

    /// The largest scores of each tile, `[queries, tiles, kept_per_tile]`. None where there was no memory.
    fn top_scores(
        &self,
        part: &BlockScan<'_>,
        queries: &Range<usize>,
        rows: &Range<usize>,
        width: usize,
    ) -> Result<Option<Vec<(f32, u32)>>> {
        let numbers = queries.len() * rows.len();
        self.context.attempt(numbers, || {
            let scores = self.scores(part, &self.queries.narrow(0, queries.start, queries.len())?, rows)?;
            let scores = scores.reshape((numbers / width, width))?;
            let order = scores.arg_sort_last_dim(false)?.narrow(1, 0, self.kept_per_tile)?.contiguous()?;
            let scores = scores.gather(&order, 1)?;
            let (scores, order) = (scores.flatten_all()?.to_vec1()?, order.flatten_all()?.to_vec1()?);
            Ok(scores.into_iter().zip(order).collect())
        })
    }

    /// Collects all rows of a tile but those that were.
    fn rescan_tile(
        &self,
        part: &BlockScan<'_>,
        rows: Range<usize>,
        queries: &[(usize, RankedScores<'_>)],
        collector: &mut SegmentCollector<'_>,
    ) -> Result<()> {
        let numbers = queries.len() * rows.len();
        let scores = self.context.attempt(numbers, || {
            let indices: Vec<u32> = queries.iter().map(|&(query, _)| query as u32).collect();
            let indices = Tensor::from_vec(indices, queries.len(), self.context.tensor_device())?;
            let scores = self.scores(part, &self.queries.index_select(&indices, 0)?, &rows)?;
            Ok(scores.flatten_all()?.to_vec1::<f32>()?)
        })?;
        let Some(scores) = scores else {
            if queries.len() == 1 {
                return Err(self.context.out_of_memory(numbers));
            }
            let (some, others) = queries.split_at(queries.len() / 2);
            self.rescan_tile(part, rows.clone(), some, collector)?;
            return self.rescan_tile(part, rows, others, collector);
        };
        for (&(query, list), scores) in queries.iter().zip(scores.chunks_exact(rows.len())) {
            collector.raise_threshold(query);
            let error_bound = self.error_bound(part, rows.start, query);
            let mut is_new = [true; TILE_ROWS];
            for &(_, column) in list.iter().filter(|&&(_, column)| (column as usize) < TILE_ROWS) {
                is_new[column as usize] = false;
            }
            for (column, &score) in scores.iter().enumerate().filter(|&(column, _)| is_new[column]) {
                self.collect(collector, query, rows.start + column, score, error_bound);
            }
        }
        Ok(())
    }

    /// Returns false where the score is too low to count.
    fn collect(
        &self,
        collector: &mut SegmentCollector<'_>,
        query: usize,
        row: usize,
        score: f32,
        error_bound: f32,
    ) -> bool {
        if !score.is_finite() {
            self.scorers[query].report_violation();
        }
        let counts = score > MASKED_SCORE / 2.0 && score + error_bound >= collector.threshold(query);
        if counts {
            collector.collect(query, row, score - error_bound, score + error_bound);
        }
        counts
    }

    /// How far scores of the rows of a tile can be off.
    fn error_bound(&self, part: &BlockScan<'_>, start: usize, query: usize) -> f32 {
        part.block.error_bounds[start / TILE_ROWS].for_query(self.lengths[query])
    }
}

/// Whether scores fall, each of another of `width` columns: what a sort gives that did anything.
fn is_ranking(list: RankedScores<'_>, width: usize) -> bool {
    let mut is_there = [false; TILE_ROWS];
    let is_new = |column: u32| (column as usize) < width && !std::mem::replace(&mut is_there[column as usize], true);
    list.is_sorted_by(|a, b| a.0 >= b.0) && list.iter().map(|&(_, column)| column).all(is_new)
}

/// Two halves of the rows if there are several tiles of them, else of the queries; the first half last.
fn split_in_two(queries: Range<usize>, rows: Range<usize>) -> [(Range<usize>, Range<usize>); 2] {
    if rows.len() > TILE_ROWS {
        let middle = rows.start + (rows.len() / TILE_ROWS).div_ceil(2) * TILE_ROWS;
        return [(queries.clone(), middle..rows.end), (queries, rows.start..middle)];
    }
    let middle = queries.start + queries.len().div_ceil(2);
    [(middle..queries.end, rows.clone()), (queries.start..middle, rows)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_sort_gives_is_no_ranking() {
        assert!(is_ranking(&[(2.0, 3), (1.0, 0), (1.0, 1), (MASKED_SCORE, 2)], 4));
        for list in [[(1.0, 0), (1.0, 0)], [(1.0, 0), (2.0, 1)], [(1.0, 4), (0.0, 1)], [(f32::NAN, 0), (0.0, 1)]] {
            assert!(!is_ranking(&list, 4), "{list:?}");
        }
    }

    #[test]
    fn halves_are_whole_tiles_or_queries() {
        assert_eq!(
            split_in_two(0..3, 0..3 * TILE_ROWS),
            [(0..3, 2 * TILE_ROWS..3 * TILE_ROWS), (0..3, 0..2 * TILE_ROWS)]
        );
        assert_eq!(split_in_two(2..5, 7..9), [(4..5, 7..9), (2..4, 7..9)]);
    }
}
