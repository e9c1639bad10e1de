//! Weighted fair queueing of calls, by tokens.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) with a virtual time that moves on by each call's share, as the
//! fluid system of weighted fair queueing does (Demers, Keshav and Shenker, SIGCOMM 1989).
//!
//! ```text
//! call comes:     call.time = queue.time
//! worker is free: call = the one with the smallest time (the earlier one among equals)
//!                 task = its next pass, joined by passes of the next calls while it stays small
//!                 queue.time = max(queue.time, call.time) + tokens / number of calls
//!                 call.time += tokens / call.priority
//! ```
//!
//! Fair: while two calls both wait, their times differ by at most one pass of each, so their tokens, by priority, do too. No
//! call starves: a call comes with the queue's time, which moves on with all that is computed, so those that come later stay
//! behind one that waits. A new call does not catch up on what was computed before it came, as it would if its time began at 0.
//!
//! Tried and given up:
//! - A queue's time that follows the call in service alone, as in plain start-time fair queueing: new calls that keep coming
//!   starve a large one. So it moves on by each call's share of what is computed.
//! - Sharing each pass between all threads while several calls wait: it costs two callers a fifth of their throughput. So a
//!   pass has all slots only while calls come one at a time ([`CALLS_UNTIL_TEAM`]), and else is helped by threads that have
//!   nothing to do ([`crate::kernels::Team`]).
//! - Waiting for other calls by default: a call that finds the machine idle is computed at once, and what has to wait anyhow is
//!   joined with what waits beside it.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::call::Call;
use crate::engine::options::Sharing;
use crate::engine::queue_depth::QueueDepth;
use crate::engine::queued_call::{Assignment, QueuedCall, Reservation, TaskResult, WorkerKind};
use crate::engine::task::{Task, TaskSet};
use crate::{Error, Result};

/// Cost, in tokens, up to which passes are joined though a worker's share is less: smaller ones take longer to fetch the weights
/// than threads wait for each other.
const MIN_SHARE_COST: usize = 128;

/// Number of calls in a row that must find no other before threads share a pass again.
const CALLS_UNTIL_TEAM: usize = 4;

/// Largest number of calls that are looked at for one pass.
const MAX_CALLS_LOOKED_AT: usize = 256;

/// Virtual time of a token at priority 1.
const TIME_PER_TOKEN: f32 = 1024.0;

/// What a worker finds in the queue.
pub(super) enum Next {
    Assignment(Assignment),
    Nothing,
    /// An assignment, if no other call comes within that time.
    After(Duration),
}

/// The calls of one model that wait or are computed.
pub(super) struct Queue {
    sharing: Sharing,
    /// Number of passes at a time.
    slots: usize,
    pub(super) busy_slots: usize,
    /// Whether a device with an owner computes.
    has_owner: bool,
    threads: usize,
    /// Number of workers that compute, and of those that only tokenize.
    workers: [usize; 2],
    /// Number of these that have an assignment.
    busy_workers: [usize; 2],
    pub(super) calls: HashMap<u64, QueuedCall>,
    /// Keys of the calls with something to compute, and of those with something to tokenize.
    ready: [BTreeSet<(u64, u64)>; 2],
    /// Number of tasks that wait to be computed, and to be tokenized.
    waiting: [usize; 2],
    /// Cost of the passes that wait, in tokens.
    pub(super) cost: usize,
    /// Virtual time of a call that has been here all the time.
    virtual_time: u64,
    /// Number of the next call.
    next_number: u64,
    /// Number of all calls in the queue, those among them whose next tasks are being found, and of their inputs.
    active: usize,
    pub(super) inputs: usize,
    /// Calls beyond `max_queue`.
    backlog: VecDeque<QueuedCall>,
    /// Number of calls that must find no other before threads share a pass again.
    contention: usize,
}

const COMPUTE: usize = 0;
const TOKENIZE: usize = 1;

/// What still fits in a pass.
struct PassBudget {
    tokens: usize,
    cost: usize,
    inputs: usize,
}

impl Queue {
    /// `has_owner`: whether a device with an owner computes.
    pub(super) fn new(sharing: Sharing, has_owner: bool, threads: usize) -> Self {
        Self {
            slots: sharing.max_concurrency.unwrap_or(if has_owner { 1 } else { threads }),
            sharing,
            busy_slots: 0,
            has_owner,
            threads,
            workers: [0; 2],
            busy_workers: [0; 2],
            calls: HashMap::new(),
            ready: Default::default(),
            waiting: [0; 2],
            cost: 0,
            virtual_time: 0,
            next_number: 0,
            active: 0,
            inputs: 0,
            backlog: VecDeque::new(),
            contention: 0,
        }
    }

    /// Takes a call in, or into the backlog. Gives its number.
    pub(super) fn admit(&mut self, mut queued: QueuedCall) -> Result<u64> {
        self.note_contention();
        let number = self.next_number;
        self.next_number += 1;
        queued.number = number;
        if self.has_room(&queued) && self.backlog.is_empty() {
            self.activate(queued);
            return Ok(number);
        }
        if self.sharing.refuse_when_full {
            let (limit, waiting) = (self.sharing.max_queue.unwrap_or_default(), self.inputs);
            let message = format!("max_queue: {limit} inputs may wait; {waiting} do, and {} came", queued.call.len());
            return Err(Error::QueueFull { message });
        }
        self.backlog.push_back(queued);
        Ok(number)
    }

    fn has_room(&self, queued: &QueuedCall) -> bool {
        let limit = self.sharing.max_queue.unwrap_or(usize::MAX);
        self.inputs == 0 || self.inputs.saturating_add(queued.call.len()) <= limit
    }

    fn activate(&mut self, mut queued: QueuedCall) {
        self.active += 1;
        self.inputs += queued.call.len();
        queued.virtual_time = self.virtual_time;
        self.insert(queued);
    }

    /// Takes the next tasks of a call; gives the call back if it was cancelled meanwhile.
    pub(super) fn requeue(&mut self, mut queued: QueuedCall, tasks: TaskSet) -> Option<QueuedCall> {
        if queued.call.is_cancelled() {
            return Some(queued);
        }
        queued.set_tasks(tasks);
        queued.waiting_since = Some(Instant::now());
        self.insert(queued);
        None
    }

    fn insert(&mut self, queued: QueuedCall) {
        for (class, count) in task_counts(&queued).into_iter().enumerate() {
            self.waiting[class] += count;
            if count > 0 {
                self.ready[class].insert(queued.key());
            }
        }
        self.cost += queued.cost;
        self.calls.insert(queued.number, queued);
    }

    fn remove(&mut self, number: u64) -> Option<QueuedCall> {
        let queued = self.calls.remove(&number)?;
        for (class, count) in task_counts(&queued).into_iter().enumerate() {
            self.waiting[class] -= count;
            self.ready[class].remove(&queued.key());
        }
        self.cost -= queued.cost;
        Some(queued)
    }

    /// Takes calls of the backlog in that find room when a call has ended.
    pub(super) fn release(&mut self, ended: &QueuedCall) {
        self.active -= 1;
        self.inputs -= ended.call.len();
        while let Some(first) = self.backlog.front()
            && self.has_room(first)
        {
            let queued = self.backlog.pop_front().expect("there is a first");
            self.activate(queued);
        }
    }

    /// Drops what waits of a call; gives the call where nothing of it is being done, so that it is over.
    pub(super) fn cancel(&mut self, number: u64) -> Option<QueuedCall> {
        if let Some(place) = self.backlog.iter().position(|queued| queued.number == number) {
            return self.backlog.remove(place);
        }
        let mut queued = self.remove(number)?;
        queued.set_tasks(TaskSet::default());
        if queued.is_idle() {
            self.release(&queued);
            return Some(queued);
        }
        queued.failure.get_or_insert(Error::Interrupted);
        self.insert(queued);
        None
    }

    /// Slots for a caller that computes `tasks` tasks itself: all `team_threads` threads, if calls come one at a time, else its own.
    /// None where that would keep others waiting.
    pub(super) fn reserve(&mut self, tasks: usize, team_threads: usize) -> Option<Reservation> {
        self.note_contention();
        let on_team = self.contention == 0;
        let slots = if on_team { team_threads.min(self.slots) } else { 1 };
        let is_free = !self.has_owner && self.sharing.max_wait.is_zero() && self.busy_slots + slots <= self.slots;
        // One thread takes its time for several tasks: workers share them.
        (is_free && self.calls.is_empty() && (on_team || tasks == 1)).then(|| {
            self.busy_slots += slots;
            Reservation { slots, on_team }
        })
    }

    /// Whether all threads will likely share the passes of a call that comes now.
    pub(super) fn expects_team(&self) -> bool {
        self.is_idle() && self.contention <= 1 && !self.has_owner && self.sharing.max_wait.is_zero()
    }

    /// How much waits, the backlog with it.
    pub(super) fn depth(&self) -> QueueDepth {
        let backlog: usize = self.backlog.iter().map(|queued| queued.call.len()).sum();
        QueueDepth {
            calls: self.active + self.backlog.len(),
            inputs: self.inputs + backlog,
            cost: self.cost,
            busy: self.busy_slots,
            slots: self.slots,
        }
    }

    /// Whether no call waits or is computed.
    fn is_idle(&self) -> bool {
        self.busy_slots == 0 && self.calls.is_empty()
    }

    /// Notes whether a call that comes finds others.
    fn note_contention(&mut self) {
        self.contention = if self.is_idle() { self.contention.saturating_sub(1) } else { CALLS_UNTIL_TEAM };
    }

    /// The kind of a further worker that would find something to do.
    pub(super) fn wanted_worker(&self) -> Option<WorkerKind> {
        let [compute, tokenize] = self.waiting;
        let wants = |class: usize, tasks: usize, max_workers: usize, free: usize| {
            let idle = self.workers[class] - self.busy_workers[class];
            self.workers[class] < max_workers && idle < tasks.min(free)
        };
        let free = self.slots.saturating_sub(self.busy_slots);
        match self.has_owner {
            false => wants(COMPUTE, compute + tokenize, self.threads, free).then_some(WorkerKind::Cpu),
            true if wants(COMPUTE, compute, 1, free) => Some(WorkerKind::Device),
            true => wants(TOKENIZE, tokenize, self.threads, usize::MAX).then_some(WorkerKind::Tokenizer),
        }
    }

    pub(super) fn add_worker(&mut self, kind: WorkerKind) {
        self.workers[class(kind)] += 1;
    }

    pub(super) fn remove_worker(&mut self, kind: WorkerKind) {
        self.workers[class(kind)] -= 1;
    }

    /// What a worker does next; passes that several calls share have up to `pass_tokens`.
    pub(super) fn take(&mut self, kind: WorkerKind, pass_tokens: usize, now: Instant) -> Next {
        let next = self.find(kind, pass_tokens, now);
        if let Next::Assignment(assignment) = &next {
            self.busy_slots += assignment.slots;
            self.busy_workers[class(kind)] += 1;
        }
        next
    }

    fn find(&mut self, kind: WorkerKind, pass_tokens: usize, now: Instant) -> Next {
        let compute = self.ready[COMPUTE].first().copied().filter(|_| kind != WorkerKind::Tokenizer);
        let tokenize = self.ready[TOKENIZE].first().copied().filter(|_| kind != WorkerKind::Device);
        if kind != WorkerKind::Tokenizer && self.busy_slots >= self.slots {
            return Next::Nothing;
        }
        let mut next = Next::Nothing;
        if let Some(compute) = compute
            && !tokenize.is_some_and(|tokenize| self.tokenizes_first(tokenize, compute))
        {
            next = self.take_pass(compute.1, pass_tokens, now);
        }
        match (&next, tokenize) {
            (Next::Nothing | Next::After(_), Some(tokenize)) => self.take_tokenizing(tokenize.1, kind),
            _ => next,
        }
    }

    /// Whether to tokenize, for one call, before computing for another. Small calls that came together are all tokenized before the
    /// first of them is computed, so that they are computed together.
    fn tokenizes_first(&self, tokenize: (u64, u64), compute: (u64, u64)) -> bool {
        match tokenize.0.cmp(&compute.0) {
            Ordering::Less => true,
            Ordering::Equal => tokenize.1 != compute.1 && self.calls[&tokenize.1].tokenize.len() == 1,
            Ordering::Greater => false,
        }
    }

    fn take_tokenizing(&mut self, number: u64, kind: WorkerKind) -> Next {
        let Some((call, task)) = self.dispatch(number, |queued| queued.tokenize.pop_front()) else {
            return Next::Nothing;
        };
        let slots = usize::from(kind == WorkerKind::Cpu);
        Next::Assignment(Assignment { tasks: vec![(number, call, task)], slots })
    }

    fn take_pass(&mut self, number: u64, pass_tokens: usize, now: Instant) -> Next {
        let queued = &self.calls[&number];
        // A direct call joins no other.
        if let Some(wait) = self.remaining_wait(queued, pass_tokens, now).filter(|_| !queued.call.is_direct) {
            return Next::After(wait);
        }
        let has_others = self.calls.len() > 1;
        let on_team = !has_others && self.contention == 0 && self.busy_slots == 0 && queued.compute.is_empty();
        if queued.compute.is_empty() && !has_others && queued.running > 0 {
            // When the rest is done, all threads share it.
            return Next::Nothing;
        }
        let free = self.slots - self.busy_slots;
        let share = self.cost.div_ceil(free).max(MIN_SHARE_COST);
        let Some((call, task)) = self.dispatch(number, QueuedCall::pop_compute) else {
            return Next::Nothing;
        };
        let mut tasks = vec![(number, call, task)];
        if has_others && let Task::Compute(first) = &tasks[0].2 {
            let budget = PassBudget {
                tokens: pass_tokens.saturating_sub(first.tokens),
                cost: share.saturating_sub(first.cost),
                inputs: self.max_inputs(&tasks[0].1).saturating_sub(first.members.len()),
            };
            if first.batch.prefix(first.group).is_none() {
                self.join_passes(&mut tasks, budget);
            }
        }
        let slots = if on_team { self.slots } else { 1 };
        Next::Assignment(Assignment { tasks, slots })
    }

    /// How long a call's inputs may still wait for others.
    fn remaining_wait(&self, queued: &QueuedCall, pass_tokens: usize, now: Instant) -> Option<Duration> {
        let due = queued.call.start + self.sharing.max_wait;
        (now < due && self.cost < pass_tokens).then(|| due - now)
    }

    /// Largest number of inputs of a pass that has inputs of this call.
    fn max_inputs(&self, call: &Call) -> usize {
        call.request.batch_size.unwrap_or(usize::MAX).min(self.sharing.max_batch_size.unwrap_or(usize::MAX))
    }

    /// Adds passes of other calls, as long as they fit.
    fn join_passes(&mut self, tasks: &mut Vec<(u64, Arc<Call>, Task)>, mut budget: PassBudget) {
        let candidates: Vec<u64> = self.ready[COMPUTE].iter().take(MAX_CALLS_LOOKED_AT).map(|key| key.1).collect();
        let mut joined: usize =
            tasks.iter().filter_map(|(_, _, task)| task.pass()).map(|pass| pass.members.len()).sum();
        for number in candidates {
            let queued = &self.calls[&number];
            let Some(Task::Compute(pass)) = queued.next_compute() else { continue };
            let after = joined + pass.members.len();
            let may_join = pass.batch.prefix(pass.group).is_none()
                && queued.may_share_pass(&tasks[0].1)
                && after <= self.max_inputs(&queued.call);
            let fits = pass.tokens <= budget.tokens && pass.cost <= budget.cost && pass.members.len() <= budget.inputs;
            if !may_join || !fits {
                continue;
            }
            budget.tokens -= pass.tokens;
            budget.cost -= pass.cost;
            budget.inputs -= pass.members.len();
            let Some((call, task)) = self.dispatch(number, QueuedCall::pop_compute) else { continue };
            budget.inputs = budget.inputs.min(self.max_inputs(&call).saturating_sub(after));
            joined = after;
            tasks.push((number, call, task));
        }
    }

    /// Takes a task of a call, and moves its virtual time on.
    fn dispatch(
        &mut self,
        number: u64,
        take: impl FnOnce(&mut QueuedCall) -> Option<Task>,
    ) -> Option<(Arc<Call>, Task)> {
        let mut queued = self.remove(number)?;
        let task = take(&mut queued);
        if let Some(task) = &task {
            queued.running += 1;
            queued.waited += queued.waiting_since.take().map_or(Duration::ZERO, |since| since.elapsed());
            let time = task.tokens_and_cost().0 as f32 * TIME_PER_TOKEN;
            // A call that comes from now on is as far as one that had an equal share of all that was computed.
            let share = (time / (self.calls.len() + 1) as f32) as u64;
            self.virtual_time = self.virtual_time.max(queued.virtual_time).saturating_add(share);
            queued.virtual_time = queued.virtual_time.saturating_add((time / queued.call.request.priority) as u64);
        }
        let call = queued.call.clone();
        self.insert(queued);
        Some((call, task?))
    }

    /// Takes the results of an assignment; gives the calls of which nothing is left to do for now, or at all.
    pub(super) fn complete(&mut self, kind: WorkerKind, slots: usize, results: Vec<TaskResult>) -> Vec<QueuedCall> {
        self.busy_slots -= slots;
        self.busy_workers[class(kind)] -= 1;
        let mut idle = Vec::new();
        for (number, result) in results {
            let Some(mut queued) = self.remove(number) else { continue };
            queued.running -= 1;
            match result {
                Ok(Some((piece, tokens))) => queued.state.set_tokens(piece, tokens),
                Ok(None) => {}
                Err(error) => {
                    queued.failure.get_or_insert(error);
                }
            }
            if queued.failure.is_some() {
                queued.set_tasks(TaskSet::default());
            }
            match queued.is_idle() {
                true => idle.push(queued),
                false => self.insert(queued),
            }
        }
        idle
    }
}

/// Number of a call's tasks that wait to be computed, and to be tokenized.
fn task_counts(queued: &QueuedCall) -> [usize; 2] {
    [queued.compute.len() + queued.on_team.len(), queued.tokenize.len()]
}

fn class(kind: WorkerKind) -> usize {
    match kind {
        WorkerKind::Cpu | WorkerKind::Device => COMPUTE,
        WorkerKind::Tokenizer => TOKENIZE,
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
