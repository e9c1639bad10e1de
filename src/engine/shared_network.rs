//! A network that many callers share: what a caller's own thread does.
//!
//! A call that finds the machine idle, and would be computed by one thread or by all of them together, never enters the queue:
//! its caller's thread computes it. Every other call waits in one queue per model and process, from which workers take tasks.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::engine::call::{Call, CallResult, OutputRows, Request};
use crate::engine::call_state::CallState;
use crate::engine::network::Network;
use crate::engine::options::Sharing;
use crate::engine::queue_depth::QueueDepth;
use crate::engine::queued_call::{OnEnd, QueuedCall, Reservation};
use crate::engine::scheduler::Scheduler;
use crate::engine::task::{PassPart, Task, TaskSet};
use crate::engine::worker::spawn_workers;
use crate::pool::{CHECK_INTERVAL, PerProcess};
use crate::text::Inputs;
use crate::{CancelCheck, Error, Result};

/// A network with the queue of its calls. Shared freely between threads.
pub struct SharedNetwork {
    network: Arc<Network>,
    sharing: Sharing,
    scheduler: PerProcess<Scheduler>,
}

/// A call that was submitted.
pub struct CallHandle {
    scheduler: Arc<Scheduler>,
    call: Arc<Call>,
    number: u64,
}

/// Slots of the machine, which a caller that computes on its own thread gives back when this is dropped.
struct ReservedSlots<'a> {
    scheduler: &'a Arc<Scheduler>,
    reservation: Reservation,
}

impl CallHandle {
    /// Cancels the call: what is not computed yet will not be. It ends with [`Error::Interrupted`].
    pub fn cancel(&self) {
        self.call.cancel();
        let ended = self.scheduler.lock().cancel(self.number);
        if let Some(queued) = ended {
            (queued.on_end)(Err(Error::Interrupted));
        }
    }
}

impl Drop for ReservedSlots<'_> {
    fn drop(&mut self) {
        let mut queue = self.scheduler.lock();
        queue.busy_slots -= self.reservation.slots;
        // An error would only say that threads cannot be started, which a caller that waits finds out by itself.
        let _ = spawn_workers(self.scheduler, &mut queue);
    }
}

impl SharedNetwork {
    pub(super) fn new(network: Network, sharing: Sharing) -> Self {
        Self { network: Arc::new(network), sharing, scheduler: PerProcess::none() }
    }

    pub fn network(&self) -> &Network {
        &self.network
    }

    /// How much waits in this process; nothing, and no slots, where there was no call yet.
    pub fn depth(&self) -> QueueDepth {
        self.scheduler.present().map(|scheduler| scheduler.lock().depth()).unwrap_or_default()
    }

    fn scheduler(&self) -> Arc<Scheduler> {
        self.scheduler.get(|| Scheduler::new(self.network.clone(), self.sharing.clone()))
    }

    /// The rows of some inputs and, if `every_token`, the hidden state of every token. `progress` is called on this thread now and
    /// then with the number of inputs that are done; its error ends the call.
    pub fn run(
        &self,
        inputs: Box<dyn Inputs>,
        request: Request,
        rows: OutputRows,
        every_token: bool,
        progress: &dyn Fn(usize) -> Result<()>,
    ) -> Result<CallResult> {
        let count = inputs.len();
        let call = self.network.call(inputs, request, rows, every_token, &|| progress(0))?;
        let result = run(&self.scheduler(), Arc::new(call), progress)?;
        progress(count)?;
        Ok(result)
    }

    /// Like [`Self::run`], but returns at once: another thread calls `on_end` at the end of the call.
    pub fn submit(
        &self,
        inputs: Box<dyn Inputs>,
        request: Request,
        rows: OutputRows,
        every_token: bool,
        on_end: OnEnd,
    ) -> Result<CallHandle> {
        let call = Arc::new(self.network.call(inputs, request, rows, every_token, &|| Ok(()))?);
        let scheduler = self.scheduler();
        let mut state = CallState::new(&call);
        match state.next(&self.network.planner, &call)? {
            Some(tasks) => enqueue(&scheduler, QueuedCall::new(call, state, tasks, on_end)),
            None => {
                on_end(scheduler.finish(&call, state, Duration::ZERO));
                // No call in the queue has this number.
                Ok(CallHandle { scheduler, call, number: u64::MAX })
            }
        }
    }
}

/// Computes a call on this thread as long as it finds the machine idle, else has workers compute the rest.
fn run(scheduler: &Arc<Scheduler>, call: Arc<Call>, progress: &dyn Fn(usize) -> Result<()>) -> Result<CallResult> {
    let network = &scheduler.network;
    let mut state = CallState::new(&call);
    let mut reserved: Option<ReservedSlots> = None;
    // Threads share a lone text: they wake while it is tokenized.
    if call.unique_len() == 1 && !call.is_direct && scheduler.lock().expects_team() {
        network.pool.wake_team();
    }
    let check_cancel = || progress(call.done());
    while let Some(tasks) = state.next(&network.planner, &call)? {
        let is_mine = match (tasks.is_sequential(), tasks.only_tokenizes()) {
            // This thread could do nothing else meanwhile, whatever the machine is at.
            (true, true) => true,
            (true, false) => {
                reserved = reserved.or_else(|| reserve(scheduler, tasks.len()));
                reserved.as_ref().is_some_and(|slots| slots.reservation.on_team || tasks.len() == 1)
            }
            (false, _) => false,
        };
        if !is_mine {
            drop(reserved);
            return wait(scheduler, call.clone(), state, tasks, &check_cancel);
        }
        for task in tasks.single.into_iter().chain(tasks.on_team) {
            let work = |check_cancel: CancelCheck<'_>| match task {
                Task::Tokenize { piece, uniques } => {
                    state.set_tokens(piece, network.tokenize(&call, uniques, check_cancel)?);
                    Ok(())
                }
                Task::Average { uniques, .. } => network.average(&call, uniques, check_cancel),
                Task::Prefill { batch, group } => network.prefill(&call, &batch, group, check_cancel),
                Task::Compute(pass) => {
                    let part = PassPart { call: call.clone(), pass };
                    network.compute(&[part], check_cancel).pop().expect("a result for each part")
                }
            };
            match call.is_direct {
                true => network.pool.run_inline(&check_cancel, work)?,
                false => network.pool.run_on_team(&check_cancel, work)?,
            }
        }
    }
    network.stats.add_wait(Duration::ZERO);
    scheduler.finish(&call, state, Duration::ZERO)
}

/// Slots to compute so many tasks on this thread; None where that would keep others waiting.
fn reserve(scheduler: &Arc<Scheduler>, tasks: usize) -> Option<ReservedSlots<'_>> {
    let reservation = scheduler.lock().reserve(tasks, scheduler.network.planner.team_threads)?;
    Some(ReservedSlots { scheduler, reservation })
}

/// Puts a call in the queue, and waits for its end.
fn wait(
    scheduler: &Arc<Scheduler>,
    call: Arc<Call>,
    state: CallState,
    tasks: TaskSet,
    check_cancel: CancelCheck<'_>,
) -> Result<CallResult> {
    let (sender, ended) = channel();
    let on_end = Box::new(move |result| drop(sender.send(result)));
    let handle = enqueue(scheduler, QueuedCall::new(call, state, tasks, on_end))?;
    loop {
        match ended.recv_timeout(CHECK_INTERVAL) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Timeout) => check_cancel().inspect_err(|_| handle.cancel())?,
            Err(RecvTimeoutError::Disconnected) => return Err(Error::internal("a call was lost")),
        }
    }
}

/// Puts a call in the queue, and starts workers for it.
fn enqueue(scheduler: &Arc<Scheduler>, queued: QueuedCall) -> Result<CallHandle> {
    let call = queued.call.clone();
    let mut queue = scheduler.lock();
    let number = queue.admit(queued)?;
    if let Err(error) = spawn_workers(scheduler, &mut queue) {
        queue.cancel(number);
        return Err(error);
    }
    scheduler.admitted.notify_all();
    drop(queue);
    Ok(CallHandle { scheduler: scheduler.clone(), call, number })
}

#[cfg(test)]
#[path = "shared_network_tests.rs"]
mod tests;
