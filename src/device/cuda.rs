//! NVIDIA's GPUs.

use std::path::Path;

use crate::device::hardware::Hardware;
use crate::device::library;
use crate::device::name::DeviceName;
use crate::device::nvidia::{Gpus, gpus};
use crate::device::opened;

/// The GPU of that number, unless there is a reason why not. None is initialised: how much memory it has is not known before it is
/// used.
pub(super) fn probe(number: usize) -> Result<Hardware, String> {
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let Some(Gpus { count, model }) = gpus(Path::new("/"), visible.as_deref()) else {
        return Err("no NVIDIA driver is loaded".to_owned());
    };
    match count {
        Some(0) if visible.is_some() => return Err("CUDA_VISIBLE_DEVICES hides every device".to_owned()),
        Some(0) => return Err("the NVIDIA driver has no device".to_owned()),
        Some(1) if number > 0 => return Err("there is one device, cuda:0".to_owned()),
        Some(count) if number >= count => {
            return Err(format!("there are {count} devices, cuda:0 to cuda:{}", count - 1));
        }
        _ => {}
    }
    if let Some(name) = library::absent() {
        return Err(format!("{name} cannot be loaded"));
    }
    let Some(Ok(device)) = opened::find(DeviceName::Cuda(number)).map(|device| device.as_cuda_device().cloned()) else {
        return Ok(Hardware { model, memory: None, float16: true });
    };
    let stream = device.cuda_stream();
    let context = stream.context();
    let memory = context.total_mem().ok().map(|bytes| bytes as u64);
    Ok(Hardware { model: context.name().ok().or(model), memory, float16: true })
}

pub(super) fn open(number: usize) -> candle_core::Result<candle_core::Device> {
    candle_core::Device::new_cuda(number)
}
