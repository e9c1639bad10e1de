//! Numbers of one byte with a scale for each row, for each group of a row's numbers, or for all: the int-quantized and
//! float-quantized files of compressed-tensors.
//!
//! ```text
//! w[row, column] = scale[row, column / group] * number[row, column]
//! ```

use std::borrow::Cow;

use super::group_factors::{GroupFactors, owned};
use super::small_floats::e4m3_to_f32;

/// Numbers of one byte with scales.
#[derive(Debug, Clone)]
pub(super) struct Scaled<'a> {
    /// `[rows, columns]`
    pub(super) numbers: Cow<'a, [u8]>,
    /// Whether they are integers; else E4M3.
    pub(super) are_integers: bool,
    /// `[rows, groups]`; a single one where `groups` is 0.
    pub(super) scales: GroupFactors<'a>,
    pub(super) groups: usize,
}

impl Scaled<'_> {
    pub(super) fn into_owned(self) -> Scaled<'static> {
        let (numbers, scales) = (owned(self.numbers), self.scales.into_owned());
        Scaled { numbers, are_integers: self.are_integers, scales, groups: self.groups }
    }

    pub(super) fn storage(&self, columns: usize) -> String {
        let kind = if self.are_integers { "I8" } else { "F8_E4M3" };
        match self.groups {
            0 => format!("{kind}, one scale"),
            1 => format!("{kind}, a scale a row"),
            groups => format!("{kind}, group {}", columns / groups),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.numbers.len() + self.scales.len_bytes()
    }

    pub(super) fn decode_row(&self, row: usize, out: &mut [f32]) {
        let numbers = &self.numbers[row * out.len()..][..out.len()];
        let group = out.len() / self.groups.max(1);
        for (g, (out, numbers)) in out.chunks_mut(group).zip(numbers.chunks(group)).enumerate() {
            let scale = self.scales.get(if self.groups == 0 { 0 } else { row * self.groups + g });
            for (value, &number) in out.iter_mut().zip(numbers) {
                let number = if self.are_integers { f32::from(number as i8) } else { e4m3_to_f32(number) };
                *value = scale * number;
            }
        }
    }
}
