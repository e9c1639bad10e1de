//! A parallel loop of microseconds: fork and join on threads that spin between the loops (as OpenMP's thread teams do).
//!
//! Waking a thread takes tens of microseconds, more than a product for a short text. So the helpers stay awake between
//! the kernels of one forward pass, and ask for work in a loop; the thread that calls a kernel, the leader, does its
//! share.
//!
//! ```text
//! leader: write the loop, unfinished = pieces, unclaimed = pieces; claim pieces until none is left; wait for unfinished = 0
//! helper: claim a piece: unclaimed -= 1 if above 0; run it; unfinished -= 1; sleep after 200 us without one
//! ```
//!
//! A helper that wakes on the leader's CPU would wait there until the scheduler's next tick, some milliseconds, since the
//! leader never blocks. Kernels of virtual machines choose that CPU where threads did little lately: they take a halted
//! CPU for one that the host runs something else on, or pack threads on few CPUs on purpose. So helpers are kept off the
//! CPU that the leader is on as its work begins. A short text in float32 after 200 ms without one (two CPUs of a
//! virtual machine): 10.6 ms without that, as one thread takes; 7.2 with it, 7.05 where they wake before the tokenizer.
//!
//! A helper reads the loop only between a claim and the matching `unfinished -= 1`, and the leader writes the next loop
//! only when `unfinished` is 0, so no lock is needed. A helper that falls asleep says so before it looks at `unclaimed`
//! a last time, and the leader stores `unclaimed` before it looks who sleeps: one of the two sees the other.
//!
//! Several threads may work with one team, each on its own kernels. Each loop has its own leader, and as many helpers as
//! the threads that work leave CPUs: none while all are busy, and more as soon as one of them is done. Where the first to
//! begin led all the time, two callers with eight short texts each were 6 to 9 % slower than this on two CPUs: one waited
//! for Python while the other computed alone.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};
use std::{hint, io, thread};

use crate::kernels::FlushDenormals;
use crate::kernels::affinity::{Id, current_cpu, id_of, keep_off};
use crate::panic::caught;
use crate::profile::shared;

/// How long a helper without work asks for some before it sleeps: longer than what lies between two kernels, or between
/// two calls of a program that has nothing else to do.
const SPIN_TIME: Duration = Duration::from_micros(200);

/// How often a thread looks for work before it yields its CPU: for a microsecond or two.
const SPINS_PER_YIELD: usize = 32;

/// Multiply-adds (or as much other work) below which a piece costs more than it gains: some 5 µs. Handing it over takes
/// a tenth of that, but its input and output move between caches.
const MIN_PIECE_WORK: usize = 1 << 17;

/// Pieces of a loop for each thread: several, so that one that is held up leaves what it has not begun to the others.
const PIECES_PER_THREAD: usize = 4;

thread_local! {
    /// The team that this thread works with, unless it is in the midst of a piece.
    static TEAM: Cell<Option<Arc<Team>>> = const { Cell::new(None) };
}

/// Size of the stack of a thread that computes, in bytes, whatever `RUST_MIN_STACK` says.
pub const STACK_BYTES: usize = 2 << 20;

/// Threads that help another one with its kernels. They end when this is dropped.
pub struct Team {
    shared: Arc<SharedLoop>,
    helpers: Vec<Helper>,
    /// The CPU that the helpers are kept off; `usize::MAX` at first.
    leaders_cpu: AtomicUsize,
    /// In a child of `fork()` the helpers are not there.
    process: u32,
}

struct Helper {
    thread: Thread,
    id: Id,
}

/// The loop that a team is at, and what its threads know of each other.
#[derive(Default)]
struct SharedLoop {
    current: UnsafeCell<Option<ParallelLoop>>,
    /// Number of pieces that no thread has claimed.
    unclaimed: CacheLine<AtomicUsize>,
    /// Number of pieces that are not done.
    unfinished: CacheLine<AtomicUsize>,
    /// Which helpers sleep, or are about to: the first one's number is 1.
    asleep: [AtomicBool; Team::MAX_THREADS],
    /// Number of threads that work on something of their own, helpers not counted.
    working: AtomicUsize,
    /// Whether one of them leads.
    has_leader: AtomicBool,
    /// Number of helpers, the first ones, that may claim pieces.
    invited: CacheLine<AtomicUsize>,
    ended: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// A value with cache lines of its own, so that writing it does not slow down what other threads read.
#[derive(Default)]
#[repr(align(128))]
struct CacheLine<T>(T);

#[derive(Clone, Copy)]
struct ParallelLoop {
    /// Runs one of the pieces; valid until all are done.
    run: &'static (dyn Fn(usize) + Sync),
    pieces: usize,
}

// SAFETY: only `current` is not `Sync` by itself. The leader writes it while no piece is unclaimed or unfinished; a
// helper reads it between claiming a piece and saying that it is done.
unsafe impl Sync for SharedLoop {}

impl Team {
    /// More threads than these find no work in products of a few dozen panels.
    pub const MAX_THREADS: usize = 16;

    /// Starts the helpers of a team of so many threads, of which the leader is one.
    pub fn new(threads: usize) -> io::Result<Arc<Self>> {
        let mut team = Self {
            shared: Arc::default(),
            helpers: Vec::new(),
            leaders_cpu: usize::MAX.into(),
            process: std::process::id(),
        };
        for i in 1..threads {
            let shared = team.shared.clone();
            let helper = thread::Builder::new()
                .name(format!("votive-team-{i}"))
                .stack_size(STACK_BYTES)
                .spawn(move || shared.help(i))?;
            team.helpers.push(Helper { thread: helper.thread().clone(), id: id_of(&helper) });
        }
        Ok(Arc::new(team))
    }

    /// Runs `work`, whose kernels share their work with as many helpers as no other thread keeps from it.
    pub fn install<R>(self: &Arc<Self>, work: impl FnOnce() -> R) -> R {
        /// Puts things back, also when `work` panics.
        struct Restore<'a>(&'a SharedLoop, Option<Arc<Team>>);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                TEAM.set(self.1.take());
                self.0.working.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.shared.working.fetch_add(1, Ordering::Relaxed);
        let _restore = Restore(&self.shared, TEAM.replace(Some(self.clone())));
        if self.idle_helpers() > 0 {
            self.make_ready();
        }
        work()
    }

    /// Number of helpers for which threads that work leave a CPU.
    fn idle_helpers(&self) -> usize {
        (1 + self.helpers.len()).saturating_sub(self.shared.working.load(Ordering::Relaxed))
    }

    /// Makes this thread the leader, unless another one is; gives with how many helpers. Each loop has its own leader, so
    /// that who works alone is helped as soon as others are done.
    fn lead(&self) -> Option<Lead<'_>> {
        let helpers = self.idle_helpers();
        (helpers > 0 && !self.shared.has_leader.swap(true, Ordering::Acquire)).then(|| Lead { team: self, helpers })
    }

    /// Wakes the helpers, on other CPUs than this thread's: before `install`, so that they are awake in time.
    pub fn make_ready(&self) {
        self.spread();
        self.wake(self.idle_helpers());
    }

    /// Keeps the helpers off this thread's CPU.
    fn spread(&self) {
        let Some(cpu) = current_cpu() else { return };
        if self.leaders_cpu.swap(cpu, Ordering::Relaxed) != cpu && self.process == std::process::id() {
            for helper in &self.helpers {
                // SAFETY: helpers end when the team is dropped.
                unsafe { keep_off(helper.id, cpu) };
            }
        }
    }

    /// Wakes the first helpers, those that sleep.
    fn wake(&self, helpers: usize) {
        for (helper, asleep) in self.helpers.iter().zip(&self.shared.asleep[1..]).take(helpers) {
            if asleep.load(Ordering::SeqCst) && self.process == std::process::id() {
                helper.thread.unpark();
            }
        }
    }
}

/// The right to have helpers run a loop.
struct Lead<'a> {
    team: &'a Team,
    helpers: usize,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.team.shared.has_leader.store(false, Ordering::Release);
    }
}

impl Lead<'_> {
    /// Runs all pieces of a loop, with the helpers that are awake in time.
    fn run(&self, pieces: usize, run: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.team.shared;
        self.team.spread();
        // SAFETY: a piece is run only after it was claimed, and this returns when all of them were claimed and are
        // done.
        let run = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(run) };
        // SAFETY: this thread alone leads, and no piece of its last loop is unclaimed or unfinished.
        unsafe { *shared.current.get() = Some(ParallelLoop { run, pieces }) };
        shared.unfinished.0.store(pieces, Ordering::Relaxed);
        shared.invited.0.store(self.helpers, Ordering::Relaxed);
        // After this a helper sees the pieces, or this thread sees that it sleeps.
        shared.unclaimed.0.store(pieces, Ordering::SeqCst);
        self.team.wake(self.helpers);
        while shared.run_one() {}
        let mut spins = 0;
        while shared.unfinished.0.load(Ordering::Acquire) > 0 {
            spins += 1;
            // The thread that has the last piece may be waiting for this CPU.
            if spins % SPINS_PER_YIELD == 0 { thread::yield_now() } else { hint::spin_loop() }
        }
        if let Some(panic) = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.wake(self.helpers.len());
    }
}

impl SharedLoop {
    /// Runs pieces of one loop after the other until the team ends, as helper number `number` from 1.
    fn help(&self, number: usize) {
        let _flush = FlushDenormals::new();
        while !self.ended.load(Ordering::Relaxed) {
            let mut last = Instant::now();
            while last.elapsed() < SPIN_TIME {
                for _ in 0..SPINS_PER_YIELD {
                    if self.invites(number) && self.run_one() {
                        last = Instant::now();
                    }
                    hint::spin_loop();
                }
                // Where CPUs are scarce the leader itself may be waiting for this one.
                thread::yield_now();
            }
            self.asleep[number].store(true, Ordering::SeqCst);
            let is_wanted = self.unclaimed.0.load(Ordering::SeqCst) > 0 && self.invites(number);
            if !is_wanted && !self.ended.load(Ordering::SeqCst) {
                thread::park();
            }
            self.asleep[number].store(false, Ordering::SeqCst);
        }
    }

    fn invites(&self, number: usize) -> bool {
        number <= self.invited.0.load(Ordering::Relaxed)
    }

    /// Runs a piece if one is unclaimed; gives whether there was one.
    fn run_one(&self) -> bool {
        let Ok(unclaimed) = self.unclaimed.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, |n| n.checked_sub(1))
        else {
            return false;
        };
        // SAFETY: the piece that was claimed is unfinished, so the loop stays.
        let current = unsafe { *self.current.get() };
        let Some(ParallelLoop { run, pieces }) = current else { return false };
        if let Err(panic) = caught(|| run(pieces - unclaimed)) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        self.unfinished.0.fetch_sub(1, Ordering::Release);
        true
    }
}

/// Calls `part` on ranges that together cover `0..items`: on this thread and, where it leads a team and the work is
/// worth it, on the team's. `work` is the number of multiply-adds of one item.
pub fn parallel_for(items: usize, work: usize, part: impl Fn(Range<usize>) + Sync) {
    let grain = MIN_PIECE_WORK.div_ceil(work.max(1));
    // Taken: a loop within a part runs on the thread that has the part.
    let team = TEAM.take();
    match team.as_ref().filter(|_| items / grain > 1).and_then(|team| team.lead()) {
        Some(lead) => {
            let pieces = (items / grain).min(PIECES_PER_THREAD * (1 + lead.helpers));
            let stage = shared();
            lead.run(pieces, &|i| stage.help(|| part(items * i / pieces..items * (i + 1) / pieces)));
        }
        None => part(0..items),
    }
    TEAM.set(team);
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// How often each of `items` was done by kernels of `threads` threads.
    fn counts(team: &Arc<Team>, items: usize) -> Vec<usize> {
        let counts: Vec<_> = (0..items).map(|_| AtomicUsize::new(0)).collect();
        let add = |range: Range<usize>| {
            for count in &counts[range] {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        team.install(|| parallel_for(items, MIN_PIECE_WORK, add));
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_item_is_done_once() {
        for threads in [1, 2, 5] {
            let team = Team::new(threads).unwrap();
            for items in [0, 1, 2, 3, 7, 8, 9, 100, 1000] {
                // Again and again, so that helpers are met asleep, awake and at work.
                for _ in 0..50 {
                    assert_eq!(counts(&team, items), vec![1; items]);
                }
            }
        }
    }

    #[test]
    fn helpers_help() {
        let team = Team::new(2).unwrap();
        let threads = Mutex::new(std::collections::HashSet::new());
        let both = std::sync::Barrier::new(2);
        let meet = |_| {
            // The first pieces wait for each other, which they can only on two threads.
            if threads.lock().unwrap().insert(thread::current().id()) {
                both.wait();
            }
        };
        team.install(|| parallel_for(100, MIN_PIECE_WORK, meet));
        assert_eq!(threads.into_inner().unwrap().len(), 2);
    }

    #[test]
    fn a_busy_team_is_not_waited_for() {
        let team = Team::new(2).unwrap();
        team.install(|| {
            thread::scope(|scope| scope.spawn(|| assert_eq!(counts(&team, 10), [1; 10])).join().unwrap());
            // Nor by its own leader.
            assert_eq!(counts(&team, 10), [1; 10]);
            parallel_for(10, MIN_PIECE_WORK, |_| assert_eq!(counts(&team, 10), [1; 10]));
        });
        assert_eq!(counts(&team, 10), [1; 10]);
    }

    /// The threads that run pieces of a loop, which wait for each other until there are `wanted`.
    fn threads_of_a_loop(wanted: usize) -> usize {
        let seen = Mutex::new(std::collections::HashSet::new());
        let all = std::sync::Barrier::new(wanted);
        parallel_for(100, MIN_PIECE_WORK, |_| {
            if seen.lock().unwrap().insert(thread::current().id()) {
                all.wait();
            }
        });
        seen.into_inner().unwrap().len()
    }

    #[test]
    fn a_loop_has_as_many_helpers_as_other_threads_leave_cpus() {
        let team = Team::new(3).unwrap();
        team.install(|| {
            assert_eq!(threads_of_a_loop(3), 3);
            let (one, two) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
            thread::scope(|scope| {
                let other = scope.spawn(|| {
                    team.install(|| {
                        one.wait();
                        two.wait();
                    });
                });
                one.wait();
                assert_eq!(threads_of_a_loop(2), 2);
                // As many as there are threads: each alone.
                team.install(|| assert_eq!(threads_of_a_loop(1), 1));
                two.wait();
                other.join().unwrap();
            });
            assert_eq!(threads_of_a_loop(3), 3);
        });
    }

    #[test]
    fn many_threads_take_turns() {
        let team = Team::new(3).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..200).for_each(|_| assert_eq!(counts(&team, 20), [1; 20])));
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_leader_and_leaves_the_team_whole() {
        let team = Team::new(2).unwrap();
        for bad in [0, 50, 99] {
            let panic = catch_unwind(AssertUnwindSafe(|| {
                team.install(|| parallel_for(100, MIN_PIECE_WORK, |range| assert!(!range.contains(&bad), "bad {bad}")));
            }));
            assert_eq!(panic.unwrap_err().downcast_ref::<String>(), Some(&format!("bad {bad}")));
            assert_eq!(counts(&team, 100), [1; 100]);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn helpers_are_kept_off_the_leaders_cpu() {
        use crate::kernels::affinity::allowed_cpus;

        let team = Team::new(2).unwrap();
        let leader = thread::current().id();
        let of_helper = Mutex::new(None);
        let both = std::sync::Barrier::new(2);
        let seen = Mutex::new(std::collections::HashSet::new());
        let meet = |_| {
            let thread = thread::current().id();
            if seen.lock().unwrap().insert(thread) {
                both.wait();
                if thread != leader {
                    *of_helper.lock().unwrap() = Some(allowed_cpus());
                }
            }
        };
        team.install(|| parallel_for(100, MIN_PIECE_WORK, meet));
        let (mine, theirs) = (allowed_cpus(), of_helper.into_inner().unwrap().unwrap());
        let kept_off = team.leaders_cpu.load(Ordering::Relaxed);
        match mine.len() {
            1 => assert_eq!(theirs, mine),
            _ => assert_eq!(theirs, mine.into_iter().filter(|&cpu| cpu != kept_off).collect::<Vec<_>>()),
        }
    }

    #[test]
    fn a_team_that_was_made_ready_works() {
        let team = Team::new(3).unwrap();
        for _ in 0..50 {
            team.make_ready();
            assert_eq!(counts(&team, 100), [1; 100]);
        }
    }

    #[test]
    fn helpers_end_with_their_team() {
        let team = Team::new(3).unwrap();
        counts(&team, 100);
        let shared = Arc::downgrade(&team.shared);
        drop(team);
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
