//! A device that is open: its queue, what it can do, and whether it is lost.
//!
//! ```text
//! adapters()  ->  GpuInfo of each                     asks the drivers; nothing is opened
//! open(id)    ->  &'static Context                    one a process and id, made under a lock, never dropped
//! ```
//!
//! Never dropped: drivers that are unloaded while a thread still waits for them crash, and a process ends anyway. After
//! `fork()` a driver's threads and handles are the parent's: a child is refused, by the id of the process that opened.
//!
//! Errors that no scope catches, and the loss of the device, are written down when they happen; a pass that ends asks for
//! them ([`Context::check`]). wgpu would panic otherwise, in a thread of its own choice.
//!
//! This file has all the `unsafe` of the room: shaders without the checks that Rust has made already, and the size of the
//! memory, which Vulkan alone says.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};

use crate::gpu::adapter_info::{GpuInfo, GpuKind};
use crate::gpu::compiled_kernel::CompiledKernel;
use crate::gpu::interface::Interface;
use crate::{Error, Result};

/// A device that is open, with all pipelines that were made for it.
pub struct Context {
    info: GpuInfo,
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    /// Those that are compiled, by name and form.
    kernels: Mutex<HashMap<String, Arc<CompiledKernel>>>,
    /// What went wrong first. It stays: a device that is lost does not come back.
    fault: Arc<Mutex<Option<String>>>,
    /// Id of the process that opened it.
    process: u32,
}

/// Id of the first process that opened a device.
static OPENER: AtomicU32 = AtomicU32::new(0);
/// All that are open, in this process or in the one that it was forked from.
static OPEN: Mutex<Vec<&'static Context>> = Mutex::new(Vec::new());

/// What the drivers said when they were first asked: it takes tens of milliseconds, and what they warn of is said once.
static ADAPTERS: OnceLock<Vec<GpuInfo>> = OnceLock::new();

/// The adapters of this machine, in the order of the drivers; none where there is no driver.
///
/// None in a child of `fork()` whose parent has opened one: the driver would be the parent's.
pub fn adapters() -> Vec<GpuInfo> {
    if is_forked() {
        return Vec::new();
    }
    if let Some(known) = ADAPTERS.get() {
        return known.clone();
    }
    let found: Vec<_> = enumerate(wgpu::Backends::all()).into_iter().map(|(info, _)| info).collect();
    // Not asked for under the lock, which a child of `fork()` could inherit taken.
    ADAPTERS.get_or_init(|| found).clone()
}

/// Makes this process the one that opens devices; false where the one that it was forked from is.
pub fn claim() -> bool {
    let process = std::process::id();
    OPENER.compare_exchange(0, process, Relaxed, Relaxed).is_ok() || !is_forked()
}

/// Opens the adapter with that id of [`GpuInfo`]; the interface's name alone means its first adapter.
pub fn open(id: &str) -> Result<&'static Context> {
    let id = if id.contains(':') { id.to_owned() } else { format!("{id}:0") };
    // Before the lock, which a child of `fork()` may have inherited taken.
    if !claim() {
        return Err(forked(&id));
    }
    let mut open = lock(&OPEN);
    if let Some(known) = open.iter().find(|context| context.info.id == id) {
        return Ok(known);
    }
    let Some(interface) = id.split(':').next().and_then(Interface::named) else {
        return Err(Error::device(format!("{id}: is no interface to GPUs; vulkan, dx12 and wgpu are")));
    };
    let found = enumerate(interface.backend().into());
    let names: Vec<_> = found.iter().map(|(info, _)| format!("{} ({})", info.id, info.name)).collect();
    let Some((info, adapter)) = found.into_iter().find(|(info, _)| info.id == id) else {
        let there = if names.is_empty() { "no driver offers one".to_owned() } else { names.join(", ") };
        return Err(Error::device(format!("{id}: there is no such GPU; there are: {there}")));
    };
    let context: &'static Context = Box::leak(Box::new(Context::new(info, &adapter)?));
    open.push(context);
    Ok(context)
}

fn enumerate(backends: wgpu::Backends) -> Vec<(GpuInfo, wgpu::Adapter)> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    descriptor.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(descriptor);
    let mut counts = [0; Interface::ALL.len()];
    let mut found = ready(instance.enumerate_adapters(backends)).unwrap_or_default();
    // The first of an interface is what its name alone means: none that computes on the CPU, where there is another.
    found.sort_by_key(|adapter| adapter.get_info().device_type == wgpu::DeviceType::Cpu);
    let known = |adapter: wgpu::Adapter| {
        let backend = adapter.get_info().backend;
        let at = Interface::ALL.iter().position(|known| known.backend() == backend)?;
        counts[at] += 1;
        Some((describe(&adapter, format!("{}:{}", Interface::ALL[at].name(), counts[at] - 1)), adapter))
    };
    found.into_iter().filter_map(known).collect()
}

fn describe(adapter: &wgpu::Adapter, id: String) -> GpuInfo {
    let (info, features, limits) = (adapter.get_info(), adapter.features(), adapter.limits());
    let matrix_units = adapter.cooperative_matrix_properties();
    let matrix_units = matrix_units.iter().map(|unit| {
        format!("{}x{}x{} {:?} -> {:?}", unit.m_size, unit.n_size, unit.k_size, unit.ab_type, unit.cr_type)
    });
    let lacks = if !features.contains(wgpu::Features::IMMEDIATES) || limits.max_immediate_size < IMMEDIATE_BYTES {
        Some("constants of a kernel's call")
    } else if limits.max_compute_invocations_per_workgroup < 256 {
        Some("workgroups of 256 invocations")
    } else {
        None
    };
    GpuInfo {
        id,
        name: info.name,
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => GpuKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => GpuKind::Integrated,
            wgpu::DeviceType::VirtualGpu => GpuKind::Virtual,
            wgpu::DeviceType::Cpu => GpuKind::Software,
            wgpu::DeviceType::Other => GpuKind::Other,
        },
        memory: memory_of(adapter),
        max_array: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
        float16: features.contains(wgpu::Features::SHADER_F16),
        subgroup_lanes: [info.subgroup_min_size, info.subgroup_max_size],
        matrix_units: matrix_units.collect(),
        lacks: lacks.map(str::to_owned),
    }
}

/// Bytes of the adapter's largest heap that is its own, where Vulkan says so.
#[cfg(not(target_vendor = "apple"))]
fn memory_of(adapter: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: the handles are asked, and neither kept nor destroyed.
    let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = hal.shared_instance().raw_instance();
    // SAFETY: the device is of this instance, and both live as long as `hal`.
    let memory = unsafe { instance.get_physical_device_memory_properties(hal.raw_physical_device()) };
    let heaps = memory.memory_heaps_as_slice().iter();
    // The first bit of a heap's flags is VK_MEMORY_HEAP_DEVICE_LOCAL_BIT.
    heaps.filter(|heap| heap.flags.as_raw() & 1 == 1).map(|heap| heap.size).max()
}

#[cfg(target_vendor = "apple")]
fn memory_of(_: &wgpu::Adapter) -> Option<u64> {
    None
}

/// Bytes of the constants that a kernel's call may have.
pub(crate) const IMMEDIATE_BYTES: u32 = 64;

impl Context {
    fn new(info: GpuInfo, adapter: &wgpu::Adapter) -> Result<Self> {
        if let Some(lacks) = &info.lacks {
            return Err(Error::device(format!("{}: {} lacks {lacks}", info.id, info.name)));
        }
        let wanted = wgpu::Features::IMMEDIATES | wgpu::Features::SHADER_F16;
        let descriptor = wgpu::DeviceDescriptor {
            required_features: adapter.features() & wanted,
            required_limits: adapter.limits(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let failed = |reason: String| Error::device(format!("{}: {reason}", info.id));
        let opened = ready(adapter.request_device(&descriptor)).ok_or_else(|| failed("does not answer".to_owned()))?;
        let (device, queue) = opened.map_err(|error| failed(error.to_string()))?;
        let fault = Arc::new(Mutex::new(None));
        let note = {
            let fault = fault.clone();
            move |what: String| {
                lock(&fault).get_or_insert(what);
            }
        };
        device.on_uncaptured_error(Arc::new({
            let note = note.clone();
            move |error: wgpu::Error| note(first_lines(&error.to_string()))
        }));
        device.set_device_lost_callback(move |reason, message| {
            note(format!("lost ({reason:?}): {}", first_lines(&message)));
        });
        let (kernels, process) = (Mutex::default(), std::process::id());
        Ok(Self { info, device, queue, kernels, fault, process })
    }

    pub fn info(&self) -> &GpuInfo {
        &self.info
    }

    /// An error where this process is another than the one that opened the device.
    pub fn check_process(&self) -> Result<()> {
        match std::process::id() == self.process {
            true => Ok(()),
            false => Err(forked(&self.info.id)),
        }
    }

    /// An error where the device is lost or has refused something.
    pub fn check(&self) -> Result<()> {
        match &*lock(&self.fault) {
            None => Ok(()),
            Some(fault) => Err(Error::device(format!("{}: {fault}", self.info.id))),
        }
    }

    /// The kernel of that name in that form, which is compiled at its first use.
    pub(crate) fn kernel(
        &self,
        name: &'static str,
        form: &dyn Debug,
        source: impl FnOnce() -> String,
    ) -> Result<Arc<CompiledKernel>> {
        self.check_process()?;
        let form = format!("{name} {form:?}");
        // Held while it is compiled, so that another thread does not compile it, too.
        let mut known = lock(&self.kernels);
        if let Some(kernel) = known.get(&form) {
            return Ok(kernel.clone());
        }
        let source = source();
        let made = self.scoped(|| {
            let module = wgpu::ShaderModuleDescriptor {
                label: Some(name),
                source: wgpu::ShaderSource::Wgsl(source.as_str().into()),
            };
            // SAFETY: the sources are those of `wgsl/` alone. Their loops end, they divide by constants and by what is not
            // zero, and the functions of `pipelines` check what they index: CI runs the tests that compare each kernel with a
            // reference with checks as well.
            let module = unsafe { self.device.create_shader_module_trusted(module, self.shader_checks()) };
            CompiledKernel::new(&self.device, name, &module)
        })?;
        Ok(known.entry(form).or_insert(Arc::new(made)).clone())
    }

    /// What is checked within shaders: all of it where `VOTIVE_GPU_CHECKS=1`, else nothing.
    fn shader_checks(&self) -> wgpu::ShaderRuntimeChecks {
        match std::env::var_os("VOTIVE_GPU_CHECKS").is_some_and(|value| value == "1") {
            true => wgpu::ShaderRuntimeChecks::checked(),
            false => wgpu::ShaderRuntimeChecks::unchecked(),
        }
    }

    /// What `make` makes, or the error of the device while it does.
    pub(crate) fn scoped<T>(&self, make: impl FnOnce() -> T) -> Result<T> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let scopes = [Internal, Validation, OutOfMemory].map(|filter| self.device.push_error_scope(filter));
        let made = make();
        let mut error = None;
        // In the reverse of their order.
        for scope in scopes.into_iter().rev() {
            error = error.or(ready(scope.pop()).flatten());
        }
        match error {
            None => Ok(made),
            Some(wgpu::Error::OutOfMemory { .. }) => {
                Err(Error::device_memory(format!("{}: out of memory", self.info.id)))
            }
            Some(error) => Err(Error::device(format!("{}: {}", self.info.id, first_lines(&error.to_string())))),
        }
    }

    /// Loses the device, for tests of what comes then.
    #[cfg(test)]
    pub(crate) fn lose(&self) {
        self.device.destroy();
    }

    /// A context of its own for a test that loses it.
    #[cfg(test)]
    pub(crate) fn for_test_alone(id: &str) -> Result<&'static Context> {
        let found = enumerate(wgpu::Backends::all()).into_iter().find(|(info, _)| info.id == id);
        let (info, adapter) = found.ok_or_else(|| Error::device(format!("{id}: is not there")))?;
        Ok(Box::leak(Box::new(Context::new(info, &adapter)?)))
    }
}

impl Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({})", self.info.id)
    }
}

/// What is said of a device in a child of `fork()` whose parent has opened one.
pub const FORKED: &str = "was opened before fork(), and cannot be used in the child; start processes by \"spawn\" or \
                          \"forkserver\", or compute on the CPU in the child (device=\"cpu\", or fallback=True)";

/// Whether this is such a child.
pub fn is_forked() -> bool {
    ![0, std::process::id()].contains(&OPENER.load(Relaxed))
}

fn forked(id: &str) -> Error {
    Error::device(format!("{id}: {FORKED}"))
}

/// The result of a future that is ready at once, as all of wgpu are outside of browsers.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is said, without the lines that draw a shader.
fn first_lines(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).take(6).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::DEVICE;

    #[test]
    #[ignore = "needs a GPU"]
    fn a_device_is_opened_once() {
        let both = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| open(DEVICE).unwrap()));
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(both.iter().all(|context| std::ptr::eq(*context, both[0])));
        assert!(std::ptr::eq(both[0], open(&format!("{DEVICE}:0")).unwrap()));
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn what_is_not_there_is_said_with_what_is() {
        let message = open(&format!("{DEVICE}:77")).err().unwrap().to_string();
        let there = format!("{DEVICE}:0 (");
        assert!(message.starts_with(DEVICE) && message.contains(":77: ") && message.contains(&there), "{message}");
        assert!(open("cuda").err().unwrap().to_string().contains("vulkan, dx12 and wgpu"));
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn adapters_say_what_they_are() {
        let found = adapters();
        let info = found.iter().find(|info| info.id.starts_with(DEVICE)).expect("a driver, at least lavapipe's");
        assert!(!info.name.is_empty() && !info.driver.is_empty() && info.memory.is_some_and(|bytes| bytes > 1 << 20));
        assert!(info.max_array >= 128 << 20 && info.lacks.is_none(), "{info:?}");
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn a_source_that_is_no_shader_is_an_error_and_no_panic() {
        let message =
            open(DEVICE).unwrap().kernel("broken", &(), || "fn main( {".to_owned()).err().unwrap().to_string();
        assert!(message.starts_with(&format!("{DEVICE}:0: ")), "{message}");
        open(DEVICE).unwrap().check().unwrap();
    }

    #[cfg(unix)]
    #[test]
    #[ignore = "needs a GPU"]
    fn a_child_of_fork_is_refused() {
        let context = open(DEVICE).unwrap();
        // SAFETY: the child does nothing but compare its id, and leaves without running what the parent registered.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let refused =
                matches!(context.check_process(), Err(Error::Device { message }) if message.contains("fork()"));
            // SAFETY: as above.
            unsafe { libc::_exit(if refused { 0 } else { 1 }) };
        }
        let mut status = -1;
        // SAFETY: waits for that child; `status` is an integer of its own.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
    }
}
