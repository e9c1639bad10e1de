//! The tokens of a text where tokenizer.json is BERT's: its normalizer, its pre-tokenizer, WordPiece.
//!
//! The library follows every character from the text to its token, which takes most of the time, and nobody asks for it here. So
//! words of ASCII letters and digits are found and lowercased eight bytes at a time, and looked up in a cache of words; what else
//! there is goes through the library's own steps, a word at a time.
//!
//! ```text
//! at white space (space, tab, line feed, carriage return): go on behind it
//! at a mark of ASCII: if an added token begins here, give up; else the id of the mark
//! else: word = all up to white space or a mark
//!       if it is of ASCII letters and digits: lowercase it; ids = cache[word], else WordPiece of the word
//!       else:                                 ids = cache[word], else WordPiece of each part that the library makes of the word
//! WordPiece: the longest piece of the vocabulary, then the longest that goes on, ...; the unknown token where there is none
//! ```
//!
//! Why the ids are those of the library: BERT's normalizer changes each character by itself, but for marks that combine, which it
//! sorts behind the character that they follow, and drops. It composes nothing. White space and marks of ASCII begin no such
//! sequence anew and end the one before, and the pre-tokenizer splits at each of them. So words between them are independent.
//! Added tokens are looked for in the text as it is: they have a mark as their first byte, else this file declines the tokenizer.
//!
//! Source of the algorithm: Schuster and Nakajima 2012; transformers' `BertTokenizer`.

use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer,
};

use crate::text::piece_table::PieceTable;
use crate::text::word_key::{KEY_BYTES, WordKey, hash, key_bytes, key_of, plain_word};

/// WordPiece over words of ASCII without the library's bookkeeping.
pub(super) struct WordPieces {
    normalizer: BertNormalizer,
    lowercases: bool,
    unknown: u32,
    max_word_chars: usize,
    /// Pieces that begin a word, and those that go on with one.
    pieces: [PieceTable; 2],
    /// The id of a word that is one byte of ASCII.
    marks: [u32; 128],
    kinds: [ByteKind; 256],
    added: Vec<String>,
}

/// What a byte is to the search for words.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum ByteKind {
    /// White space that ends a word.
    Space,
    /// A mark of ASCII, a word by itself.
    Mark,
    /// A mark that an added token begins with.
    Added,
    /// A letter or digit of ASCII.
    Plain,
    /// A control character, or part of a character that is no ASCII.
    Other,
}

/// Words with their ids: each has one place, where the last two that came are. A thread's own while it tokenizes.
#[derive(Default)]
pub struct WordCache {
    /// Empty before the first word.
    places: Vec<CachedWords>,
}

/// The words of a place, the last one first: one line of memory.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct CachedWords([CachedWord; 2]);

#[derive(Clone, Copy, Default)]
struct CachedWord {
    key: WordKey,
    ids: [u32; 3],
    count: u8,
    /// Bytes of the word; 0 where there is none yet.
    len: u8,
}

/// 8,192 places of two words, in 512 kB: most of the words of most texts.
const PLACES_POWER: u32 = 13;

impl WordPieces {
    /// None where the tokenizer is another one, or has tokens that are found otherwise.
    pub(super) fn new(inner: &Tokenizer) -> Option<Self> {
        let ModelWrapper::WordPiece(model) = inner.get_model() else { return None };
        let Some(NormalizerWrapper::BertNormalizer(normalizer)) = inner.get_normalizer() else { return None };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = inner.get_pre_tokenizer() else { return None };
        let vocabulary = inner.get_vocab(false);
        let unknown = *vocabulary.get(&model.unk_token)?;
        let mut kinds = [ByteKind::Other; 256];
        for byte in 0..128_u8 {
            kinds[byte as usize] = match byte {
                b' ' | b'\t' | b'\n' | b'\r' => ByteKind::Space,
                _ if byte.is_ascii_punctuation() => ByteKind::Mark,
                _ if byte.is_ascii_alphanumeric() => ByteKind::Plain,
                _ => ByteKind::Other,
            };
        }
        let mut added = Vec::new();
        for token in inner.get_added_tokens_decoder().into_values() {
            let first = *token.content.as_bytes().first()?;
            let has_space = token.content.bytes().any(|byte| kinds[byte as usize] == ByteKind::Space);
            if token.normalized || has_space || !matches!(kinds[first as usize], ByteKind::Mark | ByteKind::Added) {
                return None;
            }
            kinds[first as usize] = ByteKind::Added;
            added.push(token.content);
        }
        let prefix = &model.continuing_subword_prefix;
        let going_on = vocabulary.iter().filter_map(|(piece, &id)| Some((piece.strip_prefix(prefix.as_str())?, id)));
        let pieces =
            [PieceTable::new(vocabulary.iter().map(|(piece, &id)| (piece.as_str(), id))), PieceTable::new(going_on)];
        let mark = |byte: usize| {
            let piece = vocabulary.get(&*(byte as u8 as char).encode_utf8(&mut [0; 4])).copied();
            piece.filter(|_| model.max_input_chars_per_word > 0).unwrap_or(unknown)
        };
        Some(Self {
            normalizer: *normalizer,
            lowercases: normalizer.lowercase,
            unknown,
            max_word_chars: model.max_input_chars_per_word,
            pieces,
            marks: std::array::from_fn(mark),
            kinds,
            added,
        })
    }

    /// Appends the ids of a text to `ids`, as soon as there are more than `most` no more than that and one; false where an added
    /// token may be in the text, and `ids` is to be made anew by the library.
    pub(super) fn append(
        &self,
        text: &str,
        most: usize,
        cache: &mut WordCache,
        ids: &mut Vec<u32>,
    ) -> tokenizers::Result<bool> {
        cache.places.resize(1 << PLACES_POWER, CachedWords::default());
        let bytes = text.as_bytes();
        let full = ids.len().saturating_add(most);
        let mut at = 0;
        while at < bytes.len() && ids.len() <= full {
            match self.kinds[bytes[at] as usize] {
                ByteKind::Space => at += 1,
                ByteKind::Added if self.added.iter().any(|token| bytes[at..].starts_with(token.as_bytes())) => {
                    return Ok(false);
                }
                ByteKind::Mark | ByteKind::Added => {
                    ids.push(self.marks[bytes[at] as usize]);
                    at += 1;
                }
                ByteKind::Plain | ByteKind::Other => {
                    let (key, plain) = plain_word(&bytes[at..], self.lowercases);
                    let end = at + plain;
                    let ends = plain < KEY_BYTES && bytes.get(end).is_none_or(|&byte| self.ends_word(byte));
                    if ends {
                        self.append_cached(key, plain, cache, ids, |ids| {
                            self.append_word(&key_bytes(key)[..plain], ids);
                            Ok(())
                        })?;
                        at = end;
                    } else {
                        at = self.append_long_or_other(text, at, end, cache, ids)?;
                    }
                }
            }
        }
        Ok(true)
    }

    fn ends_word(&self, byte: u8) -> bool {
        matches!(self.kinds[byte as usize], ByteKind::Space | ByteKind::Mark | ByteKind::Added)
    }

    /// A word from `start` on, of which all up to `plain` is of letters and digits; gives its end.
    #[inline(never)]
    fn append_long_or_other(
        &self,
        text: &str,
        start: usize,
        plain: usize,
        cache: &mut WordCache,
        ids: &mut Vec<u32>,
    ) -> tokenizers::Result<usize> {
        let bytes = text.as_bytes();
        let end = bytes[plain..].iter().position(|&byte| self.ends_word(byte)).map_or(bytes.len(), |n| plain + n);
        let word = &text[start..end];
        if word.len() <= KEY_BYTES {
            let key = key_of(word.as_bytes());
            self.append_cached(key, word.len(), cache, ids, |ids| self.append_word_of_library(word, ids))?;
        } else if word.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let lowered = if self.lowercases { word.to_ascii_lowercase() } else { word.to_owned() };
            self.append_word(lowered.as_bytes(), ids);
        } else {
            self.append_word_of_library(word, ids)?;
        }
        Ok(end)
    }

    /// The ids of a word from the cache, else those that `append` gives, for the next time.
    #[inline(always)]
    fn append_cached(
        &self,
        key: WordKey,
        len: usize,
        cache: &mut WordCache,
        ids: &mut Vec<u32>,
        append: impl FnOnce(&mut Vec<u32>) -> tokenizers::Result<()>,
    ) -> tokenizers::Result<()> {
        let CachedWords(words) = &mut cache.places[(hash(key) >> (64 - PLACES_POWER)) as usize];
        for word in &*words {
            if word.key == key && word.len as usize == len {
                if word.count == 1 {
                    ids.push(word.ids[0]);
                } else {
                    ids.extend_from_slice(&word.ids[..word.count as usize]);
                }
                return Ok(());
            }
        }
        let start = ids.len();
        append(ids)?;
        let found = &ids[start..];
        let mut word = CachedWord { key, len: len as u8, count: found.len() as u8, ..CachedWord::default() };
        if let Some(room) = word.ids.get_mut(..found.len()) {
            room.copy_from_slice(found);
            *words = [word, words[0]];
        }
        Ok(())
    }

    /// The ids of what the library makes words of.
    fn append_word_of_library(&self, word: &str, ids: &mut Vec<u32>) -> tokenizers::Result<()> {
        let mut normalized = NormalizedString::from(word);
        self.normalizer.normalize(&mut normalized)?;
        let mut words = PreTokenizedString::from(normalized);
        BertPreTokenizer.pre_tokenize(&mut words)?;
        for (word, ..) in words.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            self.append_word(word.as_bytes(), ids);
        }
        Ok(())
    }

    /// The ids of a normalized word.
    fn append_word(&self, word: &[u8], ids: &mut Vec<u32>) {
        let is_long = word.len() > self.max_word_chars
            && word.iter().filter(|&&byte| byte & 0xc0 != 0x80).count() > self.max_word_chars;
        let start = ids.len();
        let mut rest = if is_long { &[] } else { word };
        while let Some((id, len)) = self.pieces[usize::from(rest.len() < word.len())].longest(rest) {
            ids.push(id);
            rest = &rest[len..];
        }
        if is_long || !rest.is_empty() {
            ids.truncate(start);
            ids.push(self.unknown);
        }
    }
}

#[cfg(test)]
#[path = "word_pieces_tests.rs"]
mod tests;
