//! Who waits, and who is next.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::course::{Course, Stage, Unit};
use crate::engine::job::Job;
use crate::engine::scheduler::{End, Lane, Sharing};
use crate::text::Tokens;
use crate::{Error, Result};

/// Passes of several calls are not joined to ones that cost more than a worker's share, unless that is less than this, in tokens:
/// smaller ones take longer to fetch the weights than threads wait for each other.
const SMALLEST_SHARE: usize = 128;

/// Calls that must find nobody else before threads share a pass again.
const COMPANY: usize = 4;

/// Calls that are looked at for one pass.
const MAX_LOOKED_AT: usize = 256;

/// What a token counts, at priority 1.
const TOKEN: f32 = 1024.0;

/// A call in the queue.
pub(super) struct Entry {
    number: u64,
    pub(super) job: Arc<Job>,
    pub(super) course: Course,
    /// In the order in which they are done.
    compute: VecDeque<Unit>,
    text: VecDeque<Unit>,
    shared: VecDeque<Unit>,
    /// Units that are being done.
    outstanding: usize,
    pub(super) failure: Option<Error>,
    /// Tokens that were computed for it, by its priority.
    served: u64,
    pub(super) end: End,
    /// While nothing of its stage was taken.
    waiting_since: Option<Instant>,
    /// How long nothing was done for it.
    pub(super) waited: Duration,
}

/// What a worker does next.
pub(super) struct Work {
    pub(super) units: Vec<(u64, Arc<Job>, Unit)>,
    /// How much of the machine it takes.
    pub(super) slots: usize,
    /// Whether all threads share it.
    pub(super) together: bool,
}

/// What a caller that computes by itself has of the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Held {
    pub(super) slots: usize,
    /// Whether all threads share its work.
    pub(super) together: bool,
}

/// What became of a unit: of one that tokenizes its number, and the tokens.
pub(super) type Done = (u64, Result<Option<(usize, Vec<Tokens>)>>);

pub(super) enum Found {
    Work(Work),
    Nothing,
    /// Something, if nobody else comes within that time.
    Later(Duration),
}

pub(super) struct Queue {
    sharing: Sharing,
    /// Passes at a time.
    slots: usize,
    pub(super) busy: usize,
    /// Whether a device with an owner computes.
    owned: bool,
    threads: usize,
    /// Of the lanes that there are: those that compute, and those that only tokenize.
    workers: [usize; 2],
    /// Of those, the ones that do something.
    working: [usize; 2],
    entries: HashMap<u64, Entry>,
    /// Who has something to compute, and who has something to tokenize: served, number.
    ready: [BTreeSet<(u64, u64)>; 2],
    /// What waits to be computed.
    units: [usize; 2],
    cost: usize,
    /// How much a call had been served that has been here all the time.
    clock: u64,
    numbers: u64,
    /// Inputs of all calls in the queue.
    inputs: usize,
    /// Calls for which there is no room yet.
    outside: VecDeque<Entry>,
    /// Above 0: of the last calls one found others, so that threads do better to compute one each than to share one.
    company: usize,
}

const COMPUTE: usize = 0;
const TEXT: usize = 1;

impl Entry {
    pub(super) fn new(job: Arc<Job>, course: Course, stage: Stage, end: End) -> Self {
        let mut entry = Self {
            number: 0,
            job,
            course,
            compute: VecDeque::new(),
            text: VecDeque::new(),
            shared: VecDeque::new(),
            outstanding: 0,
            failure: None,
            served: 0,
            end,
            waiting_since: Some(Instant::now()),
            waited: Duration::ZERO,
        };
        entry.set(stage);
        entry
    }

    fn set(&mut self, stage: Stage) {
        (self.text, self.compute) = stage.units.into_iter().partition(|unit| matches!(unit, Unit::Tokenize { .. }));
        self.shared = stage.shared;
    }

    fn key(&self) -> (u64, u64) {
        (self.served, self.number)
    }

    fn is_idle(&self) -> bool {
        self.outstanding == 0 && self.compute.is_empty() && self.text.is_empty() && self.shared.is_empty()
    }

    /// Whether its inputs may be in a pass with those of `other`: what follows the network is the same for all of a pass.
    fn goes_with(&self, other: &Job) -> bool {
        let plain = |job: &Job| job.request.profile.is_none() && !job.every_token;
        let job = &self.job;
        plain(job)
            && plain(other)
            && job.request.normalize == other.request.normalize
            && job.prompt_tokens == other.prompt_tokens
    }

    /// The next unit that computes.
    fn pop_compute(&mut self) -> Option<Unit> {
        self.compute.pop_front().or_else(|| self.shared.pop_front())
    }
}

impl Queue {
    /// `owned`: whether a device with an owner computes.
    pub(super) fn new(sharing: Sharing, owned: bool, threads: usize) -> Self {
        Self {
            slots: sharing.max_concurrency.unwrap_or(if owned { 1 } else { threads }),
            sharing,
            busy: 0,
            owned,
            threads,
            workers: [0; 2],
            working: [0; 2],
            entries: HashMap::new(),
            ready: Default::default(),
            units: [0; 2],
            cost: 0,
            clock: 0,
            numbers: 0,
            inputs: 0,
            outside: VecDeque::new(),
            company: 0,
        }
    }

    /// Takes a call in, or has it wait outside.
    pub(super) fn admit(&mut self, mut entry: Entry) -> Result<u64> {
        self.meet();
        let number = self.numbers;
        self.numbers += 1;
        entry.number = number;
        if self.has_room(&entry) && self.outside.is_empty() {
            self.let_in(entry);
            return Ok(number);
        }
        if self.sharing.refuse_when_full {
            let (limit, waiting) = (self.sharing.max_queue.unwrap_or_default(), self.inputs);
            let message = format!("max_queue: {limit} inputs may wait; {waiting} do, and {} came", entry.job.len());
            return Err(Error::QueueFull { message });
        }
        self.outside.push_back(entry);
        Ok(number)
    }

    fn has_room(&self, entry: &Entry) -> bool {
        let limit = self.sharing.max_queue.unwrap_or(usize::MAX);
        self.inputs == 0 || self.inputs.saturating_add(entry.job.len()) <= limit
    }

    fn let_in(&mut self, mut entry: Entry) {
        self.inputs += entry.job.len();
        entry.served = self.clock;
        self.put(entry);
    }

    /// The next stage of a call; gives it back if it was cancelled on its way.
    pub(super) fn resume(&mut self, mut entry: Entry, stage: Stage) -> Option<Entry> {
        if entry.job.is_given_up() {
            return Some(entry);
        }
        entry.set(stage);
        entry.waiting_since = Some(Instant::now());
        self.put(entry);
        None
    }

    fn put(&mut self, entry: Entry) {
        self.count(&entry, true);
        self.entries.insert(entry.number, entry);
    }

    /// Adds to, or takes from, what waits.
    fn count(&mut self, entry: &Entry, there: bool) {
        let compute = entry.compute.len() + entry.shared.len();
        let cost: usize = entry.compute.iter().chain(&entry.shared).filter_map(Unit::pass).map(|pass| pass.cost).sum();
        let counts = [compute, entry.text.len()];
        for (class, count) in counts.into_iter().enumerate() {
            match there {
                true => self.units[class] += count,
                false => self.units[class] -= count,
            }
            match there && count > 0 {
                true => self.ready[class].insert(entry.key()),
                false => self.ready[class].remove(&entry.key()),
            };
        }
        match there {
            true => self.cost += cost,
            false => self.cost -= cost,
        }
    }

    /// A call is over: whoever waits outside may find room.
    pub(super) fn leave(&mut self, entry: &Entry) {
        self.inputs -= entry.job.len();
        while let Some(first) = self.outside.front()
            && self.has_room(first)
        {
            let entry = self.outside.pop_front().expect("there is a first");
            self.let_in(entry);
        }
    }

    /// Drops what waits of a call; gives it where nothing of it is being done, so that it is over.
    pub(super) fn cancel(&mut self, number: u64) -> Option<Entry> {
        if let Some(place) = self.outside.iter().position(|entry| entry.number == number) {
            return self.outside.remove(place);
        }
        let mut entry = self.entries.remove(&number)?;
        self.count(&entry, false);
        entry.set(Stage::default());
        if entry.is_idle() {
            self.leave(&entry);
            return Some(entry);
        }
        entry.failure.get_or_insert(Error::Interrupted);
        self.put(entry);
        None
    }

    /// A part of the machine for a caller that computes so many units itself: all `team` threads, if callers come one at a time, else its
    /// own. None where that would keep others waiting.
    pub(super) fn hold(&mut self, units: usize, team: usize) -> Option<Held> {
        self.meet();
        let together = self.company == 0;
        let slots = if together { team.min(self.slots) } else { 1 };
        let free = !self.owned && self.sharing.max_wait.is_zero() && self.busy + slots <= self.slots;
        // One thread takes its time for several: workers share them.
        (free && self.entries.is_empty() && (together || units == 1)).then(|| {
            self.busy += slots;
            Held { slots, together }
        })
    }

    /// Notes whether a call that comes finds others.
    fn meet(&mut self) {
        let alone = self.busy == 0 && self.entries.is_empty();
        self.company = if alone { self.company.saturating_sub(1) } else { COMPANY };
    }

    /// The lane of a worker that would find something to do.
    pub(super) fn wants_worker(&self) -> Option<Lane> {
        let [compute, text] = self.units;
        let wants = |class: usize, units: usize, most: usize, free: usize| {
            let idle = self.workers[class] - self.working[class];
            self.workers[class] < most && idle < units.min(free)
        };
        let free = self.slots.saturating_sub(self.busy);
        match self.owned {
            false => wants(COMPUTE, compute + text, self.threads, free).then_some(Lane::Any),
            true if wants(COMPUTE, compute, 1, free) => Some(Lane::Device),
            true => wants(TEXT, text, self.threads, usize::MAX).then_some(Lane::Text),
        }
    }

    pub(super) fn count_worker(&mut self, lane: Lane) {
        self.workers[class(lane)] += 1;
    }

    pub(super) fn dismiss_worker(&mut self, lane: Lane) {
        self.workers[class(lane)] -= 1;
    }

    /// What a worker does next; passes that several calls share have up to `pass_tokens`.
    pub(super) fn take(&mut self, lane: Lane, pass_tokens: usize, now: Instant) -> Found {
        let found = self.find(lane, pass_tokens, now);
        if let Found::Work(work) = &found {
            self.busy += work.slots;
            self.working[class(lane)] += 1;
        }
        found
    }

    fn find(&mut self, lane: Lane, pass_tokens: usize, now: Instant) -> Found {
        let compute = self.ready[COMPUTE].first().copied().filter(|_| lane != Lane::Text);
        let text = self.ready[TEXT].first().copied().filter(|_| lane != Lane::Device);
        if lane != Lane::Text && self.busy >= self.slots {
            return Found::Nothing;
        }
        let mut found = Found::Nothing;
        if let Some(compute) = compute
            && !text.is_some_and(|text| self.is_text_first(text, compute))
        {
            found = self.take_pass(compute.1, pass_tokens, now);
        }
        match (&found, text) {
            (Found::Nothing | Found::Later(_), Some(text)) => self.take_text(text.1, lane),
            _ => found,
        }
    }

    /// Whether to tokenize, for one call, before computing for another. Small calls that came together are all tokenized before the
    /// first of them is computed, so that they are computed together.
    fn is_text_first(&self, text: (u64, u64), compute: (u64, u64)) -> bool {
        match text.0.cmp(&compute.0) {
            Ordering::Less => true,
            Ordering::Equal => text.1 != compute.1 && self.entries[&text.1].text.len() == 1,
            Ordering::Greater => false,
        }
    }

    fn take_text(&mut self, number: u64, lane: Lane) -> Found {
        let Some((job, unit)) = self.with(number, |entry| entry.text.pop_front()) else { return Found::Nothing };
        let slots = usize::from(lane == Lane::Any);
        Found::Work(Work { units: vec![(number, job, unit)], slots, together: false })
    }

    fn take_pass(&mut self, number: u64, pass_tokens: usize, now: Instant) -> Found {
        let entry = &self.entries[&number];
        if let Some(wait) = self.wait(entry, pass_tokens, now) {
            return Found::Later(wait);
        }
        let others = self.entries.len() > 1;
        let together = !others && self.company == 0 && self.busy == 0 && entry.compute.is_empty();
        if entry.compute.is_empty() && !others && entry.outstanding > 0 {
            // When the rest is done, all threads share it.
            return Found::Nothing;
        }
        let free = self.slots - self.busy;
        let share = self.cost.div_ceil(free).max(SMALLEST_SHARE);
        let Some((job, unit)) = self.with(number, Entry::pop_compute) else {
            return Found::Nothing;
        };
        let mut units = vec![(number, job, unit)];
        if others && let Unit::Compute(first) = &units[0].2 {
            let limits = Room {
                tokens: pass_tokens.saturating_sub(first.tokens),
                cost: share.saturating_sub(first.cost),
                texts: self.most_texts(&units[0].1).saturating_sub(first.members.len()),
            };
            if first.batch.past(first.group).is_none() {
                self.join(&mut units, limits);
            }
        }
        let slots = if together { self.slots } else { 1 };
        Found::Work(Work { units, slots, together })
    }

    /// How long a call's inputs may still wait for others.
    fn wait(&self, entry: &Entry, pass_tokens: usize, now: Instant) -> Option<Duration> {
        let due = entry.job.start + self.sharing.max_wait;
        (now < due && self.cost < pass_tokens).then(|| due - now)
    }

    fn most_texts(&self, job: &Job) -> usize {
        job.request.batch_size.unwrap_or(usize::MAX).min(self.sharing.max_batch_size.unwrap_or(usize::MAX))
    }

    /// Adds passes of others, as long as they fit.
    fn join(&mut self, units: &mut Vec<(u64, Arc<Job>, Unit)>, mut room: Room) {
        let candidates: Vec<u64> = self.ready[COMPUTE].iter().take(MAX_LOOKED_AT).map(|key| key.1).collect();
        for number in candidates {
            let entry = &self.entries[&number];
            let next = entry.compute.front().or(entry.shared.front());
            let Some(Unit::Compute(pass)) = next else { continue };
            let joined: usize =
                units.iter().filter_map(|(_, _, unit)| unit.pass()).map(|pass| pass.members.len()).sum();
            let alone = pass.batch.past(pass.group).is_some() || !entry.goes_with(&units[0].1);
            let after = joined + pass.members.len();
            let crowded = after > self.most_texts(&entry.job);
            if alone || crowded || pass.tokens > room.tokens || pass.cost > room.cost || pass.members.len() > room.texts
            {
                continue;
            }
            room.tokens -= pass.tokens;
            room.cost -= pass.cost;
            room.texts -= pass.members.len();
            let taken = self.with(number, Entry::pop_compute);
            let Some((job, unit)) = taken else { continue };
            room.texts = room.texts.min(self.most_texts(&job).saturating_sub(after));
            units.push((number, job, unit));
        }
    }

    /// Takes a unit of a call.
    fn with(&mut self, number: u64, take: impl FnOnce(&mut Entry) -> Option<Unit>) -> Option<(Arc<Job>, Unit)> {
        let mut entry = self.entries.remove(&number)?;
        self.count(&entry, false);
        let unit = take(&mut entry);
        if let Some(unit) = &unit {
            entry.outstanding += 1;
            entry.waited += entry.waiting_since.take().map_or(Duration::ZERO, |since| since.elapsed());
            let tokens = unit.pass().map_or(0, |pass| pass.tokens) as f32 * TOKEN;
            // Whoever comes from now on is as far as one that had an equal share of all that was computed.
            let share = (tokens / (self.entries.len() + 1) as f32) as u64;
            self.clock = self.clock.max(entry.served).saturating_add(share);
            entry.served = entry.served.saturating_add((tokens / entry.job.request.priority) as u64);
        }
        let job = entry.job.clone();
        self.put(entry);
        Some((job, unit?))
    }

    /// Keeps what became of some units; gives the calls of which nothing is left to do, in this stage or at all.
    pub(super) fn settle(&mut self, lane: Lane, slots: usize, done: Vec<Done>) -> Vec<Entry> {
        self.busy -= slots;
        self.working[class(lane)] -= 1;
        let mut idle = Vec::new();
        for (number, result) in done {
            let Some(mut entry) = self.entries.remove(&number) else { continue };
            self.count(&entry, false);
            entry.outstanding -= 1;
            match result {
                Ok(Some((piece, tokens))) => entry.course.tokenized(piece, tokens),
                Ok(None) => {}
                Err(error) => {
                    entry.failure.get_or_insert(error);
                }
            }
            if entry.failure.is_some() {
                entry.set(Stage::default());
            }
            match entry.is_idle() {
                true => idle.push(entry),
                false => self.put(entry),
            }
        }
        idle
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;

/// What still fits in a pass.
struct Room {
    tokens: usize,
    cost: usize,
    texts: usize,
}

fn class(lane: Lane) -> usize {
    match lane {
        Lane::Any | Lane::Device => COMPUTE,
        Lane::Text => TEXT,
    }
}
