//! What a request comes to, beside its answer.

use std::time::Duration;

/// What is told of a request beside its answer: in headers, metrics and the log.
#[derive(Debug, Default, Clone)]
pub(super) struct Outcome {
    pub(super) model: String,
    pub(super) inputs: usize,
    pub(super) tokens: usize,
    /// Inputs that were cut.
    pub(super) truncated: usize,
    pub(super) waited: Duration,
    pub(super) tokenizing: Duration,
    pub(super) computing: Duration,
}
