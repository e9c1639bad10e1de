//! A call in the queue, and what workers are given of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::call::{Call, CallResult};
use crate::engine::call_state::CallState;
use crate::engine::task::{Task, TaskSet};
use crate::text::Tokens;
use crate::{Error, Result};

/// Is told of the end of a call.
pub(super) type OnEnd = Box<dyn FnOnce(Result<CallResult>) + Send>;

/// A call in the queue.
pub(super) struct QueuedCall {
    pub(super) number: u64,
    pub(super) call: Arc<Call>,
    pub(super) state: CallState,
    /// Tasks that compute, in the order in which they are done.
    pub(super) compute: VecDeque<Task>,
    pub(super) tokenize: VecDeque<Task>,
    pub(super) on_team: VecDeque<Task>,
    /// Cost of the passes among `compute` and `on_team`.
    pub(super) cost: usize,
    /// Number of tasks that are being done.
    pub(super) running: usize,
    pub(super) failure: Option<Error>,
    /// Tokens that were computed for the call, by its priority, from the queue's virtual time when it came.
    pub(super) virtual_time: u64,
    pub(super) on_end: OnEnd,
    /// Set while none of its present tasks has been taken.
    pub(super) waiting_since: Option<Instant>,
    /// How long nothing was done for it.
    pub(super) waited: Duration,
}

/// Which tasks a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkerKind {
    /// A thread of the CPU, which does everything.
    Cpu,
    /// A thread of the CPU where a device computes: it tokenizes.
    Tokenizer,
    /// The one thread that owns the device.
    Device,
}

/// What a worker does next.
pub(super) struct Assignment {
    /// Tasks with the numbers of their calls.
    pub(super) tasks: Vec<(u64, Arc<Call>, Task)>,
    /// Number of slots that it takes.
    pub(super) slots: usize,
}

/// Slots that a caller has which computes on its own thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reservation {
    pub(super) slots: usize,
    /// Whether all threads share its tasks.
    pub(super) on_team: bool,
}

/// Result of a task, with the number of its call: the tokens of a piece, with its number, where it tokenized.
pub(super) type TaskResult = (u64, Result<Option<(usize, Vec<Tokens>)>>);

impl QueuedCall {
    pub(super) fn new(call: Arc<Call>, state: CallState, tasks: TaskSet, on_end: OnEnd) -> Self {
        let mut queued = Self {
            number: 0,
            call,
            state,
            compute: VecDeque::new(),
            tokenize: VecDeque::new(),
            on_team: VecDeque::new(),
            cost: 0,
            running: 0,
            failure: None,
            virtual_time: 0,
            on_end,
            waiting_since: Some(Instant::now()),
            waited: Duration::ZERO,
        };
        queued.set_tasks(tasks);
        queued
    }

    /// Replaces the tasks that wait.
    pub(super) fn set_tasks(&mut self, tasks: TaskSet) {
        (self.tokenize, self.compute) =
            tasks.single.into_iter().partition(|task| matches!(task, Task::Tokenize { .. }));
        self.on_team = tasks.on_team;
        self.cost = self.compute.iter().chain(&self.on_team).map(|task| task.tokens_and_cost().1).sum();
    }

    /// Its place in the queue: virtual time, then number.
    pub(super) fn key(&self) -> (u64, u64) {
        (self.virtual_time, self.number)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running == 0 && self.compute.is_empty() && self.tokenize.is_empty() && self.on_team.is_empty()
    }

    /// Whether its inputs may be in a pass with those of `other`: what follows the network is the same for all of a pass.
    pub(super) fn may_share_pass(&self, other: &Call) -> bool {
        let is_plain = |call: &Call| call.request.profile.is_none() && !call.every_token;
        let call = &self.call;
        is_plain(call)
            && is_plain(other)
            && call.request.normalize == other.request.normalize
            && call.prompt_tokens == other.prompt_tokens
    }

    /// The next task that computes, without taking it.
    pub(super) fn next_compute(&self) -> Option<&Task> {
        self.compute.front().or(self.on_team.front())
    }

    /// Takes the next task that computes.
    pub(super) fn pop_compute(&mut self) -> Option<Task> {
        let task = self.compute.pop_front().or_else(|| self.on_team.pop_front())?;
        self.cost -= task.tokens_and_cost().1;
        Some(task)
    }
}
