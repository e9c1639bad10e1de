//! The tokenizer of a model, shared between threads.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence};
use tokenizers::{Encoding, PostProcessor, TruncationDirection, TruncationParams, truncate_encodings};

use crate::config::{TokenizerConfig, TransformerConfig, TruncationSide};
use crate::files::{ModelFolder, inside};
use crate::text::added_tokens::add_missing;
use crate::text::boundary::Boundaries;
use crate::text::charsmap::check_file;
use crate::text::inputs::{Input, InputKind};
use crate::text::library::call_library;
use crate::text::static_tokens::StaticTokens;
use crate::text::tokenizer_class::make;
use crate::text::tokens::Tokens;
use crate::text::vocabulary::{Vocabulary, read};
use crate::{CancelCheck, Error, Result};

/// The model's tokenizer, without the truncation and padding that its file may say. Tokenizing takes no lock.
pub struct Tokenizer {
    /// Shared with threads that no caller waits for any more.
    pub(super) inner: Arc<tokenizers::Tokenizer>,
    boundaries: Boundaries,
    /// Tokens that only the tokenizer's class has.
    class_tokens: Vec<String>,
    /// Rows of the embedding table; None where every token has one.
    rows: Option<usize>,
    /// The file, relative to the model's folder.
    pub(super) file: String,
    /// What an input's greatest length must have room for.
    kind: InputKind,
    /// Special tokens that a text gets, and a pair.
    special: [usize; 2],
    direction: TruncationDirection,
    /// Whether the network is told the tokens' types.
    type_ids: bool,
    /// Names and ids.
    special_tokens: Vec<(String, u32)>,
    /// Of a static embedding.
    pub(super) static_tokens: Option<StaticTokens>,
}

impl Tokenizer {
    /// Reads the tokenizer of the model's Transformer, and changes it as its other files say.
    pub fn load(folder: &ModelFolder, config: &TransformerConfig, kind: InputKind) -> Result<Self> {
        let (mut inner, file) = Self::open(folder, config)?;
        inner.set_encode_special_tokens(config.tokenizer.split_special_tokens);
        if config.do_lower_case {
            call_library(&file, || lowercase_first(&mut inner))?;
        }
        let stored = inner.get_truncation().map_or(TruncationDirection::Right, |truncation| truncation.direction);
        let take = |rules| call_library(&file, || StaticTokens::take(&mut inner, rules));
        let static_tokens = config.static_rules.map(take).transpose()?;
        let direction = match (&static_tokens, config.tokenizer.truncation_side) {
            (Some(tokens), _) => tokens.direction(stored),
            (None, None) => stored,
            (None, Some(TruncationSide::Left)) => TruncationDirection::Left,
            (None, Some(TruncationSide::Right)) => TruncationDirection::Right,
        };
        call_library(&file, || inner.with_truncation(None).map(drop))?;
        let added = |pair| inner.get_post_processor().map_or(0, |processor| processor.added_tokens(pair));
        let special = call_library(&file, || Ok([added(false), added(true)]))?;
        let boundaries = call_library(&file, || Ok(Boundaries::new(&inner)))?;
        let added = inner.get_added_tokens_decoder();
        let special_tokens = added.iter().filter(|(_, token)| token.special && !token.content.is_empty());
        let special_tokens = special_tokens.map(|(&id, token)| (token.content.clone(), id)).collect();
        let tokenizer = Self {
            special_tokens,
            inner: Arc::new(inner),
            boundaries,
            class_tokens: config.tokenizer.class_tokens(),
            rows: None,
            file,
            kind,
            special,
            direction,
            type_ids: config.tokenizer.token_type_ids,
            static_tokens,
        };
        if let Some(length) = config.max_seq_length.or(tokenizer.own_length()) {
            // It comes from a file, not from an argument.
            let damaged = |error: Error| Error::model(&tokenizer.file, error.to_string());
            tokenizer.check_max_length(length).map_err(damaged)?;
        }
        Ok(tokenizer)
    }

    /// The tokenizer that the files say, and the name of the one with its vocabulary.
    fn open(folder: &ModelFolder, config: &TransformerConfig) -> Result<(tokenizers::Tokenizer, String)> {
        let TokenizerConfig { class, unsupported_class, special_tokens, .. } = &config.tokenizer;
        let file = inside(&config.path, "tokenizer.json");
        let bytes = read(folder, &file)?;
        if let Some(name) = unsupported_class
            && !(name == "LlamaTokenizer" && bytes.as_deref().is_some_and(splits_bytes))
        {
            let message =
                format!("\"{name}\" is not supported; \"PreTrainedTokenizerFast\" takes tokenizer.json as it is");
            return Err(Error::model_key(inside(&config.path, "tokenizer_config.json"), "tokenizer_class", message));
        }
        let Some(bytes) = bytes else {
            let Some(class) = class else {
                let path = folder.root().join(&file).display().to_string();
                let message = format!("{path} is missing, and no class is named that makes a tokenizer of other files");
                return Err(Error::NotFound { message });
            };
            let Some((vocabulary, file)) = Vocabulary::find(folder, &config.path, class)? else {
                let path = folder.root().join(&file).display().to_string();
                let message = format!("{path} is missing, and so is {}", class.vocabulary.name());
                return Err(Error::NotFound { message });
            };
            return Ok((call_library(&file, || make(class, vocabulary))?, file));
        };
        check_file(&file, &bytes)?;
        if let Some(class) = class
            && let Some(vocabulary) = call_library(&file, || Vocabulary::of_file(&bytes, class))?
        {
            return Ok((call_library(&file, || make(class, vocabulary))?, file));
        }
        let mut inner = call_library(&file, || tokenizers::Tokenizer::from_bytes(bytes))?;
        let mut special_tokens = special_tokens.clone();
        if let Some(padding) = inner.get_padding()
            && config.static_rules.is_none()
        {
            special_tokens.default_to("pad_token", &padding.pad_token);
        }
        inner.with_padding(None);
        let extra = special_tokens.extra.clone().unwrap_or_default();
        call_library(&file, || add_missing(&mut inner, &special_tokens, BTreeMap::new(), extra))?;
        Ok((inner, file))
    }

    /// Refuses a greatest length, special tokens included, that leaves no room for text.
    pub fn check_max_length(&self, max_length: usize) -> Result<()> {
        let special = match self.kind {
            InputKind::Text => self.special[0],
            InputKind::Pair => self.special[1],
            InputKind::Question => 0,
        };
        if max_length <= special {
            let message = format!("{max_length} leaves no room for text beside the {special} special tokens");
            return Err(Error::argument("max_seq_length", message));
        }
        Ok(())
    }

    /// Refuses tokens without a row in a table of so many, which a file or the vocabulary names. Those that only the class has
    /// (some have tokens of their own that no text holds) are refused in texts.
    pub fn require_rows(&mut self, rows: usize) -> Result<()> {
        let beyond = self.inner.get_vocab(true).into_iter().filter(|(_, id)| *id as usize >= rows);
        let beyond: Vec<_> = beyond.map(|(token, id)| (id, token)).collect();
        if let Some((id, token)) = beyond.iter().filter(|(_, token)| !self.class_tokens.contains(token)).max() {
            return Err(self.beyond(token, *id, rows));
        }
        self.rows = (!beyond.is_empty()).then_some(rows);
        Ok(())
    }

    fn beyond(&self, token: &str, id: u32, rows: usize) -> Error {
        let message = format!(
            "token {token:?}, of this file or of those beside it, has id {id}, but the model's embedding table has {rows} rows"
        );
        Error::model(&self.file, message)
    }

    pub(super) fn require_within(&self, ids: &[u32]) -> Result<()> {
        match self.rows.and_then(|rows| Some((rows, *ids.iter().find(|id| **id as usize >= rows)?))) {
            Some((rows, id)) => Err(self.beyond(&self.token(id).unwrap_or_default(), id, rows)),
            None => Ok(()),
        }
    }

    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The tokens of `input`, special ones included, cut to `max_length`. `check_cancel` is asked now and then whether to go on.
    pub fn tokenize(&self, input: Input, max_length: usize, check_cancel: CancelCheck<'_>) -> Result<Tokens> {
        if let (Some(StaticTokens { model2vec: Some(rules), .. }), Input::Text(text)) = (&self.static_tokens, input) {
            let read = rules.cut(text, max_length);
            let (encoding, truncated) = self.encode(read, None, true, max_length, check_cancel)?;
            let mut ids = encoding.get_ids().to_vec();
            rules.drop_unknown(&mut ids, 0);
            self.require_within(&ids)?;
            return Ok(Tokens { ids, type_ids: None, truncated: truncated || read.len() < text.len() });
        }
        let (encoding, truncated) = match input {
            Input::Text(text) => self.encode(text, None, true, max_length, check_cancel)?,
            Input::Pair(first, second) => self.encode(first, Some(second), true, max_length, check_cancel)?,
        };
        self.require_within(encoding.get_ids())?;
        let type_ids = encoding.get_type_ids();
        Ok(Tokens {
            ids: encoding.get_ids().to_vec(),
            type_ids: (self.type_ids && type_ids.iter().any(|&id| id != 0)).then(|| type_ids.to_vec()),
            truncated,
        })
    }

    /// What is left of a text or a pair within `max_length` tokens, and whether that is not all of it. The longer text of a pair
    /// loses tokens first.
    pub(super) fn encode(
        &self,
        first: &str,
        second: Option<&str>,
        with_special: bool,
        max_length: usize,
        check_cancel: CancelCheck<'_>,
    ) -> Result<(Encoding, bool)> {
        let special = if with_special { self.special[usize::from(second.is_some())] } else { 0 };
        let room = max_length.saturating_sub(special);
        let (mut one, whole) = self.pieces(first, room, check_cancel)?;
        let mut two = None;
        if let Some(second) = second {
            let (mut pieces, whole_second) = self.pieces(second, room, check_cancel)?;
            // Where neither fits, which of them is longer decides who gets the odd token.
            if room % 2 == 1 && one.len() > room && pieces.len() > room && !(whole && whole_second) {
                one = self.pieces(first, usize::MAX, check_cancel)?.0;
                pieces = self.pieces(second, usize::MAX, check_cancel)?.0;
            }
            pieces.set_type_ids(vec![1; pieces.len()]);
            two = Some(pieces);
        }
        let truncated = one.len() + two.as_ref().map_or(0, Encoding::len) > room;
        let (mut one, mut two) = match truncated {
            false => (one, two),
            true => {
                let cut =
                    TruncationParams { max_length: room, direction: self.direction, ..TruncationParams::default() };
                call_library(&self.file, || truncate_encodings(one, two, &cut))?
            }
        };
        // Else special tokens would be added to everything that was cut off, too.
        drop(one.take_overflowing());
        drop(two.as_mut().map(Encoding::take_overflowing));
        let encoding = call_library(&self.file, || self.inner.post_process(one, two, with_special))?;
        Ok((encoding, truncated))
    }

    /// The tokens of a text without special ones, or more than `room` of them from the end that is kept; and whether these are all.
    fn pieces(&self, text: &str, room: usize, check_cancel: CancelCheck<'_>) -> Result<(Encoding, bool)> {
        let mut parts = Vec::new();
        let mut tokens = 0;
        let mut rest = text;
        while parts.is_empty() || (!rest.is_empty() && tokens <= room) {
            check_cancel()?;
            let part;
            (part, rest) = self.split_part(rest);
            let encoding = self.part(part, Spans::Left, check_cancel)?;
            tokens += encoding.len();
            parts.push(encoding);
        }
        if self.direction == TruncationDirection::Left {
            parts.reverse();
        }
        let encoding = match parts.len() {
            1 => parts.remove(0),
            _ => Encoding::merge(parts, false),
        };
        Ok((encoding, rest.is_empty()))
    }

    /// Splits a part off a text, at the end that is kept; gives the part and the rest.
    fn split_part<'a>(&self, text: &'a str) -> (&'a str, &'a str) {
        if text.len() <= PART_BYTES {
            return (text, "");
        }
        match self.direction {
            TruncationDirection::Right => {
                let end = self.boundaries.after(&self.inner, text, PART_BYTES).unwrap_or(text.len());
                text.split_at(end)
            }
            TruncationDirection::Left => {
                let start = self.boundaries.before(&self.inner, text, text.len() - PART_BYTES).unwrap_or(0);
                let (rest, part) = text.split_at(start);
                (part, rest)
            }
        }
    }

    /// The bytes of `text` that each of its tokens stands for, all of them, without special ones.
    pub fn token_spans(&self, text: &str, check_cancel: CancelCheck<'_>) -> Result<Vec<Range<usize>>> {
        let mut spans = Vec::new();
        let mut start = 0;
        while start < text.len() {
            check_cancel()?;
            let rest = &text[start..];
            let end = match rest.len() <= PART_BYTES {
                true => rest.len(),
                false => self.boundaries.after(&self.inner, rest, PART_BYTES).unwrap_or(rest.len()),
            };
            let encoding = self.part(&rest[..end], Spans::Kept, check_cancel)?;
            spans.extend(encoding.get_offsets().iter().map(|&(from, to)| start + from..start + to));
            start += end;
        }
        Ok(spans)
    }

    /// Number of tokens of all of a text, without special ones.
    pub fn count(&self, text: &str, check_cancel: CancelCheck<'_>) -> Result<usize> {
        Ok(self.pieces(text, usize::MAX, check_cancel)?.0.len())
    }

    /// Number of special tokens before a text, and behind it.
    pub fn special_around(&self) -> Result<[usize; 2]> {
        let (encoding, _) = self.encode("a", None, true, usize::MAX, &|| Ok(()))?;
        let mask = encoding.get_special_tokens_mask();
        let before = mask.iter().take_while(|&&special| special == 1).count();
        Ok([before, self.special[0].saturating_sub(before)])
    }

    /// The tokens of a part. A long one, which cannot be cut, is left to a thread of its own: the library does not stop.
    fn part(&self, part: &str, spans: Spans, check_cancel: CancelCheck<'_>) -> Result<Encoding> {
        let encode = move |inner: &tokenizers::Tokenizer, text: &str| match spans {
            Spans::Kept => inner.encode(text, false),
            Spans::Left => inner.encode_fast(text, false),
        };
        if part.len() > MAX_INLINE_BYTES {
            let (sender, receiver) = channel();
            let (inner, file, text) = (self.inner.clone(), self.file.clone(), part.to_owned());
            let work = move || drop(sender.send(call_library(&file, || encode(&inner, &text))));
            // Where no thread can be started, this one does it.
            if thread::Builder::new().name("votive-text".to_owned()).spawn(work).is_ok() {
                loop {
                    match receiver.recv_timeout(CHECK_INTERVAL) {
                        Ok(encoding) => return encoding,
                        Err(RecvTimeoutError::Timeout) => check_cancel()?,
                        Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
            }
        }
        call_library(&self.file, || encode(&self.inner, part))
    }

    /// The ids of a text without special ones, cut to `room`, and whether they were cut.
    pub(super) fn pieces_within(
        &self,
        text: &str,
        room: usize,
        check_cancel: CancelCheck<'_>,
    ) -> Result<(Vec<u32>, bool)> {
        let (encoding, _) = self.pieces(text, room, check_cancel)?;
        let ids = encoding.get_ids();
        let kept = match self.direction {
            TruncationDirection::Right => &ids[..ids.len().min(room)],
            TruncationDirection::Left => &ids[ids.len().saturating_sub(room)..],
        };
        self.require_within(kept)?;
        Ok((kept.to_vec(), kept.len() < ids.len()))
    }

    /// The special tokens of a text that is not taken literally, and their ids.
    pub(super) fn special_tokens(&self) -> &[(String, u32)] {
        &self.special_tokens
    }

    /// Whether texts lose their first tokens where they are too long.
    pub(super) fn truncates_left(&self) -> bool {
        matches!(self.direction, TruncationDirection::Left)
    }

    /// The id of a token, where the vocabulary has it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The id of a token that the model cannot do without.
    pub(super) fn require_id(&self, token: &str) -> Result<u32> {
        self.id(token).ok_or_else(|| Error::model(&self.file, format!("has no token {token:?}")))
    }

    /// From now on the name of a special token in a text is text.
    pub(super) fn disable_special_tokens(&mut self) {
        // No clone of it exists yet; one that did would keep its own.
        Arc::make_mut(&mut self.inner).set_encode_special_tokens(true);
    }

    /// How many leading tokens of a text that starts with `prompt` belong to it, by sentence-transformers' count: those of
    /// the prompt alone, cut to `max_length`, without the special token that ends it.
    pub fn prompt_tokens(&self, prompt: &str, max_length: usize, check_cancel: CancelCheck<'_>) -> Result<usize> {
        let (encoding, _) = self.encode(prompt, None, true, max_length, check_cancel)?;
        let ends_special = encoding.get_special_tokens_mask().last() == Some(&1);
        Ok(encoding.len() - usize::from(ends_special))
    }
}

/// Whether the bytes that tokens stand for are found, too, which takes longer.
#[derive(Debug, Clone, Copy)]
enum Spans {
    Kept,
    Left,
}

/// Bytes of a long text that are tokenized at a time: more than most models take, in a few milliseconds.
const PART_BYTES: usize = 16 << 10;

/// The most bytes that are tokenized without asking the caller whether to go on.
pub(super) const MAX_INLINE_BYTES: usize = 128 << 10;

/// Time that a caller waits for another thread before it asks whether to go on.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Whether a tokenizer.json names a step for bytes anywhere: transformers looks no closer before it ignores Llama's class.
fn splits_bytes(file: &[u8]) -> bool {
    let name = br#""ByteLevel""#;
    file.windows(name.len()).any(|window| window == name)
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
#[path = "tokenizer_tests.rs"]
mod tests;
