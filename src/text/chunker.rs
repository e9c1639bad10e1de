//! Cutting a long text into chunks that a model reads whole.
//!
//! Greedy, with one look at the whole text, as recursive splitters have it (LangChain's; the text-splitter crate):
//!
//! ```text
//! tokens ← the text's tokens with the bytes that each stands for        (once)
//! borders ← its paragraphs, sentences and lines                         (once)
//! start ← the first character that is no space;  cut ← start
//! while there is text after cut:
//!     budget ← max_tokens
//!     repeat:
//!         reach ← the end of `budget` tokens from start
//!         end   ← the end of the text if that is within reach, else the last border in (cut, reach] of the best kind:
//!                   paragraph, sentence, line, if it fills a quarter of the budget
//!                   space, else word, else any of the above, else character, else code point
//!         n     ← number of tokens of text[start..end] by itself
//!         budget ← budget less what n is too many
//!     until n <= max_tokens
//!     give text[start..end];  cut ← end
//!     start ← the first sentence (else word) of the last `overlap` tokens before cut, else the first character after it
//! ```
//!
//! Tokens of a chunk by itself may be others than those of the whole text (a word's first piece has a sign that its rest has
//! not), so each chunk is tokenized again, and its count is exact. No border within reach, or none that fits, leaves single
//! characters, of which each fits or is an error: nothing is ever lost, and all but the overlap is in one chunk.
//!
//! The quarter: without it a heading is a chunk of its own wherever the paragraph after it is too long; with a half, paragraphs
//! that would fit are cut. Sentences come before lines, and do not end with a line: other splitters cut texts whose lines are
//! wrapped at some column wherever a line is full. Lists and poems have lines without ends of sentences, and are cut at these.
//!
//! What else was considered: text-splitter 0.33 has the same kinds of borders. It brings 21 crates that are not here yet (ICU's
//! data among them), and asks for the size of a part at each step of a binary search, so that every byte is tokenized several
//! times. unicode-segmentation is here already, as the tokenizers crate needs it; with the offsets of one tokenization a border is
//! found in a sorted list, and a text is tokenized twice in all.

use std::ops::Range;

use crate::text::borders::{BorderKind, Borders};
use crate::{Error, Result};

/// A part of a text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextChunk {
    pub start: usize,
    pub end: usize,
    /// Its tokens, without special ones.
    pub tokens: usize,
}

/// How long chunks are.
#[derive(Debug, Clone, Copy)]
pub struct ChunkLimits {
    /// The most tokens of a chunk, special ones not counted.
    pub max_tokens: usize,
    /// The most tokens of a chunk that it begins with again; less than `max_tokens`.
    pub overlap: usize,
}

/// How long a chunk by itself is.
#[derive(Debug, Clone, Copy)]
pub struct ChunkSize {
    pub tokens: usize,
    /// How many of them are too many.
    pub excess: usize,
}

/// Tries with a budget that is cut by what was too much; then it is halved each time.
const CLOSE_TRIES: usize = 8;

/// Cuts `text`, of which each token stands for these bytes, into chunks. `measure` tells the size of a part by itself.
pub fn chunks(
    text: &str,
    tokens: Vec<Range<usize>>,
    limits: ChunkLimits,
    measure: &dyn Fn(&str) -> Result<ChunkSize>,
) -> Result<Vec<TextChunk>> {
    let end = text.trim_end().len();
    let borders = Borders::new(text);
    let chunker = Chunker { text, end, borders, tokens: ascending(tokens), limits, measure };
    let mut chunks = Vec::new();
    let mut start = chunker.borders.content(0);
    let mut cut = start;
    while cut < end {
        let fresh = chunker.borders.content(cut);
        let chunk = match chunker.next(start, cut)? {
            Some(chunk) => chunk,
            // Together with the overlap nothing fits.
            None if start < fresh => {
                start = fresh;
                continue;
            }
            None => return Err(chunker.too_large(fresh)),
        };
        cut = chunk.end;
        chunks.push(chunk);
        start = chunker.overlap(&chunk)?;
    }
    Ok(chunks)
}

struct Chunker<'a> {
    text: &'a str,
    /// The end of the text, without white space.
    end: usize,
    borders: Borders<'a>,
    /// Bytes of each token of the text.
    tokens: Vec<Range<usize>>,
    limits: ChunkLimits,
    measure: &'a dyn Fn(&str) -> Result<ChunkSize>,
}

impl Chunker<'_> {
    /// The chunk that begins at `start` and reaches beyond `cut`; None where not even one more character fits.
    fn next(&self, start: usize, cut: usize) -> Result<Option<TextChunk>> {
        let mut budget = self.limits.max_tokens;
        let mut tries = 0;
        while budget > 0 {
            let Some(end) = self.best_end(start, cut, budget) else { break };
            let ChunkSize { tokens, excess } = (self.measure)(&self.text[start..end])?;
            if excess == 0 {
                return Ok(Some(TextChunk { start, end, tokens }));
            }
            tries += 1;
            let used = self.tokens_before(end).saturating_sub(self.tokens_before(start)).min(budget);
            budget = if tries < CLOSE_TRIES { used.saturating_sub(excess) } else { used / 2 };
        }
        for kind in [BorderKind::Grapheme, BorderKind::Char] {
            let end = self.borders.first_character(kind, self.borders.content(cut));
            let ChunkSize { tokens, excess } = (self.measure)(&self.text[start..end])?;
            if excess == 0 {
                return Ok(Some(TextChunk { start, end, tokens }));
            }
        }
        Ok(None)
    }

    /// Where the chunk ends that begins at `start`, reaches beyond `cut` and has about `budget` tokens at most.
    fn best_end(&self, start: usize, cut: usize, budget: usize) -> Option<usize> {
        let first = self.tokens_before(start);
        let Some(reach) = first.checked_add(budget).and_then(|beyond| self.tokens.get(beyond)) else {
            return Some(self.end);
        };
        let last = |kind| self.borders.last(kind, cut, reach.start);
        let before = self.tokens_before(cut);
        let least = (first + budget).saturating_sub(before).div_ceil(4);
        let mut best = None;
        for kind in [BorderKind::Paragraph, BorderKind::Sentence, BorderKind::Line] {
            let end = last(kind);
            if end.is_some_and(|end| self.tokens_before(end) - before >= least) {
                return end;
            }
            best = best.or(end);
        }
        let best = last(BorderKind::Space).or_else(|| last(BorderKind::Word)).or(best);
        best.or_else(|| last(BorderKind::Grapheme)).or_else(|| last(BorderKind::Char))
    }

    /// Where the chunk after this one begins.
    fn overlap(&self, chunk: &TextChunk) -> Result<usize> {
        let fresh = self.borders.content(chunk.end);
        if self.limits.overlap == 0 || chunk.end >= self.end {
            return Ok(fresh);
        }
        let behind = self.tokens_before(chunk.end);
        let earliest = behind.checked_sub(self.limits.overlap).map_or(0, |token| self.tokens[token].start);
        for start in self.borders.beginnings(earliest.max(chunk.start + 1)..chunk.end) {
            if (self.measure)(&self.text[start..chunk.end])?.tokens <= self.limits.overlap {
                return Ok(start);
            }
        }
        Ok(fresh)
    }

    /// Number of tokens that end at a place or before it.
    fn tokens_before(&self, place: usize) -> usize {
        self.tokens.partition_point(|token| token.end <= place)
    }

    fn too_large(&self, place: usize) -> Error {
        let end = self.borders.first_character(BorderKind::Char, place);
        let message = format!(
            "{} is less than the tokens of the character {:?}, which cannot be cut; give more",
            self.limits.max_tokens,
            &self.text[place..end]
        );
        Error::argument("max_tokens", message)
    }
}

/// The tokens' bytes, with no end or beginning before an earlier one.
fn ascending(mut tokens: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut last = 0..0;
    for token in &mut tokens {
        *token = token.start.max(last.start)..token.end.max(last.end);
        last = token.clone();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token for every word and every mark of punctuation, and a sign before the first of a text, as some tokenizers have it.
    fn tokens(text: &str) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        let mut in_word = false;
        for (place, c) in text.char_indices() {
            let end = place + c.len_utf8();
            match found.last_mut() {
                Some(word) if in_word && c.is_alphanumeric() => word.end = end,
                _ if c.is_whitespace() => {}
                _ => found.push(place..end),
            }
            in_word = c.is_alphanumeric();
        }
        found
    }

    fn cut(text: &str, max_tokens: usize, overlap: usize) -> Vec<&str> {
        let measure = |part: &str| {
            let tokens = tokens(part).len();
            Ok(ChunkSize { tokens, excess: tokens.saturating_sub(max_tokens) })
        };
        let chunks = chunks(text, tokens(text), ChunkLimits { max_tokens, overlap }, &measure).unwrap();
        chunks.iter().map(|chunk| &text[chunk.start..chunk.end]).collect()
    }

    #[test]
    fn the_best_border_that_fits() {
        let text = "First one. Second one here.\n\nA paragraph of more words, and\na line. ";
        assert_eq!(cut(text, 100, 0), [text.trim_end()]);
        assert_eq!(cut(text, 9, 0), ["First one. Second one here.", "A paragraph of more words, and", "a line."]);
        assert_eq!(cut(text, 4, 0)[..3], ["First one.", "Second one here.", "A paragraph of more"]);
        assert!(cut("  \n ", 4, 0).is_empty());
        assert!(cut("", 4, 0).is_empty());
    }

    #[test]
    fn a_heading_is_no_chunk_of_its_own() {
        let body = "one two three four five six seven eight nine ten eleven twelve";
        let text = format!("Title\n\n{body}");
        assert_eq!(cut(&text, 8, 0)[0], "Title\n\none two three four five six seven");
    }

    #[test]
    fn a_sentence_goes_on_in_the_next_line() {
        let wrapped = "One two three four\nfive. Six seven eight\nnine ten.";
        assert_eq!(cut(wrapped, 8, 0), ["One two three four\nfive.", "Six seven eight\nnine ten."]);
        let list = "- one two\n- three four\n- five six";
        assert_eq!(cut(list, 7, 0), ["- one two\n- three four", "- five six"]);
    }

    #[test]
    fn overlap_begins_with_a_sentence_or_a_word() {
        let text = "One two three. Four. Five six seven. Eight nine ten.";
        assert_eq!(cut(text, 8, 3), ["One two three. Four.", "Four. Five six seven.", "six seven. Eight nine ten."]);
        let words = cut("a b c d e f g h i j", 4, 2);
        assert_eq!(words, ["a b c d", "c d e f", "e f g h", "g h i j"]);
    }

    #[test]
    fn nothing_is_lost_where_parts_have_more_tokens_than_in_the_whole() {
        // Every part by itself has two tokens more than it has within the text.
        let text = "some words, 日本語の文。 and 👨‍👩‍👧 more of them";
        for max_tokens in 3..9 {
            let measure = |part: &str| {
                let tokens = tokens(part).len() + 2;
                Ok(ChunkSize { tokens, excess: tokens.saturating_sub(max_tokens) })
            };
            let limits = ChunkLimits { max_tokens, overlap: max_tokens - 1 };
            let chunks = chunks(text, tokens(text), limits, &measure).unwrap();
            let mut end = 0;
            for chunk in chunks {
                assert!(chunk.tokens <= max_tokens && text[end..chunk.start.max(end)].trim().is_empty());
                assert!(chunk.end > end);
                end = chunk.end;
            }
            assert_eq!(end, text.len());
        }
        let measure = |_: &str| Ok(ChunkSize { tokens: 3, excess: 1 });
        let error =
            chunks("é", Vec::from([0..1, 1..2]), ChunkLimits { max_tokens: 2, overlap: 0 }, &measure).unwrap_err();
        assert!(
            error.to_string().starts_with("max_tokens: 2 is less than the tokens of the character \"é\""),
            "{error}"
        );
    }
}
