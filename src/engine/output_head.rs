//! The output head: from hidden states to one row for each input.

use candle_core::{DType, Device, Storage, Tensor};

use crate::models::{Encoder, ScoreHead};
use crate::nn::mean;
use crate::pipeline::{Pipeline, TokenEmbeddings};
use crate::profile::{Stage, Work, stage};
use crate::text::{PackedBatch, TokenSelection};
use crate::{Error, Result};

/// What follows the network.
pub(super) enum OutputHead {
    /// Gives embeddings.
    Pipeline(Pipeline),
    /// Gives scores.
    Head(ScoreHead),
}

/// Hidden states that the network gives for a batch.
pub(super) struct HiddenStates<'a> {
    pub(super) hidden: &'a Tensor,
    pub(super) wanted: TokenSelection,
    pub(super) batch: &'a PackedBatch,
    /// See [`TokenEmbeddings::prompt_tokens`].
    pub(super) prompt_tokens: usize,
}

impl OutputHead {
    /// Tokens whose hidden states are needed: one of each text where that is enough, which each text must have then.
    pub(super) fn wanted(&self, prompt_tokens: usize) -> TokenSelection {
        match self {
            Self::Pipeline(pipeline) if prompt_tokens == 0 => pipeline.wanted(),
            Self::Pipeline(_) => TokenSelection::All,
            Self::Head(head) => head.wanted(),
        }
    }

    /// Writes a row for each text of the batch: as much of it as fits, scaled to length 1 if `normalize`.
    pub(super) fn apply(&self, states: &HiddenStates, normalize: bool, rows: &mut [&mut [f32]]) -> Result<()> {
        let HiddenStates { hidden, wanted, batch, prompt_tokens } = *states;
        expect_rows(hidden, batch.count(wanted))?;
        expect(rows.len(), batch.texts())?;
        match self {
            Self::Pipeline(pipeline) => {
                // Of a text's states their mean alone leaves the device, where nothing else is wanted.
                let averaged = wanted == TokenSelection::All && pipeline.averages(prompt_tokens) && !is_on_host(hidden);
                let means = if averaged { Some(mean(hidden, &batch.offsets)?) } else { None };
                let one_each: Vec<u32>;
                let (offsets, ids) = match wanted {
                    TokenSelection::All if !averaged => (&batch.offsets, &batch.ids[..]),
                    TokenSelection::All
                    | TokenSelection::First
                    | TokenSelection::Last
                    | TokenSelection::LastOtherThan(_) => {
                        one_each = (0..batch.offsets.len() as u32).collect();
                        (&one_each, &[][..])
                    }
                };
                read(means.as_ref().unwrap_or(hidden), |hidden| {
                    let chunk = TokenEmbeddings { hidden, offsets, ids, prompt_tokens };
                    let written: usize = rows.iter().map(|row| row.len()).sum();
                    let work = || Work::bytes(4 * (hidden.len() + written));
                    stage(Stage::Pool, work, || pipeline.apply(&chunk, normalize, rows));
                })
            }
            Self::Head(head) => write_scores(&head.forward(hidden, &batch.offsets)?, rows),
        }
    }

    /// Writes what each input without tokens gets; false where it must have one.
    ///
    /// In sentence-transformers such an input fails alone; in a batch it is padding that attention leaves out. Pooling gives zeros
    /// then, and a classifier the score of a padding token that sees nothing.
    pub(super) fn apply_to_nothing(
        &self,
        encoder: &dyn Encoder,
        normalize: bool,
        rows: &mut [&mut [f32]],
    ) -> Result<bool> {
        match self {
            Self::Pipeline(pipeline) if pipeline.needs_token() => Ok(false),
            Self::Pipeline(pipeline) => {
                let offsets = vec![0; rows.len() + 1];
                let chunk = TokenEmbeddings { hidden: &[], offsets: &offsets, ids: &[], prompt_tokens: 0 };
                pipeline.apply(&chunk, normalize, rows);
                Ok(true)
            }
            Self::Head(head) => {
                let state = head.padding().map(|token| encoder.padding_state(token)).transpose()?.flatten();
                let Some(state) = state else { return Ok(false) };
                let scores = head.forward(&state, &[0, 1])?;
                rows.iter_mut().try_for_each(|row| write_scores(&scores, std::slice::from_mut(row)))?;
                Ok(true)
            }
        }
    }
}

/// Writes `scores [rows, labels]`.
fn write_scores(scores: &Tensor, rows: &mut [&mut [f32]]) -> Result<()> {
    expect_rows(scores, rows.len())?;
    read(scores, |scores| {
        let labels = scores.len() / rows.len();
        for (row, scores) in rows.iter_mut().zip(scores.chunks_exact(labels)) {
            row.copy_from_slice(scores);
        }
    })
}

/// Fails where a pass would give a row to another input than its own.
fn expect_rows(tensor: &Tensor, rows: usize) -> Result<()> {
    expect(tensor.dim(0)?, rows)
}

fn expect(found: usize, rows: usize) -> Result<()> {
    match found == rows {
        true => Ok(()),
        false => Err(Error::Internal { message: format!("a pass gave {found} rows where {rows} were expected") }),
    }
}

/// Whether the values of a tensor are float32 in this machine's memory: [`read`] costs nothing then.
fn is_on_host(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// Lends the values of a contiguous float32 tensor, without a copy where they are in this machine's memory.
pub(super) fn read(tensor: &Tensor, f: impl FnOnce(&[f32])) -> Result<()> {
    let (storage, layout) = tensor.storage_and_layout();
    if let (Storage::Cpu(values), Some((start, end))) = (&*storage, layout.contiguous_offsets())
        && let Ok(values) = values.as_slice::<f32>()
    {
        f(&values[start..end]);
        return Ok(());
    }
    f(&tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?);
    Ok(())
}
