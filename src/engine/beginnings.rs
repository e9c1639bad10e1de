//! Pairs that begin alike: what a decoder computes of their beginning serves all of them.

use std::collections::HashMap;

use crate::text::{Input, Tokens};

/// A shorter beginning is not worth a pass of its own.
const LEAST: usize = 16;

/// Some inputs, by number, and how many tokens all of them begin with.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    pub(super) members: Vec<usize>,
    pub(super) shared: usize,
}

/// All of `count` inputs, as if none began like another.
pub(super) fn apart(count: usize) -> Vec<Group> {
    vec![Group { members: (0..count).collect(), shared: 0 }]
}

/// The pairs of each first text, with what they share, and before them all other inputs, which share nothing.
pub(super) fn alike(inputs: &[Input], tokens: &[Tokens]) -> Vec<Group> {
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
        let shared = shared_by(&members, tokens);
        match members.len() > 1 && shared >= LEAST {
            true => sharing.push(Group { members, shared }),
            false => others.extend(members),
        }
    }
    others.sort_unstable();
    sharing.insert(0, Group { members: others, shared: 0 });
    sharing
}

/// Tokens that all `members` begin with; each has one more at least.
fn shared_by(members: &[usize], tokens: &[Tokens]) -> usize {
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
    fn pairs_of_one_first_text_share_their_beginning() {
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
        let expected = [Group { members: vec![1, 4, 5], shared: 0 }, Group { members: vec![0, 2, 3], shared: 19 }];
        assert_eq!(alike(&inputs, &tokens), expected);
        assert_eq!(apart(2), [Group { members: vec![0, 1], shared: 0 }]);
    }
}
