//! Which device computes.

use std::time::Duration;

use crate::kernels::{Isa, measure_peaks};
use crate::nn::Body;
use crate::profile::Peaks;
use crate::{Error, Result};

pub use crate::kernels::{caches, cpu_name};

const NAMES: &str = "auto, cpu, metal (mps), cuda, cuda:N";

/// The device of that name, as the body that the blocks of a model get. `auto` is the CPU.
pub fn choose(name: &str) -> Result<Body> {
    let family = name.split_once(':').map_or(name, |(family, _)| family);
    match (name, family) {
        ("auto" | "cpu", _) => cpu(),
        ("metal" | "mps", _) | (_, "cuda") => {
            Err(Error::Device { message: format!("device {name:?} is not supported by this version; available: cpu") })
        }
        _ => Err(Error::argument("device", format!("{name:?} is not a device; accepted: {NAMES}"))),
    }
}

/// With `VOTIVE_PORTABLE=1` the body that GPUs will use, for tests and for telling a kernel's fault from a model's.
fn cpu() -> Result<Body> {
    let isa = isa()?;
    match std::env::var("VOTIVE_PORTABLE").as_deref() {
        Ok("1") => Ok(Body::Portable { device: candle_core::Device::Cpu, dtype: candle_core::DType::F32 }),
        _ => Ok(Body::Cpu(isa)),
    }
}

/// What `threads` threads can do together with the instruction set in use, measured for several times `trial` for each figure.
pub fn peaks(threads: usize, trial: Duration) -> Result<Peaks> {
    Ok(measure_peaks(isa()?, threads, trial))
}

/// The instruction set in use.
pub fn isa_name() -> Result<&'static str> {
    isa().map(Isa::name)
}

fn isa() -> Result<Isa> {
    Isa::active().map_err(|message| Error::argument("VOTIVE_ISA", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_devices_are_accepted() {
        assert!(choose("auto").is_ok() && choose("cpu").is_ok());
        assert!(matches!(choose("cuda:1"), Err(Error::Device { .. })));
        assert!(matches!(choose("mps"), Err(Error::Device { .. })));
        let message = choose("gpu").unwrap_err().to_string();
        assert!(message.contains("\"gpu\"") && message.contains("cuda:N"), "{message}");
    }
}
