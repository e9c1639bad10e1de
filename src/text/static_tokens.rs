//! What is special about the tokens of a static embedding.

use std::sync::Mutex;

use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{Result, Tokenizer, TruncationDirection};

use crate::config::StaticRules;
use crate::text::model2vec_rules::Model2vecRules;
use crate::text::word_pieces::{WordCache, WordPieces};

pub(super) struct StaticTokens {
    /// None where the rules are those of sentence-transformers.
    pub(super) model2vec: Option<Model2vecRules>,
    /// The greatest length that tokenizer.json says, where that counts.
    pub(super) own_length: Option<usize>,
    /// How ids alone are made, where the library need not do it.
    pub(super) words: Option<WordPieces>,
    /// Caches that no thread uses.
    pub(super) caches: Mutex<Vec<WordCache>>,
}

impl StaticTokens {
    /// Has `inner` add no special tokens.
    pub(super) fn take(inner: &mut Tokenizer, rules: StaticRules) -> Result<Self> {
        inner.with_post_processor(None::<PostProcessorWrapper>);
        let (model2vec, own_length) = match rules {
            StaticRules::Model2vec => (Some(Model2vecRules::of(inner)?), None),
            StaticRules::SentenceTransformers => (None, inner.get_truncation().map(|cut| cut.max_length)),
        };
        Ok(Self { model2vec, own_length, words: WordPieces::new(inner), caches: Mutex::default() })
    }

    /// The end at which a text loses tokens, where tokenizer.json says `stored`.
    pub(super) fn direction(&self, stored: TruncationDirection) -> TruncationDirection {
        if self.model2vec.is_some() { TruncationDirection::Right } else { stored }
    }
}
