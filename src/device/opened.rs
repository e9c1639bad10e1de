//! The GPUs that this process has opened. candle takes each opening for a device of its own, with queues and buffers that the others
//! cannot use: all objects of a process share one.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::device::name::DeviceName;
use crate::gpu::FORKED;
use crate::{Error, Result};

#[derive(Debug, Clone)]
struct Opened {
    name: DeviceName,
    /// Id of the process that opened it.
    process: u32,
    device: candle_core::Device,
}

/// No lock, since a child of `fork()` could inherit it taken.
static OPENED: ArcSwapOption<Vec<Opened>> = ArcSwapOption::const_empty();

/// The device of that name, if this process has opened it.
pub(super) fn find(name: DeviceName) -> Option<candle_core::Device> {
    let process = std::process::id();
    let all = OPENED.load();
    all.iter()
        .flat_map(|all| all.iter())
        .find(|one| one.name == name && one.process == process)
        .map(|one| one.device.clone())
}

/// The device of that name; `open` opens it the first time.
pub(super) fn shared(
    name: DeviceName,
    open: impl FnOnce() -> Result<candle_core::Device>,
) -> Result<candle_core::Device> {
    if let Some(device) = find(name) {
        return Ok(device);
    }
    let process = std::process::id();
    if OPENED
        .load()
        .iter()
        .flat_map(|all| all.iter())
        .any(|one| one.name.family() == name.family() && one.process != process)
    {
        // Neither Metal nor CUDA works in a child of a process that has used it.
        return Err(forked(name));
    }
    let device = open()?;
    // Of two threads that open it at once, the second one takes what the first one has.
    OPENED.rcu(|all| {
        let mut all = all.as_deref().cloned().unwrap_or_default();
        if !all.iter().any(|one| one.name == name) {
            all.push(Opened { name, process, device: device.clone() });
        }
        Some(Arc::new(all))
    });
    Ok(find(name).unwrap_or(device))
}

/// The error for a child of `fork()`.
pub(super) fn forked(name: DeviceName) -> Error {
    Error::device(format!("{name}: {FORKED}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_opened_once() {
        // No other test opens this one.
        let name = DeviceName::Cuda(1000);
        assert!(find(name).is_none());
        let failed = shared(name, || Err(Error::device("absent".to_owned())));
        assert!(failed.is_err() && find(name).is_none());
        shared(name, || Ok(candle_core::Device::Cpu)).unwrap();
        shared(name, || panic!("it is open")).unwrap();
        assert!(find(name).is_some());
    }

    #[test]
    fn a_child_is_told_what_to_do() {
        let message = forked(DeviceName::Metal).to_string();
        assert!(message.starts_with("metal: ") && message.contains("spawn") && message.contains("device=\"cpu\""));
    }
}
