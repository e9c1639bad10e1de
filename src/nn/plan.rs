//! Attention's rectangles on a device: the indices that make them of packed tokens and back, and masks.

use std::cell::OnceCell;

use candle_core::{DType, Device, Result, Tensor};

use crate::kernels::{self, Mask};
use crate::nn::AttentionBias;
use crate::nn::parcel::{Parcel, Part};
use crate::nn::rectangles::{self, Cut};

/// Texts as rectangles of queries and keys, on a device.
pub(super) struct Plan {
    pub(super) rectangles: Vec<Rectangle>,
    /// `[queries * heads]`: for each query's each head, its row among the outputs of all rectangles, one after the other.
    pub(super) back: Tensor,
}

/// Texts, or parts of them, that attend together.
pub(super) struct Rectangle {
    pub(super) texts: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    /// Rows of heads: first those of `[texts, heads, queries]`, then of keys and of values, `[texts, kv_heads, keys]` each.
    pub(super) rows: Tensor,
    /// `[texts or 1, 1, queries or 1, keys]`: 0 where a key is seen, [`HIDDEN`] or twice that where it is not.
    pub(super) mask: Option<Tensor>,
    lead: isize,
    columns: OnceCell<Tensor>,
}

/// Added to the score of a key that is not seen. Finite, also twice and in float16: a query that is padding may see none.
const HIDDEN: f32 = -3e4;

/// What a plan is made for.
pub(super) struct Request<'a> {
    pub(super) shape: &'a kernels::AttentionShape,
    pub(super) biased: bool,
    /// Tokens before those of every text.
    pub(super) past: usize,
    /// See [`crate::nn::Attention::forward`].
    pub(super) rows: Option<&'a [u32]>,
    /// Of masks.
    pub(super) dtype: DType,
    pub(super) device: &'a Device,
}

/// What a rectangle is made of.
struct Parts {
    queries: Part,
    keys: Part,
    /// `[texts, keys]`: which are there.
    there: Option<Part>,
    /// `[queries, keys]`: which see which, by their places.
    seen: Option<Part>,
}

impl Plan {
    pub(super) fn new(offsets: &[u32], request: &Request) -> Result<Self> {
        let &Request { shape, biased, past, rows, dtype, device } = request;
        let kernels::AttentionShape { heads, kv_heads, mask, .. } = *shape;
        let cuts = Cut { offsets, past, rows, mask, heads, biased }.rectangles();
        let tokens = offsets.last().map_or(0, |&tokens| tokens as usize);
        let outputs = rows.map_or(tokens, <[u32]>::len);

        let (mut indices, mut masks) = (Parcel::new(), Parcel::new());
        let numbers = indices.add(0..heads.max(2 * kv_heads) as u32);
        let (mut back, mut steps) = (vec![0; outputs], vec![0; outputs]);
        let mut before = 0;
        let mut parts = Vec::new();
        for cut in &cuts {
            parts.push(Parts {
                queries: indices.add(query_rows(cut, past, heads + 2 * kv_heads)),
                keys: indices.add(key_rows(cut, past, tokens, [heads, kv_heads])),
                there: there(cut, mask, rows).map(|values| masks.add(values)),
                seen: seen(cut, mask, rows).map(|values| masks.add(values)),
            });
            for (number, piece) in cut.pieces.iter().enumerate() {
                for (i, query) in piece.queries.clone().enumerate() {
                    let token = piece.start + query - past;
                    let to = rows.map_or(token, |_| offsets.partition_point(|&end| end as usize <= token) - 1);
                    back[to] = (before + number * heads * cut.queries + i) as u32;
                    steps[to] = cut.queries as u32;
                }
            }
            before += cut.pieces.len() * heads * cut.queries;
        }
        let (back, steps) = (indices.add(back.into_iter()), indices.add(steps.into_iter()));

        let (indices, masks) = (indices.send(device)?, masks.send(device)?);
        let numbers = indices(numbers)?;
        let rectangles = cuts.iter().zip(parts).map(|(cut, parts)| {
            let (texts, lead) = (cut.pieces.len(), cut.lead);
            let rows_of = |part: Part, len: usize, first: usize, heads: usize| {
                let heads = numbers.narrow(0, first, heads)?.reshape((1, heads, 1))?;
                indices(part)?.reshape((texts, 1, len))?.broadcast_add(&heads)?.flatten_all()
            };
            let rows = [
                rows_of(parts.queries, cut.queries, 0, heads)?,
                rows_of(parts.keys, cut.keys, 0, kv_heads)?,
                rows_of(parts.keys, cut.keys, kv_heads, kv_heads)?,
            ];
            let there = parts.there.map(|part| masks(part)?.reshape((texts, 1, 1, cut.keys))).transpose()?;
            let seen = parts.seen.map(|part| masks(part)?.reshape((1, 1, cut.queries, cut.keys))).transpose()?;
            let mask = match (there, seen) {
                (Some(there), Some(seen)) => Some(there.broadcast_add(&seen)?),
                (there, seen) => there.or(seen),
            };
            Ok(Rectangle {
                texts,
                queries: cut.queries,
                keys: cut.keys,
                rows: Tensor::cat(&rows, 0)?,
                mask: mask.map(|mask| mask.to_dtype(dtype)).transpose()?,
                lead,
                columns: OnceCell::new(),
            })
        });
        let rectangles = rectangles.collect::<Result<_>>()?;
        let heads_apart = numbers.narrow(0, 0, heads)?.reshape((1, heads))?;
        let steps = indices(steps)?.reshape((outputs, 1))?.broadcast_mul(&heads_apart)?;
        let back = indices(back)?.reshape((outputs, 1))?.broadcast_add(&steps)?.flatten_all()?;
        Ok(Self { rectangles, back })
    }
}

impl Rectangle {
    /// `[2, queries + keys]`: the bias's columns for distances of keys from queries, as [`AttentionBias::portable`] has them. The
    /// biases of a network's layers have the same columns.
    pub(super) fn columns(&self, bias: &dyn AttentionBias, device: &Device) -> Result<&Tensor> {
        if let Some(columns) = self.columns.get() {
            return Ok(columns);
        }
        let (queries, keys) = (self.queries as isize, self.keys as isize);
        let by_queries = (0..queries + keys).map(|i| i - (queries - 1) - self.lead);
        let by_keys = (0..queries + keys).map(|i| (keys - 1) - i - self.lead);
        let columns: Vec<u32> = by_queries.chain(by_keys).map(|distance| bias.column(distance)).collect();
        let columns = Tensor::from_vec(columns, (2, self.queries + self.keys), device)?;
        Ok(self.columns.get_or_init(|| columns))
    }
}

/// `[texts, queries]`: the first row of each query's token, of so many; padding repeats the first query.
fn query_rows(cut: &rectangles::Rectangle, past: usize, rows: usize) -> impl Iterator<Item = u32> {
    cut.pieces.iter().flat_map(move |piece| {
        let row = move |i: usize| (piece.start + piece.queries.start - past + i) * rows;
        (0..cut.queries).map(move |i| row(if i < piece.queries.len() { i } else { 0 }) as u32)
    })
}

/// `[texts, keys]`: the first row of each token's keys, among those of the past behind those of all tokens; padding repeats others.
fn key_rows(
    cut: &rectangles::Rectangle,
    past: usize,
    tokens: usize,
    [heads, kv_heads]: [usize; 2],
) -> impl Iterator<Item = u32> {
    let rows = heads + 2 * kv_heads;
    cut.pieces.iter().flat_map(move |piece| {
        (0..cut.keys as isize).map(move |i| {
            let key = (piece.first_key + i).clamp(piece.keys.start as isize, piece.keys.end as isize - 1) as usize;
            let row = match key.checked_sub(past) {
                Some(own) => (piece.start + own) * rows + heads,
                None => tokens * rows + key * 2 * kv_heads,
            };
            row as u32
        })
    })
}

fn score(seen: bool) -> f32 {
    if seen { 0.0 } else { HIDDEN }
}

/// `[texts, keys]`: which keys are there. None where all are, or where those that are not come behind every query that looks back.
fn there(cut: &rectangles::Rectangle, mask: Mask, rows: Option<&[u32]>) -> Option<impl Iterator<Item = f32>> {
    let span = |piece: &rectangles::Piece| piece.first_key..piece.first_key + cut.keys as isize;
    let all = |piece: &rectangles::Piece| span(piece) == (piece.keys.start as isize..piece.keys.end as isize);
    let hidden = (mask != Mask::Causal || rows.is_some()) && !cut.pieces.iter().all(all);
    let values = cut.pieces.iter().flat_map(move |piece| {
        span(piece).map(|key| score(usize::try_from(key).is_ok_and(|key| piece.keys.contains(&key))))
    });
    hidden.then_some(values)
}

/// `[queries, keys]`: which see which, by their places. None where all do: the one query of a text has no other keys.
fn seen(cut: &rectangles::Rectangle, mask: Mask, rows: Option<&[u32]>) -> Option<impl Iterator<Item = f32>> {
    let sees = move |query: isize, key: isize| match mask {
        Mask::Full => true,
        Mask::Causal => key <= query,
        Mask::Window(reach) => key.abs_diff(query) <= reach,
    };
    let (keys, lead) = (cut.keys, cut.lead);
    let values = (0..cut.queries * keys).map(move |i| score(sees((i / keys) as isize + lead, (i % keys) as isize)));
    (mask != Mask::Full && rows.is_none()).then_some(values)
}
