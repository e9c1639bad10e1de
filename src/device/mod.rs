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

    /// candle's operations on the CPU, as `VOTIVE_PORTABLE=1` gives them.
    #[cfg(test)]
    pub(crate) fn portable() -> Self {
        Self { name: "cpu".to_owned(), kind: Kind::Portable(candle_core::Device::Cpu) }
    }

    /// "cpu", "metal", "cuda:0", ...
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether one thread at a time computes, with candle's operations.
    pub fn has_owner(&self) -> bool {
        matches!(self.kind, Kind::Portable(_))
    }

    /// Where candle's tensors are, if one thread at a time computes with them.
    pub fn tensors(&self) -> Option<&candle_core::Device> {
        match &self.kind {
            Kind::Cpu => None,
            Kind::Portable(device) => Some(device),
        }
    }

    /// What the blocks of a model get, with weights of the type `dtype`. `auto` is what is best there: float32 on the CPU.
    pub fn body(&self, dtype: &str) -> Result<Body> {
        let dtype = match dtype {
            "auto" => Dtype::Float32,
            name => Dtype::named(name)
                .ok_or_else(|| Error::argument("dtype", format!("{name:?} is not a type; accepted: {DTYPES}")))?,
        };
        let Kind::Portable(device) = &self.kind else { return Ok(Body::Cpu { isa: active_isa()?, dtype }) };
        let dtype = match dtype {
            Dtype::Float32 => DType::F32,
            Dtype::Bfloat16 => DType::BF16,
            Dtype::Float16 => DType::F16,
            Dtype::Int8 => {
                return Err(Error::argument(
                    "dtype",
                    format!("int8 needs the CPU's kernels; the device is {}", self.name),
                ));
            }
        };
        Ok(Body::Portable { device: device.clone(), dtype })
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
        let message = Device::choose("cpu").unwrap().body("float8").unwrap_err().to_string();
        assert!(message.contains("\"float8\"") && message.contains("bfloat16"), "{message}");
    }
}
