//! The course of a call: which stages it goes through, and what is to be done in each.
//!
//! Inputs are tokenized window by window, and computed pass by pass. In a network whose tokens see only what comes before them,
//! what pairs share of their beginning is computed ahead of their passes.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::Result;
use crate::engine::beginnings::{Group, alike, apart};
use crate::engine::job::{Job, Report};
use crate::engine::network::Network;
use crate::engine::window::{pieces, window};
use crate::models::Past;
use crate::text::{Tokens, cost};

/// Tokens of beginnings that are held at a time: each takes some hundred kilobytes in a language model.
const HELD_TOKENS: usize = 1024;

/// What one thread does at a time.
pub(super) enum Unit {
    /// The `piece`-th of the window ahead: these kinds of input.
    Tokenize {
        piece: usize,
        kinds: Range<usize>,
    },
    /// What this group begins with.
    Remember {
        batch: Arc<Batch>,
        group: usize,
    },
    Compute(Pass),
}

/// Inputs that are computed together.
#[derive(Clone)]
pub(super) struct Pass {
    pub(super) batch: Arc<Batch>,
    pub(super) group: usize,
    /// By their numbers in the window.
    pub(super) members: Vec<usize>,
    pub(super) tokens: usize,
    /// See [`cost`].
    pub(super) cost: usize,
}

/// Groups of inputs whose beginnings are held together.
pub(super) struct Batch {
    window: Arc<Window>,
    groups: Vec<Group>,
    /// What each group begins with, as soon as it is computed.
    pasts: Vec<OnceLock<Past>>,
}

/// Inputs that are tokenized.
struct Window {
    /// The kind of its first input.
    first: usize,
    tokens: Vec<Tokens>,
    /// Of each input, the first of its tokens among all of the call's.
    starts: Vec<usize>,
}

/// What can be done in any order, by several threads.
#[derive(Default)]
pub(super) struct Stage {
    pub(super) units: VecDeque<Unit>,
    /// What all threads do better to share, one after the other, when the rest is done.
    pub(super) shared: VecDeque<Unit>,
}

/// A window that is being tokenized.
struct Tokenizing {
    kinds: Range<usize>,
    /// Of each piece, when it is done.
    tokens: Vec<Option<Vec<Tokens>>>,
}

#[derive(Default)]
pub(super) struct Course {
    report: Report,
    /// Kinds that are not tokenized yet.
    ahead: Range<usize>,
    tokenizing: Option<Tokenizing>,
    window: Option<Arc<Window>>,
    /// Of the window, those that no batch has taken yet.
    groups: VecDeque<Group>,
    /// Waits for what its groups begin with.
    remembering: Option<Arc<Batch>>,
}

impl Unit {
    pub(super) fn pass(&self) -> Option<&Pass> {
        match self {
            Self::Compute(pass) => Some(pass),
            Self::Tokenize { .. } | Self::Remember { .. } => None,
        }
    }
}

impl Batch {
    /// What a group begins with, and how many tokens that are; None where it shares nothing.
    pub(super) fn past(&self, group: usize) -> Option<(&Past, usize)> {
        Some((self.pasts[group].get()?, self.groups[group].shared))
    }

    pub(super) fn remember(&self, group: usize, past: Past) {
        let _ = self.pasts[group].set(past);
    }

    /// The tokens that a group begins with.
    pub(super) fn beginning(&self, group: usize) -> Tokens {
        let Group { members, shared } = &self.groups[group];
        let ids = self.window.tokens[members[0]].ids[..*shared].to_vec();
        Tokens { ids, type_ids: None, truncated: false }
    }
}

impl Pass {
    pub(super) fn texts(&self) -> impl Iterator<Item = &Tokens> + Clone {
        self.members.iter().map(|&member| &self.batch.window.tokens[member])
    }

    /// Which kinds of the call's inputs they are.
    pub(super) fn kinds(&self) -> impl ExactSizeIterator<Item = usize> {
        self.members.iter().map(|member| self.batch.window.first + member)
    }

    /// Of each, the first of its tokens among all of the call's.
    pub(super) fn starts(&self) -> impl Iterator<Item = usize> {
        self.members.iter().map(|&member| self.batch.window.starts[member])
    }

    /// Two passes of about half the inputs each.
    pub(super) fn halves(&self, network: &Network) -> [Self; 2] {
        let (first, second) = self.members.split_at(self.members.len() / 2);
        [first, second].map(|members| Self::new(self.batch.clone(), self.group, members.to_vec(), network))
    }

    fn new(batch: Arc<Batch>, group: usize, members: Vec<usize>, network: &Network) -> Self {
        let shared = batch.groups[group].shared;
        let length = |&member: &usize| batch.window.tokens[member].len() - shared;
        let tokens = members.iter().map(length).sum();
        let cost = members.iter().map(|member| cost(length(member), network.hidden_size())).sum();
        Self { batch, group, members, tokens, cost }
    }
}

impl Stage {
    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty() && self.shared.is_empty()
    }

    /// Whether one thread, or all of them together, do all of it one unit after the other.
    pub(super) fn is_single_file(&self) -> bool {
        self.units.is_empty() || (self.units.len() == 1 && self.shared.is_empty())
    }
}

impl Course {
    pub(super) fn new(job: &Job) -> Self {
        Self { ahead: 0..job.kinds(), ..Self::default() }
    }

    /// The next stage, when nothing of the last one is left; None at the end.
    pub(super) fn next(&mut self, network: &Network, job: &Job) -> Result<Option<Stage>> {
        loop {
            match self.advance(network, job)? {
                Some(stage) if stage.is_empty() => {}
                stage => return Ok(stage),
            }
        }
    }

    /// Takes the tokens of a piece.
    pub(super) fn tokenized(&mut self, piece: usize, tokens: Vec<Tokens>) {
        if let Some(window) = &mut self.tokenizing {
            window.tokens[piece] = Some(tokens);
        }
    }

    /// At the end: what was found, and the tokens where every token's state is wanted.
    pub(super) fn finish(self, job: &Job) -> (Report, Vec<Tokens>) {
        let Report { tokens, truncated, .. } = self.report;
        let report = Report { tokens, truncated: job.repeats.all(truncated), halved: job.halved() };
        let kept = self.window.filter(|_| job.every_token);
        (report, kept.map(|window| window.tokens.clone()).unwrap_or_default())
    }

    fn advance(&mut self, network: &Network, job: &Job) -> Result<Option<Stage>> {
        if let Some(batch) = self.remembering.take() {
            return Ok(Some(self.compute(network, job, batch)));
        }
        if self.groups.is_empty() {
            let Some(Tokenizing { kinds, tokens }) = self.tokenizing.take() else {
                let units = self.tokenize_ahead(job);
                return Ok((!units.is_empty()).then(|| Stage { units: units.into(), ..Stage::default() }));
            };
            let tokens = tokens.into_iter().flat_map(|piece| piece.expect("every piece was done")).collect();
            self.enter(network, job, kinds.start, tokens)?;
        }
        let Some(batch) = self.batch() else { return Ok(None) };
        let sharing: Vec<_> = (0..batch.groups.len()).filter(|&group| batch.groups[group].shared > 0).collect();
        if sharing.is_empty() {
            return Ok(Some(self.compute(network, job, batch)));
        }
        let units: VecDeque<_> =
            sharing.into_iter().map(|group| Unit::Remember { batch: batch.clone(), group }).collect();
        self.remembering = Some(batch);
        Ok(Some(match units.len() < network.team() {
            true => Stage { shared: units, ..Stage::default() },
            false => Stage { units, ..Stage::default() },
        }))
    }

    /// Cuts the next window into pieces.
    fn tokenize_ahead(&mut self, job: &Job) -> Vec<Unit> {
        let bytes = |kind| job.kind(kind).bytes();
        let now = if job.every_token { self.ahead.clone() } else { window(self.ahead.clone(), &bytes) };
        self.ahead.start = now.end;
        let pieces = pieces(now.clone(), &bytes);
        if !pieces.is_empty() {
            self.tokenizing = Some(Tokenizing { kinds: now, tokens: vec![None; pieces.len()] });
        }
        pieces.into_iter().enumerate().map(|(piece, kinds)| Unit::Tokenize { piece, kinds }).collect()
    }

    fn enter(&mut self, network: &Network, job: &Job, first: usize, tokens: Vec<Tokens>) -> Result<()> {
        let mut starts = Vec::with_capacity(tokens.len());
        let mut all = 0;
        for (kind, tokens) in (first..).zip(&tokens) {
            starts.push(all);
            all += tokens.len();
            self.report.tokens += tokens.len() * job.repeats.times(kind);
            self.report.truncated.extend(tokens.truncated.then_some(kind));
        }
        if job.every_token {
            job.reserve_hidden(all.saturating_mul(network.hidden_size()))?;
        }
        self.groups = match network.has_decoder() && !job.every_token {
            true => {
                let inputs: Vec<_> = (first..first + tokens.len()).map(|kind| job.kind(kind)).collect();
                alike(&inputs, &tokens)
            }
            false => apart(tokens.len()),
        }
        .into();
        self.window = Some(Arc::new(Window { first, tokens, starts }));
        Ok(())
    }

    /// The next groups that are held together.
    fn batch(&mut self) -> Option<Arc<Batch>> {
        let mut held = 0;
        let fits = |group: &&Group| {
            held += group.shared;
            held <= HELD_TOKENS
        };
        let count = self.groups.iter().take_while(fits).count().max(1).min(self.groups.len());
        let groups: Vec<_> = self.groups.drain(..count).collect();
        let pasts = groups.iter().map(|_| OnceLock::new()).collect();
        Some(Arc::new(Batch { window: self.window.clone()?, groups, pasts }))
    }

    /// The passes of a batch; behind the last one of a window, the pieces of the next: threads that find nothing left to compute
    /// tokenize.
    fn compute(&mut self, network: &Network, job: &Job, batch: Arc<Batch>) -> Stage {
        let last_of_window = self.groups.is_empty();
        let last = last_of_window && self.ahead.is_empty();
        let lengths = |group: &Group| {
            let length = |&member: &usize| batch.window.tokens[member].len() - group.shared;
            group.members.iter().map(length).collect()
        };
        let lengths: Vec<Vec<usize>> = batch.groups.iter().map(lengths).collect();
        let (passes, shared) = network.plan(&lengths, job.request.batch_size, last);
        let pass = |(group, places): (usize, Vec<usize>)| {
            let members = places.into_iter().map(|place| batch.groups[group].members[place]).collect();
            Unit::Compute(Pass::new(batch.clone(), group, members, network))
        };
        let mut units: VecDeque<_> = passes.into_iter().map(pass).collect();
        let shared = units.split_off(units.len() - shared);
        if last_of_window {
            units.extend(self.tokenize_ahead(job));
        }
        Stage { units, shared }
    }
}

#[cfg(test)]
impl Pass {
    /// Of so many texts with so many tokens, each, in a window of their own.
    pub(super) fn sample(texts: usize, length: usize) -> Self {
        let tokens = vec![Tokens { ids: vec![0; length], type_ids: None, truncated: false }; texts];
        let window = Arc::new(Window { first: 0, tokens, starts: Vec::new() });
        let batch = Arc::new(Batch { window, groups: apart(texts), pasts: vec![OnceLock::new()] });
        Self { batch, group: 0, members: (0..texts).collect(), tokens: texts * length, cost: texts * length }
    }
}
