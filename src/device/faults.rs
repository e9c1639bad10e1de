//! Fault injection: a device that fails on demand, for tests of what no real device does reliably.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::{Error, Result};

/// The environment variable that holds the faults, and with them the device "fake": `create`, `operation:N` and `memory:TOKENS`, with commas between.
const VARIABLE: &str = "VOTIVE_FAKE_DEVICE";

/// What fails, and when.
#[derive(Debug)]
pub(super) struct Faults {
    /// The operation that the device is lost in, from 1.
    operation: usize,
    /// The most tokens that it has memory for at a time.
    memory: usize,
    done: AtomicUsize,
    lost: AtomicBool,
}

/// Whether the device "fake" exists.
pub(super) fn wanted() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

impl Faults {
    /// Those of the environment. It is an error that the device cannot be created, where that is what is asked for.
    pub(super) fn read() -> Result<Self> {
        Self::parse(&std::env::var(VARIABLE).unwrap_or_default())
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut faults =
            Self { operation: usize::MAX, memory: usize::MAX, done: AtomicUsize::new(0), lost: AtomicBool::new(false) };
        for fault in text.split(',').map(str::trim).filter(|fault| !fault.is_empty()) {
            let number = |text: &str| text.parse().ok();
            match fault.split_once(':').map_or((fault, None), |(kind, at)| (kind, number(at))) {
                ("create", None) => return Err(Error::device("fake: cannot be created".to_owned())),
                ("operation", Some(operation)) => faults.operation = operation,
                ("memory", Some(tokens)) => faults.memory = tokens,
                _ => {
                    let accepted = "create, operation:N, memory:TOKENS, with commas between";
                    return Err(Error::argument(VARIABLE, format!("{fault:?} is no fault; accepted: {accepted}")));
                }
            }
        }
        Ok(faults)
    }

    /// Counts an operation. From the one on that loses the device, all fail.
    pub(super) fn operation(&self) -> Result<()> {
        let number = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if number == self.operation {
            self.lost.store(true, Ordering::Relaxed);
        }
        if self.lost.load(Ordering::Relaxed) {
            return Err(Error::device(format!("fake: lost in operation {}", self.operation)));
        }
        Ok(())
    }

    /// That there is memory for so many tokens.
    pub(super) fn allocate(&self, tokens: usize) -> Result<()> {
        if tokens > self.memory {
            let message = format!("fake: out of memory: {tokens} tokens, and there is room for {}", self.memory);
            return Err(Error::DeviceMemory { message });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_device_stays_lost() {
        let faults = Faults::parse("operation:3").unwrap();
        assert!(faults.operation().is_ok() && faults.operation().is_ok());
        for _ in 0..3 {
            let error = faults.operation().unwrap_err();
            assert!(matches!(&error, Error::Device { message } if message == "fake: lost in operation 3"), "{error}");
        }
    }

    #[test]
    fn memory_may_suffice_for_less() {
        let faults = Faults::parse("memory:8, operation:100").unwrap();
        assert!(faults.allocate(8).is_ok());
        assert!(matches!(faults.allocate(9), Err(Error::DeviceMemory { .. })));
        assert!(faults.allocate(8).is_ok() && faults.operation().is_ok());
    }

    #[test]
    fn a_device_may_be_impossible_to_create() {
        assert!(matches!(Faults::parse("memory:8,create"), Err(Error::Device { .. })));
    }

    #[test]
    fn only_faults_are_accepted() {
        assert!(Faults::parse("").is_ok());
        for text in ["lost", "create:1", "operation", "operation:x", "memory:-1"] {
            let message = Faults::parse(text).unwrap_err().to_string();
            assert!(message.starts_with("VOTIVE_FAKE_DEVICE: ") && message.contains(text), "{message}");
        }
    }
}
