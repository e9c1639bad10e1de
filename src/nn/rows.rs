//! Hidden states in this machine's memory, as kernels read and write them.

use std::ops::Range;
use std::sync::Arc;

use crate::kernels::unset;

/// Float32 numbers, `[rows, width]`, one row after the other. Clones share them.
#[derive(Clone)]
pub struct Rows {
    values: Arc<Vec<f32>>,
    width: usize,
}

impl Rows {
    fn new(values: Vec<f32>, width: usize) -> Self {
        debug_assert!(values.len().is_multiple_of(width), "rows are whole");
        Self { values: Arc::new(values), width }
    }

    /// New rows, of which `kernel(out)` writes all numbers.
    pub(super) fn written([rows, width]: [usize; 2], kernel: impl FnOnce(&mut [f32])) -> Self {
        let mut values = unset(rows * width);
        kernel(&mut values);
        Self::new(values, width)
    }

    /// As many rows of this width, of which `kernel(self, out)` writes all numbers.
    pub(super) fn map(&self, width: usize, kernel: impl FnOnce(&[f32], &mut [f32])) -> Self {
        Self::written([self.count(), width], |out| kernel(&self.values, out))
    }

    /// Rows like these, of which `kernel(self, other, out)` writes all numbers; `other` has the same shape.
    pub(super) fn zip(&self, other: &Self, kernel: impl FnOnce(&[f32], &[f32], &mut [f32])) -> Self {
        debug_assert_eq!((self.count(), self.width), (other.count(), other.width));
        self.map(self.width, |x, out| kernel(x, &other.values, out))
    }

    /// The numbers of these columns.
    pub(super) fn columns(&self, columns: Range<usize>) -> Self {
        self.map(columns.len(), |x, out| {
            let rows = x.chunks_exact(self.width).zip(out.chunks_exact_mut(columns.len()));
            rows.for_each(|(row, out)| out.copy_from_slice(&row[columns.clone()]));
        })
    }

    /// The rows with these numbers, in their order.
    pub(super) fn select(&self, rows: &[u32]) -> Self {
        Self::written([rows.len(), self.width], |out| {
            for (&row, out) in rows.iter().zip(out.chunks_exact_mut(self.width)) {
                out.copy_from_slice(&self.values[row as usize * self.width..][..self.width]);
            }
        })
    }

    /// The columns of all parts, one after the other; each has as many rows.
    pub(super) fn side_by_side(parts: &[&Self]) -> Self {
        let width = parts.iter().map(|part| part.width).sum();
        Self::written([parts[0].count(), width], |out| {
            for (row, mut out) in out.chunks_exact_mut(width).enumerate() {
                for part in parts {
                    let (own, rest) = out.split_at_mut(part.width);
                    own.copy_from_slice(&part.values[row * part.width..][..part.width]);
                    out = rest;
                }
            }
        })
    }

    /// The same numbers as rows of this width.
    pub(super) fn with_width(self, width: usize) -> Self {
        debug_assert!(self.values.len().is_multiple_of(width), "rows are whole");
        Self { width, ..self }
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn count(&self) -> usize {
        self.values.len() / self.width
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }
}
