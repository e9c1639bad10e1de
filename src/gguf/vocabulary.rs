//! The tokens of a GGUF file, with their types, and which of them are special.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::Result;
use crate::gguf::keys::GgufKeys;
use crate::weights::Metadata;

/// What the file says that a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    Normal,
    Unknown,
    /// Special: not found in texts by the model itself.
    Control,
    /// Found in texts before all else.
    UserDefined,
    Unused,
    /// Stands for a byte that no piece has.
    Byte,
}

/// A special token's number and text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Special<'a> {
    pub(super) id: usize,
    pub(super) text: &'a str,
}

/// The tokens of a file.
pub(super) struct GgufVocabulary<'a> {
    metadata: &'a Metadata<'a>,
    pub(super) tokens: Vec<&'a str>,
    pub(super) kinds: Vec<TokenKind>,
    ids: HashMap<&'a str, usize>,
}

/// The name of one of the tokenizer's keys.
pub(super) fn name(key: &str) -> String {
    format!("tokenizer.ggml.{key}")
}

impl<'a> GgufVocabulary<'a> {
    pub(super) fn read(keys: &GgufKeys<'a>) -> Result<Self> {
        let metadata = keys.all();
        let required = |key: &str| metadata.error(&name(key), "missing");
        let tokens = metadata.texts(&name("tokens"))?.ok_or_else(|| required("tokens"))?;
        let kinds = match metadata.integers(&name("token_type"))? {
            Some(kinds) if kinds.len() != tokens.len() => {
                let message = format!("has {} items, and there are {} tokens", kinds.len(), tokens.len());
                return Err(metadata.error(&name("token_type"), message));
            }
            Some(kinds) => kinds.into_iter().map(|kind| Self::kind(metadata, kind)).collect::<Result<_>>()?,
            None => vec![TokenKind::Normal; tokens.len()],
        };
        let mut ids = HashMap::with_capacity(tokens.len());
        for (id, &token) in tokens.iter().enumerate() {
            if let Some(other) = ids.insert(token, id) {
                let message = format!("token {id} is {token:?}, as token {other} is");
                return Err(metadata.error(&name("tokens"), message));
            }
        }
        Ok(Self { metadata, tokens, kinds, ids })
    }

    fn kind(metadata: &Metadata, number: i64) -> Result<TokenKind> {
        Ok(match number {
            1 => TokenKind::Normal,
            2 => TokenKind::Unknown,
            3 => TokenKind::Control,
            4 => TokenKind::UserDefined,
            5 => TokenKind::Unused,
            6 => TokenKind::Byte,
            _ => return Err(metadata.error(&name("token_type"), format!("expected 1 to 6, found {number}"))),
        })
    }

    pub(super) fn id(&self, token: &str) -> Option<usize> {
        self.ids.get(token).copied()
    }

    /// The token with this text.
    pub(super) fn special_named(&self, text: &str) -> Option<Special<'a>> {
        self.id(text).map(|id| Special { id, text: self.tokens[id] })
    }

    /// The special token that the first of `keys` names that is there, else the one with the text `usual`.
    pub(super) fn special(&self, keys: &[&str], usual: &str) -> Result<Option<Special<'a>>> {
        for key in keys {
            let key = name(&format!("{key}_token_id"));
            // What stands for none.
            let Some(id) = self.metadata.integer(&key)?.filter(|&id| id != u64::from(u32::MAX)) else { continue };
            let Some(&text) = usize::try_from(id).ok().and_then(|id| self.tokens.get(id)) else {
                let message = format!("{id} is beyond the {} tokens", self.tokens.len());
                return Err(self.metadata.error(&key, message));
            };
            return Ok(Some(Special { id: id as usize, text }));
        }
        Ok(self.special_named(usual))
    }

    /// As `special`, of a token that the tokenizer cannot do without.
    pub(super) fn required(&self, keys: &[&str], usual: &str) -> Result<Special<'a>> {
        self.special(keys, usual)?
            .ok_or_else(|| self.metadata.error(&name(&format!("{}_token_id", keys[0])), "missing"))
    }

    /// A number for each token.
    pub(super) fn scores(&self) -> Result<Vec<f64>> {
        let key = name("scores");
        match self.metadata.numbers(&key)? {
            Some(scores) if scores.len() == self.tokens.len() && scores.iter().all(|score| score.is_finite()) => {
                Ok(scores)
            }
            Some(_) => Err(self
                .metadata
                .error(&key, format!("expected a finite number for each of {} tokens", self.tokens.len()))),
            None => Err(self.metadata.error(&key, "missing")),
        }
    }

    /// tokenizer.json's `added_tokens`: those that are found in texts before they are split. `special`: such as are special whatever
    /// their kind; `mask` takes the spaces before it as well.
    pub(super) fn added(&self, special: &[Special], mask: Option<Special>) -> Value {
        let added = |(id, (&text, &kind)): (usize, (&&str, &TokenKind))| {
            let named = special.iter().any(|token| token.id == id);
            let is_special = named || matches!(kind, TokenKind::Control | TokenKind::Unknown);
            let strips = mask.is_some_and(|mask| mask.id == id);
            (is_special || kind == TokenKind::UserDefined).then(|| {
                json!({"id": id, "content": text, "single_word": false, "lstrip": strips, "rstrip": false, "normalized": false,
                    "special": is_special})
            })
        };
        self.tokens.iter().zip(&self.kinds).enumerate().filter_map(added).collect()
    }

    /// Each token's id, by the text that `text` makes of it.
    pub(super) fn by_text(&self, text: impl Fn(usize) -> String) -> Result<Value> {
        let mut vocabulary = serde_json::Map::new();
        for id in 0..self.tokens.len() {
            if vocabulary.insert(text(id), id.into()).is_some() {
                let message = format!("token {id}, {:?}, means what another one does", self.tokens[id]);
                return Err(self.metadata.error(&name("tokens"), message));
            }
        }
        Ok(vocabulary.into())
    }
}

/// tokenizer.json's post-processor, which puts special tokens around texts: "A" and "B" stand for these, each with its type.
pub(super) fn template(single: &[(&str, u8)], pair: &[(&str, u8)], special: &[Special]) -> Value {
    let pieces = |pieces: &[(&str, u8)]| -> Value {
        let piece = |&(text, type_id): &(&str, u8)| match text {
            "A" | "B" => json!({"Sequence": {"id": text, "type_id": type_id}}),
            text => json!({"SpecialToken": {"id": text, "type_id": type_id}}),
        };
        pieces.iter().map(piece).collect()
    };
    let tokens: serde_json::Map<String, Value> = special
        .iter()
        .map(|token| (token.text.to_owned(), json!({"id": token.text, "ids": [token.id], "tokens": [token.text]})))
        .collect();
    json!({"type": "TemplateProcessing", "single": pieces(single), "pair": pieces(pair), "special_tokens": tokens})
}
