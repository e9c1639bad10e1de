//! Tokens as text, and text as tokens, for callers that do neither to compute with them.

use std::collections::HashMap;

use crate::text::library::call_library;
use crate::text::tokenizer::Tokenizer;
use crate::text::truncation::{LengthLimit, Truncation};
use crate::{CancelCheck, Result};

/// Ids and type ids of a text or a pair.
pub type TokenIds = (Vec<u32>, Vec<u32>);

impl Tokenizer {
    /// The tokens of a text or a pair, cut to `max_length`, with special ones or without.
    pub fn ids(
        &self,
        first: &str,
        second: Option<&str>,
        with_special: bool,
        max_length: usize,
        check_cancel: CancelCheck<'_>,
    ) -> Result<TokenIds> {
        let limit = LengthLimit::of(max_length, Truncation::OfModel);
        let (encoding, _) = self.encode(first, second, with_special, limit, check_cancel)?;
        Ok((encoding.get_ids().to_vec(), encoding.get_type_ids().to_vec()))
    }

    /// The text of some tokens, with special ones or without. Ids that no token has are passed over.
    pub fn decode(&self, ids: &[u32], with_special: bool) -> Result<String> {
        call_library(&self.file, || self.inner.decode(ids, !with_special))
    }

    /// The ids of all tokens.
    pub fn vocabulary(&self) -> HashMap<String, u32> {
        self.inner.get_vocab(true)
    }

    /// Number of tokens, without those that were added to the vocabulary.
    pub fn base_size(&self) -> usize {
        self.inner.get_vocab_size(false)
    }
}
