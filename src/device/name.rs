//! What devices are called.

use crate::gpu::Interface;
use crate::{Error, Result};

const ACCEPTED: &str = "auto, cpu, metal (mps, mlx), cuda, cuda:N, vulkan, vulkan:N, dx12, dx12:N, wgpu, wgpu:N";

/// A device, there or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeviceName {
    Cpu,
    Metal,
    Cuda(usize),
    /// A GPU by an interface that votive's own kernels are written for, and its number there.
    Wgpu(Interface, usize),
    /// For tests: computes on the CPU, is treated like a GPU, and fails on demand.
    Fake,
}

impl DeviceName {
    /// What a program calls a device; None for "auto". `argument` is where it does.
    pub(super) fn parse(argument: &'static str, text: &str) -> Result<Option<Self>> {
        let unknown = || Error::argument(argument, format!("{text:?} is not a device; accepted: {ACCEPTED}"));
        Ok(Some(match text.split_once(':') {
            None => match text {
                "auto" => return Ok(None),
                "cpu" => Self::Cpu,
                // Apple's GPU, as PyTorch and MLX call it.
                "metal" | "mps" | "mlx" => Self::Metal,
                "cuda" => Self::Cuda(0),
                "fake" if super::faults::wanted() => Self::Fake,
                name => Self::Wgpu(Interface::named(name).ok_or_else(unknown)?, 0),
            },
            Some((family, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                let number = number.parse().map_err(|_| unknown())?;
                match family {
                    "cuda" => Self::Cuda(number),
                    name => Self::Wgpu(Interface::named(name).ok_or_else(unknown)?, number),
                }
            }
            Some(_) => return Err(unknown()),
        }))
    }

    /// Those that "auto" takes, the first that is there. None beyond the first CUDA device is taken unasked.
    pub(super) const ORDER: [Self; 3] = [Self::Metal, Self::Cuda(0), Self::Cpu];

    /// Those that come after this one in the order.
    pub(super) fn after(self) -> &'static [Self] {
        match self {
            Self::Metal => &Self::ORDER[1..],
            Self::Cuda(_) | Self::Wgpu(..) | Self::Fake => &Self::ORDER[2..],
            Self::Cpu => &[],
        }
    }

    /// "cpu", "metal", "cuda", "vulkan", "dx12", "wgpu" or "fake".
    pub(super) fn family(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Metal => "metal",
            Self::Cuda(_) => "cuda",
            Self::Wgpu(interface, _) => interface.name(),
            Self::Fake => "fake",
        }
    }
}

impl std::fmt::Display for DeviceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cuda(number) | Self::Wgpu(_, number) => write!(f, "{}:{number}", self.family()),
            _ => f.write_str(self.family()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known() {
        let known = |text| DeviceName::parse("device", text).unwrap();
        assert_eq!(known("auto"), None);
        assert_eq!(known("cpu"), Some(DeviceName::Cpu));
        for apple in ["metal", "mps", "mlx"] {
            assert_eq!(known(apple), Some(DeviceName::Metal));
        }
        assert_eq!(known("cuda"), Some(DeviceName::Cuda(0)));
        assert_eq!(known("cuda:12").unwrap().to_string(), "cuda:12");
        assert_eq!(known("vulkan"), Some(DeviceName::Wgpu(Interface::Vulkan, 0)));
        for (text, name) in [("vulkan:1", "vulkan:1"), ("dx12", "dx12:0"), ("wgpu", "wgpu:0")] {
            assert_eq!(known(text).unwrap().to_string(), name);
        }
    }

    #[test]
    fn nothing_else_is() {
        let numbers =
            ["cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cuda:1:1", "cuda:99999999999999999999", "vulkan:", "cpu:0"];
        for text in numbers.into_iter().chain(["", "gpu", "CPU", "fake", "fake:1"]) {
            let message = DeviceName::parse("VOTIVE_DEVICE", text).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("VOTIVE_DEVICE: {text:?} is not a device; accepted: auto")),
                "{message}"
            );
        }
    }

    #[test]
    fn the_cpu_comes_last() {
        assert_eq!(DeviceName::Metal.after(), [DeviceName::Cuda(0), DeviceName::Cpu]);
        assert_eq!(DeviceName::Cuda(3).after(), [DeviceName::Cpu]);
        assert_eq!(DeviceName::Wgpu(Interface::Vulkan, 0).after(), [DeviceName::Cpu]);
        assert!(DeviceName::Cpu.after().is_empty());
    }
}
