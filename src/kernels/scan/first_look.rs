//! What a thread knows of its first looks from one scan to the next: see `look`.

/// Groups that are scanned without a first look after one that did not pay, and at most.
const MIN_PAUSE_GROUPS: usize = 16;
const MAX_PAUSE_GROUPS: usize = 64;

/// A first look pays where fewer rows than one in so many are left. A row that is left costs about two and a half that are
/// not.
const MIN_ROWS_PER_ROW_LEFT: usize = 4;

/// Rows that may be pending: those of two groups of any size.
const MAX_PENDING_ROWS: usize = 128;

/// Whether first looks pay, as a thread found, and rows that are left of them.
pub struct FirstLook {
    /// Groups to be scanned without.
    paused: usize,
    /// How many that was the last time.
    pub(super) pause: usize,
    /// Rows that no coarse code ruled out, of which there are `pending_count`.
    pub(super) pending: [usize; MAX_PENDING_ROWS],
    pub(super) pending_count: usize,
}

impl Default for FirstLook {
    fn default() -> Self {
        Self { paused: 0, pause: 0, pending: [0; MAX_PENDING_ROWS], pending_count: 0 }
    }
}

impl FirstLook {
    #[inline(always)]
    pub(super) fn is_worth_it(&mut self) -> bool {
        let worth_it = self.paused == 0;
        self.paused = self.paused.saturating_sub(1);
        worth_it
    }

    /// Whether so many rows are pending.
    #[inline(always)]
    pub(super) fn has(&self, rows: usize) -> bool {
        self.pending_count >= rows
    }

    pub(super) fn learn(&mut self, rows: usize, left: usize) {
        if left * MIN_ROWS_PER_ROW_LEFT > rows {
            self.pause = (2 * self.pause).clamp(MIN_PAUSE_GROUPS, MAX_PAUSE_GROUPS);
            self.paused = self.pause;
        } else {
            self.pause = 0;
        }
    }
}
