//! What model2vec does to a text and its tokens, beside cutting them to a greatest length.
//!
//! Reference: `StaticModel` of model2vec 0.10, `_encode_dispatch` and `tokenize`.

use tokenizers::models::ModelWrapper;
use tokenizers::{Result, Tokenizer};

pub(super) struct Model2vecRules {
    /// The token of what the vocabulary lacks, which is dropped.
    unknown: Option<u32>,
    /// Characters of a text that are read for each token of the greatest length: the median of the vocabulary.
    characters_per_token: usize,
}

impl Model2vecRules {
    pub(super) fn of(inner: &Tokenizer) -> Result<Self> {
        let mut lengths: Vec<usize> = inner.get_vocab(true).keys().map(|token| token.chars().count()).collect();
        lengths.sort_unstable();
        let middle = |i: usize| lengths.get(i).copied().unwrap_or(0);
        let characters_per_token = (middle(lengths.len() / 2) + middle(lengths.len().saturating_sub(1) / 2)) / 2;
        let unknown = match inner.get_model() {
            ModelWrapper::BPE(model) => model.unk_token.as_ref().and_then(|token| inner.token_to_id(token)),
            ModelWrapper::WordPiece(model) => inner.token_to_id(&model.unk_token),
            ModelWrapper::WordLevel(model) => inner.token_to_id(&model.unk_token),
            // The library keeps it to itself.
            ModelWrapper::Unigram(model) => {
                let unknown = serde_json::to_value(model)?.get("unk_id").and_then(serde_json::Value::as_u64);
                unknown.and_then(|id| u32::try_from(id).ok())
            }
        };
        Ok(Self { unknown, characters_per_token })
    }

    /// As much of a text as is read where at most `max_length` tokens are.
    pub(super) fn cut<'a>(&self, text: &'a str, max_length: usize) -> &'a str {
        let characters = max_length.saturating_mul(self.characters_per_token);
        if text.len() <= characters {
            return text;
        }
        text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
    }

    pub(super) fn drop_unknown(&self, ids: &mut Vec<u32>, from: usize) {
        if let Some(unknown) = self.unknown {
            let mut kept = from;
            for i in from..ids.len() {
                if ids[i] != unknown {
                    ids[kept] = ids[i];
                    kept += 1;
                }
            }
            ids.truncate(kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(vocab: &str) -> Model2vecRules {
        let json = format!(
            r#"{{"model": {{"type": "WordLevel", "vocab": {vocab}, "unk_token": "?"}},
                "pre_tokenizer": {{"type": "Whitespace"}}}}"#
        );
        Model2vecRules::of(&json.parse().unwrap()).unwrap()
    }

    #[test]
    fn texts_are_cut_by_the_median_length_of_tokens() {
        // Lengths in characters: 1, 2, 5, 9 have the median 3.5, of which 3 counts.
        let rules = rules(r#"{"?": 0, "éé": 1, "words": 2, "characters": 3}"#);
        assert_eq!(rules.characters_per_token, 3);
        assert_eq!(rules.cut("ééééééé", 2), "éééééé");
        assert_eq!(rules.cut("éééééé", 2), "éééééé");
        assert_eq!(rules.cut("", 2), "");
        assert_eq!(rules.cut("any", usize::MAX), "any");
    }

    #[test]
    fn unknown_tokens_are_dropped_behind_a_place() {
        let mut ids = vec![0, 3, 0, 2, 0, 0, 1];
        rules(r#"{"?": 0, "a": 1}"#).drop_unknown(&mut ids, 2);
        assert_eq!(ids, [0, 3, 2, 1]);
    }
}
