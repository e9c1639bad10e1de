//! The first pass of a search on a device: scores of all rows in float32, and of each tile of rows the best.

use std::ops::Range;

use candle_core::{DType, Tensor};

use super::leaders::Floor;
use super::mirror::{Block, TILE};
use super::place::Place;
use super::scorer::Scorer;
use super::search::{Gather, Scout, Search};
use super::segment::Segment;
use crate::kernels::{Collect, Metric};
use crate::{CancelCheck, Result};

/// Rows of a tile that are looked at beside twice the share that a tile has in k. Of tiles that have more of the best, which are few, all rows
/// are read.
const BESIDE: usize = 32;

/// What is added to the score of a row that does not count. No score is half as low: vectors are no longer than 1e18.
const NEVER: f32 = -1e38;

/// Rows of a tile that were looked at: scores, falling, and columns.
type List<'a> = &'a [(f32, u32)];

/// One search's, for all its queries.
pub(super) struct FirstPass<'a> {
    search: &'a Search<'a>,
    place: &'a Place,
    scorers: &'a [Scorer<'a>],
    floors: &'a [Floor],
    /// `[n, dimension]`: of length 1 but under [`Metric::L2`]
    queries: Tensor,
    /// `[n]`
    lengths: Vec<f64>,
    /// Rows of a tile that are looked at.
    keep: usize,
}

/// Rows of a block that a search looks at.
struct Part<'a> {
    block: &'a Block,
    /// The number of the block's first row in the store.
    first: usize,
    /// From the block's first on.
    rows: usize,
    /// `[1, rows]`: 0, or NEVER. None where all rows count.
    handicaps: Option<Tensor>,
}

impl<'a> FirstPass<'a> {
    pub(super) fn new(
        search: &'a Search<'a>,
        place: &'a Place,
        scorers: &'a [Scorer<'a>],
        floors: &'a [Floor],
    ) -> Result<Self> {
        let unit = |scorer: &Scorer<'_>| search.metric != Metric::L2 && scorer.length > 0.0;
        let query = |scorer: &Scorer<'_>| {
            let by = if unit(scorer) { scorer.length } else { 1.0 };
            scorer.query.iter().map(move |x| (x / by) as f32).collect::<Vec<_>>()
        };
        let numbers: Vec<f32> = scorers.iter().flat_map(query).collect();
        let lengths = scorers.iter().map(|scorer| if unit(scorer) { 1.0 } else { scorer.length }).collect();
        let queries = place.tensor(numbers, (scorers.len(), search.dimension))?;
        let tiles: usize = search.segments.iter().map(|segment| segment.rows.div_ceil(TILE)).sum();
        let keep = 2 * (search.k / tiles.max(1)) + BESIDE;
        Ok(Self { search, place, scorers, floors, queries, lengths, keep })
    }

    /// Looks at all rows of the segments.
    pub(super) fn run(&self, scout: &mut Scout, check_cancel: CancelCheck<'_>) -> Result<()> {
        for segment in self.search.segments {
            let Some(held) = segment.held() else { continue };
            let blocks = held.mirror.extended(held, segment.rows, self.place, check_cancel)?;
            for block in blocks.iter().take_while(|block| block.rows.start < segment.rows) {
                let Some(part) = self.part(segment, block, &mut scout.seen)? else { continue };
                let mut gather = Gather { scout, scorers: self.scorers, floors: self.floors, first: part.first };
                self.explore(&part, &mut gather, check_cancel)?;
            }
        }
        Ok(())
    }

    /// None where no row counts. `seen` is raised by those that do.
    fn part<'b>(&self, segment: &Segment, block: &'b Block, seen: &mut usize) -> Result<Option<Part<'b>>> {
        let first = segment.first + block.rows.start;
        let rows = block.rows.end.min(segment.rows) - block.rows.start;
        let mask = self.search.mask;
        if segment.is_whole() && mask.is_none() {
            *seen += rows;
            return Ok(Some(Part { block, first, rows, handicaps: None }));
        }
        let counts =
            |row: usize| segment.is_live(block.rows.start + row) && mask.is_none_or(|mask| mask[first + row] != 0);
        let handicaps: Vec<f32> = (0..rows).map(|row| if counts(row) { 0.0 } else { NEVER }).collect();
        let counting = handicaps.iter().filter(|&&handicap| handicap == 0.0).count();
        *seen += counting;
        if counting == 0 {
            return Ok(None);
        }
        let handicaps = self.place.tensor(handicaps, (1, rows))?;
        Ok(Some(Part { block, first, rows, handicaps: Some(handicaps) }))
    }

    /// Looks at the best rows of each tile, for as many queries and tiles at a time as there is memory for.
    fn explore(&self, part: &Part<'_>, gather: &mut Gather<'_>, check_cancel: CancelCheck<'_>) -> Result<()> {
        let n = self.lengths.len();
        let whole = part.rows / TILE * TILE;
        // Last comes what is done first.
        let mut todo = vec![(0..n, whole..part.rows), (0..n, 0..whole)];
        while let Some((queries, rows)) = todo.pop() {
            if rows.is_empty() {
                continue;
            }
            let numbers = queries.len() * rows.len();
            if numbers > self.place.most() && (queries.len() > 1 || rows.len() > TILE) {
                todo.extend(halves(queries, rows));
                continue;
            }
            check_cancel()?;
            if !self.look(part, queries.clone(), rows.clone(), gather)? {
                if queries.len() == 1 && rows.len() <= TILE {
                    return Err(self.place.no_memory(numbers));
                }
                todo.extend(halves(queries, rows));
            }
        }
        Ok(())
    }

    /// Scores `[queries, rows]`.
    fn scores(&self, part: &Part<'_>, queries: &Tensor, rows: &Range<usize>) -> Result<Tensor> {
        let Block { vectors, weights, half_squares, .. } = part.block;
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
        if let Some(handicaps) = &part.handicaps {
            scores = scores.broadcast_add(&of_rows(handicaps)?)?;
        }
        Ok(scores)
    }

    /// Looks at the best rows of tiles, and at all rows of those that others may be in question in. False where there was no memory.
    fn look(
        &self,
        part: &Part<'_>,
        queries: Range<usize>,
        rows: Range<usize>,
        gather: &mut Gather<'_>,
    ) -> Result<bool> {
        let width = rows.len().min(TILE);
        // More than this is copied for each row that is looked at than for each row that is read.
        let lists = match self.keep < width / 4 {
            true => match self.best(part, &queries, &rows, width)? {
                Some(lists) => lists,
                None => return Ok(false),
            },
            false => Vec::new(),
        };
        let mut lists = lists.chunks_exact(self.keep);
        // Of each tile the queries that rows of it may be in question for, with those that were looked at.
        let mut open: Vec<Vec<(usize, List<'_>)>> = vec![Vec::new(); rows.len() / width];
        for query in queries {
            gather.catch_up(query);
            let lists: Vec<_> = lists.by_ref().take(open.len()).collect();
            for (tile, list) in lists.iter().enumerate() {
                if !is_order(list, width) {
                    self.scorers[query].go_astray();
                    continue;
                }
                let slack = self.slack(part, rows.start + tile * width, query);
                for &(score, column) in *list {
                    if !self.add(gather, query, rows.start + tile * width + column as usize, score, slack) {
                        break;
                    }
                }
            }
            gather.settle(query);
            for (tile, open) in open.iter_mut().enumerate() {
                let list = lists.get(tile).copied().unwrap_or_default();
                let rest = list.last().map_or(f32::INFINITY, |&(score, _)| score);
                let slack = self.slack(part, rows.start + tile * width, query);
                if rest > NEVER / 2.0 && rest + slack >= gather.threshold(query) {
                    open.push((query, list));
                }
            }
        }
        for (tile, open) in open.iter().enumerate().filter(|(_, open)| !open.is_empty()) {
            let start = rows.start + tile * width;
            self.read(part, start..start + width, open, gather)?;
        }
        Ok(true)
    }

    /// The best of each tile, `[queries, tiles, keep]`. None where there was no memory.
    fn best(
        &self,
        part: &Part<'_>,
        queries: &Range<usize>,
        rows: &Range<usize>,
        width: usize,
    ) -> Result<Option<Vec<(f32, u32)>>> {
        let numbers = queries.len() * rows.len();
        self.place.attempt(numbers, || {
            let scores = self.scores(part, &self.queries.narrow(0, queries.start, queries.len())?, rows)?;
            let scores = scores.reshape((numbers / width, width))?;
            let order = scores.arg_sort_last_dim(false)?.narrow(1, 0, self.keep)?.contiguous()?;
            let scores = scores.gather(&order, 1)?;
            let (scores, order) = (scores.flatten_all()?.to_vec1()?, order.flatten_all()?.to_vec1()?);
            Ok(scores.into_iter().zip(order).collect())
        })
    }

    /// Looks at all rows of a tile but those that queries have looked at.
    fn read(
        &self,
        part: &Part<'_>,
        rows: Range<usize>,
        queries: &[(usize, List<'_>)],
        gather: &mut Gather<'_>,
    ) -> Result<()> {
        let numbers = queries.len() * rows.len();
        let scores = self.place.attempt(numbers, || {
            let these: Vec<u32> = queries.iter().map(|&(query, _)| query as u32).collect();
            let these = Tensor::from_vec(these, queries.len(), self.place.tensors())?;
            let scores = self.scores(part, &self.queries.index_select(&these, 0)?, &rows)?;
            Ok(scores.flatten_all()?.to_vec1::<f32>()?)
        })?;
        let Some(scores) = scores else {
            if queries.len() == 1 {
                return Err(self.place.no_memory(numbers));
            }
            let (some, others) = queries.split_at(queries.len() / 2);
            self.read(part, rows.clone(), some, gather)?;
            return self.read(part, rows, others, gather);
        };
        for (&(query, list), scores) in queries.iter().zip(scores.chunks_exact(rows.len())) {
            gather.catch_up(query);
            let slack = self.slack(part, rows.start, query);
            let mut is_new = [true; TILE];
            for &(_, column) in list.iter().filter(|&&(_, column)| (column as usize) < TILE) {
                is_new[column as usize] = false;
            }
            for (column, &score) in scores.iter().enumerate().filter(|&(column, _)| is_new[column]) {
                self.add(gather, query, rows.start + column, score, slack);
            }
        }
        Ok(())
    }

    /// False where the score is too low to count.
    fn add(&self, gather: &mut Gather<'_>, query: usize, row: usize, score: f32, slack: f32) -> bool {
        if !score.is_finite() {
            self.scorers[query].go_astray();
        }
        let counts = score > NEVER / 2.0 && score + slack >= gather.threshold(query);
        if counts {
            gather.add(query, row, score - slack, score + slack);
        }
        counts
    }

    /// What scores of the rows of a tile can be off by.
    fn slack(&self, part: &Part<'_>, start: usize, query: usize) -> f32 {
        part.block.slacks[start / TILE].at(self.lengths[query])
    }
}

/// Whether scores fall, each of another of `width` columns: what a sort gives that did anything.
fn is_order(list: List<'_>, width: usize) -> bool {
    let mut is_there = [false; TILE];
    let is_new = |column: u32| (column as usize) < width && !std::mem::replace(&mut is_there[column as usize], true);
    list.is_sorted_by(|a, b| a.0 >= b.0) && list.iter().map(|&(_, column)| column).all(is_new)
}

/// Of rows if there are several tiles of them, else of queries; the first half last.
fn halves(queries: Range<usize>, rows: Range<usize>) -> [(Range<usize>, Range<usize>); 2] {
    if rows.len() > TILE {
        let middle = rows.start + (rows.len() / TILE).div_ceil(2) * TILE;
        return [(queries.clone(), middle..rows.end), (queries, rows.start..middle)];
    }
    let middle = queries.start + queries.len().div_ceil(2);
    [(middle..queries.end, rows.clone()), (queries.start..middle, rows)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_sort_gives_is_no_order() {
        assert!(is_order(&[(2.0, 3), (1.0, 0), (1.0, 1), (NEVER, 2)], 4));
        for list in [[(1.0, 0), (1.0, 0)], [(1.0, 0), (2.0, 1)], [(1.0, 4), (0.0, 1)], [(f32::NAN, 0), (0.0, 1)]] {
            assert!(!is_order(&list, 4), "{list:?}");
        }
    }

    #[test]
    fn halves_are_whole_tiles_or_queries() {
        assert_eq!(halves(0..3, 0..3 * TILE), [(0..3, 2 * TILE..3 * TILE), (0..3, 0..2 * TILE)]);
        assert_eq!(halves(2..5, 7..9), [(4..5, 7..9), (2..4, 7..9)]);
    }
}
