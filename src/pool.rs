//! The threads of one model or store: workers that take a job each, and a team that shares one job.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use rayon::{ThreadPool, ThreadPoolBuilder};

pub(crate) use crate::kernels::STACK_BYTES;
use crate::kernels::{FlushDenormals, Team};
use crate::panic::guarded;
use crate::{CancelCheck, Error, Result};

/// How often a job's caller is asked whether to go on.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Bytes of stack that a caller's thread must have left for its job: several times what loading takes, whose deepest calls
/// read a file of nested JSON.
#[cfg(feature = "python")]
const MIN_STACK_BYTES: usize = 1 << 20;

/// Threads of one object, started on first use, and started anew in a child of `fork()`, where none survives.
pub(crate) struct Pool {
    threads: usize,
    /// Threads that share one job, the caller's among them: no more than there are CPUs, since one that waits for a CPU
    /// holds up the others.
    team_threads: usize,
    started: PerProcess<StartedThreads>,
}

/// A value that each process makes for itself: a child of `fork()` has none of its parent's threads, and inherits locks that
/// they hold.
pub(crate) struct PerProcess<T>(ArcSwapOption<Owned<T>>);

struct Owned<T> {
    process: u32,
    value: Arc<T>,
}

#[derive(Default)]
struct StartedThreads {
    /// For jobs that each take one thread.
    workers: OnceLock<ThreadPool>,
    /// For a job that takes all threads.
    team: OnceLock<Arc<Team>>,
}

impl Pool {
    /// `threads`: the number asked for, else `VOTIVE_NUM_THREADS`, `RAYON_NUM_THREADS`, `OMP_NUM_THREADS`, else the CPUs
    /// that this process may use.
    pub(crate) fn new(threads: Option<usize>) -> Result<Self> {
        let threads = match threads {
            Some(0) => return Err(Error::argument("num_threads", "0 threads cannot work; give 1 or more, or None")),
            Some(threads) => threads,
            None => from_environment().unwrap_or_else(available_cpus),
        };
        let team_threads = threads.min(available_cpus()).min(Team::MAX_THREADS);
        Ok(Self { threads, team_threads, started: PerProcess::none() })
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Number of threads that share a job in `run_on_team`.
    pub(crate) fn team_threads(&self) -> usize {
        self.team_threads
    }

    fn started(&self) -> Arc<StartedThreads> {
        self.started.get(StartedThreads::default)
    }

    /// Queues a job for the next free worker.
    pub(crate) fn spawn(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        self.started().workers(self.threads)?.spawn(job);
        Ok(())
    }

    /// Runs a job on the caller's thread alone. `work` gets a check that it may call as often as it likes.
    pub(crate) fn run_inline<R>(
        &self,
        check_cancel: CancelCheck<'_>,
        work: impl FnOnce(CancelCheck<'_>) -> Result<R>,
    ) -> Result<R> {
        let check_cancel = rate_limited(check_cancel);
        let _flush = FlushDenormals::new();
        work(&check_cancel)
    }

    /// Wakes the team, if it was started, for a job that comes soon.
    pub(crate) fn wake_team(&self) {
        if self.team_threads > 1
            && let Some(team) = self.started().team.get()
        {
            team.make_ready();
        }
    }

    /// Runs a job on the caller's thread, whose kernels share their loops with the team.
    pub(crate) fn run_on_team<R>(
        &self,
        check_cancel: CancelCheck<'_>,
        work: impl FnOnce(CancelCheck<'_>) -> Result<R>,
    ) -> Result<R> {
        if self.team_threads == 1 {
            return self.run_inline(check_cancel, work);
        }
        self.started().team(self.team_threads)?.install(|| self.run_inline(check_cancel, work))
    }

    /// Runs every job, several at a time, each on one thread; `work` gets a check that it calls now and then. The first
    /// error ends all of it.
    pub(crate) fn for_each<J: Send>(
        &self,
        jobs: Vec<J>,
        check_cancel: CancelCheck<'_>,
        work: impl Fn(J, CancelCheck<'_>) -> Result<()> + Sync,
    ) -> Result<()> {
        if self.threads == 1 || jobs.len() <= 1 {
            return self
                .run_inline(check_cancel, |check_cancel| jobs.into_iter().try_for_each(|job| work(job, check_cancel)));
        }
        self.for_each_on_workers(jobs, check_cancel, work)
    }

    /// Runs every job on the workers, while the caller's thread asks the caller whether to go on.
    fn for_each_on_workers<J: Send>(
        &self,
        jobs: Vec<J>,
        check_cancel: CancelCheck<'_>,
        work: impl Fn(J, CancelCheck<'_>) -> Result<()> + Sync,
    ) -> Result<()> {
        let queue = Mutex::new(jobs.into_iter());
        let stopped = AtomicBool::new(false);
        let failure = OnceLock::new();
        let fail = |error| {
            // The first error is the one that counts, so it is there before the others are told to stop.
            let _ = failure.set(error);
            stopped.store(true, Ordering::Relaxed);
        };
        let check_stopped = || if stopped.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) };
        let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
        self.started().workers(self.threads)?.in_place_scope(|scope| {
            // Nothing is sent: the channel closes when the last worker has dropped its end.
            let (working, all_done) = channel::<()>();
            for _ in 0..self.threads {
                let working = working.clone();
                let (work, next, check_stopped, fail) = (&work, &next, &check_stopped, &fail);
                scope.spawn(move |_| {
                    let _working = working;
                    while check_stopped().is_ok()
                        && let Some(job) = next()
                    {
                        if let Err(error) = guarded(|| work(job, check_stopped)) {
                            fail(error);
                        }
                    }
                });
            }
            drop(working);
            while let Err(RecvTimeoutError::Timeout) = all_done.recv_timeout(CHECK_INTERVAL) {
                if !stopped.load(Ordering::Relaxed)
                    && let Err(error) = check_cancel()
                {
                    fail(error);
                }
            }
        });
        failure.into_inner().map_or(Ok(()), Err)
    }
}

impl<T> PerProcess<T> {
    pub(crate) const fn none() -> Self {
        Self(ArcSwapOption::const_empty())
    }

    /// This process's own, where it was made.
    pub(crate) fn present(&self) -> Option<Arc<T>> {
        let process = std::process::id();
        self.0.load().as_ref().filter(|owned| owned.process == process).map(|owned| owned.value.clone())
    }

    /// This process's own, made on first use.
    pub(crate) fn get(&self, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(value) = self.present() {
            return value;
        }
        let process = std::process::id();
        // No lock, since a child could inherit it taken: of two that are made at once, one goes when its caller is done with it.
        let value = Arc::new(make());
        let before = self.0.swap(Some(Arc::new(Owned { process, value: value.clone() })));
        if let Some(before) = before.filter(|before| before.process != process) {
            // Its threads are not in this process: dropping it would wait for them.
            std::mem::forget(before);
        }
        value
    }

    /// The next use makes another one.
    pub(crate) fn renew(&self) {
        self.0.store(None);
    }
}

impl StartedThreads {
    fn workers(&self, threads: usize) -> Result<&ThreadPool> {
        if let Some(workers) = self.workers.get() {
            return Ok(workers);
        }
        let workers = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("votive-{i}"))
            .stack_size(STACK_BYTES)
            .start_handler(|_| std::mem::forget(FlushDenormals::new()))
            .build()
            .map_err(|error| cannot_start(threads, &error))?;
        Ok(self.workers.get_or_init(|| workers))
    }

    fn team(&self, threads: usize) -> Result<&Arc<Team>> {
        if let Some(team) = self.team.get() {
            return Ok(team);
        }
        let team = Team::new(threads).map_err(|error| cannot_start(threads, &error))?;
        Ok(self.team.get_or_init(|| team))
    }
}

/// Runs a job on the caller's thread or, where that has little stack left, on another one while the caller waits.
#[cfg(feature = "python")]
pub(crate) fn with_min_stack<R: Send>(job: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    if stacker::remaining_stack().is_none_or(|left| left >= MIN_STACK_BYTES) {
        return job();
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("votive-caller".to_owned()).stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, job).map_err(|error| cannot_start(1, &error))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn cannot_start(threads: usize, error: &dyn std::error::Error) -> Error {
    Error::device(format!("cannot start {threads} threads: {error}"))
}

/// Gives a check that asks `check_cancel` at most once in each `CHECK_INTERVAL`: that may have to wait for Python's lock.
fn rate_limited(check_cancel: CancelCheck<'_>) -> impl Fn() -> Result<()> {
    let last = Cell::new(Instant::now());
    move || {
        if last.get().elapsed() < CHECK_INTERVAL {
            return Ok(());
        }
        last.set(Instant::now());
        check_cancel()
    }
}

fn from_environment() -> Option<usize> {
    ["VOTIVE_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok()?.trim().parse().ok().filter(|&threads| threads > 0))
}

/// Number of CPUs that this process may use: respects affinity and, on Linux, the quota of the control group.
pub(crate) fn available_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn patient() -> Result<()> {
        Ok(())
    }

    fn impatient() -> Result<()> {
        Err(Error::Interrupted)
    }

    #[test]
    fn every_job_is_done_once() {
        for threads in [1, 2, 5] {
            let done: Vec<_> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            let pool = Pool::new(Some(threads)).unwrap();
            let work = |i: usize, _: CancelCheck<'_>| {
                done[i].fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            pool.for_each((0..100).collect(), &patient, work).unwrap();
            assert!(done.iter().all(|n| n.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn the_first_error_is_given_back_and_ends_the_rest() {
        let pool = Pool::new(Some(2)).unwrap();
        let done = AtomicUsize::new(0);
        let error = pool
            .for_each((0..10_000).collect(), &patient, |i: usize, _| {
                done.fetch_add(1, Ordering::Relaxed);
                if i == 3 { Err(Error::argument("texts", "bad")) } else { Ok(()) }
            })
            .unwrap_err();
        assert!(matches!(error, Error::Argument { .. }));
        assert!(done.into_inner() < 10_000);
    }

    #[test]
    fn a_caller_that_gives_up_is_heard() {
        for threads in [1, 2] {
            let endless = |_: usize, check_cancel: CancelCheck<'_>| -> Result<()> {
                loop {
                    check_cancel()?;
                    std::thread::yield_now();
                }
            };
            let pool = Pool::new(Some(threads)).unwrap();
            assert!(matches!(pool.for_each(vec![0, 1], &impatient, endless), Err(Error::Interrupted)));
            assert!(matches!(
                pool.run_on_team(&impatient, |check_cancel| endless(0, check_cancel)),
                Err(Error::Interrupted)
            ));
            // And the pool works as before.
            pool.for_each(vec![0, 1], &patient, |_, _| Ok(())).unwrap();
        }
    }

    #[test]
    fn no_threads_are_refused() {
        assert!(matches!(Pool::new(Some(0)), Err(Error::Argument { name: "num_threads", .. })));
    }
}
