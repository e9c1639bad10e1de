//! Arrays of a segment: numbers in memory that grow at their end, or of another owner.

use std::ops::Deref;
use std::sync::Arc;

use crate::Result;
use crate::kernels::{AppendBuffer, Claim};
use crate::memory::lack;

/// Memory of another owner, such as a mapped file, which does not change while this is held.
pub type ForeignArray<T> = Arc<dyn AsRef<[T]> + Send + Sync>;

/// One array of a segment: numbers that never change.
pub enum SegmentArray<T> {
    Own(AppendBuffer<T>),
    Foreign(ForeignArray<T>),
}

impl<T: bytemuck::Pod> Deref for SegmentArray<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Own(buffer) => buffer.as_slice(),
            Self::Foreign(foreign) => (**foreign).as_ref(),
        }
    }
}

impl<T> Clone for SegmentArray<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Own(buffer) => Self::Own(buffer.clone()),
            Self::Foreign(foreign) => Self::Foreign(foreign.clone()),
        }
    }
}

impl<T: bytemuck::Pod> SegmentArray<T> {
    pub(super) fn claim(&self, n: usize) -> Option<Claim<T>> {
        match self {
            Self::Own(buffer) => buffer.claim(n),
            Self::Foreign(_) => None,
        }
    }

    /// Bytes in use, foreign bytes in use, bytes allocated and not in use.
    pub(super) fn bytes(&self) -> [usize; 3] {
        match self {
            Self::Own(buffer) => {
                let used = size_of_val(buffer.as_slice());
                [used, 0, buffer.capacity() * size_of::<T>() - used]
            }
            Self::Foreign(_) => [0, size_of_val(&**self), 0],
        }
    }
}

/// An empty array with room for so many rows of `width` numbers.
pub(super) fn buffer<T: bytemuck::Pod>(rows: usize, width: usize) -> Result<SegmentArray<T>> {
    let buffer = rows.checked_mul(width).and_then(AppendBuffer::with_capacity);
    Ok(SegmentArray::Own(buffer.ok_or_else(|| lack(size_of::<T>(), rows.saturating_mul(width), "rows of a store"))?))
}
