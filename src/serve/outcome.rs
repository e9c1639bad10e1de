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

impl Outcome {
    /// Of this request part and another.
    pub(super) fn with(self, other: Self) -> Self {
        Self {
            model: other.model,
            inputs: self.inputs + other.inputs,
            tokens: self.tokens + other.tokens,
            truncated: self.truncated + other.truncated,
            waited: self.waited + other.waited,
            tokenizing: self.tokenizing + other.tokenizing,
            computing: self.computing + other.computing,
        }
    }
}
