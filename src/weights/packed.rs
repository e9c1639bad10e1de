//! Integers packed into words of 32 bits with a scale and a zero for each group of input channels: GPTQ, AWQ and the
//! pack-quantized files of compressed-tensors.
//!
//! ```text
//! w[row, column] = scale[row, g] * (q[row, column] - zero[row, g])       g = column / group, or as g_idx says
//!
//! GPTQ (AutoGPTQ's and GPTQModel's QuantLinear; "gptq" has each zero less by one, "gptq_v2" as it is):
//!     qweight [columns * bits / 32, rows], of 32 / bits neighbours of a column; qzeros [groups, rows * bits / 32]; scales [groups, rows]
//! AWQ (AutoAWQ's WQLinear_GEMM):
//!     qweight [columns, rows / 8], qzeros [groups, rows / 8], eight rows a word: 0, 2, 4, 6, 1, 3, 5, 7 from the low half byte on
//! pack-quantized (compressed-tensors' PackedQuantizationCompressor):
//!     weight_packed [rows, columns * bits / 32]; weight_scale [rows, groups]; zero 2^(bits - 1), or
//!     weight_zero_point [rows * bits / 32, groups], of neighbours of a column
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use super::group_factors::{GroupFactors, owned, word};

/// Integers with scales and zeros.
#[derive(Debug, Clone)]
pub(super) struct Packed<'a> {
    pub(super) layout: PackedLayout,
    pub(super) bits: usize,
    pub(super) rows: usize,
    pub(super) groups: usize,
    pub(super) codes: Cow<'a, [u8]>,
    pub(super) scales: GroupFactors<'a>,
    /// None where the zero is the middle of the codes.
    pub(super) zeros: Option<Cow<'a, [u8]>>,
    /// `[columns]`: the group of each.
    pub(super) group_of: Arc<[u32]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PackedLayout {
    Gptq {
        /// What is added to the zeros of the file.
        zero_offset: u32,
    },
    Awq,
    PackQuantized,
}

/// The half byte of a word that each of eight rows has in AWQ's files.
const AWQ_PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

impl Packed<'_> {
    pub(super) fn into_owned(self) -> Packed<'static> {
        Packed {
            layout: self.layout,
            bits: self.bits,
            rows: self.rows,
            groups: self.groups,
            codes: owned(self.codes),
            scales: self.scales.into_owned(),
            zeros: self.zeros.map(owned),
            group_of: self.group_of,
        }
    }

    pub(super) fn storage(&self) -> String {
        let method = match self.layout {
            PackedLayout::Gptq { .. } => "GPTQ",
            PackedLayout::Awq => "AWQ",
            PackedLayout::PackQuantized => "packed",
        };
        // Columns of a group may lie apart; all have as many.
        format!("{method} {} bits, group {}", self.bits, self.group_of.len() / self.groups.max(1))
    }

    pub(super) fn bytes(&self) -> usize {
        self.codes.len() + self.scales.len_bytes() + self.zeros.as_ref().map_or(0, |zeros| zeros.len())
    }

    pub(super) fn decode_row(&self, row: usize, out: &mut [f32]) {
        let Self { layout, bits, rows, groups, .. } = *self;
        let (per_word, mask) = (32 / bits, u32::MAX >> (32 - bits));
        let scale = |group| match layout {
            PackedLayout::PackQuantized => self.scales.get(row * groups + group),
            PackedLayout::Gptq { .. } | PackedLayout::Awq => self.scales.get(group * rows + row),
        };
        let (place, in_word) = (row / per_word, row % per_word * bits);
        let awq_shift = 4 * AWQ_PLACES[row % 8];
        let zero = |group| match (&self.zeros, layout) {
            (None, _) => 1 << (bits - 1),
            (Some(zeros), PackedLayout::Gptq { zero_offset }) => {
                (word(zeros, group * rows.div_ceil(per_word) + place) >> in_word & mask) + zero_offset
            }
            (Some(zeros), PackedLayout::Awq) => word(zeros, group * (rows / 8) + row / 8) >> awq_shift & mask,
            (Some(zeros), PackedLayout::PackQuantized) => word(zeros, place * groups + group) >> in_word & mask,
        };
        let of_group: Vec<(f32, f32)> = (0..groups).map(|group| (scale(group), zero(group) as f32)).collect();
        let words = out.len().div_ceil(per_word);
        for (column, (value, &group)) in out.iter_mut().zip(&*self.group_of).enumerate() {
            let code = match layout {
                PackedLayout::Gptq { .. } => {
                    word(&self.codes, column / per_word * rows + row) >> (column % per_word * bits)
                }
                PackedLayout::Awq => word(&self.codes, column * (rows / 8) + row / 8) >> awq_shift,
                PackedLayout::PackQuantized => {
                    word(&self.codes, row * words + column / per_word) >> (column % per_word * bits)
                }
            } & mask;
            let (scale, zero) = of_group[group as usize];
            *value = scale * (code as f32 - zero);
        }
    }
}
