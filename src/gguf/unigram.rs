//! SentencePiece's tokenizers of a GGUF file: unigrams (`t5`, which XLM-RoBERTa has), and merges by score (`llama`).
//!
//! SentencePiece makes one space of several; so do WhitespaceSplit and Metaspace together. `remove_extra_whitespaces` says nothing of
//! it: converted from tokenizer.json it is another setting. For merges a file has the score of each piece, which is the rank of the
//! merge that makes it.
//!
//! Gemma has symbols that are pieces whatever the scores: runs of spaces and of line ends, tags of HTML. llama.cpp's converter gives
//! them a score of its own and writes spaces for the marks of spaces in them. To SentencePiece their score is 0, the highest.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::Result;
use crate::gguf::keys::GgufKeys;
use crate::gguf::vocabulary::{GgufVocabulary, Special, TokenKind, name, template};

/// XLM-RoBERTa's.
pub(super) fn unigram(keys: &GgufKeys, vocabulary: &GgufVocabulary) -> Result<Value> {
    let (first, last) =
        (vocabulary.required(&["bos", "cls"], "<s>")?, vocabulary.required(&["eos", "seperator"], "</s>")?);
    let unknown = vocabulary.required(&["unknown"], "<unk>")?;
    let (padding, mask) = (vocabulary.special(&["padding"], "<pad>")?, vocabulary.special(&["mask"], "<mask>")?);
    let special: Vec<_> = [first, last, unknown].into_iter().chain(padding).chain(mask).collect();
    let single = [(first.text, 0), ("A", 0), (last.text, 0)];
    let pair = [&single[..], &[(last.text, 0), ("B", 0), (last.text, 0)]].concat();
    let scores = vocabulary.scores()?;
    let pieces: Value = vocabulary.tokens.iter().zip(&scores).map(|(token, score)| json!([token, score])).collect();
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": vocabulary.added(&special, mask),
        "normalizer": character_map(keys)?,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": template(&single, &pair, &[first, last]),
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": unknown.id, "vocab": pieces, "byte_fallback": false},
    }))
}

/// SentencePiece's table of characters that are the same, where the file has one.
fn character_map(keys: &GgufKeys) -> Result<Value> {
    let key = name("precompiled_charsmap");
    // Bytes, with a sign or without.
    let bytes: Vec<u8> = keys.all().integers(&key)?.unwrap_or_default().into_iter().map(|byte| byte as u8).collect();
    Ok(match bytes.is_empty() {
        true => Value::Null,
        false => json!({"type": "Precompiled", "precompiled_charsmap": BASE64_STANDARD.encode(bytes)}),
    })
}

/// Llama's.
pub(super) fn merged(keys: &GgufKeys, vocabulary: &GgufVocabulary) -> Result<Value> {
    let flag = |key: &str, default: bool| keys.all().boolean(&name(key)).map(|flag| flag.unwrap_or(default));
    let first = if flag("add_bos_token", true)? { Some(vocabulary.required(&["bos"], "<s>")?) } else { None };
    let last = if flag("add_eos_token", false)? { Some(vocabulary.required(&["eos"], "</s>")?) } else { None };
    let unknown = vocabulary.required(&["unknown"], "<unk>")?;
    let special: Vec<_> = [unknown].into_iter().chain(first).chain(last).collect();
    let pieces = marked(vocabulary);
    let mut added = vocabulary.added(&special, None);
    for token in added.as_array_mut().into_iter().flatten() {
        let id = token["id"].as_u64().and_then(|id| usize::try_from(id).ok());
        token["content"] = id.map_or_else(Value::default, |id| (*pieces[id]).into());
    }
    let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let normalizers = match flag("add_space_prefix", true)? {
        true => vec![json!({"type": "Prepend", "prepend": "▁"}), spaces],
        false => vec![spaces],
    };
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "post_processor": around(first, last),
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": unknown.text, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocabulary.by_text(|id| pieces[id].to_string())?, "merges": merges(vocabulary, &pieces)?},
    }))
}

/// Special tokens around texts that have no others between them.
pub(super) fn around(first: Option<Special>, last: Option<Special>) -> Value {
    let special: Vec<_> = first.into_iter().chain(last).collect();
    if special.is_empty() {
        return Value::Null;
    }
    let wrapped = |text: &'static str, type_id: u8| {
        let pieces = first.iter().map(|token| token.text).chain([text]).chain(last.iter().map(|token| token.text));
        pieces.map(|piece| (piece, type_id)).collect::<Vec<_>>()
    };
    let single = wrapped("A", 0);
    template(&single, &[single.clone(), wrapped("B", 1)].concat(), &special)
}

/// The tokens, with the marks of spaces that symbols lost.
fn marked<'a>(vocabulary: &GgufVocabulary<'a>) -> Vec<Cow<'a, str>> {
    let piece = |(&token, kind): (&&'a str, &TokenKind)| match kind {
        TokenKind::UserDefined => token.replace(' ', "▁").into(),
        _ => token.into(),
    };
    vocabulary.tokens.iter().zip(&vocabulary.kinds).map(piece).collect()
}

/// The pairs of known pieces that make a known piece, those of the largest score first.
fn merges(vocabulary: &GgufVocabulary, pieces: &[Cow<str>]) -> Result<Value> {
    let scores = vocabulary.scores()?;
    let ids: HashMap<&str, usize> = pieces.iter().enumerate().map(|(id, piece)| (&**piece, id)).collect();
    let mut pairs = Vec::new();
    for (id, piece) in pieces.iter().enumerate() {
        let score = match vocabulary.kinds[id] {
            TokenKind::Normal => scores[id],
            TokenKind::UserDefined => 0.0,
            _ => continue,
        };
        for (at, _) in piece.char_indices().skip(1) {
            if let (Some(&left), Some(&right)) = (ids.get(&piece[..at]), ids.get(&piece[at..])) {
                pairs.push((score, left, right));
            }
        }
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    Ok(pairs.into_iter().map(|(_, left, right)| json!([pieces[left], pieces[right]])).collect())
}
