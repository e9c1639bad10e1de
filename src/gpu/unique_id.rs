//! What sets of bound arrays are found by.

use std::sync::atomic::{AtomicU64, Ordering};

/// An id that no other pipeline and array of the process has.
pub(crate) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
