//! Asking for memory before it is needed (software prefetch), for products and scans.

/// Lines that are fetched to the second-level cache while something else is computed, some at each step.
#[derive(Clone, Copy)]
pub(super) struct Prefetch {
    from: *const u8,
    /// Lines that are fetched at each step.
    lines: usize,
}

impl Prefetch {
    pub(super) const NONE: Self = Self { from: std::ptr::null(), lines: 0 };

    /// The part of `[steps, lines]` cache lines from `from` on that the `turn`-th of `turns` fetches, in as many steps.
    pub(super) fn part(from: *const u8, (steps, lines): (usize, usize), (turn, turns): (usize, usize)) -> Self {
        let turns = turns.min(lines);
        match turn < turns {
            true => {
                let lines = lines.div_ceil(turns);
                Self { from: from.wrapping_add(turn * steps * lines * 64), lines }
            }
            false => Self::NONE,
        }
    }

    #[inline(always)]
    pub(super) fn fetch(self, step: usize) {
        for line in 0..self.lines {
            prefetch(self.from.wrapping_add((step * self.lines + line) * 64));
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
