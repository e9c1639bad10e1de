//! The queue of a network's calls behind a lock, as the threads of one process share it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::call::{Call, CallResult};
use crate::engine::call_state::CallState;
use crate::engine::network::Network;
use crate::engine::options::Sharing;
use crate::engine::queue::Queue;
use crate::{Error, Result};

/// The calls of one process. A child of `fork()` has a scheduler of its own.
pub(super) struct Scheduler {
    pub(super) network: Arc<Network>,
    queue: Mutex<Queue>,
    /// Wakes workers that wait for further calls.
    pub(super) admitted: Condvar,
}

impl Scheduler {
    pub(super) fn new(network: Arc<Network>, sharing: Sharing) -> Self {
        let queue = Queue::new(sharing, network.device().has_owner(), network.threads());
        Self { network, queue: Mutex::new(queue), admitted: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result of a call of which nothing is left to do, and for which nothing was done for a time of `waited`.
    pub(super) fn finish(&self, call: &Call, state: CallState, waited: Duration) -> Result<CallResult> {
        let (report, tokens) = state.finish(call, waited);
        let output = call.take_output().ok_or(Error::Interrupted)?;
        self.network.count_call(call, &report);
        Ok(CallResult { output, report, tokens })
    }
}
