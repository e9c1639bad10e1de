//! Copies of a segment's rows on a device.

use std::ops::Range;
use std::sync::Arc;

use arc_swap::ArcSwap;
use candle_core::Tensor;
use half::f16;

use super::place::Place;
use super::segment::Held;
use super::slack::Slack;
use crate::kernels::{Bound, Metric, Stored, code_stride};
use crate::{CancelCheck, Result};

/// Rows whose scores are sorted together. candle's sort gives each a thread of one group, and Metal's groups have 1,024; CUDA's sort takes
/// up to 8,192.
pub(super) const TILE: usize = 1024;

/// More than the length of any row that can be stored. A damaged file may have larger numbers, and NaN, with which nothing can be sorted:
/// they are taken for 0, until the exact score of their row tells.
const LONGEST: f32 = 1.1e18;

/// The rows of one segment that are on a device. All stores that have the segment share it; it goes with the last of them.
#[derive(Clone, Default)]
pub(super) struct Mirror(Arc<ArcSwap<Vec<Block>>>);

/// Rows one after the other.
#[derive(Clone)]
pub(super) struct Block {
    /// Of the segment's rows.
    pub(super) rows: Range<usize>,
    /// `[rows, dimension]`, with the numbers of the store: float32; else float16, in which codes are exact.
    pub(super) vectors: Tensor,
    /// `[1, rows]`: what a product with a row is multiplied by. None where that is 1.
    pub(super) weights: Option<Tensor>,
    /// `[1, rows]`: half the squares of lengths, which are subtracted from products under [`Metric::L2`].
    pub(super) half_squares: Option<Tensor>,
    /// Of each tile the most.
    pub(super) slacks: Vec<Slack>,
}

impl Mirror {
    /// Blocks that together have the first `rows` rows of `held`, and maybe more. What is missing is copied; whoever calls has the turn.
    pub(super) fn extended(
        &self,
        held: &Held,
        rows: usize,
        place: &Place,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Arc<Vec<Block>>> {
        loop {
            let blocks = self.0.load_full();
            let there = blocks.last().map_or(0, |last| last.rows.end);
            if there >= rows {
                return Ok(blocks);
            }
            check_cancel()?;
            let most = (place.most() / place.dimension / TILE).max(1) * TILE;
            let rows = there..rows.min(there + most);
            let numbers = rows.len() * place.dimension;
            let Some(block) = place.attempt(numbers, || Block::new(held, rows.clone(), place))? else {
                if rows.len() <= TILE {
                    return Err(place.no_memory(numbers));
                }
                continue;
            };
            let mut blocks = Vec::clone(&blocks);
            blocks.push(block);
            while let Some(merged) = Block::merged(&blocks, held, most, place)? {
                blocks.truncate(blocks.len() - 2);
                blocks.push(merged);
            }
            self.0.store(Arc::new(blocks));
        }
    }

    /// How many rows each block has.
    #[cfg(test)]
    pub(super) fn rows(&self) -> Vec<usize> {
        self.0.load().iter().map(|block| block.rows.len()).collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.load().iter().map(Block::bytes).sum()
    }
}

impl Block {
    fn new(held: &Held, rows: Range<usize>, place: &Place) -> Result<Self> {
        let Place { metric, dimension: d, .. } = *place;
        let device = place.tensors();
        let shape = (rows.len(), d);
        let numbers = rows.start * d..rows.end * d;
        let vectors = match held.stored() {
            Stored::Float32(vectors) => {
                let numbers = vectors[numbers].iter().map(|&x| if x.abs() <= LONGEST { x } else { 0.0 });
                Tensor::from_vec(numbers.collect::<Vec<_>>(), shape, device)?
            }
            Stored::Float16(vectors) => {
                let numbers = vectors[numbers].iter().map(|&x| if x.is_finite() { x } else { f16::ZERO });
                Tensor::from_vec(numbers.collect::<Vec<_>>(), shape, device)?
            }
            Stored::Int8(codes, _) => {
                let codes = codes.chunks_exact(code_stride(d)).skip(rows.start).take(rows.len());
                let numbers = codes.flat_map(|codes| codes[..d].iter().map(|&code| f16::from_f32(f32::from(code))));
                Tensor::from_vec(numbers.collect::<Vec<_>>(), shape, device)?
            }
        };
        let bounds = &held.bounds[rows.clone()];
        let of_rows = |number: &dyn Fn(&Bound) -> f32| {
            Tensor::from_vec(bounds.iter().map(number).collect::<Vec<_>>(), (1, bounds.len()), device)
        };
        let weigh = weight(held.stored(), metric);
        let weights = weigh.map(|weight| of_rows(&weight)).transpose()?;
        let half_squares = (metric == Metric::L2).then(|| of_rows(&|bound| bound.half_square)).transpose()?;
        let slacks = slacks(held, rows.clone(), place);
        Ok(Self { rows, vectors, weights, half_squares, slacks })
    }

    /// Of the last two of `blocks` one, if they are of like size, so that however many times rows are added there are few blocks, and a
    /// row is copied few times.
    fn merged(blocks: &[Self], held: &Held, most: usize, place: &Place) -> Result<Option<Self>> {
        let [.., a, b] = blocks else { return Ok(None) };
        if a.rows.len() >= 2 * b.rows.len() || a.rows.len() + b.rows.len() > most {
            return Ok(None);
        }
        let rows = a.rows.start..b.rows.end;
        let both = |a: &Option<Tensor>, b: &Option<Tensor>| match (a, b) {
            (Some(a), Some(b)) => Tensor::cat(&[a, b], 1).map(Some),
            _ => Ok(None),
        };
        place.attempt(rows.len() * place.dimension, || {
            Ok(Self {
                vectors: Tensor::cat(&[&a.vectors, &b.vectors], 0)?,
                weights: both(&a.weights, &b.weights)?,
                half_squares: both(&a.half_squares, &b.half_squares)?,
                slacks: slacks(held, rows.clone(), place),
                rows: rows.clone(),
            })
        })
    }

    fn bytes(&self) -> usize {
        let bytes = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        let of_rows = self.weights.iter().chain(&self.half_squares).map(bytes).sum::<usize>();
        bytes(&self.vectors) + of_rows
    }
}

/// What makes of the product of a query and a row, as it is on the device, one with the row as its metric sees it. None where they are the
/// same.
fn weight(stored: Stored<'_>, metric: Metric) -> Option<fn(&Bound) -> f32> {
    match (stored, metric) {
        (Stored::Int8(..), _) => Some(|bound| bound.scale),
        (_, Metric::Cosine) => Some(|bound| match bound.scale / bound.step {
            weight if weight.is_finite() => weight,
            _ => 0.0,
        }),
        (_, Metric::Dot | Metric::L2) => None,
    }
}

/// Of each tile of some rows the most.
fn slacks(held: &Held, rows: Range<usize>, place: &Place) -> Vec<Slack> {
    let weight = weight(held.stored(), place.metric).unwrap_or(|_| 1.0);
    let slack = |bound: &Bound| Slack::of(bound, weight(bound), place.metric, place.dimension);
    let tiles = held.bounds[rows].chunks(TILE);
    tiles.map(|tile| tile.iter().map(slack).fold(Slack::default(), Slack::most)).collect()
}
