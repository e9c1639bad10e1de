//! Where a packed matrix has its numbers.

use crate::kernels::tile::MicroKernel;

/// Bytes of a unit of int8.
const FOUR: usize = 4;

/// How many columns a panel takes, and where one of its numbers lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct PanelLayout {
    /// Columns, in whole vectors.
    pub(super) padded: usize,
    /// Columns in a full panel.
    pub(super) width: usize,
    /// Numbers of k at a time,
    group: usize,
    /// and those of them that lie side by side.
    unit: usize,
    /// Such groups, the last one padded with zeros.
    pub(super) groups: usize,
}

impl PanelLayout {
    pub(super) fn new<T: MicroKernel>(n: usize, k: usize) -> Self {
        let (groups, padded) = (k.div_ceil(T::GROUP), n.next_multiple_of(T::LANES));
        Self { padded, width: T::WIDTH, group: T::GROUP, unit: T::UNIT, groups }
    }

    /// Numbers of all panels.
    pub(super) fn len(self) -> usize {
        self.padded * self.groups * self.group
    }

    /// Where the panel that starts at `column` starts.
    #[inline(always)]
    pub(super) fn panel(self, column: usize) -> usize {
        column * self.groups * self.group
    }

    /// Puts the row's numbers, `[k]`, where column `column` has its own.
    pub(super) fn set<W: Copy>(self, panels: &mut [W], column: usize, numbers: impl Iterator<Item = W>) {
        let start = column / self.width * self.width;
        let stride = self.width.min(self.padded - start);
        let panel = &mut panels[self.panel(start)..];
        let (mut at, mut within) = ((column - start) * self.unit, 0);
        for number in numbers {
            panel[at + within] = number;
            within += 1;
            if within == self.unit {
                (at, within) = (at + stride * self.unit, 0);
            }
        }
    }

    /// As `set`, for units of four bytes, which are written at once.
    pub(super) fn set_bytes(self, panels: &mut [i8], column: usize, bytes: &[i8]) {
        debug_assert_eq!(self.unit, FOUR);
        let start = column / self.width * self.width;
        let stride = self.width.min(self.padded - start) * FOUR;
        let panel = &mut panels[self.panel(start) + (column - start) * FOUR..];
        let (fours, rest) = bytes.as_chunks::<FOUR>();
        for (four, to) in fours.iter().zip(panel.chunks_mut(stride)) {
            to[..FOUR].copy_from_slice(four);
        }
        if !rest.is_empty() {
            panel[fours.len() * stride..][..rest.len()].copy_from_slice(rest);
        }
    }
}
