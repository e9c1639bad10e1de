//! Which device computes, in which type.

use std::time::Duration;

use candle_core::DType;

use crate::kernels::{Dtype, Isa, measure_peaks};
use crate::nn::{Body, active_isa};
use crate::profile::Peaks;
use crate::{Error, Result};

pub use crate::kernels::{caches, cpu_name};

const DEVICES: &str = "auto, cpu, metal (mps), cuda, cuda:N";
const DTYPES: &str = "auto, float32, bfloat16, float16, int8";

/// A device that computes for an object.
#[derive(Debug, Clone)]
pub struct Device {
    /// "cpu", "metal", "cuda:0", ...
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Kernels, on all threads.
    Cpu,
    /// candle's operations, on a device that one thread at a time may use.
    Portable(candle_core::Device),
}

impl Device {
    /// The device of that name. `auto` is the fastest that is there.
    pub fn choose(name: &str) -> Result<Self> {
        let family = name.split_once(':').map_or(name, |(family, _)| family);
        match (name, family) {
            ("auto" | "cpu", _) => Ok(Self { name: "cpu".to_owned(), kind: Kind::cpu() }),
            ("metal" | "mps", _) | (_, "cuda") => Err(Error::Device {
                message: format!("device {name:?} is not supported by this version; available: cpu"),
            }),
            _ => Err(Error::argument("device", format!("{name:?} is not a device; accepted: {DEVICES}"))),
        }
    }

    /// "cpu", "metal", "cuda:0", ...
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether one thread at a time computes, with candle's operations.
    pub fn has_owner(&self) -> bool {
        matches!(self.kind, Kind::Portable(_))
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
        let Kind::Portable(device) = &self.kind else { return Ok(Body::Cpu { isa: active_isa()?, dtype }) };
        if let Some(reason) = self.lacks(dtype) {
            let all = [Dtype::Float32, Dtype::Bfloat16, Dtype::Float16].into_iter();
            let accepted: Vec<_> = all.filter(|&other| self.lacks(other).is_none()).map(Dtype::name).collect();
            let message = format!(
                "{} {reason}, and the device is {}; accepted there: auto, {}",
                dtype.name(),
                self.name,
                accepted.join(", ")
            );
            return Err(Error::argument("dtype", message));
        }
        let dtype = match dtype {
            Dtype::Bfloat16 => DType::BF16,
            Dtype::Float16 => DType::F16,
            Dtype::Float32 | Dtype::Int8 => DType::F32,
        };
        Ok(Body::Portable { device: device.clone(), dtype })
    }

    fn is_gpu(&self) -> bool {
        matches!(&self.kind, Kind::Portable(device) if !device.is_cpu())
    }

    /// Why it cannot compute with weights of this type.
    fn lacks(&self, dtype: Dtype) -> Option<&'static str> {
        let Kind::Portable(device) = &self.kind else { return None };
        match dtype {
            Dtype::Int8 => Some("needs the CPU's kernels"),
            Dtype::Bfloat16 => lacks_bfloat16(device),
            Dtype::Float32 | Dtype::Float16 => None,
        }
    }

    /// That this process may use the device: nobody may in a child of `fork()`, but for the CPU.
    pub fn check(&self) -> Result<()> {
        Ok(())
    }

    /// `work` on the device, of so many tokens. What fails because of the device is an [`Error::Device`], or an
    /// [`Error::DeviceMemory`] where less work may succeed.
    pub fn attempt<R>(&self, _tokens: usize, work: impl FnOnce() -> Result<R>) -> Result<R> {
        self.check()?;
        work()
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
        assert!(message.contains("\"gpu\"") && message.contains("cuda:N"), "{message}");
    }

    #[test]
    fn only_types_are_accepted() {
        let message = Device::choose("cpu").unwrap().body("float8", Dtype::Float16).unwrap_err().to_string();
        assert!(message.contains("\"float8\"") && message.contains("bfloat16"), "{message}");
    }

    #[test]
    fn types_are_those_of_the_device() {
        let portable = Device { name: "cpu".to_owned(), kind: Kind::Portable(candle_core::Device::Cpu) };
        for (dtype, expected) in [("auto", DType::F32), ("float16", DType::F16), ("bfloat16", DType::BF16)] {
            let Body::Portable { dtype, .. } = portable.body(dtype, Dtype::Float16).unwrap() else {
                panic!("portable")
            };
            assert_eq!(dtype, expected);
        }
        let message = portable.body("int8", Dtype::Float16).unwrap_err().to_string();
        assert!(
            message.contains("int8 needs the CPU's kernels, and the device is cpu; accepted there: auto, "),
            "{message}"
        );
    }
}
