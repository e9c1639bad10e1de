//! Tokens that the files beside the vocabulary name, of which the vocabulary may lack some.

use std::collections::BTreeMap;

use serde_json::Value;
use tokenizers::AddedToken;

use crate::Result;
use crate::config::Object;
use crate::config::layers::ConfigLayers;

/// Tokens that every tokenizer may have, in the order in which new ones get their ids.
const STANDARD: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The special and added tokens of tokenizer_config.json, special_tokens_map.json and added_tokens.json, as
/// `PreTrainedTokenizerBase._from_pretrained` of transformers puts them together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Standard tokens and those with a name of the model's own, in the order in which new ones get their ids.
    named: Vec<NamedToken>,
    /// Tokens without a name; `None` where no file lists any.
    pub extra: Option<Vec<AddedToken>>,
    /// Whether they come before those that a SentencePiece model lists itself.
    pub extra_of_files: bool,
    /// Tokens of the class without a name, which count where neither a file nor the vocabulary lists any.
    pub default_extra: Vec<AddedToken>,
    /// Added tokens, with ids that say no more than their order.
    pub numbered: BTreeMap<u32, AddedToken>,
    /// Whether the added tokens of tokenizer.json count beside these, where a class makes the tokenizer.
    pub with_those_of_file: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NamedToken {
    key: String,
    /// None where a file says that there is no such token.
    token: Option<AddedToken>,
    /// Whether a file says what is special about it.
    is_described: bool,
}

impl SpecialTokens {
    /// Reads the tokens that `layers` (of tokenizer_config.json) name; `map` is special_tokens_map.json and `added` is
    /// added_tokens.json, older files that count where there is no `added_tokens_decoder`.
    pub(super) fn read(layers: &ConfigLayers, map: Option<&Object>, added: Option<&Object>) -> Result<Self> {
        let decoder = layers.object_of("added_tokens_decoder");
        let with_those_of_file = !decoder.contains("added_tokens_decoder");
        let mut listed = TokenLists::read(layers.file, false)?;
        let arguments = TokenLists::read(layers.arguments, false)?;
        listed.update(arguments.clone());
        if listed.extra.as_ref().is_none_or(Extra::is_empty)
            && let Some(additional) = listed.additional.take()
        {
            listed.extra = Some(Extra::Listed(additional));
        }
        let is_text = |(key, token): &(String, Value)| token.is_string() && !STANDARD.contains(&key.as_str());
        let (mut custom, tokens): (Vec<_>, Vec<_>) = listed.tokens.into_iter().partition(is_text);
        listed.tokens = tokens;
        listed.name_extra(&mut custom);
        if let Some(map) = map.filter(|_| with_those_of_file) {
            listed.update_with_map(TokenLists::read(map, true)?, &arguments);
            listed.name_extra(&mut custom);
        }

        listed.tokens.sort_by_key(|(key, _)| place(key));
        for (key, token) in custom {
            put(&mut listed.tokens, key, token);
        }
        let extra = match &listed.extra {
            Some(Extra::Listed(extra)) => extra.clone(),
            Some(Extra::Named(_)) | None => vec![],
        };
        let named = |(key, value)| NamedToken { key, token: token(&value), is_described: value.is_object() };
        let mut tokens = Self {
            named: listed.tokens.into_iter().map(named).collect(),
            extra_of_files: listed.extra.is_some(),
            extra: match listed.extra {
                Some(Extra::Listed(extra)) => Some(extra),
                Some(Extra::Named(_)) | None => listed.additional,
            },
            default_extra: Vec::new(),
            numbered: BTreeMap::new(),
            with_those_of_file,
        };
        if let Some(decoder) = decoder.object("added_tokens_decoder")? {
            for id in decoder.keys() {
                let number = id.parse().map_err(|_| decoder.error(id, "a token's id is expected as key"))?;
                let token = decoder
                    .get(id, "a token with its properties", |value| token(value).filter(|_| value.is_object()))?;
                tokens.numbered.insert(number, decoder.required(id, token)?);
            }
        }
        if let Some(added) = added.filter(|_| with_those_of_file) {
            for content in added.keys() {
                let id = added.required(content, added.integer(content, 0..=u32::MAX as usize)?)?;
                let standard = || STANDARD.iter().any(|key| tokens.content(key) == Some(content));
                let is_special = extra.iter().any(|token| token.content == content) || standard();
                tokens.numbered.insert(id as u32, AddedToken::from(content, is_special));
            }
        }
        Ok(tokens)
    }

    /// Takes `content` for the standard token `key` where no file says anything of it.
    pub fn default_to(&mut self, key: &str, content: &str) {
        if self.find(key).is_none() {
            let token = Some(AddedToken::from(content, true));
            self.named.push(NamedToken { key: key.to_owned(), token, is_described: false });
            self.named.sort_by_key(|named| place(&named.key));
        }
    }

    /// Gives the token `key` other properties, unless a file describes it.
    pub(super) fn describe(&mut self, key: &str, describe: impl FnOnce(AddedToken) -> AddedToken) {
        if let Some(named) = self.named.iter_mut().find(|named| named.key == key && !named.is_described) {
            named.token = named.token.take().map(describe);
        }
    }

    /// The text of the token `key`.
    pub fn content(&self, key: &str) -> Option<&str> {
        Some(self.find(key)?.token.as_ref()?.content.as_str())
    }

    /// The tokens with a name, in the order in which new ones get their ids.
    pub fn named(&self) -> impl Iterator<Item = &AddedToken> {
        self.named.iter().filter_map(|named| named.token.as_ref())
    }

    /// The texts of all of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        let unnamed = self.extra.iter().flatten().chain(&self.default_extra).chain(self.numbered.values());
        self.named().chain(unnamed).map(|token| token.content.as_str())
    }

    fn find(&self, key: &str) -> Option<&NamedToken> {
        self.named.iter().find(|named| named.key == key)
    }
}

/// The place of a token among those with a name.
fn place(key: &str) -> usize {
    STANDARD.iter().position(|standard| *standard == key).unwrap_or(STANDARD.len())
}

/// What one object says of tokens.
#[derive(Clone)]
struct TokenLists {
    /// By name, in the order of the file: null, a text or an object.
    tokens: Vec<(String, Value)>,
    /// What the key `extra_special_tokens` says.
    extra: Option<Extra>,
    /// What the key `additional_special_tokens` says, its older name.
    additional: Option<Vec<AddedToken>>,
}

#[derive(Clone)]
enum Extra {
    Listed(Vec<AddedToken>),
    Named(Vec<(String, Value)>),
}

impl TokenLists {
    /// Reads an object; in one where all tokens are special, they need not say so.
    fn read(object: &Object, all_special: bool) -> Result<Self> {
        let special = |value: &Value| match value.clone() {
            Value::Object(mut fields) if all_special => {
                fields.insert("special".to_owned(), true.into());
                Value::Object(fields)
            }
            value => value,
        };
        let mut tokens = Vec::new();
        for key in object.keys().filter(|key| key.ends_with("_token")) {
            let standard = STANDARD.contains(&key);
            let is_token = |value: &Value| value.is_null() || token(value).is_some();
            let value =
                object.get(key, "a string", |value| Some(value).filter(|value| !standard || is_token(value)))?;
            let value = value.unwrap_or(&Value::Null);
            if standard || token(value).is_some() {
                tokens.push((key.to_owned(), special(value)));
            }
        }
        let list =
            |value: &Value| value.as_array()?.iter().map(|value| token(&special(value))).collect::<Option<Vec<_>>>();
        let named = |value: &Value| {
            let fields = value.as_object()?.iter().map(|(key, value)| (key.clone(), value.clone()));
            Some(Extra::Named(fields.collect())).filter(|extra| extra.tokens().all(|value| token(value).is_some()))
        };
        let extra = object.get("extra_special_tokens", "a list of tokens, or an object of them", |value| {
            list(value).map(Extra::Listed).or_else(|| named(value))
        })?;
        let additional = object.get("additional_special_tokens", "a list of tokens", list)?;
        Ok(Self {
            tokens,
            extra: extra.or_else(|| object.contains("extra_special_tokens").then(|| Extra::Listed(vec![]))),
            additional: additional.or_else(|| object.contains("additional_special_tokens").then(Vec::new)),
        })
    }

    fn update(&mut self, other: Self) {
        for (key, token) in other.tokens {
            put(&mut self.tokens, key, token);
        }
        self.extra = other.extra.or(self.extra.take());
        self.additional = other.additional.or(self.additional.take());
    }

    /// Takes what special_tokens_map.json says, but for what `arguments` say.
    fn update_with_map(&mut self, map: Self, arguments: &Self) {
        let is_argument = |key: &str| arguments.tokens.iter().any(|(name, token)| name == key && !token.is_null());
        for (key, token) in map.tokens.into_iter().filter(|(key, _)| !is_argument(key)) {
            put(&mut self.tokens, key, token);
        }
        if arguments.extra.as_ref().is_none_or(Extra::is_empty) {
            self.extra = match (self.extra.take(), map.extra) {
                (Some(Extra::Listed(mut all)), Some(Extra::Listed(more))) => {
                    for token in more {
                        if !all.contains(&token) {
                            all.push(token);
                        }
                    }
                    Some(Extra::Listed(all))
                }
                (old, new) => new.or(old),
            };
        }
        if arguments.additional.as_ref().is_none_or(Vec::is_empty) {
            self.additional = map.additional.or(self.additional.take());
        }
    }

    /// Extra tokens that have a name are no different from others that have.
    fn name_extra(&mut self, custom: &mut Vec<(String, Value)>) {
        if let Some(Extra::Named(named)) = self.extra.take_if(|extra| matches!(extra, Extra::Named(_))) {
            for (key, token) in named {
                put(custom, key, token);
            }
        }
    }
}

impl Extra {
    fn is_empty(&self) -> bool {
        match self {
            Self::Listed(tokens) => tokens.is_empty(),
            Self::Named(tokens) => tokens.is_empty(),
        }
    }

    fn tokens(&self) -> impl Iterator<Item = &Value> {
        let named = match self {
            Self::Listed(_) => &[][..],
            Self::Named(tokens) => tokens,
        };
        named.iter().map(|(_, token)| token)
    }
}

/// Puts a token where the one of the same name is, or at the end.
fn put(tokens: &mut Vec<(String, Value)>, key: String, token: Value) {
    match tokens.iter_mut().find(|(name, _)| *name == key) {
        Some((_, old)) => *old = token,
        None => tokens.push((key, token)),
    }
}

/// A token that is a text, which makes it special, or an object that describes it.
fn token(value: &Value) -> Option<AddedToken> {
    let fields = match value {
        Value::String(content) => return Some(AddedToken::from(content.as_str(), true)),
        value => value.as_object()?,
    };
    let flag = |key: &str, default: bool| match fields.get(key) {
        None | Some(Value::Null) => Some(default),
        Some(value) => value.as_bool(),
    };
    let special = flag("special", false)?;
    let token = AddedToken::from(fields.get("content")?.as_str()?, special);
    Some(
        token
            .single_word(flag("single_word", false)?)
            .lstrip(flag("lstrip", false)?)
            .rstrip(flag("rstrip", false)?)
            .normalized(flag("normalized", !special)?),
    )
}
