//! Apple's GPUs.

use candle_metal_kernels::metal::Device;
use objc2_metal::MTLDevice;

use crate::device::hardware::Hardware;

/// The first macOS with residency sets, which candle keeps its buffers in.
const MIN_MACOS_MAJOR: u32 = 15;

/// The GPU, unless there is a reason why not. It is asked for its name, and not used.
pub(super) fn probe() -> Result<Hardware, String> {
    let system = std::fs::read_to_string("/System/Library/CoreServices/SystemVersion.plist").unwrap_or_default();
    super::macos::check_version(&system, MIN_MACOS_MAJOR)?;
    // candle takes the first one.
    let Some(device) = Device::all().into_iter().next() else {
        return Err("macOS names no GPU".to_owned());
    };
    let model = device.as_ref().name().to_string();
    Ok(Hardware { model: Some(model), memory: Some(device.recommended_max_working_set_size() as u64), float16: true })
}

pub(super) fn open() -> candle_core::Result<candle_core::Device> {
    candle_core::Device::new_metal(0)
}
