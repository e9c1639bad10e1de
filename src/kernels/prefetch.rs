//! Asking for memory before it is needed (software prefetch), for products and scans.

/// Memory that is fetched to the second-level cache while a tile is computed, some before each few of its steps.
#[derive(Clone, Copy)]
pub(super) struct Prefetch {
    from: *const u8,
    /// Bytes from what one turn fetches to what the next one does.
    stride: usize,
    /// Lines that are fetched at each turn.
    lines: usize,
}

impl Prefetch {
    pub(super) const NONE: Self = Self { from: std::ptr::null(), stride: 0, lines: 0 };

    /// Steps of a tile for each turn.
    pub(super) const STEPS: usize = 16;

    /// The part of `bytes` from `from` on that the `i`-th of `tiles` of so many `steps` fetches.
    ///
    /// All tiles fetch alike where there are few: a CPU has some two dozen lines under way at once. When the first of
    /// three tiles asked for all of them, it waited, and the memory rested during the other two.
    pub(super) fn part((from, bytes): (*const u8, usize), steps: usize, (i, tiles): (usize, usize)) -> Self {
        let turns = steps.div_ceil(Self::STEPS);
        let tiles = tiles.min(bytes / (64 * turns)).max(1);
        if i >= tiles {
            return Self::NONE;
        }
        let stride = bytes.div_ceil(tiles * turns);
        Self { from: from.wrapping_add(i * turns * stride), stride, lines: stride.div_ceil(64) }
    }

    #[inline(always)]
    pub(super) fn fetch(self, turn: usize) {
        for line in 0..self.lines {
            prefetch(self.from.wrapping_add(turn * self.stride + line * 64));
        }
    }
}

/// Does nothing for an address that is not there.
#[inline(always)]
pub(super) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint, which never faults.
    unsafe {
        std::arch::asm!("prfm pldl2keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
