//! Work that takes long, on a thread that may: others' requests go on meanwhile.

use crate::serve::fault::{Fault, FaultKind};

/// What `work` gives. `what` it is, in words, is for the fault where it panics.
///
/// # Errors
/// The faults of `work`.
pub(super) async fn aside<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Fault::new(FaultKind::Failed, format!("{what} panicked"))))
}
