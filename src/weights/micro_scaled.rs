//! Small floats with a scale for each group of a row's numbers: MLX's mxfp4, mxfp8 and nvfp4, and nvfp4 of compressed-tensors.
//!
//! ```text
//! mxfp4   groups of 32: w = 2^(scale - 127) * E2M1          two codes a byte, the low half first
//! mxfp8   groups of 32: w = 2^(scale - 127) * E4M3
//! nvfp4   groups of 16: w = E4M3 of scale * E2M1            of compressed-tensors: / global scale
//! ```
//!
//! Source: OCP Microscaling Formats specification 1.0; `mlx.core.quantize`; compressed-tensors' `NVFP4PackedCompressor`.

use std::borrow::Cow;

use super::group_factors::owned;
use super::small_floats::{e2m1_to_f32, e4m3_to_f32, e8m0_to_f32};

/// Rows of small floats with scales of one byte.
#[derive(Debug, Clone)]
pub(super) struct MicroScaled<'a> {
    /// `[rows, columns * bits / 8]`
    codes: Cow<'a, [u8]>,
    /// `[rows, columns / group]`
    scales: Cow<'a, [u8]>,
    kind: MicroKind,
    /// What scales are divided by.
    divisor: f32,
}

/// A format of small floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MicroKind {
    Mxfp4,
    Mxfp8,
    Nvfp4,
}

impl MicroKind {
    /// As config.json has it.
    const NAMES: [(&'static str, Self); 3] = [("mxfp4", Self::Mxfp4), ("mxfp8", Self::Mxfp8), ("nvfp4", Self::Nvfp4)];

    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|&(_, kind)| kind)
    }

    /// Bits of a code.
    pub fn bits(self) -> usize {
        if self == Self::Mxfp8 { 8 } else { 4 }
    }

    /// Numbers of a row that share a scale.
    pub fn group(self) -> usize {
        if self == Self::Nvfp4 { 16 } else { 32 }
    }
}

impl<'a> MicroScaled<'a> {
    pub(super) fn new(codes: &'a [u8], scales: &'a [u8], kind: MicroKind, divisor: f32) -> Self {
        Self { codes: Cow::Borrowed(codes), scales: Cow::Borrowed(scales), kind, divisor }
    }

    pub(super) fn into_owned(self) -> MicroScaled<'static> {
        MicroScaled { codes: owned(self.codes), scales: owned(self.scales), kind: self.kind, divisor: self.divisor }
    }

    pub(super) fn storage(&self) -> String {
        let name = MicroKind::NAMES.iter().find(|(_, kind)| *kind == self.kind).map_or("", |(name, _)| name);
        format!("{name}, group {}", self.kind.group())
    }

    pub(super) fn bytes(&self) -> usize {
        self.codes.len() + self.scales.len()
    }

    pub(super) fn decode_row(&self, row: usize, out: &mut [f32]) {
        let Self { kind, divisor, .. } = *self;
        let (bytes, groups) = (out.len() * kind.bits() / 8, out.len() / kind.group());
        let (codes, scales) = (&self.codes[row * bytes..][..bytes], &self.scales[row * groups..][..groups]);
        for ((out, codes), &scale) in
            out.chunks_exact_mut(kind.group()).zip(codes.chunks_exact(kind.group() * kind.bits() / 8)).zip(scales)
        {
            let scale = if kind == MicroKind::Nvfp4 { e4m3_to_f32(scale) / divisor } else { e8m0_to_f32(scale) };
            if kind == MicroKind::Mxfp8 {
                out.iter_mut().zip(codes).for_each(|(value, &code)| *value = scale * e4m3_to_f32(code));
            } else {
                for (pair, &code) in out.chunks_exact_mut(2).zip(codes) {
                    (pair[0], pair[1]) = (scale * e2m1_to_f32(code & 15), scale * e2m1_to_f32(code >> 4));
                }
            }
        }
    }
}
