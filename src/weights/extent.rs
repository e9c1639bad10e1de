//! Where in a file a tensor lies, as every format says it.

use std::ops::Range;

use safetensors::Dtype;

/// One tensor's place in its file.
pub(super) struct Extent {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Numbers between neighbours of each dimension, where they do not lie row after row.
    pub(super) strides: Option<Vec<usize>>,
    pub(super) bytes: Range<usize>,
}

impl Extent {
    /// A tensor whose numbers lie row after row.
    pub(super) fn dense(dtype: Dtype, shape: Vec<usize>, bytes: Range<usize>) -> Self {
        Self { dtype, shape, strides: None, bytes }
    }
}
