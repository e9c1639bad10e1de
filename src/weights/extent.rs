//! Where in a file a tensor lies, as every format says it.

use std::ops::Range;

use safetensors::Dtype;

use super::ggml_rows::Arrangement;

/// One tensor's place in its file.
pub(super) struct Extent {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Numbers between neighbours of each dimension, where they do not lie row after row.
    pub(super) strides: Option<Vec<usize>>,
    pub(super) bytes: Range<usize>,
    /// Where the bytes are ggml's: `dtype` says of them only that they are bytes.
    pub(super) ggml: Option<GgmlType>,
}

/// How the rows of a GGUF file's tensor become numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct GgmlType {
    /// As files number it.
    pub(super) id: u32,
    pub(super) arrangement: Arrangement,
}

impl Extent {
    /// A tensor whose numbers lie row after row.
    pub(super) fn dense(dtype: Dtype, shape: Vec<usize>, bytes: Range<usize>) -> Self {
        Self { dtype, shape, strides: None, bytes, ggml: None }
    }

    /// A tensor of a GGUF file that is no plain run of floats.
    pub(super) fn of_ggml(ggml: GgmlType, shape: Vec<usize>, bytes: Range<usize>) -> Self {
        Self { ggml: Some(ggml), ..Self::dense(Dtype::U8, shape, bytes) }
    }
}
