//! Which tokens of a text a chunk of it is made of, for late chunking (Günther et al. 2024, arXiv 2409.04701).
//!
//! ```text
//! special ones  prompt   text                    special ones
//! [CLS]         doc :    A candle | burns .      [SEP]
//! └── the first chunk's ───────────┘ └── the last chunk's ──┘
//! ```
//!
//! A token belongs to each chunk that it shares a character with. As in the paper, what stands before the text goes to the chunk
//! with its first token, what stands behind it to the one with its last; the prompt is left out where pooling leaves it out. So
//! the mean of a chunk that is the whole text is that of the text.

use std::ops::Range;

use crate::text::tokenizer::Tokenizer;
use crate::text::truncation::Truncation;
use crate::{CancelCheck, Result};

/// A prompt before a text, and chunks of the text.
#[derive(Debug, Clone, Copy)]
pub struct ChunkedText<'a> {
    pub text: &'a str,
    /// Bytes of each chunk.
    pub chunks: &'a [Range<usize>],
    pub prompt: &'a str,
    /// Tokens, special ones included, of a prompt that is not pooled.
    pub skipped: usize,
    /// The most tokens that the model reads, special ones included.
    pub max_length: usize,
}

/// The tokens of each chunk, counted within those of prompt and text with special ones; None for a chunk that is not all among the
/// tokens that the model reads.
pub fn chunk_tokens(
    tokenizer: &Tokenizer,
    chunked: &ChunkedText,
    check_cancel: CancelCheck<'_>,
) -> Result<Vec<Option<Range<usize>>>> {
    let ChunkedText { text, chunks, prompt, skipped, max_length } = *chunked;
    let spans = tokenizer.token_spans(&[prompt, text].concat(), check_cancel)?;
    let [before, behind] = tokenizer.special_around()?;
    let room = max_length.saturating_sub(before + behind);
    let read = match tokenizer.truncates_left(Truncation::OfModel) {
        false => 0..spans.len().min(room),
        true => spans.len().saturating_sub(room)..spans.len(),
    };
    let shared = |bytes: Range<usize>| {
        let start = spans.partition_point(|span| span.end <= prompt.len() + bytes.start);
        start..spans.partition_point(|span| span.start < prompt.len() + bytes.end).max(start)
    };
    let content = shared(text.len() - text.trim_start().len()..text.trim_end().len());
    let tokens = |chunk: &Range<usize>| {
        let Range { start, end } = shared(chunk.clone());
        if start < read.start || end > read.end {
            return None;
        }
        let place = |token: usize| token - read.start + before;
        let (mut first, mut last) = (place(start), place(end));
        if start <= content.start {
            first = if skipped < last { skipped } else { first };
        }
        if end >= content.end {
            last = place(read.end) + behind;
        }
        Some(first..last)
    };
    Ok(chunks.iter().map(tokens).collect())
}
