//! Splitting one kernel's work between threads, where the caller has threads to spare.

use std::cell::Cell;
use std::ops::Range;

use crate::profile::shared;

thread_local! {
    static WIDTH: Cell<usize> = const { Cell::new(1) };
}

/// Multiply-adds (or as much other work) below which waking a thread costs more than it gains: some 20 µs.
const WORTH_SHARING: usize = 1 << 20;

/// Lets the kernels that `work` calls on this thread, one of a rayon pool's, cut what they do into `width` parts for the pool.
pub fn share<R>(width: usize, work: impl FnOnce() -> R) -> R {
    struct Return(usize);
    impl Drop for Return {
        fn drop(&mut self) {
            WIDTH.set(self.0);
        }
    }
    let _return = Return(WIDTH.replace(width));
    work()
}

/// Calls `part` on ranges that together cover `0..items`, on this thread and, where `share` allows it and it is worth
/// it, on others. `work`: the multiply-adds of one item.
pub fn split(items: usize, work: usize, part: impl Fn(Range<usize>) + Sync) {
    let grain = WORTH_SHARING.div_ceil(work.max(1));
    let parts = WIDTH.get().min(items / grain);
    if parts <= 1 {
        return part(0..items);
    }
    let bounds = |i: usize| items * i / parts..items * (i + 1) / parts;
    let stage = shared();
    rayon::in_place_scope(|scope| {
        let (part, bounds, stage) = (&part, &bounds, &stage);
        (1..parts).for_each(|i| scope.spawn(move |_| stage.help(|| part(bounds(i)))));
        part(bounds(0));
    });
}
