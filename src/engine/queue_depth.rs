//! How much waits for a network.

use std::iter::Sum;

/// How much waits for a network, or for all of a model's. Calls that their callers' own threads compute are among the busy slots, and
/// nowhere else.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    /// Calls that are not done.
    pub calls: usize,
    /// Inputs of these, done or not.
    pub inputs: usize,
    /// Cost, in tokens, of the passes that wait; those of inputs that are not tokenized yet are not known.
    pub cost: usize,
    /// Slots of passes that are computed now.
    pub busy: usize,
    /// Most passes at a time: one a thread where nobody said less.
    pub slots: usize,
}

impl Sum for QueueDepth {
    fn sum<I: Iterator<Item = Self>>(depths: I) -> Self {
        depths.fold(Self::default(), |sum, depth| Self {
            calls: sum.calls + depth.calls,
            inputs: sum.inputs + depth.inputs,
            cost: sum.cost + depth.cost,
            busy: sum.busy + depth.busy,
            slots: sum.slots + depth.slots,
        })
    }
}
