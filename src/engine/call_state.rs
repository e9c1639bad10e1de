//! How far a call is: which tasks it has next, when those before are done.
//!
//! ```text
//! for each window of inputs:
//!     tokenize its pieces                     (in parallel; ahead, while the window before is computed)
//!     for each batch of groups of inputs:
//!         prefill the groups' prefixes        (causal networks alone)
//!         compute the passes                  (in parallel, the last ones by all threads together)
//! ```
//!
//! A direct call, of a static embedding, has all of its pieces at once, each of which is tokenized and averaged in one go.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::Result;
use crate::engine::call::{Call, Report};
use crate::engine::planner::{PassPlan, Planner};
use crate::engine::prefix::{PrefixGroup, group_by_prefix, ungrouped};
use crate::engine::task::{Pass, PrefixBatch, Task, TaskSet, TokenizedWindow};
use crate::engine::window::{pieces, window};
use crate::text::Tokens;

/// Tokens of prefixes that are held at a time: each takes some hundred kilobytes in a language model.
const MAX_PREFIX_TOKENS: usize = 1024;

/// How far a call is.
#[derive(Default)]
pub(super) struct CallState {
    report: Report,
    /// Unique inputs that are not tokenized yet.
    ahead: Range<usize>,
    tokenizing: Option<Tokenizing>,
    window: Option<Arc<TokenizedWindow>>,
    /// Groups of the window that no batch has taken yet.
    groups: VecDeque<PrefixGroup>,
    /// Batch whose prefixes are being computed.
    prefilling: Option<Arc<PrefixBatch>>,
}

/// A window that is being tokenized.
struct Tokenizing {
    uniques: Range<usize>,
    /// Tokens of each piece, when it is done.
    tokens: Vec<Option<Vec<Tokens>>>,
}

impl CallState {
    pub(super) fn new(call: &Call) -> Self {
        Self { ahead: 0..call.unique_len(), ..Self::default() }
    }

    /// The next tasks, when nothing of the last ones is left; None at the end.
    pub(super) fn next(&mut self, planner: &Planner, call: &Call) -> Result<Option<TaskSet>> {
        loop {
            match self.advance(planner, call)? {
                Some(tasks) if tasks.len() == 0 => {}
                tasks => return Ok(tasks),
            }
        }
    }

    /// Takes the tokens of a piece.
    pub(super) fn set_tokens(&mut self, piece: usize, tokens: Vec<Tokens>) {
        if let Some(window) = &mut self.tokenizing {
            window.tokens[piece] = Some(tokens);
        }
    }

    /// At the end of a call for which nothing was done for a time of `waited`: the counts, and the tokens where every token's state is
    /// wanted.
    pub(super) fn finish(self, call: &Call, waited: Duration) -> (Report, Vec<Tokens>) {
        let Report { tokens, truncated, .. } = if call.is_direct { call.direct_report() } else { self.report };
        let report = Report {
            tokens,
            truncated: call.unique.all(truncated),
            halved: call.halved(),
            waited,
            tokenizing: call.tokenizing(),
            computing: call.computing(),
        };
        let kept = self.window.filter(|_| call.every_token);
        (report, kept.map(|window| window.tokens.clone()).unwrap_or_default())
    }

    fn advance(&mut self, planner: &Planner, call: &Call) -> Result<Option<TaskSet>> {
        if call.is_direct {
            let single: VecDeque<_> = self.average_all(call).into();
            return Ok((!single.is_empty()).then(|| TaskSet { single, ..TaskSet::default() }));
        }
        if let Some(batch) = self.prefilling.take() {
            return Ok(Some(self.compute(planner, call, batch)));
        }
        if self.groups.is_empty() {
            let Some(Tokenizing { uniques, tokens }) = self.tokenizing.take() else {
                let tasks = self.tokenize_ahead(call);
                return Ok((!tasks.is_empty()).then(|| TaskSet { single: tasks.into(), ..TaskSet::default() }));
            };
            let tokens = tokens.into_iter().flat_map(|piece| piece.expect("every piece was done")).collect();
            self.begin_window(planner, call, uniques.start, tokens)?;
        }
        let Some(batch) = self.next_batch() else { return Ok(None) };
        let with_prefix: Vec<_> = (0..batch.groups.len()).filter(|&group| batch.groups[group].prefix_len > 0).collect();
        if with_prefix.is_empty() {
            return Ok(Some(self.compute(planner, call, batch)));
        }
        let tasks: VecDeque<_> =
            with_prefix.into_iter().map(|group| Task::Prefill { batch: batch.clone(), group }).collect();
        self.prefilling = Some(batch);
        Ok(Some(match tasks.len() < planner.team_threads {
            true => TaskSet { on_team: tasks, ..TaskSet::default() },
            false => TaskSet { single: tasks, ..TaskSet::default() },
        }))
    }

    /// Cuts the inputs of a direct call into pieces.
    fn average_all(&mut self, call: &Call) -> Vec<Task> {
        let bytes = |unique| call.input(unique).bytes();
        let all = std::mem::take(&mut self.ahead);
        let average = |uniques: Range<usize>| Task::Average { bytes: uniques.clone().map(bytes).sum(), uniques };
        pieces(all, &bytes).into_iter().map(average).collect()
    }

    /// Cuts the next window into pieces.
    fn tokenize_ahead(&mut self, call: &Call) -> Vec<Task> {
        let bytes = |unique| call.input(unique).bytes();
        let now = if call.every_token { self.ahead.clone() } else { window(self.ahead.clone(), &bytes) };
        self.ahead.start = now.end;
        let pieces = pieces(now.clone(), &bytes);
        if !pieces.is_empty() {
            self.tokenizing = Some(Tokenizing { uniques: now, tokens: vec![None; pieces.len()] });
        }
        pieces.into_iter().enumerate().map(|(piece, uniques)| Task::Tokenize { piece, uniques }).collect()
    }

    fn begin_window(&mut self, planner: &Planner, call: &Call, first: usize, tokens: Vec<Tokens>) -> Result<()> {
        let mut starts = Vec::with_capacity(tokens.len());
        let mut all = 0;
        for (unique, tokens) in (first..).zip(&tokens) {
            starts.push(all);
            all += tokens.len();
            self.report.tokens += tokens.len() * call.unique.occurrences(unique);
            self.report.truncated.extend(tokens.truncated.then_some(unique));
        }
        if call.every_token {
            call.reserve_hidden(all.saturating_mul(planner.hidden))?;
        }
        self.groups = match planner.shares_prefixes && !call.every_token {
            true => {
                let inputs: Vec<_> = (first..first + tokens.len()).map(|unique| call.input(unique)).collect();
                group_by_prefix(&inputs, &tokens)
            }
            false => ungrouped(tokens.len()),
        }
        .into();
        self.window = Some(Arc::new(TokenizedWindow { first, tokens, starts }));
        Ok(())
    }

    /// The next groups whose prefixes are held at the same time.
    fn next_batch(&mut self) -> Option<Arc<PrefixBatch>> {
        let mut held = 0;
        let fits = |group: &&PrefixGroup| {
            held += group.prefix_len;
            held <= MAX_PREFIX_TOKENS
        };
        let count = self.groups.iter().take_while(fits).count().max(1).min(self.groups.len());
        let groups = self.groups.drain(..count).collect();
        Some(Arc::new(PrefixBatch::new(self.window.clone()?, groups)))
    }

    /// The passes of a batch; behind the last one of a window, the pieces of the next: threads that find nothing left to compute
    /// tokenize.
    fn compute(&mut self, planner: &Planner, call: &Call, batch: Arc<PrefixBatch>) -> TaskSet {
        let last_of_window = self.groups.is_empty();
        let last = last_of_window && self.ahead.is_empty();
        let lengths: Vec<_> = (0..batch.groups.len()).map(|group| batch.lengths(group)).collect();
        let PassPlan { passes, on_team } = planner.plan(&lengths, call.request.batch_size, last);
        let pass = |(group, places): (usize, Vec<usize>)| {
            let members = places.into_iter().map(|place| batch.groups[group].members[place]).collect();
            Task::Compute(Pass::new(batch.clone(), group, members, planner.hidden))
        };
        let mut single: VecDeque<_> = passes.into_iter().map(pass).collect();
        let on_team = single.split_off(single.len() - on_team);
        if last_of_window {
            single.extend(self.tokenize_ahead(call));
        }
        TaskSet { single, on_team }
    }
}
