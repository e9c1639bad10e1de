//! Copies of a segment's rows on a device, in blocks.
//!
//! Blocks are appended as the segment grows, and the last two are merged while they are of like size (the logarithmic
//! method of Bentley & Saxe, "Decomposable searching problems", 1980): n rows that come one at a time make about log n
//! blocks, and a row is copied as often.

use std::ops::Range;
use std::sync::Arc;

use arc_swap::ArcSwap;
use candle_core::Tensor;
use half::f16;

use super::device_context::DeviceContext;
use super::error_bound::ErrorBound;
use crate::kernels::{Bound, Metric, StoredRows, code_stride};
use crate::{CancelCheck, Result};

/// Rows whose scores are sorted together. candle's sort gives each a thread of one group, and Metal's groups have
/// 1,024; CUDA's sort takes up to 8,192.
pub(super) const TILE_ROWS: usize = 1024;

/// More than any number of a row that can be stored. A damaged file may have larger ones, and NaN, with which nothing
/// can be sorted: they are taken for 0, and the exact score of their row shows it.
const MAX_MAGNITUDE: f32 = 1.1e18;

/// The rows of one segment that are on a device. All stores that have the segment share them; the last of them frees
/// them.
#[derive(Clone, Default)]
pub(super) struct DeviceCopy(Arc<ArcSwap<Vec<DeviceBlock>>>);

/// Consecutive rows in tensors.
#[derive(Clone)]
pub(super) struct DeviceBlock {
    /// Which rows of the segment these are.
    pub(super) rows: Range<usize>,
    /// `[rows, dimension]`: float32 where the store has float32; else float16, in which codes are exact.
    pub(super) vectors: Tensor,
    /// `[1, rows]`: what a product with a row is multiplied by. None where that is 1.
    pub(super) weights: Option<Tensor>,
    /// `[1, rows]`: half the squares of lengths, which are subtracted from products under [`Metric::L2`].
    pub(super) half_squares: Option<Tensor>,
    /// `[tiles]`: the largest of each tile of [`TILE_ROWS`] rows.
    pub(super) error_bounds: Vec<ErrorBound>,
}

impl DeviceCopy {
    /// Blocks that together have the first `rows` of the rows `stored` with their `bounds`, and maybe more. What is
    /// missing is copied; the caller holds the device's lock.
    pub(super) fn extend_to(
        &self,
        rows: usize,
        stored: StoredRows<'_>,
        bounds: &[Bound],
        context: &DeviceContext,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Arc<Vec<DeviceBlock>>> {
        loop {
            let blocks = self.0.load_full();
            let copied = blocks.last().map_or(0, |last| last.rows.end);
            if copied >= rows {
                return Ok(blocks);
            }
            check_cancel()?;
            let max_rows = (context.max_numbers() / context.dimension / TILE_ROWS).max(1) * TILE_ROWS;
            let rows = copied..rows.min(copied + max_rows);
            let numbers = rows.len() * context.dimension;
            let Some(block) = context.attempt(numbers, || DeviceBlock::new(stored, bounds, rows.clone(), context))?
            else {
                if rows.len() <= TILE_ROWS {
                    return Err(context.out_of_memory(numbers));
                }
                continue;
            };
            let mut blocks = Vec::clone(&blocks);
            blocks.push(block);
            while let Some(merged) = DeviceBlock::merged(&blocks, bounds, stored, max_rows, context)? {
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
        self.0.load().iter().map(DeviceBlock::bytes).sum()
    }
}

impl DeviceBlock {
    fn new(stored: StoredRows<'_>, bounds: &[Bound], rows: Range<usize>, context: &DeviceContext) -> Result<Self> {
        let DeviceContext { metric, dimension: d, .. } = *context;
        let device = context.tensor_device();
        let shape = (rows.len(), d);
        let numbers = rows.start * d..rows.end * d;
        let vectors = match stored {
            StoredRows::Float32(vectors) => {
                let numbers = vectors[numbers].iter().map(|&x| if x.abs() <= MAX_MAGNITUDE { x } else { 0.0 });
                Tensor::from_vec(numbers.collect::<Vec<_>>(), shape, device)?
            }
            StoredRows::Float16(vectors) => {
                let numbers = vectors[numbers].iter().map(|&x| if x.is_finite() { x } else { f16::ZERO });
                Tensor::from_vec(numbers.collect::<Vec<_>>(), shape, device)?
            }
            StoredRows::Int8(codes, _) => {
                let codes = codes.chunks_exact(code_stride(d)).skip(rows.start).take(rows.len());
                let numbers = codes.flat_map(|codes| codes[..d].iter().map(|&code| f16::from_f32(f32::from(code))));
                Tensor::from_vec(numbers.collect::<Vec<_>>(), shape, device)?
            }
        };
        let bounds = &bounds[rows.clone()];
        let of_rows = |number: &dyn Fn(&Bound) -> f32| {
            Tensor::from_vec(bounds.iter().map(number).collect::<Vec<_>>(), (1, bounds.len()), device)
        };
        let weights = product_weight(stored, metric).map(|weight| of_rows(&weight)).transpose()?;
        let half_squares = (metric == Metric::L2).then(|| of_rows(&|bound| bound.half_square)).transpose()?;
        let error_bounds = error_bounds(stored, bounds, context);
        Ok(Self { rows, vectors, weights, half_squares, error_bounds })
    }

    /// The last two of `blocks` as one; None if they are not of like size, or there is no memory.
    fn merged(
        blocks: &[Self],
        bounds: &[Bound],
        stored: StoredRows<'_>,
        max_rows: usize,
        context: &DeviceContext,
    ) -> Result<Option<Self>> {
        let [.., a, b] = blocks else { return Ok(None) };
        if a.rows.len() >= 2 * b.rows.len() || a.rows.len() + b.rows.len() > max_rows {
            return Ok(None);
        }
        let rows = a.rows.start..b.rows.end;
        let both = |a: &Option<Tensor>, b: &Option<Tensor>| match (a, b) {
            (Some(a), Some(b)) => Tensor::cat(&[a, b], 1).map(Some),
            _ => Ok(None),
        };
        context.attempt(rows.len() * context.dimension, || {
            Ok(Self {
                vectors: Tensor::cat(&[&a.vectors, &b.vectors], 0)?,
                weights: both(&a.weights, &b.weights)?,
                half_squares: both(&a.half_squares, &b.half_squares)?,
                error_bounds: error_bounds(stored, &bounds[rows.clone()], context),
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

/// The factor from the product of a query with a row as it lies on the device, to that with the row as its metric sees
/// it. None where it is 1.
fn product_weight(stored: StoredRows<'_>, metric: Metric) -> Option<fn(&Bound) -> f32> {
    match (stored, metric) {
        (StoredRows::Int8(..), _) => Some(|bound| bound.scale),
        (_, Metric::Cosine) => Some(|bound| match bound.scale / bound.step {
            weight if weight.is_finite() => weight,
            _ => 0.0,
        }),
        (_, Metric::Dot | Metric::L2) => None,
    }
}

/// The largest error bound of each tile of rows.
fn error_bounds(stored: StoredRows<'_>, bounds: &[Bound], context: &DeviceContext) -> Vec<ErrorBound> {
    let weight = product_weight(stored, context.metric).unwrap_or(|_| 1.0);
    let error_bound = |bound: &Bound| ErrorBound::for_row(bound, weight(bound), context.metric, context.dimension);
    let tiles = bounds.chunks(TILE_ROWS);
    tiles.map(|tile| tile.iter().map(error_bound).fold(ErrorBound::default(), ErrorBound::max)).collect()
}
