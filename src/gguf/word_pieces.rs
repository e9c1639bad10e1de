//! BERT's WordPiece tokenizer of a GGUF file.
//!
//! llama.cpp writes pieces as SentencePiece does: `▁` before those that begin a word. In a vocabulary of BERT the others begin with
//! `##`. Special tokens, and old files' `[unused0]` and so on, stand as they are.

use serde_json::{Value, json};

use crate::Result;
use crate::gguf::keys::GgufKeys;
use crate::gguf::vocabulary::{GgufVocabulary, TokenKind, name, template};

pub(super) fn tokenizer(keys: &GgufKeys, vocabulary: &GgufVocabulary) -> Result<Value> {
    let first = vocabulary.required(&["cls", "bos"], "[CLS]")?;
    // The key is spelled so.
    let last = vocabulary.required(&["seperator", "eos"], "[SEP]")?;
    let unknown = vocabulary.required(&["unknown"], "[UNK]")?;
    let (padding, mask) = (vocabulary.special(&["padding"], "[PAD]")?, vocabulary.special(&["mask"], "[MASK]")?);
    let special: Vec<_> = [first, last, unknown].into_iter().chain(padding).chain(mask).collect();
    let is_whole = |id: usize| {
        let token = vocabulary.tokens[id];
        let is_named = token.len() > 2 && token.starts_with('[') && token.ends_with(']');
        is_named || vocabulary.kinds[id] == TokenKind::Control || special.iter().any(|token| token.id == id)
    };
    let piece = |id: usize| match vocabulary.tokens[id] {
        token if is_whole(id) => token.to_owned(),
        token => token.strip_prefix('▁').map_or_else(|| format!("##{token}"), str::to_owned),
    };
    let has_capitals = || {
        let mut plain = (0..vocabulary.tokens.len()).filter(|&id| !is_whole(id));
        // Some capitals, such as ℝ, have no small letter.
        plain.any(|id| vocabulary.tokens[id].to_lowercase() != vocabulary.tokens[id])
    };
    let lowercase = keys.all().boolean(&name("normalizer.lowercase"))?.unwrap_or_else(|| !has_capitals());
    let strip_accents = keys.all().boolean(&name("normalizer.strip_accents"))?;
    let single = [(first.text, 0), ("A", 0), (last.text, 0)];
    let pair = [&single[..], &[("B", 1), (last.text, 1)]].concat();
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": vocabulary.added(&special, None),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": strip_accents,
            "lowercase": lowercase},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template(&single, &pair, &[first, last]),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": unknown.text, "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": vocabulary.by_text(piece)?},
    }))
}
