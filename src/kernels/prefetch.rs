//! Asking for memory before it is needed (software prefetch), for products and scans.

/// Memory that is fetched to the second-level cache while something else is computed, some at each step.
#[derive(Clone, Copy)]
pub(super) struct Prefetch {
    from: *const u8,
    /// Bytes from what one step fetches to what the next one does.
    stride: usize,
    /// Lines that are fetched at each step.
    lines: usize,
}

/// Bytes that a step fetches at least: fewer would ask for the same line many times.
const MIN_STRIDE: usize = 16;

impl Prefetch {
    pub(super) const NONE: Self = Self { from: std::ptr::null(), stride: 0, lines: 0 };

    /// The part of `bytes` from `from` on that the `turn`-th of `turns` fetches, in so many steps each.
    ///
    /// All turns fetch alike where there are few: a CPU has some two dozen lines under way at once. When the first of
    /// three turns asked for all, it waited, and the memory rested during the other two.
    pub(super) fn part((from, bytes): (*const u8, usize), steps: usize, (turn, turns): (usize, usize)) -> Self {
        let turns = turns.min(bytes / (steps * MIN_STRIDE)).max(1);
        if turn >= turns {
            return Self::NONE;
        }
        let stride = bytes.div_ceil(turns * steps);
        Self { from: from.wrapping_add(turn * steps * stride), stride, lines: stride.div_ceil(64) }
    }

    #[inline(always)]
    pub(super) fn fetch(self, step: usize) {
        for line in 0..self.lines {
            prefetch(self.from.wrapping_add(step * self.stride + line * 64));
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
