//! Workers: threads that take tasks from the queue until they find none.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::engine::network::Network;
use crate::engine::queue::{Next, Queue};
use crate::engine::queued_call::{Assignment, QueuedCall, TaskResult, WorkerKind};
use crate::engine::scheduler::Scheduler;
use crate::engine::task::{PassPart, Task};
use crate::panic::guarded;
use crate::{CancelCheck, Error, Result};

/// Starts as many workers as find something to do.
pub(super) fn spawn_workers(scheduler: &Arc<Scheduler>, queue: &mut Queue) -> Result<()> {
    while let Some(kind) = queue.wanted_worker() {
        let of_worker = scheduler.clone();
        scheduler.network.spawn(kind == WorkerKind::Device, move || work(&of_worker, kind))?;
        queue.add_worker(kind);
    }
    Ok(())
}

/// Takes assignments until there is none.
fn work(scheduler: &Arc<Scheduler>, kind: WorkerKind) {
    loop {
        let mut queue = scheduler.lock();
        let assignment = loop {
            match queue.take(kind, scheduler.network.planner.pass_tokens(), Instant::now()) {
                Next::Assignment(assignment) => break assignment,
                Next::Nothing => {
                    queue.remove_worker(kind);
                    return;
                }
                Next::After(time) => {
                    let waited = scheduler.admitted.wait_timeout(queue, time);
                    queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        };
        // Other workers may find something, too.
        let _ = spawn_workers(scheduler, &mut queue);
        drop(queue);
        perform(scheduler, kind, assignment);
    }
}

/// Does an assignment, and gives its calls their next tasks or their end.
fn perform(scheduler: &Arc<Scheduler>, kind: WorkerKind, assignment: Assignment) {
    let slots = assignment.slots;
    let results = run(&scheduler.network, assignment);
    let idle = scheduler.lock().complete(kind, slots, results);
    for mut queued in idle {
        let next = match queued.failure.take() {
            Some(error) => Err(error),
            None => guarded(|| queued.state.next(&scheduler.network.planner, &queued.call)),
        };
        let (queued, failure) = match next {
            Ok(Some(tasks)) => {
                let mut queue = scheduler.lock();
                match queue.requeue(queued, tasks) {
                    None => {
                        // The next tasks may be for workers of another kind.
                        let _ = spawn_workers(scheduler, &mut queue);
                        continue;
                    }
                    Some(queued) => (queued, Some(Error::Interrupted)),
                }
            }
            Ok(None) => (queued, None),
            Err(error) => (queued, Some(error)),
        };
        release(scheduler, &queued);
        scheduler.network.stats.add_wait(queued.waited);
        let QueuedCall { call, state, on_end, waited, .. } = queued;
        on_end(failure.map_or_else(|| scheduler.finish(&call, state, waited), Err));
    }
}

/// Takes calls of the backlog in that find room when a call has ended.
fn release(scheduler: &Arc<Scheduler>, ended: &QueuedCall) {
    let mut queue = scheduler.lock();
    queue.release(ended);
    let _ = spawn_workers(scheduler, &mut queue);
}

/// Does the tasks of an assignment. Panics are errors: callers wait for the end of each task.
fn run(network: &Network, assignment: Assignment) -> Vec<TaskResult> {
    let Assignment { tasks, .. } = assignment;
    let calls: Vec<_> = tasks.iter().map(|(_, call, _)| call.clone()).collect();
    let check_cancel = || match calls.iter().all(|call| call.is_cancelled()) {
        true => Err(Error::Interrupted),
        false => Ok(()),
    };
    let mut results = Vec::new();
    let mut numbers = Vec::new();
    let mut parts = Vec::new();
    for (number, call, task) in tasks {
        match task {
            Task::Tokenize { piece, uniques } => {
                let tokens = guarded(|| network.tokenize(&call, uniques, &check_cancel));
                results.push((number, tokens.map(|tokens| Some((piece, tokens)))));
            }
            Task::Average { uniques, .. } => {
                let result = guarded(|| network.average(&call, uniques, &check_cancel));
                results.push((number, result.map(|()| None)));
            }
            Task::Prefill { batch, group } => {
                let prefill = |check_cancel: CancelCheck<'_>| network.prefill(&call, &batch, group, check_cancel);
                let result = guarded(|| network.pool.run_on_team(&check_cancel, prefill));
                results.push((number, result.map(|()| None)));
            }
            Task::Compute(pass) => {
                numbers.push(number);
                parts.push(PassPart { call, pass });
            }
        }
    }
    if !parts.is_empty() {
        let compute = |check_cancel: CancelCheck<'_>| Ok(network.compute(&parts, check_cancel));
        let computed = network.pool.run_on_team(&check_cancel, compute);
        // Where threads cannot be started, one does it.
        let computed = computed.unwrap_or_else(|_| network.compute(&parts, &check_cancel));
        results.extend(numbers.into_iter().zip(computed.into_iter().map(|result| result.map(|()| None))));
    }
    results
}
