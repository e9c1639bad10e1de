//! Self-attention of packed texts, by their offsets: no padding, no mask tensor. `wgsl/attention.wgsl` has the algorithm.

use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::kernel_text::KernelText;
use crate::gpu::pipelines::score_bias::{ScoreBias, ScoreBiasKind, Terms};
use crate::gpu::recording::{Argument, PassRecording};
use crate::kernels::AttentionShape;
use crate::{Error, Result};

/// Queries of a workgroup.
const QUERIES: usize = 16;
/// The widest head that is supported: a workgroup's memory holds 16 keys.
const MAX_HEAD_DIM: usize = 256;

/// The queries of a pass, as workgroups take them. Layers that want the same rows share them.
#[derive(Debug, Clone)]
pub struct SentQueries {
    at: u32,
    tasks: usize,
    tokens: usize,
    /// Rows of the output.
    rows: usize,
    /// Pairs of a query and a token of its text.
    pairs: usize,
}

impl SentQueries {
    /// `offsets [texts + 1]`: where texts begin and end. `rows [texts]`: the one token of each text whose output is
    /// wanted; no text may be empty then.
    pub fn send(pass: &mut PassRecording, offsets: &[u32], rows: Option<&[u32]>) -> Self {
        assert!(offsets.first() == Some(&0) && offsets.is_sorted(), "offsets are cumulative");
        assert!(rows.is_none_or(|rows| rows.len() + 1 == offsets.len()), "each text has one of the rows");
        let (mut tasks, mut pairs) = (Vec::new(), 0);
        for (text, ends) in offsets.windows(2).enumerate() {
            let (start, len) = (ends[0], ends[1] - ends[0]);
            match rows {
                Some(rows) => {
                    assert!((start..ends[1]).contains(&rows[text]), "a row is of its text");
                    tasks.extend([start, len, rows[text] - start, 1, text as u32]);
                    pairs += len as usize;
                }
                None => {
                    for first in (0..len).step_by(QUERIES) {
                        tasks.extend([start, len, first, (len - first).min(QUERIES as u32), start + first]);
                    }
                    pairs += (len as usize).pow(2);
                }
            }
        }
        let tokens = *offsets.last().expect("offsets start with 0") as usize;
        let rows = rows.map_or(tokens, <[u32]>::len);
        Self { at: pass.upload(&tasks), tasks: tasks.len() / 5, tokens, rows, pairs }
    }
}

/// What attention reads.
pub struct PackedInputs<'a> {
    /// `[tokens, width]`: a token's queries, keys and values one after the other.
    pub qkv: &'a DeviceRows,
    pub queries: &'a SentQueries,
    /// `[tokens, 2 * kv_heads * head_dim]`: keys and values of tokens that come before those of every text.
    pub past: Option<&'a DeviceRows>,
    pub bias: Option<&'a ScoreBias>,
}

/// Attention of that shape: `[rows, heads * head_dim]`.
///
/// # Errors
/// If heads are wider than the kernel takes, or there is both a past and a bias, which no network has.
pub fn attend(pass: &mut PassRecording, shape: &AttentionShape, inputs: &PackedInputs) -> Result<DeviceRows> {
    let &PackedInputs { qkv, queries, past, bias } = inputs;
    let bias = bias.filter(|bias| bias.adds());
    let &AttentionShape { heads, kv_heads, head_dim, scale, mask } = shape;
    assert!(qkv.shape() == [queries.tokens, shape.width()], "qkv are the tokens'");
    assert!(past.is_none_or(|past| past.width == 2 * kv_heads * head_dim), "the past has keys and values");
    let id = &pass.context().info().id;
    if head_dim > MAX_HEAD_DIM {
        return Err(Error::device(format!("{id}: heads of {head_dim} numbers; up to {MAX_HEAD_DIM} are supported")));
    }
    let (form, more) = match (past, bias.map(|bias| &bias.kind)) {
        (None, None) => (AttentionForm::Plain, vec![]),
        (None, Some(ScoreBiasKind::Distance(values))) => (AttentionForm::Bias, vec![Argument::Array(values)]),
        (None, Some(ScoreBiasKind::Disentangled { buckets, tables, terms })) => {
            (AttentionForm::Disentangled(*terms), vec![Argument::Array(tables), Argument::Array(buckets)])
        }
        (Some(past), None) => (AttentionForm::Past, vec![Argument::Rows(past)]),
        (Some(_), Some(_)) => {
            return Err(Error::device(format!("{id}: a bias on the scores of a past is not supported")));
        }
    };
    let key = (qkv.number, heads, kv_heads, head_dim, form);
    let kernel = pass.context().kernel("attention", &key, || source(qkv.number, shape, form))?;
    let out = pass.rows(queries.rows, heads * head_dim, qkv.number)?;
    let [before, behind] = mask.reach().map(|reach| reach.map_or(u32::MAX, |reach| reach as u32));
    let past_rows = past.map_or(0, |past| past.rows);
    let constants = [
        queries.at,
        qkv.stride() as u32,
        out.stride() as u32,
        scale.to_bits(),
        before,
        behind,
        past_rows as u32,
        past.map_or(0, |past| past.stride() as u32),
        bias.map_or(0, |bias| bias.far as u32),
    ];
    // With disentangled positions a score is three products.
    let products = if matches!(form, AttentionForm::Disentangled(_)) { 3 } else { 1 };
    let work = 4 * heads * head_dim * products * (queries.pairs + past_rows * queries.rows);
    let arrays = [Argument::Uploads, Argument::Rows(qkv), Argument::Rows(&out)].into_iter().chain(more);
    pass.dispatch(&kernel, arrays, &constants, [queries.tasks, heads, 1], work)?;
    Ok(out)
}

#[derive(Debug, Clone, Copy)]
pub(super) enum AttentionForm {
    Plain,
    Bias,
    Disentangled(Terms),
    Past,
}

pub(super) fn source(number: Number, shape: &AttentionShape, form: AttentionForm) -> String {
    let &AttentionShape { heads, kv_heads, head_dim, .. } = shape;
    // Four numbers of a head for each of four invocations, this many times.
    let share = head_dim.div_ceil(16);
    let terms = if let AttentionForm::Disentangled(terms) = form { Some(terms) } else { None };
    KernelText::new(include_str!("../wgsl/attention.wgsl"), number)
        .set("HEAD", head_dim)
        .set("HEADS", heads)
        .set("KV_HEADS", kv_heads)
        .set("GROUP", heads / kv_heads)
        .set("SHARE", share)
        .set("FOURS", 4 * share)
        .set("TILE", 16 * 4 * share)
        .flag("ALIGNED", head_dim.is_multiple_of(4))
        .flag("BIAS", matches!(form, AttentionForm::Bias))
        .flag("DISENTANGLED", matches!(form, AttentionForm::Disentangled(_)))
        .flag("OF_QUERIES", terms.is_some_and(|terms| terms.of_queries))
        .flag("OF_KEYS", terms.is_some_and(|terms| terms.of_keys))
        // Where the table of keys begins, in fours.
        .set("SECOND", terms.map_or(0, |terms| if terms.of_queries { terms.rows * heads * 4 * share } else { 0 }))
        .flag("PAST", matches!(form, AttentionForm::Past))
        .render()
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
