//! Checking the size of SentencePiece's table of characters that are the same, `precompiled_charsmap`.
//!
//! Source: `Normalizer::DecodePrecompiledCharsMap` of SentencePiece's normalizer.cc. The table is four bytes with the size of a trie,
//! little-endian, then the trie, then what its keys become. The tokenizers library takes memory for as much as the four bytes claim, so
//! a table is refused before that if it claims more bytes than it has. In tokenizer.json it is in base64, of which 8 characters hold
//! the four bytes; a table may stand at any depth of nested normalizers, so all of them are searched.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::Value;

use crate::{Error, Result};

const CHARSMAP_KEY: &str = "precompiled_charsmap";

/// As lenient as the library's at least.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The part of tokenizer.json that may hold such a table.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    normalizer: Value,
}

/// Accepts the tables in a tokenizer.json, called `name` in messages, that are as large as they claim.
pub(super) fn check_file(name: &str, json: &[u8]) -> Result<()> {
    let file: File = serde_json::from_slice(json).map_err(|error| Error::model(name, error.to_string()))?;
    check_within(name, &file.normalizer)
}

fn check_within(name: &str, value: &Value) -> Result<()> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| check_within(name, value)),
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| match value {
            Value::String(text) if key == CHARSMAP_KEY => {
                let start = text.as_bytes().get(..8).unwrap_or(text.as_bytes());
                // What is no base64 is the library's to refuse.
                let start = BASE64.decode(start).unwrap_or_default();
                check(&start, text.len() / 4 * 3 + 3).map_err(|message| Error::model(name, message))
            }
            value => check_within(name, value),
        }),
        _ => Ok(()),
    }
}

/// Accepts a table of `bytes` bytes that begins with `start`, if its trie fits.
pub(super) fn check(start: &[u8], bytes: usize) -> Result<(), String> {
    match start.first_chunk::<4>().map(|size| u32::from_le_bytes(*size) as usize) {
        Some(size) if size > bytes => {
            Err(format!("{CHARSMAP_KEY}: claims a trie of {size} bytes, and has {bytes}: damaged?"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trie_that_is_not_there_is_refused() {
        let file = |map: &str| {
            format!(
                r#"{{"model": {{}}, "normalizer": {{"type": "Sequence", "normalizers": [{{"precompiled_charsmap": "{map}"}}]}}}}"#
            )
        };
        // "AAQAAA==" claims 1,024 bytes.
        for (map, fits) in
            [("", true), ("AAAAAAAA", true), ("AAQAAA==", false), ("TemplateProcessing", false), ("%%%%%%%%", true)]
        {
            let found = check_file("tokenizer.json", file(map).as_bytes());
            assert_eq!(found.is_ok(), fits, "{map}");
        }
        assert!(check_file("tokenizer.json", file(&format!("AAQAAA{}", "A".repeat(1400))).as_bytes()).is_ok());
        let twice = r#"{"normalizer": {"precompiled_charsmap": "TemplateProcessing"}, "normalizer": null}"#;
        assert!(check_file("tokenizer.json", twice.as_bytes()).is_err());
        let message = check(&[0, 0, 0, 1, 7], 5).unwrap_err();
        assert_eq!(message, "precompiled_charsmap: claims a trie of 16777216 bytes, and has 5: damaged?");
    }
}
