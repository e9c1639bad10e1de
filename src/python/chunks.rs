//! Chunks of texts as Python has them.

use std::ops::Range;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::engine::{ChunkOptions, Network};
use crate::python::detached;
use crate::python::text::BorrowedTexts;
use crate::python::watch::Watch;
use crate::text::{Input, Inputs, TextChunk, bytes_of, characters_before};

/// A chunk: its text; the position of the text that it is of; its first character and the one behind it; its tokens.
pub(super) type ChunkFields<'py> = (Bound<'py, PyString>, usize, usize, usize, usize);

/// The first token of a chunk and the one behind its last; None for a chunk that the model does not read all of.
pub(super) type ChunkTokens = Option<(usize, usize)>;

/// Cuts texts without the interpreter's lock, and serves signals.
pub(super) fn chunk<'py>(
    py: Python<'py>,
    network: &Network,
    texts: &BorrowedTexts,
    options: ChunkOptions<'_>,
) -> PyResult<Vec<ChunkFields<'py>>> {
    let watch = Watch::new(None);
    let found = detached(py, || {
        let found = network.chunk(texts, options, &|| watch.tell(0)).map(|found| {
            let in_characters = |(i, chunks): (usize, &Vec<TextChunk>)| {
                let starts = characters_before(text(texts, i), chunks.iter().map(|chunk| chunk.start));
                let ends = characters_before(text(texts, i), chunks.iter().map(|chunk| chunk.end));
                starts.into_iter().zip(ends).collect::<Vec<_>>()
            };
            let in_characters: Vec<_> = found.iter().enumerate().map(in_characters).collect();
            (found, in_characters)
        });
        watch.settle(found)
    })?;
    let (found, in_characters) = found?;
    let mut fields = Vec::new();
    for (i, (chunks, in_characters)) in found.into_iter().zip(in_characters).enumerate() {
        for (chunk, (start, end)) in chunks.into_iter().zip(in_characters) {
            let part = PyString::new(py, &text(texts, i)[chunk.start..chunk.end]);
            fields.push((part, texts.position(i), start, end, chunk.tokens));
        }
    }
    Ok(fields)
}

/// The tokens of each chunk, which is given in characters.
pub(super) fn chunk_tokens(
    py: Python<'_>,
    network: &Network,
    texts: &BorrowedTexts,
    chunks: &[Vec<(usize, usize)>],
    prompt: &str,
    max_length: Option<usize>,
) -> PyResult<Vec<Vec<ChunkTokens>>> {
    let watch = Watch::new(None);
    let found = detached(py, || {
        let bytes: Vec<_> = chunks.iter().enumerate().map(|(i, chunks)| bytes_of(text(texts, i), chunks)).collect();
        watch.settle(network.chunk_tokens(texts, &bytes, prompt, max_length, &|| watch.tell(0)))
    })??;
    let pair = |tokens: Option<Range<usize>>| tokens.map(|tokens| (tokens.start, tokens.end));
    Ok(found.into_iter().map(|tokens| tokens.into_iter().map(pair).collect()).collect())
}

fn text(texts: &BorrowedTexts, i: usize) -> &str {
    match texts.get(i) {
        Input::Text(text) | Input::Pair(text, _) => text,
    }
}
