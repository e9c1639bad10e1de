//! Where a text may be cut, from the best places to the worst.
//!
//! Sentences, words and characters are those of Unicode's UAX 29, by `unicode-segmentation`. A border is the end of what
//! stands before it, without white space: what is between two contents belongs to neither.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// Bytes behind the last border in question that words and characters are looked for in: their rules look ahead a little.
const LOOK_AHEAD: usize = 64;

/// Beginnings of each kind that are tried for an overlap.
const MAX_BEGINNINGS: usize = 8;

/// Kinds of borders, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BorderKind {
    /// A line without text follows.
    Paragraph,
    /// Also one that goes on in the next line.
    Sentence,
    Line,
    /// White space follows.
    Space,
    /// A word follows, as in scripts without spaces.
    Word,
    /// Before a character as readers see it, of one or more code points.
    Grapheme,
    /// Before any code point.
    Char,
}

/// The borders of a text.
pub(super) struct Borders<'a> {
    text: &'a str,
    /// Ascending, as the others.
    paragraphs: Vec<usize>,
    /// Paragraphs among them, and among sentences.
    lines: Vec<usize>,
    sentences: Vec<usize>,
}

impl<'a> Borders<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let (paragraphs, lines) = paragraphs_and_lines(text);
        let mut sentences = paragraphs.clone();
        let mut end = 0;
        // By the rules every line break ends a sentence; many texts have them wherever a line is full.
        let unwrapped = text.replace(['\r', '\n'], " ");
        for (start, sentence) in unwrapped.split_sentence_bound_indices() {
            // What is nothing but white space belongs to the sentence before it.
            let content = sentence.trim_end().len();
            end = if content > 0 { start + content } else { end };
            sentences.push(end);
        }
        sentences.sort_unstable();
        sentences.dedup();
        Self { text, paragraphs, lines, sentences }
    }

    /// Where the content begins that stands at a place or after it.
    pub(super) fn content(&self, place: usize) -> usize {
        self.text.len() - self.text[place..].trim_start().len()
    }

    /// The last border of a kind after a place, and not behind `until`.
    pub(super) fn last(&self, kind: BorderKind, after: usize, until: usize) -> Option<usize> {
        let text = self.text;
        let until = text.floor_char_boundary(until);
        if until <= after {
            return None;
        }
        let listed = |borders: &[usize]| borders[..borders.partition_point(|&border| border <= until)].last().copied();
        let window = &text[after..text.floor_char_boundary(until.saturating_add(LOOK_AHEAD).min(text.len()))];
        let within = |place: &usize| (1..=until - after).contains(place);
        let found = match kind {
            BorderKind::Paragraph => listed(&self.paragraphs),
            BorderKind::Sentence => listed(&self.sentences),
            BorderKind::Line => listed(&self.lines),
            BorderKind::Space if text[until..].starts_with(char::is_whitespace) => Some(until),
            BorderKind::Space => text[after..until].rfind(char::is_whitespace).map(|place| after + place),
            BorderKind::Word => {
                // Marks of punctuation stay with what is before them.
                let words =
                    window.split_word_bound_indices().filter(|(_, word)| word.starts_with(char::is_alphanumeric));
                words.map(|(place, _)| place).rfind(within).map(|place| after + place)
            }
            BorderKind::Grapheme => {
                let mut graphemes = window.grapheme_indices(true).map(|(place, _)| place);
                graphemes.rfind(within).map(|place| after + place)
            }
            BorderKind::Char => Some(until),
        };
        found.map(|border| text[..border].trim_end().len()).filter(|&border| border > after)
    }

    /// The end of the first character, of a kind of characters, at a place.
    pub(super) fn first_character(&self, kind: BorderKind, place: usize) -> usize {
        let rest = &self.text[place..];
        let rest = &rest[..rest.floor_char_boundary(4 * LOOK_AHEAD)];
        let character = match kind {
            BorderKind::Char => rest.chars().next().map(char::len_utf8),
            _ => rest.graphemes(true).next().map(str::len),
        };
        place + character.unwrap_or(0)
    }

    /// Places within a range that a text may begin at: the first ones of the best kind, then those of the others.
    pub(super) fn beginnings(&self, range: Range<usize>) -> Vec<usize> {
        let Range { start, end } = range;
        let start = self.text.ceil_char_boundary(start);
        if start >= end {
            return Vec::new();
        }
        let first = self.sentences.partition_point(|&border| border < start.saturating_sub(LOOK_AHEAD));
        let sentences = self.sentences[first..].iter().map(|&border| self.content(border));
        let mut found: Vec<_> = sentences
            .skip_while(|&place| place < start)
            .take_while(|&place| place < end)
            .take(MAX_BEGINNINGS)
            .collect();
        let within = &self.text[start..end];
        let mut is_behind_space = self.text[..start].ends_with(char::is_whitespace);
        let words = within.char_indices().filter(|&(_, c)| {
            let begins = is_behind_space && !c.is_whitespace();
            is_behind_space = c.is_whitespace();
            begins
        });
        found.extend(words.map(|(place, _)| start + place).take(MAX_BEGINNINGS));
        let words = within.split_word_bound_indices().filter(|(_, word)| word.starts_with(char::is_alphanumeric));
        // The range may begin within a word.
        found.extend(words.map(|(place, _)| start + place).filter(|&place| place > start).take(MAX_BEGINNINGS));
        found
    }
}

/// The ends of paragraphs, and of lines.
fn paragraphs_and_lines(text: &str) -> (Vec<usize>, Vec<usize>) {
    let (mut paragraphs, mut lines) = (Vec::new(), Vec::new());
    // Where the white space at hand begins, and its line breaks.
    let mut space: Option<(usize, usize)> = None;
    let mut last = ' ';
    for (place, c) in text.char_indices() {
        if c.is_whitespace() {
            let (_, breaks) = space.get_or_insert((place, 0));
            *breaks += match c {
                '\n' if last == '\r' => 0,
                '\n' | '\r' | '\u{b}' | '\u{85}' | '\u{2028}' => 1,
                '\u{c}' | '\u{2029}' => 2,
                _ => 0,
            };
        } else if let Some((start, breaks)) = space.take()
            && start > 0
        {
            lines.extend((breaks > 0).then_some(start));
            paragraphs.extend((breaks > 1).then_some(start));
        }
        last = c;
    }
    (paragraphs, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(text: &str, kind: BorderKind, until: usize) -> Option<&str> {
        Borders::new(text).last(kind, 0, until).map(|border| &text[..border])
    }

    #[test]
    fn the_last_border_of_each_kind() {
        let text = "One. Two,\nthree.\r\n\r\n Four five";
        for (kind, expected) in [
            (BorderKind::Paragraph, "One. Two,\nthree."),
            (BorderKind::Line, "One. Two,\nthree."),
            (BorderKind::Space, "One. Two,\nthree.\r\n\r\n Four"),
            (BorderKind::Char, "One. Two,\nthree.\r\n\r\n Four f"),
        ] {
            assert_eq!(last(text, kind, text.len() - 3), Some(expected), "{kind:?}");
        }
        assert_eq!(last(text, BorderKind::Paragraph, 15), None);
        assert_eq!(last(text, BorderKind::Line, 15), Some("One. Two,"));
        assert_eq!(last(text, BorderKind::Sentence, 8), Some("One."));
        assert_eq!(last("One two\nthree. Four five\nsix.", BorderKind::Sentence, 24), Some("One two\nthree."));
        // One line break is no paragraph, however it is written.
        assert_eq!(last("a\r\nb", BorderKind::Paragraph, 3), None);
        assert_eq!(last("a\u{2029}b", BorderKind::Paragraph, 4), Some("a"));
    }

    #[test]
    fn scripts_without_spaces_and_characters_of_several_code_points() {
        assert_eq!(last("日本語。漢字かな", BorderKind::Sentence, 18), Some("日本語。"));
        assert_eq!(last("日本語、漢字", BorderKind::Word, 14), Some("日本語、"));
        let family = "ab👨‍👩‍👧e\u{301}";
        assert_eq!(last(family, BorderKind::Grapheme, family.len() - 1), Some("ab👨‍👩‍👧"));
        assert_eq!(last(family, BorderKind::Grapheme, 9), Some("ab"));
        assert_eq!(last(family, BorderKind::Char, 7), Some("ab👨"));
        let borders = Borders::new(family);
        assert_eq!(borders.first_character(BorderKind::Grapheme, 2), family.len() - 3);
        assert_eq!(borders.first_character(BorderKind::Char, 2), 6);
    }

    #[test]
    fn sentences_are_the_best_beginnings() {
        let text = "One two. Three four five.";
        assert_eq!(Borders::new(text).beginnings(2..text.len())[..3], [9, 4, 9]);
        assert_eq!(Borders::new(text).beginnings(12..text.len())[0], 15);
        assert!(Borders::new("aaaa").beginnings(2..4).is_empty());
    }
}
