//! Padded batches of attention on a device: the indices that gather them from packed tokens, their masks, and the
//! indices that put their outputs back in the order of tokens. All of it goes to the device in two transfers.

use std::cell::OnceCell;

use candle_core::{DType, Device, Result, Tensor};

use crate::kernels::{self, Mask};
use crate::nn::AttentionBias;
use crate::nn::padded_batch::{PaddedBatch, PaddingRequest, QueryBlock};
use crate::nn::upload_buffer::{UploadBuffer, UploadRange};

/// How the portable body computes attention over the texts of a batch.
pub(super) struct AttentionPlan {
    pub(super) batches: Vec<DeviceBatch>,
    /// `[queries * heads]`: for each head of each query, its row among the outputs of all padded batches, one after the
    /// other.
    pub(super) unpad: Tensor,
}

/// A [`PaddedBatch`] on a device.
pub(super) struct DeviceBatch {
    pub(super) texts: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    /// Rows of `head_dim` numbers to gather: those of queries, `[texts, heads, queries]`, then those of keys and of
    /// values, `[texts, kv_heads, keys]` each.
    pub(super) rows: Tensor,
    /// `[texts or 1, 1, queries or 1, keys]`: 0 where a query sees a key, [`MASKED_SCORE`] or twice that where
    /// it does not.
    pub(super) mask: Option<Tensor>,
    query_offset: isize,
    columns: OnceCell<Tensor>,
}

/// Added to the score of a key that a query does not see. Finite, also twice and in float16: a query that is padding
/// may see none, and a softmax of infinities alone would be NaN.
const MASKED_SCORE: f32 = -3e4;

/// What a plan is made for.
pub(super) struct PlanRequest<'a> {
    pub(super) shape: &'a kernels::AttentionShape,
    /// Whether the layer adds a bias to its scores.
    pub(super) biased: bool,
    /// Tokens before those of every text.
    pub(super) past: usize,
    /// `[texts]`: the row of the one query of each text, where it is one.
    pub(super) rows: Option<&'a [u32]>,
    /// Type of masks.
    pub(super) dtype: DType,
    pub(super) device: &'a Device,
}

/// What a padded batch is made of, in the upload buffers.
struct BatchRanges {
    queries: UploadRange,
    keys: UploadRange,
    /// `[texts, keys]`: see [`key_padding_mask`].
    key_padding: Option<UploadRange>,
    /// `[queries, keys]`: see [`position_mask`].
    position: Option<UploadRange>,
}

impl AttentionPlan {
    pub(super) fn new(offsets: &[u32], request: &PlanRequest) -> Result<Self> {
        let &PlanRequest { shape, biased, past, rows, dtype, device } = request;
        let kernels::AttentionShape { heads, kv_heads, mask, .. } = *shape;
        let batches = PaddingRequest { offsets, past, rows, mask, heads, biased }.padded_batches();
        let tokens = offsets.last().map_or(0, |&tokens| tokens as usize);
        let outputs = rows.map_or(tokens, <[u32]>::len);

        let (mut indices, mut masks) = (UploadBuffer::new(), UploadBuffer::new());
        let numbers = indices.push(0..heads.max(2 * kv_heads) as u32);
        let (mut unpad, mut steps) = (vec![0; outputs], vec![0; outputs]);
        let mut before = 0;
        let mut ranges = Vec::new();
        for batch in &batches {
            ranges.push(BatchRanges {
                queries: indices.push(query_rows(batch, past, heads + 2 * kv_heads)),
                keys: indices.push(key_rows(batch, past, tokens, [heads, kv_heads])),
                key_padding: key_padding_mask(batch, mask, rows).map(|values| masks.push(values)),
                position: position_mask(batch, mask, rows).map(|values| masks.push(values)),
            });
            for (number, block) in batch.blocks.iter().enumerate() {
                for (i, query) in block.queries.clone().enumerate() {
                    let token = block.start + query - past;
                    let to = rows.map_or(token, |_| offsets.partition_point(|&end| end as usize <= token) - 1);
                    unpad[to] = (before + number * heads * batch.queries + i) as u32;
                    steps[to] = batch.queries as u32;
                }
            }
            before += batch.blocks.len() * heads * batch.queries;
        }
        let (unpad, steps) = (indices.push(unpad.into_iter()), indices.push(steps.into_iter()));

        let (indices, masks) = (indices.upload(device)?, masks.upload(device)?);
        let numbers = indices(numbers)?;
        let batches = batches.iter().zip(ranges).map(|(batch, ranges)| {
            let (texts, query_offset) = (batch.blocks.len(), batch.query_offset);
            let rows_of = |range: UploadRange, len: usize, first: usize, heads: usize| {
                let heads = numbers.narrow(0, first, heads)?.reshape((1, heads, 1))?;
                indices(range)?.reshape((texts, 1, len))?.broadcast_add(&heads)?.flatten_all()
            };
            let rows = [
                rows_of(ranges.queries, batch.queries, 0, heads)?,
                rows_of(ranges.keys, batch.keys, 0, kv_heads)?,
                rows_of(ranges.keys, batch.keys, kv_heads, kv_heads)?,
            ];
            let key_padding =
                ranges.key_padding.map(|range| masks(range)?.reshape((texts, 1, 1, batch.keys))).transpose()?;
            let position =
                ranges.position.map(|range| masks(range)?.reshape((1, 1, batch.queries, batch.keys))).transpose()?;
            let mask = match (key_padding, position) {
                (Some(key_padding), Some(position)) => Some(key_padding.broadcast_add(&position)?),
                (key_padding, position) => key_padding.or(position),
            };
            Ok(DeviceBatch {
                texts,
                queries: batch.queries,
                keys: batch.keys,
                rows: Tensor::cat(&rows, 0)?,
                mask: mask.map(|mask| mask.to_dtype(dtype)).transpose()?,
                query_offset,
                columns: OnceCell::new(),
            })
        });
        let batches = batches.collect::<Result<_>>()?;
        let heads_apart = numbers.narrow(0, 0, heads)?.reshape((1, heads))?;
        let steps = indices(steps)?.reshape((outputs, 1))?.broadcast_mul(&heads_apart)?;
        let unpad = indices(unpad)?.reshape((outputs, 1))?.broadcast_add(&steps)?.flatten_all()?;
        Ok(Self { batches, unpad })
    }
}

impl DeviceBatch {
    /// Columns of the bias for distances of keys from queries, `[2, queries + keys]`, as [`AttentionBias::portable`]
    /// takes them. They are computed once: the biases of a network's layers have the same.
    pub(super) fn columns(&self, bias: &dyn AttentionBias, device: &Device) -> Result<&Tensor> {
        if let Some(columns) = self.columns.get() {
            return Ok(columns);
        }
        let (queries, keys) = (self.queries as isize, self.keys as isize);
        let by_queries = (0..queries + keys).map(|i| i - (queries - 1) - self.query_offset);
        let by_keys = (0..queries + keys).map(|i| (keys - 1) - i - self.query_offset);
        let columns: Vec<u32> = by_queries.chain(by_keys).map(|distance| bias.column(distance)).collect();
        let columns = Tensor::from_vec(columns, (2, self.queries + self.keys), device)?;
        Ok(self.columns.get_or_init(|| columns))
    }
}

/// First row of each query's token, `[texts, queries]`, where a token has `rows` rows; padding repeats the first query.
fn query_rows(batch: &PaddedBatch, past: usize, rows: usize) -> impl Iterator<Item = u32> {
    batch.blocks.iter().flat_map(move |block| {
        let row = move |i: usize| (block.start + block.queries.start - past + i) * rows;
        (0..batch.queries).map(move |i| row(if i < block.queries.len() { i } else { 0 }) as u32)
    })
}

/// First row of each token's keys, `[texts, keys]`, where rows of the past come behind those of all `tokens`; padding
/// repeats the first or the last key.
fn key_rows(
    batch: &PaddedBatch,
    past: usize,
    tokens: usize,
    [heads, kv_heads]: [usize; 2],
) -> impl Iterator<Item = u32> {
    let rows = heads + 2 * kv_heads;
    batch.blocks.iter().flat_map(move |block| {
        (0..batch.keys as isize).map(move |i| {
            let key = (block.first_key + i).clamp(block.keys.start as isize, block.keys.end as isize - 1) as usize;
            let row = match key.checked_sub(past) {
                Some(own) => (block.start + own) * rows + heads,
                None => tokens * rows + key * 2 * kv_heads,
            };
            row as u32
        })
    })
}

fn mask_score(seen: bool) -> f32 {
    if seen { 0.0 } else { MASKED_SCORE }
}

/// Mask of keys that are padding, `[texts, keys]`. None where there are none, or where all come behind every query of a
/// causal layer.
fn key_padding_mask(batch: &PaddedBatch, mask: Mask, rows: Option<&[u32]>) -> Option<impl Iterator<Item = f32>> {
    let span = |block: &QueryBlock| block.first_key..block.first_key + batch.keys as isize;
    let full = |block: &QueryBlock| span(block) == (block.keys.start as isize..block.keys.end as isize);
    let needed = (mask != Mask::Causal || rows.is_some()) && !batch.blocks.iter().all(full);
    let values = batch.blocks.iter().flat_map(move |block| {
        span(block).map(|key| mask_score(usize::try_from(key).is_ok_and(|key| block.keys.contains(&key))))
    });
    needed.then_some(values)
}

/// Mask of keys that a query does not see for their positions, `[queries, keys]`. None where there are none: the keys
/// of a text's one query are those that it sees.
fn position_mask(batch: &PaddedBatch, mask: Mask, rows: Option<&[u32]>) -> Option<impl Iterator<Item = f32>> {
    let [before, behind] = mask.reach();
    let sees = move |query: isize, key: isize| {
        let reach = if key < query { before } else { behind };
        reach.is_none_or(|reach| key.abs_diff(query) <= reach)
    };
    let (keys, query_offset) = (batch.keys, batch.query_offset);
    let values = (0..batch.queries * keys)
        .map(move |i| mask_score(sees((i / keys) as isize + query_offset, (i % keys) as isize)));
    (mask != Mask::Full && rows.is_none()).then_some(values)
}
