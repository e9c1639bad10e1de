//! Chunks of texts: cutting texts to what a model reads, and finding the tokens of chunks.

use std::ops::Range;

use crate::engine::network::Network;
use crate::engine::output_head::OutputHead;
use crate::memory::with_room;
use crate::text::{
    ChunkLimits, ChunkSize, ChunkedText, Input, Inputs, LengthLimit, TextChunk, Truncation, chunk_tokens, chunks,
};
use crate::{CancelCheck, Error, Result};

/// Bytes of texts that one thread cuts at a time.
const JOB_BYTES: usize = 64 << 10;

/// How long the chunks of a call are.
#[derive(Debug, Clone, Copy)]
pub struct ChunkOptions<'a> {
    /// The most tokens of a chunk, without special ones; None for what the model reads after the prompt.
    pub max_tokens: Option<usize>,
    pub overlap: usize,
    pub prompt: &'a str,
    /// See [`Network::max_length`].
    pub max_length: Option<usize>,
}

impl Network {
    /// The chunks of each text.
    pub fn chunk(
        &self,
        texts: &dyn Inputs,
        options: ChunkOptions,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Vec<Vec<TextChunk>>> {
        let ChunkOptions { max_tokens, overlap, prompt, max_length } = options;
        let max_length = self.max_length(max_length);
        let limit = LengthLimit::of(max_length, Truncation::OfModel);
        // Of the model's own length only its tokenizer knows what is left, where a prompt may grow together with a text, or characters
        // count beside tokens.
        let measures = !prompt.is_empty() || self.template.is_some() || self.tokenizer.follows_model2vec();
        let reads_whole = max_tokens.is_none() && measures;
        let max_tokens = match max_tokens {
            Some(max_tokens) => max_tokens,
            None => self.room_after(prompt, max_length, check_cancel)?,
        };
        if overlap >= max_tokens {
            let message = format!("expected less than max_tokens, which is {max_tokens}, found {overlap}");
            return Err(Error::argument("overlap", message));
        }
        self.for_each_text(texts, check_cancel, |i, check_cancel| {
            let text = only_text(texts.get(i));
            if text.trim_end().is_empty() {
                return Ok(Vec::new());
            }
            let measure = |part: &str| {
                check_cancel()?;
                let tokens = self.tokenizer.count(part, check_cancel)?;
                let excess = tokens.saturating_sub(max_tokens);
                let is_cut = excess == 0
                    && reads_whole
                    && self.tokens_of(Input::Text(part), prompt, limit, check_cancel)?.truncated;
                Ok(ChunkSize { tokens, excess: excess.max(usize::from(is_cut)) })
            };
            let spans = self.tokenizer.token_spans(text, check_cancel)?;
            chunks(text, spans, ChunkLimits { max_tokens, overlap }, &measure)
        })
    }

    /// The tokens of each chunk of each text, which stands after the prompt: see [`chunk_tokens`].
    ///
    /// # Errors
    /// [`Error::Model`] where embeddings are not means of hidden states.
    pub fn chunk_tokens(
        &self,
        texts: &dyn Inputs,
        bytes: &[Vec<Range<usize>>],
        prompt: &str,
        max_length: Option<usize>,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Vec<Vec<Option<Range<usize>>>>> {
        let max_length = self.max_length(max_length);
        let refused = |what: &str| {
            let message = format!("late chunking takes means of tokens, and {what}; encode the chunks' texts instead");
            Error::model("modules.json", message)
        };
        let OutputHead::Pipeline(pipeline) = &self.head else {
            return Err(refused("a reranker has none"));
        };
        if !pipeline.averages(0) {
            return Err(refused("this model does not pool by the plain mean"));
        }
        if self.tokenizer.follows_model2vec() {
            return Err(refused("this model drops unknown tokens, as model2vec does"));
        }
        if self.template.is_some() {
            return Err(refused("this model writes a chat around each text"));
        }
        let skipped = self.prompt_tokens(prompt, max_length, check_cancel)?;
        self.for_each_text(texts, check_cancel, |i, check_cancel| {
            let text = only_text(texts.get(i));
            let chunked = ChunkedText { text, chunks: &bytes[i], prompt, skipped, max_length };
            chunk_tokens(&self.tokenizer, &chunked, check_cancel)
        })
    }

    /// How many tokens of a text the model reads after a prompt.
    fn room_after(&self, prompt: &str, max_length: usize, check_cancel: CancelCheck<'_>) -> Result<usize> {
        if max_length == usize::MAX {
            return Ok(usize::MAX);
        }
        let limit = LengthLimit::of(max_length, Truncation::OfModel);
        let reserved = self.tokens_of(Input::Text(""), prompt, limit, check_cancel)?.len();
        match max_length.saturating_sub(reserved) {
            0 => {
                let message = format!("the prompt and special tokens fill all {max_length} tokens of max_seq_length");
                Err(Error::argument("prompt", message))
            }
            room => Ok(room),
        }
    }

    /// What `work` gives for each text, several at a time.
    fn for_each_text<R: Send + Default>(
        &self,
        texts: &dyn Inputs,
        check_cancel: CancelCheck<'_>,
        work: impl Fn(usize, CancelCheck<'_>) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let mut results = with_room(texts.len(), "chunks of texts")?;
        results.resize_with(texts.len(), R::default);
        let mut jobs = Vec::new();
        let (mut rest, mut first) = (results.as_mut_slice(), 0);
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |&i: &usize| {
                bytes += texts.get(i).bytes();
                bytes <= JOB_BYTES
            };
            let count = (first..texts.len()).take_while(fits).count().max(1);
            let (job, others) = rest.split_at_mut(count);
            jobs.push((first, job));
            (rest, first) = (others, first + count);
        }
        self.pool.for_each(jobs, check_cancel, |(first, results), check_cancel| {
            for (i, result) in (first..).zip(results) {
                *result = work(i, check_cancel)?;
            }
            Ok(())
        })?;
        Ok(results)
    }
}

fn only_text(input: Input<'_>) -> &str {
    match input {
        Input::Text(text) => text,
        Input::Pair(..) => unreachable!("chunks are of texts"),
    }
}
