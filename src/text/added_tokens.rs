//! Tokens that a vocabulary gets beside its own.

use std::collections::{BTreeMap, HashSet};

use tokenizers::{AddedToken, Result, Tokenizer};

use crate::config::SpecialTokens;

/// Adds the tokens that `inner` lacks, in the order in which transformers does, which settles their ids: those with a number
/// (`added`, tokenizer.json's own, count more than those of other files), those with a name, then the `extra` ones.
pub(super) fn add_missing(
    inner: &mut Tokenizer,
    tokens: &SpecialTokens,
    added: BTreeMap<u32, AddedToken>,
    extra: Vec<AddedToken>,
) -> Result<()> {
    let mut numbered = tokens.numbered.clone();
    if tokens.with_those_of_file {
        numbered.extend(added);
    }
    let present = inner.get_added_tokens_decoder();
    let same: HashSet<&AddedToken> = present.values().collect();
    let mut missing: Vec<AddedToken> = numbered.into_values().filter(|token| !same.contains(token)).collect();

    let seen = present.values().chain(&missing).map(|token| token.content.clone());
    let seen: HashSet<String> = seen.collect();
    let mut once = HashSet::new();
    let more = tokens.named().chain(&extra).filter(|token| !seen.contains(&token.content) && once.insert(*token));
    missing.extend(more.cloned());
    let names: HashSet<&str> = tokens.named().map(|token| token.content.as_str()).collect();
    for token in &mut missing {
        token.special |= names.contains(token.content.as_str());
    }
    if !missing.is_empty() {
        inner.add_tokens(missing)?;
    }
    Ok(())
}
