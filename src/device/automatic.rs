//! The GPU that "auto" takes by votive's own kernels, on a machine whose GPU neither Metal nor CUDA drives here.
//!
//! ```text
//! may there be one?     the system's files say so: no driver is loaded on a machine that has none
//! for each adapter that is a discrete GPU, in the drivers' order
//!     open it; multiply matrices there for a tenth of a second; compare the products with what they must be
//!     taken, if its rate is MIN_ADVANTAGE times what all CPUs do at most in float32
//! else the CPU
//! ```
//!
//! The rate on a GPU is that of real products, the CPU's that of its registers alone: who is close to the CPU does not win. An
//! integrated GPU shares the CPU's memory and power, and is never taken unasked; nor is one that a hypervisor or the CPU plays.
//! It is decided once a process, since all objects that say "auto" must be on one device.

use std::path::Path;
use std::sync::OnceLock;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::Result;
use crate::device::name::DeviceName;
use crate::gpu::{self, GpuInfo, GpuKind};
use crate::kernels::float32_peak;
use crate::nn::active_isa;
use crate::panic::{caught, error_of};

/// How many times the CPU's rate a GPU must have: texts must be read and sent there, too.
const MIN_ADVANTAGE: f64 = 2.0;
/// Length of one of several trials that measure the CPU: together they take as long as products on a GPU.
const CPU_TRIAL: Duration = Duration::from_millis(20);

/// What was decided, and why not otherwise. What a driver does wrong is such a reason: nobody asked for it.
#[derive(Debug, Clone, Default)]
pub(super) struct AutomaticGpu {
    pub(super) taken: Option<(DeviceName, GpuInfo)>,
    /// Names of adapters that are not taken, and why.
    pub(super) refused: Vec<(String, String)>,
}

static DECIDED: OnceLock<AutomaticGpu> = OnceLock::new();

/// What is decided in this process; `adapters` are those that can be used.
pub(super) fn decide(adapters: impl FnOnce() -> Vec<(DeviceName, GpuInfo)>) -> AutomaticGpu {
    // Before the lock, which a child of `fork()` may have inherited taken; and a child could not use what its parent opens.
    if !may_be_there(Path::new("/")) || !gpu::claim() {
        return AutomaticGpu::default();
    }
    let rate = |info: &GpuInfo| gpu::product_rate(gpu::open(&info.id)?);
    let cpu_rate = || {
        let threads = available_parallelism().map_or(1, usize::from);
        Ok(float32_peak(active_isa()?, threads, CPU_TRIAL))
    };
    DECIDED.get_or_init(|| among(caught(adapters).unwrap_or_default(), rate, cpu_rate)).clone()
}

/// Whether a driver may have a GPU that "auto" could take. On Linux a GPU has a node for those that compute, and NVIDIA's
/// driver one of its own; the one of Intel's GPU within a CPU is always at the same place. Other systems are not asked.
fn may_be_there(root: &Path) -> bool {
    if !cfg!(target_os = "linux") || root.join("dev/nvidiactl").exists() {
        return true;
    }
    let Ok(nodes) = root.join("sys/class/drm").read_dir() else { return false };
    let mut nodes = nodes.flatten().filter(|node| node.file_name().to_string_lossy().starts_with("renderD"));
    nodes.any(|node| {
        let device = node.path().join("device");
        let is_intel = std::fs::read_to_string(device.join("vendor")).is_ok_and(|vendor| vendor.trim() == "0x8086");
        !is_intel || !device.canonicalize().is_ok_and(|place| place.ends_with("0000:00:02.0"))
    })
}

fn among(
    adapters: Vec<(DeviceName, GpuInfo)>,
    rate: impl Fn(&GpuInfo) -> Result<f64>,
    cpu_rate: impl Fn() -> Result<f64>,
) -> AutomaticGpu {
    let mut decided = AutomaticGpu::default();
    for (name, info) in adapters {
        let reason = match info.kind {
            GpuKind::Discrete => match compared(caught(|| Ok((rate(&info)?, cpu_rate()?)))) {
                None => {
                    decided.taken = Some((name, info));
                    break;
                }
                Some(reason) => reason,
            },
            _ => "is no discrete GPU".to_owned(),
        };
        decided.refused.push((info.id, reason));
    }
    decided
}

/// Why a GPU is not worth it, if it is not: by its rate and the CPU's.
fn compared(rates: std::thread::Result<Result<(f64, f64)>>) -> Option<String> {
    match rates.unwrap_or_else(|panic| Err(error_of(panic))) {
        Ok((rate, cpu)) if rate >= MIN_ADVANTAGE * cpu => None,
        Ok((rate, cpu)) => Some(format!(
            "multiplies at {:.3} TFLOP/s, and the CPU at {:.3}: less than {MIN_ADVANTAGE} times as fast",
            rate / 1e12,
            cpu / 1e12
        )),
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::gpu::Interface;

    fn adapter(number: usize, kind: GpuKind) -> (DeviceName, GpuInfo) {
        let info = GpuInfo {
            id: format!("vulkan:{number}"),
            name: "GPU".to_owned(),
            driver: String::new(),
            kind,
            memory: None,
            max_array: 1 << 30,
            float16: true,
            subgroup_lanes: [32; 2],
            matrix_units: Vec::new(),
            lacks: None,
        };
        (DeviceName::Wgpu(Interface::Vulkan, number), info)
    }

    #[test]
    fn the_first_discrete_one_that_is_twice_as_fast_is_taken() {
        use GpuKind::{Discrete, Integrated, Other, Software, Virtual};
        let kinds = [Software, Integrated, Virtual, Other, Discrete, Discrete, Discrete, Discrete, Discrete];
        let adapters = kinds.into_iter().enumerate().map(|(number, kind)| adapter(number, kind)).collect();
        let rate = |info: &GpuInfo| match info.id.as_str() {
            "vulkan:4" => Ok(1.99e12),
            "vulkan:5" => Err(Error::device("vulkan:5: wrong products".to_owned())),
            "vulkan:6" => panic!("a driver that gave nothing"),
            "vulkan:7" => Ok(2e12),
            id => panic!("{id} was measured"),
        };
        let decided = among(adapters, rate, || Ok(1e12));
        assert_eq!(decided.taken.unwrap().0.to_string(), "vulkan:7");
        let reasons: Vec<_> = decided.refused.iter().map(|(_, reason)| reason.as_str()).collect();
        let slow = "multiplies at 1.990 TFLOP/s, and the CPU at 1.000: less than 2 times as fast";
        assert_eq!(reasons[..4], ["is no discrete GPU"; 4]);
        assert_eq!(reasons[4..6], [slow, "vulkan:5: wrong products"]);
        assert!(reasons[6].contains("a driver that gave nothing") && reasons.len() == 7);
    }

    #[test]
    fn the_cpu_is_measured_for_discrete_ones_alone() {
        let adapters = vec![adapter(0, GpuKind::Integrated)];
        assert!(among(adapters, |_| panic!("not to be opened"), || panic!("not to be measured")).taken.is_none());
        let nan = among(vec![adapter(0, GpuKind::Discrete)], |_| Ok(f64::NAN), || Ok(1.0));
        assert!(nan.taken.is_none() && nan.refused.len() == 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn files_say_whether_there_may_be_one() {
        let root = tempfile::tempdir().unwrap();
        let add = |node: &str, place: &str, vendor: &str| {
            let device = root.path().join("sys/devices").join(place);
            std::fs::create_dir_all(&device).unwrap();
            std::fs::write(device.join("vendor"), vendor).unwrap();
            let node = root.path().join("sys/class/drm").join(node);
            std::fs::create_dir_all(&node).unwrap();
            std::os::unix::fs::symlink(device, node.join("device")).unwrap();
        };
        assert!(!may_be_there(root.path()));
        add("renderD128", "pci0000:00/0000:00:02.0", "0x8086\n");
        // A screen alone computes nothing.
        add("card1", "pci0000:00/0000:00:03.0", "0x1234\n");
        assert!(!may_be_there(root.path()));
        add("renderD129", "pci0000:00/0000:00:01.0/0000:03:00.0", "0x8086\n");
        assert!(may_be_there(root.path()));
        std::fs::remove_dir_all(root.path().join("sys")).unwrap();
        std::fs::create_dir_all(root.path().join("dev")).unwrap();
        assert!(!may_be_there(root.path()));
        std::fs::write(root.path().join("dev/nvidiactl"), "").unwrap();
        assert!(may_be_there(root.path()));
    }
}
