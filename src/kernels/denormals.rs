//! A guard that has a thread round denormal numbers to zero, which cost a hundred cycles each and mean nothing here:
//! flush-to-zero and denormals-are-zero of x86-64, FZ of Arm.

/// While it lives, this thread rounds denormals to zero; then its mode is what it was.
pub struct FlushDenormals {
    before: Mode,
}

#[cfg(target_arch = "x86_64")]
type Mode = u32;
#[cfg(target_arch = "aarch64")]
type Mode = u64;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Mode = ();

impl FlushDenormals {
    /// Sets the thread's mode.
    #[expect(clippy::new_without_default, reason = "making one has an effect on the thread")]
    pub fn new() -> Self {
        let before = read_mode();
        #[cfg(target_arch = "x86_64")]
        write_mode(before | 0x8040); // FTZ and DAZ
        #[cfg(target_arch = "aarch64")]
        write_mode(before | 1 << 24); // FZ
        Self { before }
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        write_mode(self.before);
    }
}

#[cfg(target_arch = "x86_64")]
fn read_mode() -> Mode {
    let mut mode = 0u32;
    // SAFETY: stores the thread's floating-point control register to `mode`; every x86-64 CPU has the instruction.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut mode, options(nostack)) };
    mode
}

#[cfg(target_arch = "x86_64")]
fn write_mode(mode: Mode) {
    // SAFETY: only the two flush bits ever differ from what the thread had.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &mode, options(nostack, readonly)) };
}

#[cfg(target_arch = "aarch64")]
fn read_mode() -> Mode {
    let mode: u64;
    // SAFETY: reads the thread's floating-point control register.
    unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) mode, options(nomem, nostack)) };
    mode
}

#[cfg(target_arch = "aarch64")]
fn write_mode(mode: Mode) {
    // SAFETY: only the flush bit ever differs from what the thread had.
    unsafe { std::arch::asm!("msr fpcr, {}", in(reg) mode, options(nomem, nostack)) };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn read_mode() -> Mode {}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn write_mode((): Mode) {}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::hint::black_box;

    use super::FlushDenormals;

    #[test]
    fn denormals_are_zero_inside_and_come_back() {
        let product = || black_box(1e-30_f32) * black_box(1e-10_f32);
        assert!(product() > 0.0);
        {
            let _guard = FlushDenormals::new();
            assert_eq!(product(), 0.0);
        }
        assert!(product() > 0.0);
    }
}
