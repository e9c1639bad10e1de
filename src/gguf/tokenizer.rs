//! tokenizer.json and tokenizer_config.json of a GGUF file.

use serde_json::{Map, Value, json};

use crate::gguf::keys::GgufKeys;
use crate::gguf::vocabulary::{GgufVocabulary, name};
use crate::gguf::{byte_pairs, unigram, word_pieces};
use crate::{Error, Result};

/// Names of special tokens in tokenizer_config.json, and the file's.
const SPECIAL: [(&str, &str); 7] = [
    ("bos_token", "bos"),
    ("eos_token", "eos"),
    ("unk_token", "unknown"),
    ("sep_token", "seperator"),
    ("pad_token", "padding"),
    ("cls_token", "cls"),
    ("mask_token", "mask"),
];

/// Makes a tokenizer of a vocabulary.
type Make = fn(&GgufKeys, &GgufVocabulary) -> Result<Value>;

/// Kinds of vocabularies.
const KNOWN: [(&str, Make); 4] = [
    ("bert", word_pieces::tokenizer),
    ("t5", unigram::unigram),
    ("gpt2", byte_pairs::tokenizer),
    ("llama", unigram::merged),
];

/// The key of the whole of the original's, which few files have.
const WHOLE: &str = "tokenizer.huggingface.json";

pub(super) fn tokenizer(keys: &GgufKeys) -> Result<Value> {
    if let Some(whole) = keys.all().text(WHOLE)? {
        return serde_json::from_str(whole).map_err(|error| keys.all().error(WHOLE, error));
    }
    let key = name("model");
    let kind = keys.all().text(&key)?.ok_or_else(|| missing(keys, &key))?;
    let Some((_, make)) = KNOWN.iter().find(|(known, _)| *known == kind) else {
        let known = KNOWN.map(|(known, _)| known).join(", ");
        let message =
            format!("{kind:?} is not supported; supported are {known}. Put the model's tokenizer.json beside the file");
        return Err(keys.all().error(&key, message));
    };
    make(keys, &GgufVocabulary::read(keys)?)
}

fn missing(keys: &GgufKeys, key: &str) -> Error {
    keys.all().error(key, "missing: the file has no tokenizer. Put the model's tokenizer.json beside it")
}

/// What is put in the place of something that the file says of its tokenizer; it goes on from the model's name.
pub(super) fn note(keys: &GgufKeys) -> Result<Option<String>> {
    match keys.all().text(&name("model"))? {
        Some("gpt2") if !keys.all().contains(WHOLE) => byte_pairs::note(keys),
        _ => Ok(None),
    }
}

/// tokenizer_config.json: nothing is put in the place of what tokenizer.json says.
pub(super) fn config(keys: &GgufKeys) -> Result<Value> {
    let mut config = Map::new();
    let tokens = keys.all().texts(&name("tokens"))?.unwrap_or_default();
    for (own, key) in SPECIAL {
        let id = keys.all().integer(&name(&format!("{key}_token_id")))?;
        let token = id.and_then(|id| tokens.get(usize::try_from(id).ok()?));
        config.extend(token.map(|&token| (own.to_owned(), token.into())));
    }
    let types: &[&str] =
        if keys.rows("token_types.weight").is_some_and(|rows| rows > 1) { &["token_type_ids"] } else { &[] };
    config.insert("model_input_names".to_owned(), [&["input_ids"], types, &["attention_mask"]].concat().into());
    config.insert("tokenizer_class".to_owned(), "PreTrainedTokenizerFast".into());
    config.extend(keys.integer("context_length")?.map(|length| ("model_max_length".to_owned(), json!(length))));
    // Texts to embed are no messages, whatever the language model was made of that a file comes from.
    let is_reranker = keys.integer("pooling_type")? == Some(4);
    let template = keys.all().text("tokenizer.chat_template")?.filter(|_| is_reranker);
    config.extend(template.map(|template| ("chat_template".to_owned(), template.into())));
    Ok(config.into())
}
