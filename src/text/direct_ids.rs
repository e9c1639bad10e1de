//! The ids of texts and nothing else of them, one text after the other: what static embeddings are made of.

use crate::text::inputs::Input;
use crate::text::library::call_library;
use crate::text::pieces::MAX_INLINE_BYTES;
use crate::text::static_tokens::StaticTokens;
use crate::text::tokenizer::Tokenizer;
use crate::text::truncation::LengthLimit;
use crate::text::word_pieces::{WordCache, WordPieces};
use crate::{CancelCheck, Result};

/// Bytes that are tokenized without asking the caller whether to go on.
const PART_BYTES: usize = 64 << 10;

impl Tokenizer {
    /// The greatest length that its file says, where that counts for the model.
    pub fn own_length(&self) -> Option<usize> {
        self.static_tokens.as_ref()?.own_length
    }

    /// Whether unknown tokens are dropped, and texts cut by their characters, too.
    pub fn follows_model2vec(&self) -> bool {
        self.static_tokens.as_ref().is_some_and(|tokens| tokens.model2vec.is_some())
    }

    /// A cache of words that no thread uses; give it back when its texts are done.
    pub fn take_cache(&self) -> WordCache {
        // No thread waits for it, and a child of fork() may have inherited it taken.
        let caches = self.static_tokens.as_ref().and_then(|tokens| tokens.caches.try_lock().ok());
        caches.and_then(|mut caches| caches.pop()).unwrap_or_default()
    }

    pub fn give_back(&self, cache: WordCache) {
        if let Some(Ok(mut caches)) = self.static_tokens.as_ref().map(|tokens| tokens.caches.try_lock()) {
            caches.push(cache);
        }
    }

    /// Appends the ids of a text to `ids`, as [`Self::tokenize`] gives them; gives whether the text was longer than is read.
    pub fn append_ids(
        &self,
        text: &str,
        limit: LengthLimit,
        cache: &mut WordCache,
        ids: &mut Vec<u32>,
        check_cancel: CancelCheck<'_>,
    ) -> Result<bool> {
        let start = ids.len();
        if let Some(StaticTokens { words: Some(words), model2vec, .. }) = &self.static_tokens
            && !self.truncates_left(limit.truncation)
        {
            let max_length = limit.tokens;
            let read = model2vec.as_ref().map_or(text, |rules| rules.cut(text, max_length));
            if self.append_words(words, read, max_length, cache, ids, check_cancel)? {
                let is_cut = ids.len() - start > max_length;
                ids.truncate(start.saturating_add(max_length));
                if let Some(rules) = model2vec {
                    rules.drop_unknown(ids, start);
                }
                self.require_within(&ids[start..])?;
                return Ok(is_cut || read.len() < text.len());
            }
            ids.truncate(start);
        }
        let tokens = self.tokenize(Input::Text(text), limit, check_cancel)?;
        ids.extend(tokens.ids);
        Ok(tokens.truncated)
    }

    /// Appends ids until there are more than `most`; false where the library is to do it.
    fn append_words(
        &self,
        words: &WordPieces,
        text: &str,
        most: usize,
        cache: &mut WordCache,
        ids: &mut Vec<u32>,
        check_cancel: CancelCheck<'_>,
    ) -> Result<bool> {
        let full = ids.len().saturating_add(most);
        let mut rest = text;
        while !rest.is_empty() && ids.len() <= full {
            check_cancel()?;
            let part;
            (part, rest) = split_at_space(rest);
            if part.len() > MAX_INLINE_BYTES
                || !call_library(&self.file, || words.append(part, full - ids.len(), cache, ids))?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The beginning of a text, and the rest of it.
fn split_at_space(text: &str) -> (&str, &str) {
    let later = text.as_bytes().get(PART_BYTES..).unwrap_or_default();
    let end = later.iter().position(|&byte| byte == b' ').map_or(text.len(), |n| PART_BYTES + n);
    text.split_at(end)
}
