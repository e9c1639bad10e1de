//! Prefix sharing: pairs that begin with the same tokens share the keys and values that a causal network computes of them
//! (as the prefix caches of serving engines do: RadixAttention, Zheng et al. 2024).
//!
//! Pairs are grouped by their first text, and a group's prefix is what its tokens have in common. So no trie is needed: a
//! reranker asks one query about many documents, and a group whose prefix is short is computed as if it had none.

use std::collections::HashMap;

use crate::text::{Input, Tokens};

/// A shorter prefix is not worth a pass of its own.
const MIN_PREFIX_TOKENS: usize = 16;

/// Inputs that begin with the same tokens.
#[derive(Debug, PartialEq)]
pub(super) struct PrefixGroup {
    /// Inputs by their numbers.
    pub(super) members: Vec<usize>,
    /// Number of tokens that all members begin with; 0 where they share nothing.
    pub(super) prefix_len: usize,
}

/// One group of all `count` inputs, without a common prefix.
pub(super) fn ungrouped(count: usize) -> Vec<PrefixGroup> {
    vec![PrefixGroup { members: (0..count).collect(), prefix_len: 0 }]
}

/// A group for the pairs of each first text, and before these a group of all other inputs, without a common prefix.
pub(super) fn group_by_prefix(inputs: &[Input], tokens: &[Tokens]) -> Vec<PrefixGroup> {
    let mut place = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut others = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        match input {
            Input::Text(_) => others.push(i),
            Input::Pair(first, _) => {
                let group = *place.entry(*first).or_insert(groups.len());
                if group == groups.len() {
                    groups.push(Vec::new());
                }
                groups[group].push(i);
            }
        }
    }
    let mut sharing = Vec::new();
    for members in groups {
        let prefix_len = common_prefix_len(&members, tokens);
        match members.len() > 1 && prefix_len >= MIN_PREFIX_TOKENS {
            true => sharing.push(PrefixGroup { members, prefix_len }),
            false => others.extend(members),
        }
    }
    others.sort_unstable();
    sharing.insert(0, PrefixGroup { members: others, prefix_len: 0 });
    sharing
}

/// Number of tokens that all `members` begin with; each has one more at least.
fn common_prefix_len(members: &[usize], tokens: &[Tokens]) -> usize {
    let first = &tokens[members[0]].ids;
    let common = |i: &usize| {
        let ids = &tokens[*i].ids;
        first.iter().zip(ids).take_while(|(a, b)| a == b).count().min(ids.len().saturating_sub(1))
    };
    members.iter().map(common).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(shared: usize, own: &[u32]) -> Tokens {
        let ids = (100..100 + shared as u32).chain(own.iter().copied()).collect();
        Tokens { ids, type_ids: None, truncated: false }
    }

    #[test]
    fn pairs_of_one_first_text_share_their_prefix() {
        let inputs = [
            Input::Pair("q", "a"),
            Input::Pair("other", "a"),
            Input::Pair("q", "b"),
            Input::Pair("q", ""),
            Input::Pair("short", "a"),
            Input::Pair("short", "b"),
        ];
        let tokens = [
            tokens(20, &[1, 2]),
            tokens(20, &[1, 3]),
            tokens(20, &[1, 4]),
            // Nothing of its own: its last token is not shared.
            tokens(20, &[]),
            tokens(5, &[1]),
            tokens(5, &[2]),
        ];
        let expected = [
            PrefixGroup { members: vec![1, 4, 5], prefix_len: 0 },
            PrefixGroup { members: vec![0, 2, 3], prefix_len: 19 },
        ];
        assert_eq!(group_by_prefix(&inputs, &tokens), expected);
        assert_eq!(ungrouped(2), [PrefixGroup { members: vec![0, 1], prefix_len: 0 }]);
    }
}
