//! Splitting one kernel's work between threads, where the caller has threads to spare.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use rayon::ThreadPool;

thread_local! {
    static CREW: RefCell<Option<Crew>> = const { RefCell::new(None) };
}

/// Threads that may help with one forward pass.
#[derive(Clone)]
pub struct Crew {
    pool: Arc<ThreadPool>,
    width: usize,
}

impl Crew {
    /// `width`: how many parts a kernel may cut its work into, the caller's own included.
    pub fn new(pool: Arc<ThreadPool>, width: usize) -> Self {
        Self { pool, width }
    }

    /// Lets the kernels that `work` calls on this thread share their work with the crew.
    pub fn lend<R>(self, work: impl FnOnce() -> R) -> R {
        struct Return(Option<Crew>);
        impl Drop for Return {
            fn drop(&mut self) {
                CREW.set(self.0.take());
            }
        }
        let _return = Return(CREW.replace(Some(self)));
        work()
    }
}

/// Calls `part` on ranges that together cover `0..items`, at least `grain` items each, on this thread and its crew.
pub fn split(items: usize, grain: usize, part: impl Fn(Range<usize>) + Sync) {
    let crew = CREW.with_borrow(Clone::clone);
    let parts = crew.as_ref().map_or(1, |crew| crew.width.min(items / grain.max(1)).max(1));
    let Some(crew) = crew.filter(|_| parts > 1) else { return part(0..items) };
    let bounds = |i: usize| items * i / parts..items * (i + 1) / parts;
    crew.pool.in_place_scope(|scope| {
        let (part, bounds) = (&part, &bounds);
        (1..parts).for_each(|i| scope.spawn(move |_| part(bounds(i))));
        part(bounds(0));
    });
}
