//! MLX's affine quantization (`mlx.core.quantize`): a scale and a bias for each group of a row's numbers.
//!
//! ```text
//! a row is a stream of bits, the least significant first: q[i] = bits [bits * i, bits * (i + 1))
//! w[i] = scale[i / group] * q[i] + bias[i / group]                       two roundings to float32
//! ```
//!
//! Scales may have any sign and size: those of DWQ are trained.

use std::borrow::Cow;

use super::group_factors::{GroupFactors, owned};

/// Rows of codes with scales and biases.
#[derive(Debug, Clone)]
pub struct Affine<'a> {
    /// `[rows, columns * bits / 8]`
    codes: Cow<'a, [u8]>,
    /// `[rows, columns / group]`, and so are the biases.
    scales: GroupFactors<'a>,
    biases: GroupFactors<'a>,
    bits: usize,
    group: usize,
}

impl<'a> Affine<'a> {
    /// Numbers of bits that a code may have.
    pub const BITS: [usize; 6] = [2, 3, 4, 5, 6, 8];

    pub(super) fn new(codes: &'a [u8], [scales, biases]: [GroupFactors<'a>; 2], bits: usize, group: usize) -> Self {
        Self { codes: Cow::Borrowed(codes), scales, biases, bits, group }
    }

    pub(super) fn into_owned(self) -> Affine<'static> {
        let (scales, biases) = (self.scales.into_owned(), self.biases.into_owned());
        Affine { codes: owned(self.codes), scales, biases, bits: self.bits, group: self.group }
    }

    pub(super) fn storage(&self) -> String {
        format!("affine {} bits, group {}", self.bits, self.group)
    }

    pub(super) fn bytes(&self) -> usize {
        self.codes.len() + self.scales.len_bytes() + self.biases.len_bytes()
    }

    pub(super) fn decode_row(&self, row: usize, out: &mut [f32]) {
        let (bytes, groups) = (out.len() * self.bits / 8, out.len() / self.group);
        let codes = &self.codes[row * bytes..][..bytes];
        match self.bits {
            4 => self.decode_with(row * groups, out, |i| codes[i / 2] >> (4 * (i & 1)) & 15),
            8 => self.decode_with(row * groups, out, |i| codes[i]),
            bits => self.decode_with(row * groups, out, |i| {
                let (byte, shift) = (i * bits / 8, i * bits % 8);
                let next = codes.get(byte + 1).copied().unwrap_or_default();
                ((u16::from_le_bytes([codes[byte], next]) >> shift) & ((1 << bits) - 1)) as u8
            }),
        }
    }

    #[inline(always)]
    fn decode_with(&self, first_group: usize, out: &mut [f32], code: impl Fn(usize) -> u8) {
        for (g, out) in out.chunks_exact_mut(self.group).enumerate() {
            let (scale, bias) = (self.scales.get(first_group + g), self.biases.get(first_group + g));
            for (i, value) in out.iter_mut().enumerate() {
                *value = scale * f32::from(code(g * self.group + i)) + bias;
            }
        }
    }
}
