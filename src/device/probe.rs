//! Which devices are there, and why others are not. Nothing is initialised for it.

use crate::device::automatic::{self, AutomaticGpu};
use crate::device::faults;
use crate::device::hardware::Hardware;
use crate::device::name::DeviceName;
use crate::gpu::{self, GpuInfo, GpuKind, Interface};
use crate::kernels::cpu_name;
use crate::{Error, Result};

/// A device that is there.
#[derive(Debug, Clone)]
pub struct DeviceInfo {
    pub(super) name: DeviceName,
    hardware: Hardware,
}

impl DeviceInfo {
    /// "cpu", "metal", "cuda:0", ...
    pub fn name(&self) -> String {
        self.name.to_string()
    }

    /// As its maker calls it.
    pub fn model(&self) -> Option<&str> {
        self.hardware.model.as_deref()
    }

    /// Bytes that belong to it; None for the CPU's, and where they are not known before it is used.
    pub fn memory(&self) -> Option<u64> {
        self.hardware.memory
    }

    /// Types that weights can have on it.
    pub fn dtypes(&self) -> &'static [&'static str] {
        match self.name {
            DeviceName::Cpu => &["float32", "bfloat16", "float16", "int8", "int4"],
            DeviceName::Wgpu(..) if self.hardware.float16 => &["float32", "bfloat16", "float16", "int8"],
            DeviceName::Wgpu(..) => &["float32", "bfloat16", "int8"],
            DeviceName::Metal | DeviceName::Cuda(_) | DeviceName::Fake => &["float32", "bfloat16", "float16"],
        }
    }
}

/// Cargo's features that this is built with, beyond the CPU's kernels.
pub fn features() -> Vec<&'static str> {
    [("metal", cfg!(feature = "metal")), ("cuda", cfg!(feature = "cuda")), ("accelerate", cfg!(feature = "accelerate"))]
        .into_iter()
        .filter_map(|(name, built_in)| built_in.then_some(name))
        .collect()
}

/// The device that a program calls `text`. "auto" is what `VOTIVE_DEVICE` names, else Metal, CUDA or the GPU of
/// [`automatic`] where one of them is there, else the CPU.
pub fn find(text: &str) -> Result<DeviceInfo> {
    if let Some(name) = DeviceName::parse("device", text)? {
        return found(name, &format!("device {text:?}"));
    }
    let Some((text, Some(name))) = from_environment()? else {
        return Ok(best());
    };
    found(name, &format!("VOTIVE_DEVICE={text:?}"))
}

/// The same, for searches among vectors: votive's own kernels for GPUs have none. For "auto" the CPU stands in for them.
///
/// # Errors
/// If it is not there, or searches none.
pub(super) fn find_for_search(text: &str) -> Result<DeviceInfo> {
    match named(text)? {
        None => Ok(first(&DeviceName::ORDER)),
        Some(DeviceName::Wgpu(..)) if text == "auto" => find("cpu"),
        Some(DeviceName::Wgpu(..)) => {
            let name = find(text)?.name();
            let advice = "computes with models, and searches no vectors; give the store device=\"cpu\"";
            Err(Error::device(format!("{name}: {advice}")))
        }
        Some(_) => find(text),
    }
}

/// The one in the order that comes after the device that a program calls `text`; None after the last.
pub fn next(text: &str) -> Result<Option<DeviceInfo>> {
    let after = named(text)?.unwrap_or_else(|| best().name).after();
    Ok((!after.is_empty()).then(|| first(after)))
}

/// The devices that are there, those that "auto" takes in its order and the CPU last, and why others are not.
pub fn survey() -> (Vec<DeviceInfo>, Vec<(&'static str, String)>) {
    let (mut present, mut absent) = (Vec::new(), Vec::new());
    for name in DeviceName::ORDER {
        if name == DeviceName::Cpu {
            match usable_adapters() {
                Ok(found) => present.extend(found),
                Err(reason) => absent.push((OWN_INTERFACE.name(), reason)),
            }
        }
        match probe(name) {
            Ok(hardware) => present.push(DeviceInfo { name, hardware }),
            Err(reason) => absent.push((name.family(), reason)),
        }
    }
    (present, absent)
}

/// What votive's own kernels run by on this system, where they do.
const OWN_INTERFACE: Interface = if cfg!(target_os = "macos") { Interface::Metal } else { Interface::Vulkan };
const NO_ADAPTER: &str = "no driver offers a GPU";
/// Allows GPUs that a driver computes on the CPU, where it is 1.
const SOFTWARE_VARIABLE: &str = "VOTIVE_SOFTWARE_GPU";

/// The GPUs that drivers offer votive's own kernels.
fn adapters() -> Vec<(DeviceName, GpuInfo)> {
    let named = |info: GpuInfo| Some((DeviceName::parse("device", &info.id).ok()??, info));
    gpu::adapters().into_iter().filter_map(named).collect()
}

/// Those of them that votive takes, of which there is one at least, or why there is none.
fn usable_adapters() -> Result<Vec<DeviceInfo>, String> {
    let adapters = adapters();
    let usable = adapters.iter().filter(|(_, info)| unusable(info).is_none());
    let found: Vec<_> = usable.map(|(name, info)| DeviceInfo { name: *name, hardware: hardware_of(info) }).collect();
    let reason = || adapters.iter().find_map(|(_, info)| unusable(info)).unwrap_or_else(|| NO_ADAPTER.to_owned());
    if found.is_empty() { Err(reason()) } else { Ok(found) }
}

/// All GPUs that drivers offer.
pub fn gpus() -> Vec<OfferedGpu> {
    let AutomaticGpu { refused, .. } = automatic_gpu();
    let described = |info: GpuInfo| {
        let not_automatic = refused.iter().find(|(id, _)| *id == info.id).map(|(_, reason)| reason.clone());
        OfferedGpu { unusable: unusable(&info), not_automatic, gpu: info }
    };
    gpu::adapters().into_iter().map(described).collect()
}

/// A GPU that a driver offers, and why it is not used.
pub struct OfferedGpu {
    pub gpu: GpuInfo,
    /// Why votive does not take it, where it does not.
    pub unusable: Option<String>,
    /// Why "auto" does not, where it was tried.
    pub not_automatic: Option<String>,
}

fn automatic_gpu() -> AutomaticGpu {
    automatic::decide(|| adapters().into_iter().filter(|(_, info)| unusable(info).is_none()).collect())
}

/// What "auto" takes unless it is told.
fn best() -> DeviceInfo {
    let candle = first(&DeviceName::ORDER);
    match candle.name {
        DeviceName::Cpu => match automatic_gpu().taken {
            Some((name, info)) => DeviceInfo { name, hardware: hardware_of(&info) },
            None => candle,
        },
        _ => candle,
    }
}

fn unusable(info: &GpuInfo) -> Option<String> {
    if let Some(lacks) = &info.lacks {
        return Some(format!("{} ({}) lacks {lacks}", info.id, info.name));
    }
    let allowed = std::env::var(SOFTWARE_VARIABLE).is_ok_and(|value| value == "1");
    (info.kind == GpuKind::Software && !allowed).then(|| {
        let GpuInfo { id, name, .. } = info;
        format!("{id} ({name}) computes on the CPU, slower than \"cpu\"; {SOFTWARE_VARIABLE}=1 allows it, for tests")
    })
}

fn hardware_of(info: &GpuInfo) -> Hardware {
    Hardware { model: Some(info.name.clone()), memory: info.memory, float16: info.float16 }
}

/// What a program's `text` or, where that is "auto", the environment names; None where that leaves it open, too.
fn named(text: &str) -> Result<Option<DeviceName>> {
    match DeviceName::parse("device", text)? {
        Some(name) => Ok(Some(name)),
        None => Ok(from_environment()?.and_then(|(_, name)| name)),
    }
}

fn from_environment() -> Result<Option<(String, Option<DeviceName>)>> {
    let Some(text) = std::env::var("VOTIVE_DEVICE").ok().filter(|text| !text.is_empty()) else { return Ok(None) };
    let name = DeviceName::parse("VOTIVE_DEVICE", &text)?;
    Ok(Some((text, name)))
}

fn first(names: &[DeviceName]) -> DeviceInfo {
    let there = names.iter().find_map(|&name| Some(DeviceInfo { name, hardware: probe(name).ok()? }));
    there.unwrap_or_else(|| DeviceInfo { name: DeviceName::Cpu, hardware: cpu() })
}

/// The device `name`; `asked` is the argument or variable that names it, for the error.
fn found(name: DeviceName, asked: &str) -> Result<DeviceInfo> {
    match probe(name) {
        Ok(hardware) => Ok(DeviceInfo { name, hardware }),
        Err(reason) => {
            // Drivers are not loaded for a message.
            let available: Vec<_> =
                DeviceName::ORDER.iter().filter(|name| probe(**name).is_ok()).map(DeviceName::to_string).collect();
            let message = format!("{asked}: {reason}; available: {}", available.join(", "));
            Err(Error::Device { message })
        }
    }
}

/// The hardware of a device, or why it is not there.
fn probe(name: DeviceName) -> Result<Hardware, String> {
    match name {
        DeviceName::Cpu => Ok(cpu()),
        DeviceName::Fake if faults::wanted() => Ok(Hardware::default()),
        DeviceName::Fake => Err("exists in tests alone".to_owned()),
        DeviceName::Wgpu(..) if gpu::is_forked() => Err(gpu::FORKED.to_owned()),
        DeviceName::Wgpu(interface, _) => {
            let adapters = adapters();
            let Some((_, info)) = adapters.iter().find(|(known, _)| *known == name) else {
                let of_interface = |other: &&(DeviceName, GpuInfo)| other.0.family() == interface.name();
                let there: Vec<_> = adapters.iter().filter(of_interface).map(|(name, _)| name.to_string()).collect();
                return Err(if there.is_empty() {
                    NO_ADAPTER.to_owned()
                } else {
                    format!("there is {}", there.join(", "))
                });
            };
            unusable(info).map_or_else(|| Ok(hardware_of(info)), Err)
        }
        #[cfg(all(feature = "metal", target_os = "macos"))]
        DeviceName::Metal => super::metal::probe(),
        #[cfg(not(all(feature = "metal", target_os = "macos")))]
        DeviceName::Metal if cfg!(target_os = "macos") => Err("not built in (Cargo feature \"metal\")".to_owned()),
        #[cfg(not(all(feature = "metal", target_os = "macos")))]
        DeviceName::Metal => Err("only macOS has it".to_owned()),
        #[cfg(feature = "cuda")]
        DeviceName::Cuda(number) => super::cuda::probe(number),
        #[cfg(not(feature = "cuda"))]
        DeviceName::Cuda(_) => Err("not built in (Cargo feature \"cuda\")".to_owned()),
    }
}

fn cpu() -> Hardware {
    Hardware { model: Some(cpu_name()).filter(|name| !name.is_empty()), memory: None, float16: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there() {
        let cpu = find("cpu").unwrap();
        assert_eq!((cpu.name().as_str(), cpu.memory()), ("cpu", None));
        assert!(["int8", "int4"].iter().all(|dtype| cpu.dtypes().contains(dtype)));
        let (present, absent) = survey();
        assert_eq!(present.last().unwrap().name(), "cpu");
        let others = present.iter().filter(|info| matches!(info.name, DeviceName::Wgpu(..))).count().max(1);
        assert_eq!(present.len() + absent.len(), DeviceName::ORDER.len() + others);
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn what_is_not_built_in_says_so() {
        let message = find("cuda:9").unwrap_err().to_string();
        assert!(
            message.starts_with("device \"cuda:9\": not built in (Cargo feature \"cuda\"); available: "),
            "{message}"
        );
        assert!(survey().1.contains(&("cuda", "not built in (Cargo feature \"cuda\")".to_owned())));
        assert!(!features().contains(&"cuda"));
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn a_number_beyond_the_devices_says_why() {
        let message = find("cuda:1000").unwrap_err().to_string();
        assert!(message.starts_with("device \"cuda:1000\": ") && message.contains("; available: "), "{message}");
    }

    #[cfg(not(target_os = "macos"))]
    #[test]
    fn only_macos_has_metal() {
        let message = find("mlx").unwrap_err().to_string();
        assert!(message.starts_with("device \"mlx\": only macOS has it; available: "), "{message}");
    }

    #[test]
    fn nothing_comes_after_the_cpu() {
        assert!(next("cpu").unwrap().is_none());
        assert_eq!(next("cuda:3").unwrap().unwrap().name(), "cpu");
        assert!(next("gpu").is_err());
    }
}
