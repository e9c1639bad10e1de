//! The output head: from hidden states to one row for each input.

use crate::models::{Encoder, ScoreHead};
use crate::nn::{States, mean};
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
    pub(super) hidden: &'a States,
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
                let averaged =
                    wanted == TokenSelection::All && pipeline.averages(prompt_tokens) && !hidden.is_on_host();
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
                means.as_ref().unwrap_or(hidden).read(|hidden| {
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
fn write_scores(scores: &States, rows: &mut [&mut [f32]]) -> Result<()> {
    expect_rows(scores, rows.len())?;
    scores.read(|scores| {
        let labels = scores.len() / rows.len();
        for (row, scores) in rows.iter_mut().zip(scores.chunks_exact(labels)) {
            row.copy_from_slice(scores);
        }
    })
}

/// Fails where a pass would give a row to another input than its own.
fn expect_rows(states: &States, rows: usize) -> Result<()> {
    expect(states.count(), rows)
}

fn expect(found: usize, rows: usize) -> Result<()> {
    match found == rows {
        true => Ok(()),
        false => Err(Error::Internal { message: format!("a pass gave {found} rows where {rows} were expected") }),
    }
}
