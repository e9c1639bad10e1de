//! What a network does for tasks: tokenize, prefill, and one pass for inputs of one or several calls.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::engine::call::Call;
use crate::engine::network::Network;
use crate::engine::output_head::{HiddenStates, OutputHead};
use crate::engine::task::{PassPart, PrefixBatch};
use crate::memory::zeroed;
use crate::panic::guarded;
use crate::profile::{Stage, Work, record, record_on, stage};
use crate::text::{Input, LengthLimit, PackedBatch, TokenSelection, Tokens, Truncation};
use crate::{CancelCheck, Error, Result};

impl Network {
    /// The tokens of some unique inputs of a call, after its prompt.
    pub(super) fn tokenize(
        &self,
        call: &Call,
        uniques: Range<usize>,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Vec<Tokens>> {
        let start = Instant::now();
        let limit = self.limit(&call.request);
        let bytes = uniques.clone().map(|unique| call.input(unique).bytes()).sum();
        let tokens = |unique| {
            check_cancel()?;
            let tokens = self.tokens_of(call.input(unique), &call.request.prompt, limit, check_cancel)?;
            match tokens.truncated && limit.truncation == Truncation::Refuse {
                true => Err(self.too_long(call, unique, check_cancel)),
                false => Ok(tokens),
            }
        };
        let tokens = record(call.request.profile.as_ref(), || {
            stage(Stage::Tokenize, || Work::bytes(bytes), || uniques.map(tokens).collect())
        });
        call.add_tokenizing(start);
        tokens
    }

    /// That a unique input is longer than the call allows; or why that cannot be told.
    pub(super) fn too_long(&self, call: &Call, unique: usize, check_cancel: CancelCheck<'_>) -> Error {
        let limit = self.limit(&call.request).tokens;
        match self.tokens_of(call.input(unique), &call.request.prompt, LengthLimit::NONE, check_cancel) {
            // Where it has characters that count beside tokens, or a query of more than its share, it may have fewer tokens.
            Ok(whole) => Error::TooLong { position: call.position(unique), tokens: whole.len().max(limit + 1), limit },
            Err(error) => error,
        }
    }

    /// Computes the keys and values of a group's prefix.
    pub(super) fn prefill(
        &self,
        call: &Call,
        batch: &PrefixBatch,
        group: usize,
        check_cancel: CancelCheck<'_>,
    ) -> Result<()> {
        let Some(decoder) = self.encoder.decoder() else { return Ok(()) };
        let start = Instant::now();
        let result = record_on(
            || self.body().waiter(),
            call.request.profile.as_ref(),
            || {
                let prefix = batch.prefix_tokens(group);
                let packed = PackedBatch::new([&prefix].into_iter());
                let cache = self.device.attempt(packed.tokens(), || decoder.prefill(&packed, check_cancel));
                let cache = cache.map_err(|error| too_much(error, packed.tokens()))?;
                batch.set_prefix(group, cache);
                Ok(())
            },
        );
        call.add_computing(start);
        result
    }

    /// Computes one pass, and gives the result of each part. An input that the network fails on fails no other call.
    pub(super) fn compute(&self, parts: &[PassPart], check_cancel: CancelCheck<'_>) -> Vec<Result<()>> {
        let result = guarded(|| self.run_pass(parts, check_cancel));
        let each = |parts: &[PassPart]| {
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
    fn compute_halves(&self, part: &PassPart, error: Error, check_cancel: CancelCheck<'_>) -> Result<()> {
        if part.pass.members.len() == 1 {
            return Err(too_much(error, part.pass.tokens));
        }
        self.planner.shrink_passes(part.pass.tokens / 2);
        part.call.count_halving();
        for pass in part.pass.halves(self.planner.hidden) {
            let half = PassPart { call: part.call.clone(), pass };
            self.compute(&[half], check_cancel).pop().expect("a result for each part")?;
        }
        Ok(())
    }

    fn run_pass(&self, parts: &[PassPart], check_cancel: CancelCheck<'_>) -> Result<()> {
        let (call, tokens) = (&parts[0].call, parts.iter().map(|part| part.pass.tokens).sum());
        let check_cancel = || check_cancel().and_then(|()| self.device.operation());
        let start = Instant::now();
        let forward = || self.device.attempt(tokens, || self.forward(parts, &check_cancel));
        let result = record_on(|| self.body().waiter(), call.request.profile.as_ref(), forward);
        call.add_computing(start);
        // Of one call alone, the first, a pass may have two parts.
        let others = parts.iter().filter(|part| !Arc::ptr_eq(&part.call, call));
        others.for_each(|part| part.call.add_computing(start));
        result?;
        let mut with_duplicates = [0, 0];
        for part in parts {
            for (unique, text) in part.pass.uniques().zip(part.pass.texts()) {
                let times = part.call.unique.occurrences(unique);
                with_duplicates = [with_duplicates[0] + times, with_duplicates[1] + times * text.len()];
            }
        }
        self.stats.add_pass([parts.iter().map(|part| part.pass.members.len()).sum(), tokens], with_duplicates);
        Ok(())
    }

    /// What all parts have in common is that of the first. Only texts with tokens go through the network: what comes out of it has one row
    /// for each of them.
    fn forward(&self, parts: &[PassPart], check_cancel: CancelCheck<'_>) -> Result<()> {
        let PassPart { call, pass } = &parts[0];
        let mut values =
            zeroed(parts.iter().map(|part| part.pass.members.len() * part.call.width()).sum(), "rows of a pass")?;
        let mut rest = values.as_mut_slice();
        let (mut texts, mut rows, mut empty) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            let (own, others) = rest.split_at_mut(part.pass.members.len() * part.call.width());
            for (text, row) in part.pass.texts().zip(own.chunks_exact_mut(part.call.width())) {
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
        if !empty.is_empty() && !self.head.apply_to_nothing(&*self.encoder, call.request.normalize, &mut empty)? {
            return Err(tokenless(parts));
        }
        if !texts.is_empty() {
            let prefix = pass.batch.prefix(pass.group);
            let batch = PackedBatch::without(prefix.map_or(0, |(_, prefix_len)| prefix_len), texts.iter().copied());
            let wanted = if call.every_token { TokenSelection::All } else { self.head.wanted(call.prompt_tokens) };
            let hidden = match (prefix, self.encoder.decoder()) {
                (Some((cache, _)), Some(decoder)) => decoder.forward_from(cache, &batch, wanted, check_cancel)?,
                _ => self.encoder.forward(&batch, wanted, check_cancel)?,
            };
            let states = HiddenStates { hidden: &hidden, wanted, batch: &batch, prompt_tokens: call.prompt_tokens };
            self.head.apply(&states, call.request.normalize, &mut rows)?;
            if call.every_token {
                hidden.read(|hidden| self.write_hidden(&parts[0], &batch, hidden))?;
            }
        }
        let mut rest = values.as_slice();
        for part in parts {
            let (own, others) = rest.split_at(part.pass.members.len() * part.call.width());
            part.call.write_rows(part.pass.uniques(), own);
            rest = others;
        }
        Ok(())
    }

    /// Writes what is made of `hidden [tokens, hidden]` of the texts that have tokens: rows of their chunks where there are such.
    fn write_hidden(&self, part: &PassPart, batch: &PackedBatch, hidden: &[f32]) {
        let width = self.hidden_size();
        if let (Some(chunks), OutputHead::Pipeline(pipeline)) = (&part.call.request.chunks, &self.head) {
            let uniques = part.pass.uniques().zip(part.pass.texts()).filter(|(_, text)| !text.is_empty());
            for ((unique, _), text) in uniques.zip(batch.offsets.windows(2)) {
                let states = &hidden[text[0] as usize * width..text[1] as usize * width];
                let (start, ranges) = chunks.of(unique);
                let mut rows = vec![0.0; ranges.len() * part.call.width()];
                pipeline.apply_to_ranges(states, ranges, part.call.request.normalize, &mut rows);
                part.call.write_hidden(start * part.call.width(), &rows);
            }
            return;
        }
        let starts = part.pass.starts().zip(part.pass.texts()).filter(|(_, text)| !text.is_empty());
        for ((start, _), text) in starts.zip(batch.offsets.windows(2)) {
            let (from, to) = (text[0] as usize, text[1] as usize);
            let mut states = hidden[from * width..to * width].to_vec();
            if let OutputHead::Pipeline(pipeline) = &self.head {
                pipeline.weigh_tokens(&batch.ids[from..to], &mut states);
            }
            part.call.write_hidden(start * width, &states);
        }
    }
}

/// Says which input has no tokens where one must have some. Parts that have are computed again without the others.
fn tokenless(parts: &[PassPart]) -> Error {
    let each = parts
        .iter()
        .flat_map(|part| part.pass.uniques().zip(part.pass.texts()).map(move |(unique, text)| (part, unique, text)));
    let (part, unique, _) = each.into_iter().find(|(_, _, text)| text.is_empty()).expect("one has no tokens");
    let position = part.call.position(unique);
    let (name, what) = match part.call.input(unique) {
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
            Error::device(format!("{message}; one input of {tokens} tokens is too much for it"))
        }
        other => other,
    }
}
