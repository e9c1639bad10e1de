//! Splitting one kernel's work between threads, where the work takes microseconds.
//!
//! Waking a thread takes tens of microseconds, more than a product for a short text. So the threads that help stay awake
//! between the kernels of one forward pass, and ask for work in a loop; the thread that calls a kernel does its share of it.

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
use crate::panic::caught;
use crate::profile::shared;

/// How long a helper without work asks for some before it sleeps: longer than what lies between two kernels, or between two
/// calls of a program that has nothing else to do.
const AWAKE: Duration = Duration::from_micros(200);

/// How often one thread asks another before it lets a third have its CPU: for a microsecond or two.
const ASKS: usize = 32;

/// Multiply-adds (or as much other work) below which a piece costs more than it gains: some 5 µs. Handing it over takes a
/// tenth of that, but its input and output move between caches.
const WORTH_SHARING: usize = 1 << 17;

/// Pieces for each thread: several, so that one that is held up leaves what it has not begun to the others.
const PIECES: usize = 4;

thread_local! {
    /// The crew that this thread leads, unless it is in the midst of a piece.
    static LED: Cell<Option<Arc<Crew>>> = const { Cell::new(None) };
}

/// Bytes of stack of a thread that computes, whatever `RUST_MIN_STACK` says.
pub const STACK: usize = 2 << 20;

/// Threads that help another one with its kernels. They end when this is dropped.
pub struct Crew {
    board: Arc<Board>,
    helpers: Vec<Thread>,
    /// In a child of `fork()` the helpers are not there.
    process: u32,
}

/// What the threads of a crew share.
#[derive(Default)]
struct Board {
    task: UnsafeCell<Option<Task>>,
    /// Pieces of the task that nobody has claimed.
    open: OwnLine<AtomicUsize>,
    /// Pieces that are not done.
    undone: OwnLine<AtomicUsize>,
    /// Helpers that sleep, or are about to.
    asleep: AtomicUsize,
    /// Whether some thread leads.
    led: AtomicBool,
    ended: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Keeps what one thread writes off the cache lines that others read.
#[derive(Default)]
#[repr(align(128))]
struct OwnLine<T>(T);

#[derive(Clone, Copy)]
struct Task {
    /// Does one of the pieces; valid until all are done.
    piece: &'static (dyn Fn(usize) + Sync),
    pieces: usize,
}

// SAFETY: only `task` is not `Sync` by itself. The leader writes it while no piece is open or undone; a helper reads it
// between claiming a piece and saying that it is done.
unsafe impl Sync for Board {}

impl Crew {
    /// More threads than these find no work in products of a few dozen panels.
    pub const MOST_THREADS: usize = 16;

    /// Starts the helpers of a crew of so many threads, of which the leader is one.
    pub fn new(threads: usize) -> io::Result<Arc<Self>> {
        let mut crew = Self { board: Arc::default(), helpers: Vec::new(), process: std::process::id() };
        for i in 1..threads {
            let board = crew.board.clone();
            let helper = thread::Builder::new()
                .name(format!("votive-crew-{i}"))
                .stack_size(STACK)
                .spawn(move || board.help())?;
            crew.helpers.push(helper.thread().clone());
        }
        Ok(Arc::new(crew))
    }

    /// Runs `work`, whose kernels share their work with the crew if no other thread leads it now.
    pub fn lead<R>(self: &Arc<Self>, work: impl FnOnce() -> R) -> R {
        /// Puts things back, also when `work` panics.
        struct End<'a>(Option<&'a Board>, Option<Arc<Crew>>);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                LED.set(self.1.take());
                if let Some(board) = self.0 {
                    board.led.store(false, Ordering::Release);
                }
            }
        }
        let free = !self.board.led.swap(true, Ordering::Acquire);
        let _end = End(free.then_some(&self.board), LED.replace(free.then(|| self.clone())));
        if free {
            self.wake();
        }
        work()
    }

    /// Wakes whoever sleeps.
    fn wake(&self) {
        if self.board.asleep.load(Ordering::SeqCst) > 0 && self.process == std::process::id() {
            self.helpers.iter().for_each(Thread::unpark);
        }
    }

    /// Does all pieces of a task with whoever helps.
    fn share(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync)) {
        let board = &*self.board;
        // SAFETY: a piece is claimed only while it is open, and this returns when all of them were claimed and are done.
        let piece = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(piece) };
        // SAFETY: this thread alone leads, and no piece of its last task is open or undone.
        unsafe { *board.task.get() = Some(Task { piece, pieces }) };
        board.undone.0.store(pieces, Ordering::Relaxed);
        // After this a helper sees the pieces, or this thread sees that it sleeps.
        board.open.0.store(pieces, Ordering::SeqCst);
        self.wake();
        while board.do_one() {}
        let mut asks = 0;
        while board.undone.0.load(Ordering::Acquire) > 0 {
            asks += 1;
            // Whoever has the last pieces may be waiting for this CPU.
            if asks % ASKS == 0 { thread::yield_now() } else { hint::spin_loop() }
        }
        if let Some(panic) = board.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.board.ended.store(true, Ordering::SeqCst);
        self.wake();
    }
}

impl Board {
    /// A helper's life.
    fn help(&self) {
        let _flush = FlushDenormals::new();
        while !self.ended.load(Ordering::Relaxed) {
            let mut last = Instant::now();
            while last.elapsed() < AWAKE {
                for _ in 0..ASKS {
                    if self.do_one() {
                        last = Instant::now();
                    }
                    hint::spin_loop();
                }
                // Where CPUs are scarce the leader itself may be waiting for this one.
                thread::yield_now();
            }
            self.asleep.fetch_add(1, Ordering::SeqCst);
            if self.open.0.load(Ordering::SeqCst) == 0 && !self.ended.load(Ordering::SeqCst) {
                thread::park();
            }
            self.asleep.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Does a piece if one is open.
    fn do_one(&self) -> bool {
        let Ok(open) = self.open.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, |open| open.checked_sub(1))
        else {
            return false;
        };
        // SAFETY: the piece that was claimed is undone, so the task stays.
        let task = unsafe { *self.task.get() };
        let Some(Task { piece, pieces }) = task else { return false };
        if let Err(panic) = caught(|| piece(pieces - open)) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        self.undone.0.fetch_sub(1, Ordering::Release);
        true
    }
}

/// Calls `part` on ranges that together cover `0..items`: on this thread and, where it leads a crew and the work is
/// worth it, on the crew's. `work`: the multiply-adds of one item.
pub fn split(items: usize, work: usize, part: impl Fn(Range<usize>) + Sync) {
    let grain = WORTH_SHARING.div_ceil(work.max(1));
    // Taken: within a part, a split is done by whoever does the part.
    let crew = LED.take();
    match &crew {
        Some(crew) if items / grain > 1 && !crew.helpers.is_empty() => {
            let pieces = (items / grain).min(PIECES * (1 + crew.helpers.len()));
            let stage = shared();
            crew.share(pieces, &|i| stage.help(|| part(items * i / pieces..items * (i + 1) / pieces)));
        }
        _ => part(0..items),
    }
    LED.set(crew);
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// How often each of `items` was done by kernels of `threads` threads.
    fn counts(crew: &Arc<Crew>, items: usize) -> Vec<usize> {
        let counts: Vec<_> = (0..items).map(|_| AtomicUsize::new(0)).collect();
        let add = |range: Range<usize>| {
            for count in &counts[range] {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        crew.lead(|| split(items, WORTH_SHARING, add));
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_item_is_done_once() {
        for threads in [1, 2, 5] {
            let crew = Crew::new(threads).unwrap();
            for items in [0, 1, 2, 3, 7, 8, 9, 100, 1000] {
                // Again and again, so that helpers are met asleep, awake and at work.
                for _ in 0..50 {
                    assert_eq!(counts(&crew, items), vec![1; items]);
                }
            }
        }
    }

    #[test]
    fn helpers_help() {
        let crew = Crew::new(2).unwrap();
        let threads = Mutex::new(std::collections::HashSet::new());
        let both = std::sync::Barrier::new(2);
        let meet = |_| {
            // The first pieces wait for each other, which they can only on two threads.
            if threads.lock().unwrap().insert(thread::current().id()) {
                both.wait();
            }
        };
        crew.lead(|| split(100, WORTH_SHARING, meet));
        assert_eq!(threads.into_inner().unwrap().len(), 2);
    }

    #[test]
    fn a_busy_crew_is_not_waited_for() {
        let crew = Crew::new(2).unwrap();
        crew.lead(|| {
            thread::scope(|scope| scope.spawn(|| assert_eq!(counts(&crew, 10), [1; 10])).join().unwrap());
            // Nor by its own leader.
            assert_eq!(counts(&crew, 10), [1; 10]);
            split(10, WORTH_SHARING, |_| assert_eq!(counts(&crew, 10), [1; 10]));
        });
        assert_eq!(counts(&crew, 10), [1; 10]);
    }

    #[test]
    fn many_threads_take_turns() {
        let crew = Crew::new(3).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..200).for_each(|_| assert_eq!(counts(&crew, 20), [1; 20])));
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_leader_and_leaves_the_crew_whole() {
        let crew = Crew::new(2).unwrap();
        for bad in [0, 50, 99] {
            let panic = catch_unwind(AssertUnwindSafe(|| {
                crew.lead(|| split(100, WORTH_SHARING, |range| assert!(!range.contains(&bad), "bad {bad}")));
            }));
            assert_eq!(panic.unwrap_err().downcast_ref::<String>(), Some(&format!("bad {bad}")));
            assert_eq!(counts(&crew, 100), [1; 100]);
        }
    }

    #[test]
    fn helpers_end_with_their_crew() {
        let crew = Crew::new(3).unwrap();
        counts(&crew, 100);
        let board = Arc::downgrade(&crew.board);
        drop(crew);
        while board.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
