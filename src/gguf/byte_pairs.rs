//! Byte-level BPE of a GGUF file (`gpt2`), of which `tokenizer.ggml.pre` names the rules by which texts are cut into words.
//!
//! What a name stands for is written nowhere but in llama.cpp's `llama-vocab.cpp` and its converter. A name that is not known here is
//! refused: other cuts would give other tokens, and nobody would know.

use serde_json::{Value, json};

use crate::Result;
use crate::gguf::keys::GgufKeys;
use crate::gguf::unigram::around;
use crate::gguf::vocabulary::{GgufVocabulary, Special, name, template};

/// How texts are cut before merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cuts {
    /// The regular expression of GPT-2.
    Gpt2,
    /// As GPT-2, and two tokens stand between the texts of a pair.
    Roberta,
    /// Composed characters, words, single digits.
    Qwen,
    /// Words, digits by threes; a word that is a token is one whatever the merges say.
    Llama3,
}

/// The names of rules.
const KNOWN: [(&str, Cuts); 13] = [
    ("gpt-2", Cuts::Gpt2),
    ("modern-bert", Cuts::Gpt2),
    ("jina-v2-es", Cuts::Gpt2),
    ("jina-v2-de", Cuts::Gpt2),
    ("roberta-bpe", Cuts::Roberta),
    ("jina-v1-en", Cuts::Roberta),
    ("jina-v2-code", Cuts::Roberta),
    ("qwen2", Cuts::Qwen),
    ("deepseek-r1-qwen", Cuts::Qwen),
    ("f2llmv2", Cuts::Qwen),
    ("llama-bpe", Cuts::Llama3),
    ("llama3", Cuts::Llama3),
    ("llama-v3", Cuts::Llama3),
];

/// The token that ends texts for Qwen3-Embedding, whatever a file says.
const QWEN_END: &str = "<|endoftext|>";

pub(super) fn tokenizer(keys: &GgufKeys, vocabulary: &GgufVocabulary) -> Result<Value> {
    let key = name("pre");
    let rules = keys.all().text(&key)?.unwrap_or("default");
    let Some(&(_, cuts)) = KNOWN.iter().find(|(known, _)| *known == rules) else {
        let known = KNOWN.map(|(known, _)| known).join(", ");
        let message = format!(
            "how {rules:?} cuts texts into words is not known; known are {known}. Put the model's tokenizer.json beside the file"
        );
        return Err(keys.all().error(&key, message));
    };
    let first = vocabulary.special(&["bos", "cls"], "")?;
    let last = vocabulary.special(&["eos", "seperator"], "")?;
    let (padding, mask) = (vocabulary.special(&["padding"], "<pad>")?, vocabulary.special(&["mask"], "<mask>")?);
    let unknown = vocabulary.special(&["unknown"], "<unk>")?;
    let byte_level = |add_prefix_space: bool, use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true, "use_regex": use_regex});
    let pre_tokenizer = match cuts {
        Cuts::Gpt2 | Cuts::Roberta => byte_level(false, true),
        Cuts::Qwen => cut_by(&words("\\p{N}"), byte_level(false, false)),
        Cuts::Llama3 => cut_by(&words("\\p{N}{1,3}"), byte_level(false, false)),
    };
    let special: Vec<Special> = [first, last, padding, mask, unknown].into_iter().flatten().collect();
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": vocabulary.added(&special, mask),
        "normalizer": if cuts == Cuts::Qwen { json!({"type": "NFC"}) } else { Value::Null },
        "pre_tokenizer": pre_tokenizer,
        "post_processor": layout(keys, vocabulary, cuts, first, last)?,
        "decoder": byte_level(true, true),
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": cuts == Cuts::Llama3,
            "vocab": vocabulary.by_text(|id| vocabulary.tokens[id].to_owned())?, "merges": merges(keys)?},
    }))
}

/// The regular expression of Qwen and Llama 3, which differ in runs of digits.
fn words(digits: &str) -> String {
    format!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
}

fn cut_by(words: &str, bytes: Value) -> Value {
    let split = json!({"type": "Split", "pattern": {"Regex": words}, "behavior": "Isolated", "invert": false});
    json!({"type": "Sequence", "pretokenizers": [split, bytes]})
}

/// Whether texts end with [`QWEN_END`]: those of a Qwen3 that pools the last token. Files that were converted early have the end of a
/// message in its place, or none.
fn has_qwen_end(keys: &GgufKeys) -> Result<bool> {
    Ok(keys.architecture == "qwen3" && keys.integer("pooling_type")? == Some(3))
}

/// What the file says of the token that ends texts, where that is known better; it goes on from the model's name.
pub(super) fn note(keys: &GgufKeys) -> Result<Option<String>> {
    if !has_qwen_end(keys)? {
        return Ok(None);
    }
    let tokens = keys.all().texts(&name("tokens"))?.unwrap_or_default();
    let end = keys.all().integer(&name("eos_token_id"))?.and_then(|id| tokens.get(usize::try_from(id).ok()?));
    let found = match end.copied() {
        _ if keys.all().boolean(&name("add_eos_token"))? != Some(true) => "has no token at the end of texts".to_owned(),
        Some(QWEN_END) => return Ok(None),
        Some(other) => format!("has {other:?} at the end of texts"),
        None => "names no token for the end of texts".to_owned(),
    };
    Ok(Some(format!("{found}; {QWEN_END:?} is put there, with which Qwen3-Embedding was trained")))
}

/// Special tokens around texts.
fn layout(
    keys: &GgufKeys,
    vocabulary: &GgufVocabulary,
    cuts: Cuts,
    first: Option<Special>,
    last: Option<Special>,
) -> Result<Value> {
    let flag = |key: &str| keys.all().boolean(&name(key));
    let missing = |key: &str| keys.all().error(&name(key), "missing");
    // An encoder's texts always stand between its two.
    if ["bert", "modern-bert", "jina-bert-v2"].contains(&keys.architecture) {
        let first = first.ok_or_else(|| missing("bos_token_id"))?;
        let last = last.ok_or_else(|| missing("eos_token_id"))?;
        let single = [(first.text, 0), ("A", 0), (last.text, 0)];
        let second: &[_] = match cuts {
            Cuts::Roberta => &[(last.text, 0), ("B", 0), (last.text, 0)],
            _ => &[("B", 0), (last.text, 0)],
        };
        return Ok(template(&single, &[&single[..], second].concat(), &[first, last]));
    }
    if has_qwen_end(keys)? {
        let end = vocabulary.special_named(QWEN_END).ok_or_else(|| {
            let message = format!("has no {QWEN_END:?}, with which the texts of a qwen3 that pools the last token end");
            keys.all().error(&name("tokens"), message)
        })?;
        return Ok(template(&[("A", 0), (end.text, 0)], &[("A", 0), ("B", 0), (end.text, 0)], &[end]));
    }
    let first =
        if flag("add_bos_token")? == Some(true) { Some(first.ok_or_else(|| missing("bos_token_id"))?) } else { None };
    let last =
        if flag("add_eos_token")? == Some(true) { Some(last.ok_or_else(|| missing("eos_token_id"))?) } else { None };
    Ok(around(first, last))
}

/// Two pieces each, with a space between them: the first after the first character, since pieces have none but there.
fn merges(keys: &GgufKeys) -> Result<Value> {
    let key = name("merges");
    let merges = keys.all().texts(&key)?.ok_or_else(|| keys.all().error(&key, "missing"))?;
    let pair = |(i, merge): (usize, &&str)| {
        let space = merge.char_indices().skip(1).find(|(_, letter)| *letter == ' ');
        let (at, _) = space.ok_or_else(|| keys.all().error(&key, format!("{merge:?} at {i} is no pair")))?;
        Ok(json!([&merge[..at], &merge[at + 1..]]))
    };
    merges.iter().enumerate().map(pair).collect()
}
