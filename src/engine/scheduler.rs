//! One machine shared by many callers.
//!
//! Every call that cannot be computed at once waits in one queue per model. Workers take from it what has had the fewest tokens
//! computed so far, pass by pass, and join passes of several calls to one as long as it stays small: nobody waits for company, but
//! whoever has to wait travels together. A call that finds the machine idle, and would be computed by one thread or by all of
//! them together, never enters the queue: its caller's thread computes it.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::course::{Course, Stage, Unit};
use crate::engine::job::{Finished, Job};
use crate::engine::network::{Network, Part};
use crate::engine::queue::{Entry, Found, Held, Queue, Work};
use crate::panic::guarded;
use crate::pool::CHECK_INTERVAL;
use crate::{CancelCheck, Error, Result};

/// How a model is shared.
#[derive(Debug, Clone, Default)]
pub struct Sharing {
    /// The most tokens in a pass; None for what fits the caches.
    pub max_batch_tokens: Option<usize>,
    /// The most inputs in a pass.
    pub max_batch_size: Option<usize>,
    /// How long inputs may wait for others to be computed with.
    pub max_wait: Duration,
    /// The most inputs of calls that are not done; a single call may have more.
    pub max_queue: Option<usize>,
    /// Whether calls beyond that fail, instead of waiting.
    pub refuse_when_full: bool,
    /// The most passes at a time; None for one a thread, and one on a device that has an owner.
    pub max_concurrency: Option<usize>,
}

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Threads of the CPU, which do everything.
    Any,
    /// Threads of the CPU where a device computes: they tokenize.
    Text,
    /// The one thread that owns the device.
    Device,
}

/// Who is told of the end of a call.
pub(super) type End = Box<dyn FnOnce(Result<Finished>) + Send>;

/// The queue of one process: what a parent's threads were at is no business of its children.
pub(super) struct Scheduler {
    queue: Mutex<Queue>,
    arrival: Condvar,
}

/// A call in the queue.
pub struct Ticket {
    scheduler: Arc<Scheduler>,
    job: Arc<Job>,
    number: u64,
}

/// A part of the machine, held by a caller that computes on its own thread.
struct Hold<'a> {
    network: &'a Arc<Network>,
    scheduler: &'a Arc<Scheduler>,
    held: Held,
}

impl Ticket {
    /// Nobody wants the result any more: what is not computed yet will not be. The call ends with [`Error::Interrupted`].
    pub fn cancel(&self) {
        self.job.give_up();
        let ended = self.scheduler.lock().cancel(self.number);
        if let Some(entry) = ended {
            (entry.end)(Err(Error::Interrupted));
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut queue = self.scheduler.lock();
        queue.busy -= self.held.slots;
        // An error would only say that threads cannot be started, which whoever waits finds out by itself.
        let _ = self.scheduler.summon(&mut queue, self.network);
    }
}

impl Scheduler {
    pub(super) fn new(network: &Network) -> Self {
        let queue = Queue::new(network.sharing().clone(), network.device().has_owner(), network.threads());
        Self { queue: Mutex::new(queue), arrival: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a job done while this thread waits. `check_progress` gets the number of inputs that are done and is asked now and then whether to go on; its error ends the call.
    pub(super) fn run(
        self: &Arc<Self>,
        network: &Arc<Network>,
        job: Job,
        check_progress: &dyn Fn(usize) -> Result<()>,
    ) -> Result<Finished> {
        let job = Arc::new(job);
        let mut course = Course::new(&job);
        let mut hold = None;
        let check_cancel = || check_progress(job.done());
        while let Some(stage) = course.next(network, &job)? {
            if let [Unit::Tokenize { piece, kinds }] = stage.units.as_slices().0
                && stage.is_single_file()
            {
                // Whatever the machine is at: this thread could do nothing else meanwhile.
                course.tokenized(
                    *piece,
                    network.pool.run_inline(&check_cancel, |check_cancel| {
                        network.tokenize(&job, kinds.clone(), check_cancel)
                    })?,
                );
                continue;
            }
            let units = stage.units.len() + stage.shared.len();
            if stage.is_single_file() && hold.is_none() {
                hold = self.hold(network, units);
            }
            let suffices = |hold: &&Hold| stage.is_single_file() && (units == 1 || hold.held.together);
            let Some(Hold { held, .. }) = hold.as_ref().filter(suffices) else {
                drop(hold);
                return self.wait(network, job.clone(), course, stage, &check_cancel);
            };
            for unit in stage.units.into_iter().chain(stage.shared) {
                let work = |check_cancel: CancelCheck<'_>| match unit {
                    Unit::Tokenize { piece, kinds } => {
                        course.tokenized(piece, network.tokenize(&job, kinds, check_cancel)?);
                        Ok(())
                    }
                    Unit::Remember { batch, group } => network.remember(&job, &batch, group, check_cancel),
                    Unit::Compute(pass) => {
                        let part = Part { job: job.clone(), pass };
                        network.compute(&[part], check_cancel).pop().expect("a result for each part")
                    }
                };
                match held.together {
                    true => network.pool.run_on_team(&check_cancel, work)?,
                    false => network.pool.run_inline(&check_cancel, work)?,
                }
            }
        }
        network.stats.add_wait(Duration::ZERO);
        finish(network, &job, course)
    }

    /// Puts a job in the queue; `end` is told of its end, by another thread.
    pub(super) fn submit(self: &Arc<Self>, network: &Arc<Network>, job: Job, end: End) -> Result<Ticket> {
        let job = Arc::new(job);
        let mut course = Course::new(&job);
        match course.next(network, &job)? {
            Some(stage) => self.enter(network, Entry::new(job, course, stage, end)),
            None => {
                end(finish(network, &job, course));
                // No call in the queue has this number.
                Ok(Ticket { scheduler: self.clone(), job, number: u64::MAX })
            }
        }
    }

    /// As [`Self::submit`], from a stage on, with this thread waiting.
    fn wait(
        self: &Arc<Self>,
        network: &Arc<Network>,
        job: Arc<Job>,
        course: Course,
        stage: Stage,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Finished> {
        let (sender, ended) = channel();
        let end = Box::new(move |result| drop(sender.send(result)));
        let ticket = self.enter(network, Entry::new(job.clone(), course, stage, end))?;
        loop {
            match ended.recv_timeout(CHECK_INTERVAL) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) => check_cancel().inspect_err(|_| ticket.cancel())?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Internal { message: "a call was lost".to_owned() });
                }
            }
        }
    }

    fn enter(self: &Arc<Self>, network: &Arc<Network>, entry: Entry) -> Result<Ticket> {
        let job = entry.job.clone();
        let mut queue = self.lock();
        let number = queue.admit(entry)?;
        if let Err(error) = self.summon(&mut queue, network) {
            queue.cancel(number);
            return Err(error);
        }
        self.arrival.notify_all();
        Ok(Ticket { scheduler: self.clone(), job, number })
    }

    /// What a caller needs of the machine to compute so many units on its own thread; None where that would keep others waiting.
    fn hold<'a>(self: &'a Arc<Self>, network: &'a Arc<Network>, units: usize) -> Option<Hold<'a>> {
        let held = self.lock().hold(units, network.team())?;
        Some(Hold { network, scheduler: self, held })
    }

    /// As many workers as find something to do.
    fn summon(self: &Arc<Self>, queue: &mut Queue, network: &Arc<Network>) -> Result<()> {
        while let Some(lane) = queue.wants_worker() {
            let (scheduler, network_for_worker) = (self.clone(), network.clone());
            network.start(lane, move || scheduler.work(&network_for_worker, lane))?;
            queue.count_worker(lane);
        }
        Ok(())
    }

    /// A worker's life, as long as there is something to do.
    fn work(self: &Arc<Self>, network: &Arc<Network>, lane: Lane) {
        loop {
            let mut queue = self.lock();
            let work = loop {
                match queue.take(lane, network.pass_tokens(), Instant::now()) {
                    Found::Work(work) => break work,
                    Found::Nothing => {
                        queue.dismiss_worker(lane);
                        return;
                    }
                    Found::Later(time) => {
                        let waited = self.arrival.wait_timeout(queue, time);
                        queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                    }
                }
            };
            // Others may find something, too.
            let _ = self.summon(&mut queue, network);
            drop(queue);
            self.perform(network, lane, work);
        }
    }

    /// Does the work, and leads its calls on.
    fn perform(self: &Arc<Self>, network: &Arc<Network>, lane: Lane, work: Work) {
        let slots = work.slots;
        let done = network.perform(work);
        let stopped = self.lock().settle(lane, slots, done);
        for mut entry in stopped {
            let next = match entry.failure.take() {
                Some(error) => Err(error),
                None => guarded(|| entry.course.next(network, &entry.job)),
            };
            let (entry, failure) = match next {
                Ok(Some(stage)) => {
                    let mut queue = self.lock();
                    match queue.resume(entry, stage) {
                        None => {
                            // What comes next may be for workers of another lane.
                            let _ = self.summon(&mut queue, network);
                            continue;
                        }
                        Some(entry) => (entry, Some(Error::Interrupted)),
                    }
                }
                Ok(None) => (entry, None),
                Err(error) => (entry, Some(error)),
            };
            self.leave(network, &entry);
            network.stats.add_wait(entry.waited);
            let Entry { job, course, end, .. } = entry;
            end(failure.map_or_else(|| finish(network, &job, course), Err));
        }
    }

    /// Makes room for those that wait outside.
    fn leave(self: &Arc<Self>, network: &Arc<Network>, entry: &Entry) {
        let mut queue = self.lock();
        queue.leave(entry);
        let _ = self.summon(&mut queue, network);
    }
}

fn finish(network: &Network, job: &Job, course: Course) -> Result<Finished> {
    let (report, tokens) = course.finish(job);
    let output = job.take_output().ok_or(Error::Interrupted)?;
    network.count_call(job, &report);
    Ok(Finished { output, report, tokens })
}
