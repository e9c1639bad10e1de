//! The tokenizer of a model, shared between threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence};
use tokenizers::{Encoding, PostProcessor, TruncationDirection, TruncationParams, truncate_encodings};

use crate::config::{TransformerConfig, TruncationSide};
use crate::hub::{MAX_TOKENIZER_BYTES, ModelFolder, inside, read_file};
use crate::text::tokenizer_class::rebuild;
use crate::{Error, Result};

/// What a model makes one row of numbers of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input<'a> {
    Text(&'a str),
    /// A query and a document, say.
    Pair(&'a str, &'a str),
}

/// What the inputs of a model are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    Text,
    Pair,
    /// A pair that a [`Template`](crate::text::Template) makes one text of.
    Question,
}

impl Input<'_> {
    /// Of all of it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Pair(first, second) => first.len() + second.len(),
        }
    }
}

/// The tokens of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    pub ids: Vec<u32>,
    /// None where all are 0.
    pub type_ids: Option<Vec<u32>>,
    /// Whether the input was longer than the model takes.
    pub truncated: bool,
}

impl Tokens {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// `tokenizer.json`, without the truncation and padding that is stored in it. Tokenizing takes no lock.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The file, relative to the model's folder.
    file: String,
    /// The most tokens of an input, special ones included; `usize::MAX` for no limit.
    max_length: AtomicUsize,
    /// What `max_length` must have room for.
    kind: InputKind,
    /// Special tokens that a text gets, and a pair.
    special: [usize; 2],
    direction: TruncationDirection,
    /// Whether the network is told the tokens' types.
    type_ids: bool,
}

impl Tokenizer {
    /// Reads the tokenizer of the model's Transformer, and changes it as its other files say.
    pub fn load(folder: &ModelFolder, config: &TransformerConfig, kind: InputKind) -> Result<Self> {
        let file = inside(&config.path, "tokenizer.json");
        let path = folder.file(&file)?.ok_or_else(|| {
            let path = folder.root().join(&file).display().to_string();
            Error::NotFound {
                message: format!(
                    "{path} is missing; votive reads tokenizers in this format only. Make it with transformers: \
                     AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
                ),
            }
        })?;
        let bytes = read_file(&path, &file, MAX_TOKENIZER_BYTES)?;
        let mut inner = guarded(&file, || tokenizers::Tokenizer::from_bytes(bytes))?;
        inner.with_padding(None);
        if let Some(class) = &config.tokenizer.class {
            guarded(&file, || rebuild(&mut inner, class))?;
        }
        if config.do_lower_case {
            guarded(&file, || lowercase_first(&mut inner))?;
        }
        let stored = inner.get_truncation().map_or(TruncationDirection::Right, |truncation| truncation.direction);
        let direction = match config.tokenizer.truncation_side {
            None => stored,
            Some(TruncationSide::Left) => TruncationDirection::Left,
            Some(TruncationSide::Right) => TruncationDirection::Right,
        };
        guarded(&file, || inner.with_truncation(None).map(drop))?;
        let added = |pair| inner.get_post_processor().map_or(0, |processor| processor.added_tokens(pair));
        let special = guarded(&file, || Ok([added(false), added(true)]))?;
        let tokenizer = Self {
            inner,
            file,
            max_length: AtomicUsize::new(usize::MAX),
            kind,
            special,
            direction,
            type_ids: config.tokenizer.token_type_ids,
        };
        if let Some(length) = config.max_seq_length {
            // Nobody gave it as an argument.
            let damaged = |error: Error| Error::model(&tokenizer.file, error.to_string());
            tokenizer.set_max_length(length).map_err(damaged)?;
        }
        Ok(tokenizer)
    }

    /// The most tokens of a text, special ones included; None for no limit.
    pub fn max_length(&self) -> Option<usize> {
        Some(self.max_length.load(Ordering::Relaxed)).filter(|&length| length < usize::MAX)
    }

    /// Cuts inputs to `max_length` tokens, special ones included, from now on.
    pub fn set_max_length(&self, max_length: usize) -> Result<()> {
        let special = match self.kind {
            InputKind::Text => self.special[0],
            InputKind::Pair => self.special[1],
            InputKind::Question => 0,
        };
        if max_length <= special {
            let message = format!("{max_length} leaves no room for text beside the {special} special tokens");
            return Err(Error::argument("max_seq_length", message));
        }
        self.max_length.store(max_length, Ordering::Relaxed);
        Ok(())
    }

    /// The largest id that can come out, and its token.
    pub fn largest_id(&self) -> Option<(u32, String)> {
        self.inner.get_vocab(true).into_iter().map(|(token, id)| (id, token)).max()
    }

    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The tokens of `input`, special ones included.
    pub fn tokenize(&self, input: Input) -> Result<Tokens> {
        let (encoding, truncated) = match input {
            Input::Text(text) => self.encode(text, None)?,
            Input::Pair(first, second) => self.encode(first, Some(second))?,
        };
        let type_ids = encoding.get_type_ids();
        Ok(Tokens {
            ids: encoding.get_ids().to_vec(),
            type_ids: (self.type_ids && type_ids.iter().any(|&id| id != 0)).then(|| type_ids.to_vec()),
            truncated,
        })
    }

    /// What the model sees of a text or a pair, and whether that is not all of it. Of a pair, the longer text loses tokens first.
    fn encode(&self, first: &str, second: Option<&str>) -> Result<(Encoding, bool)> {
        let max_length = self.max_length.load(Ordering::Relaxed);
        let room = max_length.saturating_sub(self.special[usize::from(second.is_some())]);
        // Which of two long texts is the longer one decides where an odd token goes.
        let both_long = second.is_some_and(|second| beginning(first, room).and(beginning(second, room)).is_some());
        let enough = if both_long { usize::MAX } else { room };
        let first = self.pieces(first, enough)?;
        let mut second = second.map(|text| self.pieces(text, enough)).transpose()?;
        if let Some(second) = &mut second {
            second.set_type_ids(vec![1; second.len()]);
        }
        let truncated = first.len() + second.as_ref().map_or(0, Encoding::len) > room;
        let (mut first, mut second) = match truncated {
            false => (first, second),
            true => {
                let cut =
                    TruncationParams { max_length: room, direction: self.direction, ..TruncationParams::default() };
                guarded(&self.file, || truncate_encodings(first, second, &cut))?
            }
        };
        // Else special tokens would be added to everything that was cut off, too.
        drop(first.take_overflowing());
        drop(second.as_mut().map(Encoding::take_overflowing));
        let encoding = guarded(&self.file, || self.inner.post_process(first, second, true))?;
        Ok((encoding, truncated))
    }

    /// The tokens of a text without special ones: all of them, or more than there is room for.
    fn pieces(&self, text: &str, room: usize) -> Result<Encoding> {
        let pieces = |text| guarded(&self.file, || self.inner.encode_fast(text, false));
        let beginning = match self.direction {
            TruncationDirection::Right => beginning(text, room),
            TruncationDirection::Left => None,
        };
        match beginning.map(pieces).transpose()? {
            Some(encoding) if encoding.len() >= room + MARGIN_TOKENS => Ok(encoding),
            _ => pieces(text),
        }
    }

    /// The ids of a text without special ones, cut to `room`, and whether they were cut.
    pub(super) fn pieces_within(&self, text: &str, room: usize) -> Result<(Vec<u32>, bool)> {
        let encoding = self.pieces(text, room)?;
        let ids = encoding.get_ids();
        let kept = match self.direction {
            TruncationDirection::Right => &ids[..ids.len().min(room)],
            TruncationDirection::Left => &ids[ids.len().saturating_sub(room)..],
        };
        Ok((kept.to_vec(), kept.len() < ids.len()))
    }

    /// The id of a token that the model cannot do without.
    pub(super) fn require_id(&self, token: &str) -> Result<u32> {
        self.inner.token_to_id(token).ok_or_else(|| Error::model(&self.file, format!("has no token {token:?}")))
    }

    /// From now on the name of a special token in a text is text.
    pub(super) fn take_literally(&mut self) {
        self.inner.set_encode_special_tokens(true);
    }

    /// How many leading tokens of a text that starts with `prompt` belong to it, by sentence-transformers' count: those of
    /// the prompt alone, without the special token that ends it.
    pub fn prompt_tokens(&self, prompt: &str) -> Result<usize> {
        let (encoding, _) = self.encode(prompt, None)?;
        let ends_special = encoding.get_special_tokens_mask().last() == Some(&1);
        Ok(encoding.len() - usize::from(ends_special))
    }
}

/// Bytes of a text for each token that is kept, beyond which the text is not looked at if what comes before has tokens enough.
const BYTES_PER_TOKEN: usize = 64;

/// Tokens beyond those that are kept that show that these are the whole text's: where a text is cut may change the tokens of
/// the word there, which has at most 100.
const MARGIN_TOKENS: usize = 128;

/// The beginning of a text that is far longer than `room` tokens; None for other texts.
fn beginning(text: &str, room: usize) -> Option<&str> {
    let end = room.checked_add(MARGIN_TOKENS)?.checked_mul(BYTES_PER_TOKEN)?;
    (end < text.len()).then(|| &text[..text.floor_char_boundary(end)])
}

/// `work` of the tokenizers crate on what `file` says. The crate panics where the file contradicts itself in ways that it does
/// not look for (a template with a token that it does not declare), and may cut a token within a character, so that even its
/// message is no text.
fn guarded<R>(file: &str, work: impl FnOnce() -> tokenizers::Result<R>) -> Result<R> {
    let message = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(result)) => return Ok(result),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "contradicts itself: the tokenizers library cannot work with it".to_owned(),
    };
    Err(Error::model(file, String::from_utf8_lossy(message.as_bytes())))
}

/// Puts a lowercasing step before the normalizer, unless one of its own steps is just that.
fn lowercase_first(inner: &mut tokenizers::Tokenizer) -> tokenizers::Result<()> {
    let steps = match inner.get_normalizer() {
        None => vec![],
        Some(NormalizerWrapper::Sequence(sequence)) => sequence.as_ref().to_vec(),
        Some(step) => vec![step.clone()],
    };
    if !steps.iter().any(|step| matches!(step, NormalizerWrapper::Lowercase(_))) {
        let first = std::iter::once(NormalizerWrapper::Lowercase(Lowercase));
        let steps = Sequence::new(first.chain(steps).collect());
        inner.with_normalizer(Some(steps))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::beginning;

    #[test]
    fn only_far_too_long_texts_are_looked_at_in_part() {
        let long = "wörd ".repeat(10_000);
        assert_eq!(beginning(&long, 1000), None);
        let part = beginning(&long, 3).unwrap();
        assert!(part.len() <= 131 * 64 && long.starts_with(part));
        assert_eq!(beginning(&long, usize::MAX), None);
    }
}
