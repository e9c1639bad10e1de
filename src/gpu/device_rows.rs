//! Hidden states on a device: rows of numbers.

use std::sync::Arc;

use crate::gpu::device_array::DeviceArray;

/// Type of the numbers of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Number {
    F32,
    /// Kept in 16 bits; kernels compute in float32, and round what they write.
    F16,
}

impl Number {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// `[rows, width]` numbers in a slot of the arena, which is free again when the last handle to it is dropped. A row takes
/// [`padded`] numbers; those beyond the width are zero.
#[derive(Clone)]
pub struct DeviceRows {
    pub(crate) slot: Arc<DeviceArray>,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) number: Number,
}

impl DeviceRows {
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.width]
    }

    pub fn number(&self) -> Number {
        self.number
    }

    /// Whether there is another handle to these rows, besides this one and the arena's.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.slot) > 2
    }

    /// Numbers from a row to the next.
    pub(crate) fn stride(&self) -> usize {
        padded(self.width)
    }
}

/// Numbers that a row of so many takes: products go through it in steps of 16, without looking where it ends.
pub(crate) fn padded(width: usize) -> usize {
    width.max(1).next_multiple_of(16)
}
