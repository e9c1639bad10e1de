//! Python objects that threads without the interpreter's lock give back, and forks.
//!
//! PyO3 notes such objects under a lock of its own. A child of a fork that happens meanwhile has that lock taken for ever, and hangs
//! in its next call. So a fork waits until no thread notes any, and a thread that would waits for the fork's end: both for a bounded time,
//! since a thread that holds the interpreter's lock may be what the other one waits for.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Far longer than either takes.
const PATIENCE: Duration = Duration::from_millis(50);

/// Threads that are about to fork.
static FORKING: AtomicUsize = AtomicUsize::new(0);

/// Threads that give objects back.
static RETURNING: AtomicUsize = AtomicUsize::new(0);

/// Python objects that any thread may be the last to have.
pub(super) struct Returned<T>(Option<T>);

impl<T> Returned<T> {
    pub(super) fn new(objects: T) -> Self {
        Self(Some(objects))
    }
}

impl<T> Deref for Returned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("objects are there until they are given back")
    }
}

impl<T> Drop for Returned<T> {
    fn drop(&mut self) {
        let start = Instant::now();
        RETURNING.fetch_add(1, Ordering::SeqCst);
        while FORKING.load(Ordering::SeqCst) > 0 && start.elapsed() < PATIENCE {
            RETURNING.fetch_sub(1, Ordering::SeqCst);
            std::thread::yield_now();
            RETURNING.fetch_add(1, Ordering::SeqCst);
        }
        self.0.take();
        RETURNING.fetch_sub(1, Ordering::SeqCst);
    }
}

#[pyfunction]
fn before_fork() {
    FORKING.fetch_add(1, Ordering::SeqCst);
    let start = Instant::now();
    while RETURNING.load(Ordering::SeqCst) > 0 && start.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
}

#[pyfunction]
fn after_fork_in_parent() {
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

#[pyfunction]
fn after_fork_in_child() {
    // The other threads are not in this process.
    FORKING.store(0, Ordering::SeqCst);
    RETURNING.store(0, Ordering::SeqCst);
}

/// Has Python tell of its forks, on systems that have them.
pub(super) fn watch(py: Python<'_>) -> PyResult<()> {
    let Ok(register) = py.import("os")?.getattr("register_at_fork") else { return Ok(()) };
    let told = PyDict::new(py);
    told.set_item("before", wrap_pyfunction!(before_fork, py)?)?;
    told.set_item("after_in_parent", wrap_pyfunction!(after_fork_in_parent, py)?)?;
    told.set_item("after_in_child", wrap_pyfunction!(after_fork_in_child, py)?)?;
    register.call((), Some(&told)).map(drop)
}
