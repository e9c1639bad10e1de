//! The planner: which inputs of a call share a pass, and which passes all threads share.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::text::{Limits, cost, plan, shared_tail};

/// Fewest tokens for which a thread fetches all weights, unless there are fewer.
const MIN_PASS_TOKENS: usize = 256;

/// Tokens of a pass on a device that is not the CPU: enough to keep thousands of its cores at work.
pub(super) const DEVICE_PASS_TOKENS: usize = 16 << 10;

/// Cost per thread, in tokens, below which fetching the weights takes longer than computing with them: threads do better to
/// share them.
const MAX_TEAM_COST: usize = 48;

/// What passes are planned for.
pub(super) struct Planner {
    /// Width of a hidden state.
    pub(super) hidden: usize,
    /// Number of threads that each compute a pass.
    pub(super) threads: usize,
    /// Number of threads that share one pass.
    pub(super) team_threads: usize,
    /// Whether inputs that begin alike share what is computed of their prefix.
    pub(super) shares_prefixes: bool,
    /// Largest number of inputs in a pass; None for no limit.
    pub(super) max_batch_size: Option<usize>,
    /// Tokens of a pass: fewer than at first where the device had no memory for those.
    pass_tokens: AtomicUsize,
}

/// The passes of a batch.
pub(super) struct PassPlan {
    /// Group of each pass, and its members by their places in the group.
    pub(super) passes: Vec<(usize, Vec<usize>)>,
    /// How many of the last passes all threads share.
    pub(super) on_team: usize,
}

impl Planner {
    /// `pass_tokens`: number of tokens of a pass; see [`Self::pass_tokens_for_cache`] and [`DEVICE_PASS_TOKENS`].
    pub(super) fn new(
        hidden: usize,
        [threads, team_threads]: [usize; 2],
        shares_prefixes: bool,
        max_batch_size: Option<usize>,
        pass_tokens: usize,
    ) -> Self {
        Self { hidden, threads, team_threads, shares_prefixes, max_batch_size, pass_tokens: pass_tokens.into() }
    }

    /// The same plans, for another network on the same threads.
    pub(super) fn anew(&self) -> Self {
        Self { pass_tokens: self.pass_tokens().into(), ..*self }
    }

    /// Tokens of a pass on a CPU whose second-level cache has so many bytes: enough to use every weight many times while it is in the
    /// cache, few enough that a layer's input and what attention takes, 4 * hidden numbers for each token, stay there too.
    pub(super) fn pass_tokens_for_cache(bytes: usize, hidden: usize) -> usize {
        (bytes / (4 * 4 * hidden)).max(MIN_PASS_TOKENS)
    }

    /// Number of tokens of a pass.
    pub(super) fn pass_tokens(&self) -> usize {
        self.pass_tokens.load(Ordering::Relaxed)
    }

    /// Plans no more than so many tokens from now on.
    pub(super) fn shrink_passes(&self, tokens: usize) {
        self.pass_tokens.fetch_min(tokens.max(1), Ordering::Relaxed);
    }

    /// The passes of groups of inputs of these lengths, in tokens. `last`: nothing else of the call comes after them.
    pub(super) fn plan(&self, lengths: &[Vec<usize>], batch_size: Option<usize>, last: bool) -> PassPlan {
        let &Self { hidden, threads, team_threads, .. } = self;
        let costs = lengths.iter().flatten().map(|&length| cost(length, hidden));
        let is_small = last && costs.sum::<usize>() < team_threads * MAX_TEAM_COST;
        let limits = Limits {
            tokens: self.pass_tokens(),
            texts: batch_size.unwrap_or(usize::MAX).min(self.max_batch_size.unwrap_or(usize::MAX)),
            threads: if is_small { 1 } else { threads },
            hidden,
        };
        let mut passes = Vec::new();
        for (group, lengths) in lengths.iter().enumerate() {
            passes.extend(plan(lengths, &limits).into_iter().map(|pass| (group, pass)));
        }
        let on_team = match (is_small, last && team_threads > 1) {
            (true, _) => passes.len(),
            (false, false) => 0,
            (false, true) => {
                let cost_of = |(group, members): &(usize, Vec<usize>)| {
                    members.iter().map(|&i| cost(lengths[*group][i], hidden)).sum::<usize>()
                };
                shared_tail(&passes.iter().map(cost_of).collect::<Vec<_>>(), team_threads)
            }
        };
        PassPlan { passes, on_team }
    }
}
