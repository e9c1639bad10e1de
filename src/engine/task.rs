//! Tasks: what one thread does for a call at a time.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::engine::call::Call;
use crate::engine::prefix::PrefixGroup;
#[cfg(test)]
use crate::engine::prefix::ungrouped;
use crate::models::KvCache;
use crate::text::{Tokens, cost};

/// Bytes of text that are taken for a token where none was made yet.
const BYTES_PER_TOKEN: usize = 4;

/// What one thread does at a time.
pub(super) enum Task {
    /// Tokenizes these unique inputs, the `piece`-th of the window ahead.
    Tokenize {
        piece: usize,
        uniques: Range<usize>,
    },
    /// Computes the keys and values of a group's prefix.
    Prefill {
        batch: Arc<PrefixBatch>,
        group: usize,
    },
    Compute(Pass),
    /// Makes the rows of these unique inputs, of so many bytes, right behind their tokens.
    Average {
        uniques: Range<usize>,
        bytes: usize,
    },
}

/// Tasks of a call that may be done in any order, by several threads.
#[derive(Default)]
pub(super) struct TaskSet {
    /// Tasks that take one thread each.
    pub(super) single: VecDeque<Task>,
    /// Tasks that all threads share, one after the other, when the others are done.
    pub(super) on_team: VecDeque<Task>,
}

/// Inputs of a call that go through the network together.
#[derive(Clone)]
pub(super) struct Pass {
    pub(super) batch: Arc<PrefixBatch>,
    pub(super) group: usize,
    /// Inputs by their numbers in the window.
    pub(super) members: Vec<usize>,
    /// Number of tokens, without the prefix.
    pub(super) tokens: usize,
    /// See [`cost`].
    pub(super) cost: usize,
}

/// A call's part of a pass, which several calls may share.
pub(super) struct PassPart {
    pub(super) call: Arc<Call>,
    pub(super) pass: Pass,
}

/// Groups of inputs whose prefixes are held at the same time.
pub(super) struct PrefixBatch {
    pub(super) window: Arc<TokenizedWindow>,
    pub(super) groups: Vec<PrefixGroup>,
    /// Keys and values of each group's prefix, as soon as they are computed.
    caches: Vec<OnceLock<KvCache>>,
}

/// Inputs that are tokenized and not all computed.
pub(super) struct TokenizedWindow {
    /// Number of the first unique input.
    pub(super) first: usize,
    pub(super) tokens: Vec<Tokens>,
    /// Position of each input's first token among all tokens of the call.
    pub(super) starts: Vec<usize>,
}

impl Task {
    pub(super) fn pass(&self) -> Option<&Pass> {
        match self {
            Self::Compute(pass) => Some(pass),
            Self::Tokenize { .. } | Self::Prefill { .. } | Self::Average { .. } => None,
        }
    }

    /// Number of tokens that it computes, and what that costs.
    pub(super) fn tokens_and_cost(&self) -> (usize, usize) {
        match self {
            Self::Compute(pass) => (pass.tokens, pass.cost),
            // Tokens are not counted yet; none has many more bytes on average.
            Self::Average { bytes, .. } => (bytes / BYTES_PER_TOKEN, bytes / BYTES_PER_TOKEN),
            Self::Tokenize { .. } | Self::Prefill { .. } => (0, 0),
        }
    }
}

impl TaskSet {
    pub(super) fn len(&self) -> usize {
        self.single.len() + self.on_team.len()
    }

    /// Whether one thread, or all of them together, do all of it one task after the other.
    pub(super) fn is_sequential(&self) -> bool {
        self.single.is_empty() || (self.single.len() == 1 && self.on_team.is_empty())
    }

    /// Whether it has nothing to compute.
    pub(super) fn only_tokenizes(&self) -> bool {
        self.on_team.is_empty() && self.single.iter().all(|task| matches!(task, Task::Tokenize { .. }))
    }
}

impl PrefixBatch {
    pub(super) fn new(window: Arc<TokenizedWindow>, groups: Vec<PrefixGroup>) -> Self {
        let caches = groups.iter().map(|_| OnceLock::new()).collect();
        Self { window, groups, caches }
    }

    /// Keys and values of a group's prefix, and its length in tokens; None where the group has no prefix.
    pub(super) fn prefix(&self, group: usize) -> Option<(&KvCache, usize)> {
        Some((self.caches[group].get()?, self.groups[group].prefix_len))
    }

    pub(super) fn set_prefix(&self, group: usize, cache: KvCache) {
        let _ = self.caches[group].set(cache);
    }

    /// The tokens of a group's prefix.
    pub(super) fn prefix_tokens(&self, group: usize) -> Tokens {
        let PrefixGroup { members, prefix_len } = &self.groups[group];
        let ids = self.window.tokens[members[0]].ids[..*prefix_len].to_vec();
        Tokens { ids, type_ids: None, truncated: false }
    }

    /// Number of tokens of each member of a group after the prefix.
    pub(super) fn lengths(&self, group: usize) -> Vec<usize> {
        let PrefixGroup { members, prefix_len } = &self.groups[group];
        members.iter().map(|&member| self.window.tokens[member].len() - prefix_len).collect()
    }
}

impl Pass {
    /// A pass of some members of a group, in a network of width `hidden`.
    pub(super) fn new(batch: Arc<PrefixBatch>, group: usize, members: Vec<usize>, hidden: usize) -> Self {
        let prefix_len = batch.groups[group].prefix_len;
        let length = |&member: &usize| batch.window.tokens[member].len() - prefix_len;
        let tokens = members.iter().map(length).sum();
        let cost = members.iter().map(|member| cost(length(member), hidden)).sum();
        Self { batch, group, members, tokens, cost }
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &Tokens> + Clone {
        self.members.iter().map(|&member| &self.batch.window.tokens[member])
    }

    /// Numbers of the unique inputs.
    pub(super) fn uniques(&self) -> impl ExactSizeIterator<Item = usize> {
        self.members.iter().map(|member| self.batch.window.first + member)
    }

    /// Position of each input's first token among all tokens of the call.
    pub(super) fn starts(&self) -> impl Iterator<Item = usize> {
        self.members.iter().map(|&member| self.batch.window.starts[member])
    }

    /// Two passes of about half the inputs each.
    pub(super) fn halves(&self, hidden: usize) -> [Self; 2] {
        let (first, second) = self.members.split_at(self.members.len() / 2);
        [first, second].map(|members| Self::new(self.batch.clone(), self.group, members.to_vec(), hidden))
    }
}

#[cfg(test)]
impl Pass {
    /// A pass of so many texts with so many tokens each, in a window of their own.
    pub(super) fn sample(texts: usize, length: usize) -> Self {
        let tokens = vec![Tokens { ids: vec![0; length], type_ids: None, truncated: false }; texts];
        let window = Arc::new(TokenizedWindow { first: 0, tokens, starts: Vec::new() });
        let batch = Arc::new(PrefixBatch::new(window, ungrouped(texts)));
        Self { batch, group: 0, members: (0..texts).collect(), tokens: texts * length, cost: texts * length }
    }
}
