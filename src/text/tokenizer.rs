//! The tokenizer of a model, shared between threads.

use std::collections::BTreeMap;
use std::sync::Arc;

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
use crate::text::truncation::{LengthLimit, Truncation};
use crate::text::vocabulary::{Vocabulary, read};
use crate::{CancelCheck, Error, Result};

/// The model's tokenizer, without the truncation and padding that its file may say. Tokenizing takes no lock.
pub struct Tokenizer {
    /// Shared with threads that no caller waits for any more.
    pub(super) inner: Arc<tokenizers::Tokenizer>,
    pub(super) boundaries: Boundaries,
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
    pub(super) direction: TruncationDirection,
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

    /// The tokens of `input`, special ones included, within `limit`. `check_cancel` is asked now and then whether to go on.
    pub fn tokenize(&self, input: Input, limit: LengthLimit, check_cancel: CancelCheck<'_>) -> Result<Tokens> {
        if let (Some(StaticTokens { model2vec: Some(rules), .. }), Input::Text(text)) = (&self.static_tokens, input) {
            // The reference cuts a text's end, by characters, to save time.
            let read = if limit.truncation == Truncation::Left { text } else { rules.cut(text, limit.tokens) };
            let (encoding, truncated) = self.encode(read, None, true, limit, check_cancel)?;
            let mut ids = encoding.get_ids().to_vec();
            rules.drop_unknown(&mut ids, 0);
            self.require_within(&ids)?;
            return Ok(Tokens { ids, type_ids: None, truncated: truncated || read.len() < text.len() });
        }
        let (encoding, truncated) = match input {
            Input::Text(text) => self.encode(text, None, true, limit, check_cancel)?,
            Input::Pair(first, second) => self.encode(first, Some(second), true, limit, check_cancel)?,
        };
        self.require_within(encoding.get_ids())?;
        let type_ids = encoding.get_type_ids();
        Ok(Tokens {
            ids: encoding.get_ids().to_vec(),
            type_ids: (self.type_ids && type_ids.iter().any(|&id| id != 0)).then(|| type_ids.to_vec()),
            truncated,
        })
    }

    /// What is left of a text or a pair within `limit`, and whether that is not all of it. The longer text of a pair
    /// loses tokens first.
    pub(super) fn encode(
        &self,
        first: &str,
        second: Option<&str>,
        with_special: bool,
        limit: LengthLimit,
        check_cancel: CancelCheck<'_>,
    ) -> Result<(Encoding, bool)> {
        let special = if with_special { self.special[usize::from(second.is_some())] } else { 0 };
        let room = limit.tokens.saturating_sub(special);
        let direction = self.direction(limit.truncation);
        let (mut one, whole) = self.pieces(first, room, direction, check_cancel)?;
        let mut two = None;
        if let Some(second) = second {
            let (mut pieces, whole_second) = self.pieces(second, room, direction, check_cancel)?;
            // Where neither fits, which of them is longer decides who gets the odd token.
            if room % 2 == 1 && one.len() > room && pieces.len() > room && !(whole && whole_second) {
                one = self.pieces(first, usize::MAX, direction, check_cancel)?.0;
                pieces = self.pieces(second, usize::MAX, direction, check_cancel)?.0;
            }
            pieces.set_type_ids(vec![1; pieces.len()]);
            two = Some(pieces);
        }
        let before = one.len();
        let truncated = before + two.as_ref().map_or(0, Encoding::len) > room;
        let (mut one, mut two) = match truncated {
            false => (one, two),
            true => {
                let cut = TruncationParams { max_length: room, direction, ..TruncationParams::default() };
                call_library(&self.file, || truncate_encodings(one, two, &cut))?
            }
        };
        // Else special tokens would be added to everything that was cut off, too.
        drop(one.take_overflowing());
        drop(two.as_mut().map(Encoding::take_overflowing));
        if limit.kept() > 0 && one.len() < before {
            let mut head = self.beginning(first, limit.kept(), one.len(), check_cancel)?;
            one.truncate(one.len() - head.len(), 0, TruncationDirection::Left);
            drop(one.take_overflowing());
            head.merge_with(one, false);
            one = head;
        }
        let encoding = call_library(&self.file, || self.inner.post_process(one, two, with_special))?;
        Ok((encoding, truncated))
    }

    /// Number of special tokens before a text, and behind it.
    pub fn special_around(&self) -> Result<[usize; 2]> {
        let (encoding, _) = self.encode("a", None, true, LengthLimit::NONE, &|| Ok(()))?;
        let mask = encoding.get_special_tokens_mask();
        let before = mask.iter().take_while(|&&special| special == 1).count();
        Ok([before, self.special[0].saturating_sub(before)])
    }

    /// The special tokens of a text that is not taken literally, and their ids.
    pub(super) fn special_tokens(&self) -> &[(String, u32)] {
        &self.special_tokens
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
        let limit = LengthLimit::of(max_length, Truncation::OfModel);
        let (encoding, _) = self.encode(prompt, None, true, limit, check_cancel)?;
        let ends_special = encoding.get_special_tokens_mask().last() == Some(&1);
        Ok(encoding.len() - usize::from(ends_special))
    }
}

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
