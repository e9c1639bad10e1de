//! Matrices and vectors of a model in a device's memory.
//!
//! ```text
//! row of a matrix: its numbers, and zeros up to a multiple of 16        float32, or two to a word: float16, bfloat16
//! ```

use half::{bf16, f16};

use crate::gpu::context::Context;
use crate::gpu::device_array::DeviceArray;
use crate::gpu::device_rows::padded;
use crate::{Error, Result};

/// Type that a matrix is held in. Kernels multiply in float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightType {
    F32,
    F16,
    /// Widened by a shift.
    Bf16,
    /// With a scale for each row, which its sums are multiplied by.
    Int8,
}

impl WeightType {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Bf16, Self::Int8];

    /// `Weight4`, four numbers of a matrix as they are held, and `widen`, which makes float32 of them. No device lacks
    /// what is used here: it need not compute in float16 to hold weights in it.
    pub(crate) fn wgsl(self) -> &'static str {
        match self {
            Self::F32 => "alias Weight4 = vec4<f32>;\nfn widen(w: Weight4) -> vec4<f32> { return w; }\n",
            Self::F16 => {
                "alias Weight4 = vec2<u32>;\nfn widen(w: Weight4) -> vec4<f32> { \
                 return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)); }\n"
            }
            Self::Bf16 => {
                "alias Weight4 = vec2<u32>;\nfn widen(w: Weight4) -> vec4<f32> { \
                 return bitcast<vec4<f32>>(vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u)); }\n"
            }
            Self::Int8 => {
                "alias Weight4 = u32;\nfn widen(w: Weight4) -> vec4<f32> { return vec4<f32>(unpack4xI8(w)); }\n"
            }
        }
    }

    /// What a row's numbers are multiples of.
    pub(crate) fn scale(self, row: &[f32]) -> f32 {
        let largest = row.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        if self == Self::Int8 && largest > 0.0 { largest / 127.0 } else { 1.0 }
    }

    /// A row of words for each of the rows.
    pub(crate) fn pack<'a>(self, rows: impl Iterator<Item = &'a [f32]>, width: usize) -> Vec<u32> {
        let mut words = Vec::new();
        let mut row = vec![0.0; padded(width)];
        for values in rows {
            row[..width].copy_from_slice(values);
            let pair = |bits: [u16; 2]| u32::from(bits[0]) | u32::from(bits[1]) << 16;
            match self {
                Self::Int8 => {
                    let scale = self.scale(values);
                    let codes = |four: &[f32]| [0, 1, 2, 3].map(|i| (four[i] / scale).round() as i8 as u8);
                    words.extend(row.chunks_exact(4).map(|four| u32::from_le_bytes(codes(four))));
                }
                Self::F32 => words.extend(row.iter().map(|x| x.to_bits())),
                Self::F16 => {
                    words.extend(row.chunks_exact(2).map(|two| pair([0, 1].map(|i| f16::from_f32(two[i]).to_bits()))))
                }
                Self::Bf16 => {
                    words.extend(row.chunks_exact(2).map(|two| pair([0, 1].map(|i| bf16::from_f32(two[i]).to_bits()))))
                }
            }
        }
        words
    }
}

/// A matrix with a bias, `weight [n, k]`, row-major, and `bias [n]`.
#[derive(Clone, Copy)]
pub struct MatrixParts<'a> {
    pub weight: &'a [f32],
    pub bias: Option<&'a [f32]>,
    pub shape: [usize; 2],
}

impl<'a> MatrixParts<'a> {
    pub(crate) fn check(&self) -> Result<()> {
        let [n, k] = self.shape;
        let fits = self.weight.len() == n * k && self.bias.is_none_or(|bias| bias.len() == n) && n > 0 && k > 0;
        let message = || Error::device(format!("a matrix of {n} x {k} has {} numbers", self.weight.len()));
        if fits { Ok(()) } else { Err(message()) }
    }

    pub(crate) fn row(&self, i: usize) -> &'a [f32] {
        let k = self.shape[1];
        &self.weight[i * k..][..k]
    }

    pub(crate) fn bias(&self, i: usize) -> f32 {
        self.bias.map_or(0.0, |bias| bias[i])
    }
}

/// A vector of float32.
pub(crate) fn vector(context: &Context, values: &[f32]) -> Result<DeviceArray> {
    DeviceArray::of_words(context, bytemuck::cast_slice(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_with_zeros() {
        let row = [1.0, -2.0, 0.5];
        let rows = || [&row[..], &row[..]].into_iter();
        let words = WeightType::F32.pack(rows(), 3);
        assert_eq!(words.len(), 32);
        assert_eq!((words[1], words[3], words[16]), ((-2.0_f32).to_bits(), 0, 1.0_f32.to_bits()));
        assert_eq!(WeightType::F16.pack(rows(), 3)[..3], [0xc000_3c00, 0x0000_3800, 0]);
        let words = WeightType::Int8.pack(rows(), 3);
        assert_eq!((words.len(), words[0]), (8, u32::from_le_bytes([64, 129, 32, 0])));
        assert_eq!(WeightType::Bf16.pack(rows(), 3)[..3], [0xc000_3f80, 0x0000_3f00, 0]);
    }
}
