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

/// The device of that name with weights of that type, as the body that the blocks of a model get. For both, `auto` is what is
/// best where it runs: the CPU, in float32.
pub fn choose(device: &str, dtype: &str) -> Result<Body> {
    let chosen = match dtype {
        "auto" => Dtype::Float32,
        name => Dtype::named(name)
            .ok_or_else(|| Error::argument("dtype", format!("{name:?} is not a type; accepted: {DTYPES}")))?,
    };
    let family = device.split_once(':').map_or(device, |(family, _)| family);
    match (device, family) {
        ("auto" | "cpu", _) => cpu(chosen),
        ("metal" | "mps", _) | (_, "cuda") => Err(Error::Device {
            message: format!("device {device:?} is not supported by this version; available: cpu"),
        }),
        _ => Err(Error::argument("device", format!("{device:?} is not a device; accepted: {DEVICES}"))),
    }
}

/// With `VOTIVE_PORTABLE=1` the body that GPUs will use, for tests and for telling a kernel's fault from a model's.
fn cpu(dtype: Dtype) -> Result<Body> {
    let isa = active_isa()?;
    if std::env::var("VOTIVE_PORTABLE").as_deref() != Ok("1") {
        return Ok(Body::Cpu { isa, dtype });
    }
    let dtype = match dtype {
        Dtype::Float32 => DType::F32,
        Dtype::Bfloat16 => DType::BF16,
        Dtype::Float16 => DType::F16,
        Dtype::Int8 => {
            return Err(Error::argument("dtype", "int8 needs the kernels that VOTIVE_PORTABLE=1 goes without"));
        }
    };
    Ok(Body::Portable { device: candle_core::Device::Cpu, dtype })
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
        assert!(choose("auto", "auto").is_ok() && choose("cpu", "int8").is_ok());
        assert!(matches!(choose("cuda:1", "auto"), Err(Error::Device { .. })));
        assert!(matches!(choose("mps", "float16"), Err(Error::Device { .. })));
        let message = choose("gpu", "auto").unwrap_err().to_string();
        assert!(message.contains("\"gpu\"") && message.contains("cuda:N"), "{message}");
    }

    #[test]
    fn only_types_are_accepted() {
        let message = choose("cpu", "float8").unwrap_err().to_string();
        assert!(message.contains("\"float8\"") && message.contains("bfloat16"), "{message}");
    }
}
