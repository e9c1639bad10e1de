//! Where a packed matrix has its numbers.

use crate::kernels::tile::MicroKernel;

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
        for (p, number) in numbers.enumerate() {
            panel[(p / self.unit * stride + column - start) * self.unit + p % self.unit] = number;
        }
    }
}
