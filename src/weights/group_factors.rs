//! What codes are multiplied by and what is added, and the words that codes lie in.

use std::borrow::Cow;

use half::{bf16, f16};
use safetensors::Dtype;

/// Scales or what is added, in a type of floats.
#[derive(Debug, Clone)]
pub(super) struct GroupFactors<'a> {
    dtype: Dtype,
    bytes: Cow<'a, [u8]>,
}

impl<'a> GroupFactors<'a> {
    /// Types that factors may have.
    pub(super) const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

    /// Numbers of one of [`Self::DTYPES`].
    pub(super) fn new(dtype: Dtype, bytes: &'a [u8]) -> Self {
        Self { dtype, bytes: Cow::Borrowed(bytes) }
    }

    pub(super) fn into_owned(self) -> GroupFactors<'static> {
        GroupFactors { dtype: self.dtype, bytes: owned(self.bytes) }
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    #[inline(always)]
    pub(super) fn get(&self, i: usize) -> f32 {
        match self.dtype {
            Dtype::F32 => f32::from_le_bytes(self.at(i)),
            Dtype::F16 => f16::from_le_bytes(self.at(i)).to_f32(),
            _ => bf16::from_le_bytes(self.at(i)).to_f32(),
        }
    }

    fn at<const N: usize>(&self, i: usize) -> [u8; N] {
        *self.bytes[N * i..].first_chunk().expect("its number was compared with the codes'")
    }
}

/// Bytes in memory of their own.
pub(super) fn owned(bytes: Cow<'_, [u8]>) -> Cow<'static, [u8]> {
    Cow::Owned(bytes.into_owned())
}

/// The little-endian word `i`.
#[inline(always)]
pub(super) fn word(bytes: &[u8], i: usize) -> u32 {
    u32::from_le_bytes(*bytes[4 * i..].first_chunk().expect("their number was compared with the shape"))
}
