//! One pass through the network, of inputs that one or several calls gave.

use std::ops::Range;

use crate::engine::course::Batch;
use crate::engine::finish::{Finish, States, read};
use crate::engine::job::Job;
use crate::engine::network::{Network, Part};
use crate::memory::zeroed;
use crate::panic::guarded;
use crate::profile::{Stage, Work, record, stage};
use crate::text::{Input, PackedBatch, TokenSelection, Tokens};
use crate::{CancelCheck, Error, Result};

impl Network {
    /// The tokens of some kinds of a job's inputs, after its prompt.
    pub(super) fn tokenize(
        &self,
        job: &Job,
        kinds: Range<usize>,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Vec<Tokens>> {
        let bytes = kinds.clone().map(|kind| job.kind(kind).bytes()).sum();
        let tokens = |kind| {
            check_cancel()?;
            self.tokens_of(job.kind(kind), &job.request.prompt, check_cancel)
        };
        record(job.request.profile.as_ref(), || {
            stage(Stage::Tokenize, || Work::bytes(bytes), || kinds.map(tokens).collect())
        })
    }

    pub(super) fn tokens_of(&self, input: Input, prompt: &str, check_cancel: CancelCheck<'_>) -> Result<Tokens> {
        match (input, &self.template) {
            (input, Some(template)) => {
                let instruction = Some(prompt).filter(|prompt| !prompt.is_empty());
                template.tokens(&self.tokenizer, input, instruction, check_cancel)
            }
            (input, _) if prompt.is_empty() => self.tokenizer.tokenize(input, check_cancel),
            (Input::Text(text), _) => self.tokenizer.tokenize(Input::Text(&[prompt, text].concat()), check_cancel),
            (Input::Pair(first, second), None) => {
                self.tokenizer.tokenize(Input::Pair(&[prompt, first].concat(), second), check_cancel)
            }
        }
    }

    /// Computes what a group begins with.
    pub(super) fn remember(&self, job: &Job, batch: &Batch, group: usize, check_cancel: CancelCheck<'_>) -> Result<()> {
        let Some(decoder) = self.encoder.decoder() else { return Ok(()) };
        record(job.request.profile.as_ref(), || {
            let beginning = batch.beginning(group);
            let packed = PackedBatch::new([&beginning].into_iter());
            let past = self.device.attempt(packed.tokens(), || decoder.remember(&packed, check_cancel));
            let past = past.map_err(|error| too_much(error, packed.tokens()))?;
            batch.remember(group, past);
            Ok(())
        })
    }

    /// Computes what is of one pass, and says of each part what became of it. An input that the network fails on fails nobody
    /// else's.
    pub(super) fn compute(&self, parts: &[Part], check_cancel: CancelCheck<'_>) -> Vec<Result<()>> {
        let result = guarded(|| self.pass(parts, check_cancel));
        let each = |parts: &[Part]| {
            parts.iter().flat_map(|part| self.compute(std::slice::from_ref(part), check_cancel)).collect()
        };
        match (result, parts) {
            (Ok(()), _) => parts.iter().map(|_| Ok(())).collect(),
            (Err(error @ Error::DeviceMemory { .. }), [part]) => vec![self.compute_halves(part, error, check_cancel)],
            (Err(Error::Interrupted), [_, _, ..]) => parts.iter().map(|_| Err(Error::Interrupted)).collect(),
            (Err(error), [_]) => vec![Err(error)],
            (Err(Error::DeviceMemory { .. }), _) => {
                let (first, second) = parts.split_at(parts.len() / 2);
                [first, second].into_iter().flat_map(|parts| self.compute(parts, check_cancel)).collect()
            }
            (Err(_), _) => each(parts),
        }
    }

    /// Computes what the device had no memory for at once.
    fn compute_halves(&self, part: &Part, error: Error, check_cancel: CancelCheck<'_>) -> Result<()> {
        if part.pass.members.len() == 1 {
            return Err(too_much(error, part.pass.tokens));
        }
        self.shrink_passes(part.pass.tokens / 2);
        part.job.count_halving();
        for pass in part.pass.halves(self) {
            let half = Part { job: part.job.clone(), pass };
            self.compute(&[half], check_cancel).pop().expect("a result for each part")?;
        }
        Ok(())
    }

    fn pass(&self, parts: &[Part], check_cancel: CancelCheck<'_>) -> Result<()> {
        let (job, tokens) = (&parts[0].job, parts.iter().map(|part| part.pass.tokens).sum());
        let check_cancel = || check_cancel().and_then(|()| self.device.operation());
        record(job.request.profile.as_ref(), || self.device.attempt(tokens, || self.forward(parts, &check_cancel)))?;
        let mut standing = [0, 0];
        for part in parts {
            for (kind, text) in part.pass.kinds().zip(part.pass.texts()) {
                let times = part.job.repeats.times(kind);
                standing = [standing[0] + times, standing[1] + times * text.len()];
            }
        }
        self.stats.add_pass([parts.iter().map(|part| part.pass.members.len()).sum(), tokens], standing);
        Ok(())
    }

    /// What all parts have in common is that of the first. Only texts with tokens go through the network: what comes out of it has one row
    /// for each of them.
    fn forward(&self, parts: &[Part], check_cancel: CancelCheck<'_>) -> Result<()> {
        let Part { job, pass } = &parts[0];
        let mut values =
            zeroed(parts.iter().map(|part| part.pass.members.len() * part.job.width()).sum(), "rows of a pass")?;
        let mut rest = values.as_mut_slice();
        let (mut texts, mut rows, mut empty) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            let (own, others) = rest.split_at_mut(part.pass.members.len() * part.job.width());
            for (text, row) in part.pass.texts().zip(own.chunks_exact_mut(part.job.width())) {
                match text.is_empty() {
                    true => empty.push(row),
                    false => {
                        texts.push(text);
                        rows.push(row);
                    }
                }
            }
            rest = others;
        }
        if !empty.is_empty() && !self.finish.apply_to_nothing(&*self.encoder, job.request.normalize, &mut empty)? {
            return Err(tokenless(parts));
        }
        if !texts.is_empty() {
            let past = pass.batch.past(pass.group);
            let batch = PackedBatch::without(past.map_or(0, |(_, shared)| shared), texts.iter().copied());
            let wanted = if job.every_token { TokenSelection::All } else { self.finish.wanted(job.prompt_tokens) };
            let hidden = match (past, self.encoder.decoder()) {
                (Some((past, _)), Some(decoder)) => decoder.resume(past, &batch, wanted, check_cancel)?,
                _ => self.encoder.forward(&batch, wanted, check_cancel)?,
            };
            let states = States { hidden: &hidden, wanted, batch: &batch, prompt_tokens: job.prompt_tokens };
            self.finish.apply(&states, job.request.normalize, &mut rows)?;
            if job.every_token {
                read(&hidden, |hidden| self.keep_hidden(&parts[0], &batch, hidden))?;
            }
        }
        let mut rest = values.as_slice();
        for part in parts {
            let (own, others) = rest.split_at(part.pass.members.len() * part.job.width());
            part.job.keep_rows(part.pass.kinds(), own);
            rest = others;
        }
        Ok(())
    }

    /// `hidden [tokens, hidden]` of the texts that have tokens.
    fn keep_hidden(&self, part: &Part, batch: &PackedBatch, hidden: &[f32]) {
        let width = self.hidden_size();
        let starts = part.pass.starts().zip(part.pass.texts()).filter(|(_, text)| !text.is_empty());
        for ((start, _), text) in starts.zip(batch.offsets.windows(2)) {
            let (from, to) = (text[0] as usize, text[1] as usize);
            let mut states = hidden[from * width..to * width].to_vec();
            if let Finish::Pipeline(pipeline) = &self.finish {
                pipeline.weigh_tokens(&batch.ids[from..to], &mut states);
            }
            part.job.keep_hidden(start * width, &states);
        }
    }
}

/// Says which input has no tokens where one must have some. Parts that have are computed again without the others.
fn tokenless(parts: &[Part]) -> Error {
    let each = parts
        .iter()
        .flat_map(|part| part.pass.kinds().zip(part.pass.texts()).map(move |(kind, text)| (part, kind, text)));
    let (part, kind, _) = each.into_iter().find(|(_, _, text)| text.is_empty()).expect("one has no tokens");
    let position = part.job.position(kind);
    let (name, what) = match part.job.kind(kind) {
        Input::Pair(..) => ("inputs", "pair"),
        Input::Text(_) => ("sentences", "text"),
    };
    Error::argument_at(
        name,
        position,
        format!("the {what} at position {position} has no tokens, and this model needs one"),
    )
}

/// What cannot be halved is too much for the device.
fn too_much(error: Error, tokens: usize) -> Error {
    match error {
        Error::DeviceMemory { message } => {
            Error::Device { message: format!("{message}; one input of {tokens} tokens is too much for it") }
        }
        other => other,
    }
}
