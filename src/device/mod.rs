//! Which device computes, in which type.
//!
//! ```text
//! mod (Device) ─→ probe ─→ cuda ─→ nvidia, library, opened      metal ─→ macos
//!   │               ├────→ hardware (also of cuda and metal), name ─→ faults
//!   │               └────→ automatic ─→ name
//!   └─→ opened, failure, faults, name
//! ```

mod automatic;
#[cfg(feature = "cuda")]
mod cuda;
mod failure;
mod faults;
mod hardware;
#[cfg(feature = "cuda")]
mod library;
#[cfg(any(test, all(feature = "metal", target_os = "macos")))]
mod macos;
#[cfg(all(feature = "metal", target_os = "macos"))]
mod metal;
mod name;
#[cfg(any(test, feature = "cuda"))]
mod nvidia;
mod opened;
mod probe;

use std::sync::Arc;
use std::time::Duration;

use candle_core::DType;

use crate::device::faults::Faults;
use crate::device::name::DeviceName;
use crate::device::probe::find_for_search;
use crate::gpu::{self, Context, Number, Passes, ProductTypes, WeightType};
use crate::kernels::{Dtype, Isa, measure_peaks};
use crate::nn::{Body, active_isa};
use crate::panic::caught;
use crate::profile::Peaks;
use crate::{Error, Result};

pub use crate::kernels::{caches, cpu_name, scratch_bytes};
pub use probe::{DeviceInfo, OfferedGpu, features, find, gpus, next, survey};

const DTYPES: &str = "auto, float32, bfloat16, float16, int8, int4";

/// A device that computes for an object.
#[derive(Debug, Clone)]
pub struct Device {
    /// "cpu", "metal", "cuda:0", ...
    name: String,
    kind: Kind,
    /// None for the CPU.
    gpu: Option<Gpu>,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Kernels, on all threads.
    Cpu,
    /// candle's operations, on a device that one thread at a time may use.
    Portable(candle_core::Device),
    /// votive's own kernels for GPUs; one thread at a time records the passes of a model.
    Wgpu(&'static Context),
}

/// A device that may fail, and cannot be used after `fork()`.
#[derive(Debug, Clone)]
struct Gpu {
    name: DeviceName,
    /// Id of the process that opened it.
    process: u32,
    /// Faults to inject, for the device "fake".
    faults: Option<Arc<Faults>>,
}

impl Device {
    /// The device for models that a program calls `name`. `auto` is what `VOTIVE_DEVICE` names, else the best one that is there.
    pub fn choose(name: &str) -> Result<Self> {
        Self::of(find(name)?)
    }

    /// The device for searches among vectors that a program calls `name`.
    pub fn choose_for_search(name: &str) -> Result<Self> {
        Self::of(find_for_search(name)?)
    }

    fn of(found: DeviceInfo) -> Result<Self> {
        let (kind, gpu) = match found.name {
            DeviceName::Cpu => (Kind::cpu(), None),
            name @ DeviceName::Wgpu(..) => {
                let id = name.to_string();
                (Kind::Wgpu(with_device_errors(&id, || gpu::open(&id))?), Some(Gpu::new(name)?))
            }
            name => (Kind::Portable(open(name)?), Some(Gpu::new(name)?)),
        };
        Ok(Self { name: found.name(), kind, gpu })
    }

    /// candle's operations on the CPU, as `VOTIVE_PORTABLE=1` gives them.
    #[cfg(test)]
    pub(crate) fn portable() -> Self {
        Self { name: "cpu".to_owned(), kind: Kind::Portable(candle_core::Device::Cpu), gpu: None }
    }

    /// "cpu", "metal", "cuda:0", ...
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether one thread at a time computes the passes of a model.
    pub fn has_owner(&self) -> bool {
        !matches!(self.kind, Kind::Cpu)
    }

    /// Where candle's tensors are, if one thread at a time computes with them.
    pub fn tensors(&self) -> Option<&candle_core::Device> {
        match &self.kind {
            Kind::Cpu | Kind::Wgpu(_) => None,
            Kind::Portable(device) => Some(device),
        }
    }

    /// What the blocks of a model get, with weights of the type `dtype`. `auto` is what is best there: float32 on the CPU, and
    /// `narrow`, of two bytes, on a GPU that has it.
    pub fn body(&self, dtype: &str, narrow: Dtype) -> Result<Body> {
        let dtype = match dtype {
            "auto" if self.is_gpu() && self.lacks(narrow).is_none() => narrow,
            "auto" => Dtype::Float32,
            name => Dtype::named(name)
                .ok_or_else(|| Error::argument("dtype", format!("{name:?} is not a type; accepted: {DTYPES}")))?,
        };
        if let Some(reason) = self.lacks(dtype) {
            let all = [Dtype::Float32, Dtype::Bfloat16, Dtype::Float16, Dtype::Int8].into_iter();
            let accepted: Vec<_> = all.filter(|&other| self.lacks(other).is_none()).map(Dtype::name).collect();
            let message = format!(
                "{} {reason}; the device is {}, which takes auto, {}",
                dtype.name(),
                self.name,
                accepted.join(", ")
            );
            return Err(Error::argument("dtype", message));
        }
        Ok(match &self.kind {
            Kind::Cpu => Body::Cpu { isa: active_isa()?, dtype },
            Kind::Portable(device) => {
                let dtype = match dtype {
                    Dtype::Bfloat16 => DType::BF16,
                    Dtype::Float16 => DType::F16,
                    Dtype::Float32 | Dtype::Int8 | Dtype::Int4 => DType::F32,
                };
                Body::Portable { device: device.clone(), dtype }
            }
            Kind::Wgpu(context) => {
                let (states, weights) = match dtype {
                    Dtype::Float16 => (Number::F16, WeightType::F16),
                    Dtype::Bfloat16 => (Number::F32, WeightType::Bf16),
                    Dtype::Int8 => (Number::F32, WeightType::Int8),
                    Dtype::Float32 | Dtype::Int4 => (Number::F32, WeightType::F32),
                };
                Body::Gpu { passes: Passes::new(context)?, types: ProductTypes { states, weights }, isa: active_isa()? }
            }
        })
    }

    fn is_gpu(&self) -> bool {
        match &self.kind {
            Kind::Cpu => false,
            Kind::Portable(device) => !device.is_cpu(),
            Kind::Wgpu(_) => true,
        }
    }

    /// Why it cannot compute with weights of this type.
    fn lacks(&self, dtype: Dtype) -> Option<&'static str> {
        match (&self.kind, dtype) {
            (Kind::Cpu, _) => None,
            (Kind::Wgpu(_), Dtype::Int4) | (Kind::Portable(_), Dtype::Int8 | Dtype::Int4) => {
                Some("needs the CPU's kernels")
            }
            (Kind::Wgpu(context), Dtype::Float16) => {
                (!context.info().float16).then_some("needs a GPU that computes in it")
            }
            (Kind::Portable(device), Dtype::Bfloat16) => lacks_bfloat16(device),
            _ => None,
        }
    }

    /// Multiplications and additions of a second, in products of matrices by votive's own kernels for GPUs; None of other devices.
    pub fn product_rate(&self) -> Result<Option<f64>> {
        match self.kind {
            Kind::Wgpu(context) => gpu::product_rate(context).map(Some),
            Kind::Cpu | Kind::Portable(_) => Ok(None),
        }
    }

    /// Checks that this process may use the device. In a child of `fork()` no device but the CPU may be used.
    pub fn check(&self) -> Result<()> {
        match &self.gpu {
            Some(gpu) if gpu.process != std::process::id() => Err(opened::forked(gpu.name)),
            _ => Ok(()),
        }
    }

    /// `work` on the device, of so many tokens. What fails because of the device is an [`Error::Device`], or an
    /// [`Error::DeviceMemory`] where less work may succeed.
    pub fn attempt<R>(&self, tokens: usize, work: impl FnOnce() -> Result<R>) -> Result<R> {
        self.check()?;
        let Some(gpu) = &self.gpu else { return work() };
        if let Some(faults) = &gpu.faults {
            faults.operation()?;
            faults.allocate(tokens)?;
        }
        with_device_errors(&self.name, work)
    }

    /// To be called between the operations of an attempt, so that tests can have the device fail there.
    pub fn operation(&self) -> Result<()> {
        match self.gpu.as_ref().and_then(|gpu| gpu.faults.as_ref()) {
            Some(faults) => faults.operation(),
            None => Ok(()),
        }
    }
}

/// `work`, whose failures and panics are those of the device of that name.
fn with_device_errors<R>(name: &str, work: impl FnOnce() -> Result<R>) -> Result<R> {
    match caught(work) {
        Ok(result) => result.map_err(|error| failure::classify(name, error)),
        Err(panic) => Err(failure::panicked(name, panic)),
    }
}

#[cfg(feature = "cuda")]
fn lacks_bfloat16(device: &candle_core::Device) -> Option<&'static str> {
    let candle_core::Device::Cuda(device) = device else { return None };
    let (major, _) = device.cuda_stream().context().compute_capability().ok()?;
    (major < 8).then_some("needs compute capability 8.0 or higher")
}

#[cfg(not(feature = "cuda"))]
fn lacks_bfloat16(_: &candle_core::Device) -> Option<&'static str> {
    None
}

impl Kind {
    /// With `VOTIVE_PORTABLE=1` the body that GPUs use, for tests and for telling a kernel's fault from a model's.
    fn cpu() -> Self {
        match std::env::var("VOTIVE_PORTABLE").as_deref() {
            Ok("1") => Self::Portable(candle_core::Device::Cpu),
            _ => Self::Cpu,
        }
    }
}

impl Gpu {
    fn new(name: DeviceName) -> Result<Self> {
        let faults = match name {
            DeviceName::Fake => Some(Arc::new(Faults::read()?)),
            _ => None,
        };
        Ok(Self { name, process: std::process::id(), faults })
    }
}

/// candle's device, the same for all objects of this process.
fn open(name: DeviceName) -> Result<candle_core::Device> {
    let open = || match name {
        #[cfg(all(feature = "metal", target_os = "macos"))]
        DeviceName::Metal => Ok(metal::open()?),
        #[cfg(feature = "cuda")]
        DeviceName::Cuda(number) => Ok(cuda::open(number)?),
        DeviceName::Cpu | DeviceName::Fake => Ok(candle_core::Device::Cpu),
        _ => Err(Error::device("not built in".to_owned())),
    };
    opened::shared(name, || with_device_errors(&name.to_string(), open))
}

/// What `threads` threads can do together with the instruction set in use, measured for several times `trial` for each figure.
pub fn peaks(threads: usize, trial: Duration) -> Result<Peaks> {
    Ok(measure_peaks(active_isa()?, threads, trial))
}

/// The instruction set in use.
pub fn isa_name() -> Result<&'static str> {
    active_isa().map(Isa::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_devices_are_accepted() {
        assert!(Device::choose("auto").is_ok() && Device::choose("cpu").is_ok());
        assert!(matches!(Device::choose("cuda:1"), Err(Error::Device { .. })));
        assert!(matches!(Device::choose("mps"), Err(Error::Device { .. })));
        let message = Device::choose("gpu").unwrap_err().to_string();
        assert!(message.contains("\"gpu\"") && message.contains("cuda:N") && message.contains("vulkan"), "{message}");
    }

    fn fake(faults: &str) -> Device {
        let faults = Some(Arc::new(Faults::parse(faults).unwrap()));
        let gpu = Gpu { name: DeviceName::Fake, process: std::process::id(), faults };
        Device { name: "fake".to_owned(), kind: Kind::Portable(candle_core::Device::Cpu), gpu: Some(gpu) }
    }

    #[test]
    fn a_lost_device_fails_from_then_on() {
        let device = fake("operation:3");
        assert!(device.has_owner() && device.clone().has_owner());
        device.attempt(1, || Ok(())).unwrap();
        // Clones are the same device.
        device.clone().operation().unwrap();
        let lost = device.attempt::<()>(1, || panic!("not to be tried")).unwrap_err();
        assert!(matches!(lost, Error::Device { .. }));
        assert!(device.operation().is_err() && device.attempt(1, || Ok(())).is_err());
    }

    #[test]
    fn less_work_may_succeed() {
        let device = fake("memory:100");
        assert!(matches!(device.attempt(101, || Ok(())), Err(Error::DeviceMemory { .. })));
        assert_eq!(device.attempt(100, || Ok(7)).unwrap(), 7);
    }

    #[test]
    fn failures_and_panics_are_the_devices() {
        let device = fake("");
        let bug = || -> Result<()> { Err(candle_core::Error::Msg("no kernel".to_owned()).into()) };
        assert_eq!(device.attempt(1, bug).unwrap_err().to_string(), "fake: no kernel");
        assert_eq!(device.attempt(1, || -> Result<()> { panic!("{}", "gone") }).unwrap_err().to_string(), "fake: gone");
        assert!(matches!(device.attempt::<()>(1, || Err(Error::Interrupted)), Err(Error::Interrupted)));
        assert!(matches!(Device::choose("cpu").unwrap().attempt(1, bug), Err(Error::Tensor(_))));
    }

    #[test]
    fn another_process_may_not_use_it() {
        let mut device = fake("");
        device.check().unwrap();
        device.gpu = device.gpu.map(|gpu| Gpu { process: gpu.process + 1, ..gpu });
        let message = device.attempt::<()>(1, || panic!("not to be tried")).unwrap_err().to_string();
        assert!(message.starts_with("fake: was opened before fork()"), "{message}");
    }

    #[test]
    fn only_types_are_accepted() {
        let message = Device::choose("cpu").unwrap().body("float8", Dtype::Float16).unwrap_err().to_string();
        assert!(message.contains("\"float8\"") && message.contains("bfloat16"), "{message}");
    }

    #[test]
    fn types_are_those_of_the_device() {
        let portable = fake("");
        for (dtype, expected) in [("auto", DType::F32), ("float16", DType::F16), ("bfloat16", DType::BF16)] {
            let Body::Portable { dtype, .. } = portable.body(dtype, Dtype::Float16).unwrap() else {
                panic!("portable")
            };
            assert_eq!(dtype, expected);
        }
        for dtype in ["int8", "int4"] {
            let message = portable.body(dtype, Dtype::Float16).unwrap_err().to_string();
            let expected = "needs the CPU's kernels; the device is fake, which takes auto, float32, bfloat16";
            assert!(message.contains(&format!("{dtype} {expected}")), "{message}");
        }
    }
}
