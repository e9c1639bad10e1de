//! Numbers that a file holds as codes of few bits, with scales: what all such formats have in common.
//!
//! A format decodes a row at a time to float32, in which each number is rounded as its reference rounds it. What votive holds is
//! packed from that, in any type.

use std::borrow::Cow;

use half::{bf16, f16};
use safetensors::Dtype;

use super::affine::Affine;
use super::micro_scaled::MicroScaled;
use super::packed::Packed;
use super::scaled::Scaled;

/// A matrix of codes, or several of one shape behind each other.
#[derive(Debug, Clone)]
pub struct Codes<'a> {
    format: Format<'a>,
    columns: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Format<'a> {
    Affine(Affine<'a>),
    MicroScaled(MicroScaled<'a>),
    Packed(Packed<'a>),
    Scaled(Scaled<'a>),
}

impl<'a> Codes<'a> {
    pub(super) fn new(format: Format<'a>, columns: usize) -> Self {
        Self { format, columns }
    }

    /// The same codes in memory of their own.
    pub fn into_owned(self) -> Codes<'static> {
        let format = match self.format {
            Format::Affine(codes) => Format::Affine(codes.into_owned()),
            Format::MicroScaled(codes) => Format::MicroScaled(codes.into_owned()),
            Format::Packed(codes) => Format::Packed(codes.into_owned()),
            Format::Scaled(codes) => Format::Scaled(codes.into_owned()),
        };
        Codes { format, columns: self.columns }
    }

    /// Bytes of the codes and of their scales.
    pub fn bytes(&self) -> usize {
        match &self.format {
            Format::Affine(codes) => codes.bytes(),
            Format::MicroScaled(codes) => codes.bytes(),
            Format::Packed(codes) => codes.bytes(),
            Format::Scaled(codes) => codes.bytes(),
        }
    }

    /// Writes the rows from `first` on to `out [rows, columns]`. All of them are there.
    pub fn decode(&self, first: usize, out: &mut [f32]) {
        for (row, out) in (first..).zip(out.chunks_exact_mut(self.columns.max(1))) {
            match &self.format {
                Format::Affine(codes) => codes.decode_row(row, out),
                Format::MicroScaled(codes) => codes.decode_row(row, out),
                Format::Packed(codes) => codes.decode_row(row, out),
                Format::Scaled(codes) => codes.decode_row(row, out),
            }
        }
    }
}

/// Scales or what is added, in a type of floats.
#[derive(Debug, Clone)]
pub(super) struct Factors<'a> {
    dtype: Dtype,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Factors<'a> {
    /// Types that factors may have.
    pub(super) const DTYPES: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

    /// Numbers of one of [`Self::DTYPES`].
    pub(super) fn new(dtype: Dtype, bytes: &'a [u8]) -> Self {
        Self { dtype, bytes: Cow::Borrowed(bytes) }
    }

    pub(super) fn into_owned(self) -> Factors<'static> {
        Factors { dtype: self.dtype, bytes: owned(self.bytes) }
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
