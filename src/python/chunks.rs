//! Chunks of texts: bytes of Rust's strings and characters of Python's.

use std::ops::Range;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::engine::{ChunkOptions, Network};
use crate::python::detached;
use crate::python::text::BorrowedTexts;
use crate::python::watch::Watch;
use crate::text::{Input, Inputs};

/// A chunk: its text; the position of the text that it is of; its first character and the one behind it; its tokens.
pub(super) type ChunkFields<'py> = (Bound<'py, PyString>, usize, usize, usize, usize);

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
            let in_characters = |(i, chunks): (usize, &Vec<crate::text::TextChunk>)| {
                let starts = characters(text(texts, i), chunks.iter().map(|chunk| chunk.start));
                let ends = characters(text(texts, i), chunks.iter().map(|chunk| chunk.end));
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

/// The tokens of each chunk, which is given in characters; None for one that the model does not read all of.
pub(super) fn chunk_tokens(
    py: Python<'_>,
    network: &Network,
    texts: &BorrowedTexts,
    chunks: &[Vec<(usize, usize)>],
    prompt: &str,
) -> PyResult<Vec<Vec<Option<(usize, usize)>>>> {
    let watch = Watch::new(None);
    let found = detached(py, || {
        let bytes: Vec<_> = chunks.iter().enumerate().map(|(i, chunks)| bytes(text(texts, i), chunks)).collect();
        watch.settle(network.chunk_tokens(texts, &bytes, prompt, &|| watch.tell(0)))
    })??;
    let pair = |tokens: Option<Range<usize>>| tokens.map(|tokens| (tokens.start, tokens.end));
    Ok(found.into_iter().map(|tokens| tokens.into_iter().map(pair).collect()).collect())
}

fn text(texts: &BorrowedTexts, i: usize) -> &str {
    match texts.get(i) {
        Input::Text(text) | Input::Pair(text, _) => text,
    }
}

/// Number of characters before each place in bytes; places ascend.
fn characters(text: &str, places: impl Iterator<Item = usize>) -> Vec<usize> {
    if text.is_ascii() {
        return places.collect();
    }
    let (mut at, mut count) = (0, 0);
    let count_to = |place: usize| {
        count += text[at..place].chars().count();
        at = place;
        count
    };
    places.map(count_to).collect()
}

/// The bytes of ranges of characters, in any order; a range that ends behind the text ends with it.
fn bytes(text: &str, chunks: &[(usize, usize)]) -> Vec<Range<usize>> {
    let is_ascii = text.is_ascii();
    let mut wanted: Vec<usize> = chunks.iter().flat_map(|&(start, end)| [start, end]).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = Vec::with_capacity(wanted.len());
    let mut places = text.char_indices().map(|(place, _)| place).enumerate();
    for &character in wanted.iter().filter(|_| !is_ascii) {
        let place = places.find(|&(number, _)| number == character);
        found.push(place.map_or(text.len(), |(_, place)| place));
    }
    let byte = |character: usize| match is_ascii {
        true => character.min(text.len()),
        false => found[wanted.partition_point(|&other| other < character)],
    };
    chunks.iter().map(|&(start, end)| byte(start)..byte(end).max(byte(start))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_and_bytes() {
        let text = "aé日👩b";
        assert_eq!(characters(text, [0, 1, 3, 6, 10, 11].into_iter()), [0, 1, 2, 3, 4, 5]);
        assert_eq!(bytes(text, &[(2, 4), (0, 1), (1, 5), (4, 9)]), [3..10, 0..1, 1..11, 10..11]);
        assert_eq!(bytes("ab", &[(1, 5), (0, 1)]), [1..2, 0..1]);
        assert_eq!(bytes("", &[(0, 0)]), [0..0]);
    }
}
