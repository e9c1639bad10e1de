//! A device that searches begin on: its memory, and the lock by which one search at a time uses it.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Condvar, Mutex, PoisonError};

use candle_core::Tensor;

use crate::device::Device;
use crate::kernels::Metric;
use crate::pool::CHECK_INTERVAL;
use crate::{CancelCheck, Error, Result};

/// The most numbers of a tensor: a block of vectors, or the scores of some queries and rows. Each takes 128 MB in
/// float32, and scores are computed through three or four.
const MAX_TENSOR_NUMBERS: usize = 1 << 25;

/// Names of the devices that a search of this process uses now.
static LOCKED_DEVICES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static DEVICE_UNLOCKED: Condvar = Condvar::new();

/// What a store's searches need to compute on a device.
pub(super) struct DeviceContext {
    device: Device,
    pub(super) metric: Metric,
    pub(super) dimension: usize,
    /// The most numbers of a tensor: [`MAX_TENSOR_NUMBERS`], or fewer once there was no memory for as many.
    max_numbers: AtomicUsize,
}

/// Held by the one search that uses the device of that name.
pub(super) struct DeviceLock<'a>(&'a str);

impl DeviceContext {
    /// None where the CPU's kernels compute.
    pub(super) fn new(device: Device, metric: Metric, dimension: usize) -> Option<Self> {
        device.has_owner().then(|| Self {
            device,
            metric,
            dimension,
            max_numbers: AtomicUsize::new(MAX_TENSOR_NUMBERS),
        })
    }

    /// The device as candle knows it.
    pub(super) fn tensor_device(&self) -> &candle_core::Device {
        self.device.tensors().unwrap_or(&candle_core::Device::Cpu)
    }

    /// Waits until no other search uses the device.
    ///
    /// # Errors
    /// If this process is a child of the one that opened the device, or the caller gives up.
    pub(super) fn lock(&self, check_cancel: CancelCheck<'_>) -> Result<DeviceLock<'_>> {
        // First, since a child of fork() could have inherited the mutex locked.
        self.device.check()?;
        let name = self.device.name();
        loop {
            let locked = LOCKED_DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
            let is_locked = |locked: &mut Vec<String>| locked.iter().any(|other| other == name);
            let waited = DEVICE_UNLOCKED.wait_timeout_while(locked, CHECK_INTERVAL, is_locked);
            let (mut locked, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            if !waited.timed_out() {
                locked.push(name.to_owned());
                return Ok(DeviceLock(name));
            }
            drop(locked);
            check_cancel()?;
        }
    }

    /// The most numbers of a tensor.
    pub(super) fn max_numbers(&self) -> usize {
        self.max_numbers.load(Relaxed)
    }

    /// Does `work` with tensors of so many numbers. None where there is no memory for them, so that less is to be
    /// tried.
    pub(super) fn attempt<R>(&self, numbers: usize, work: impl FnOnce() -> Result<R>) -> Result<Option<R>> {
        match self.device.attempt(numbers, work) {
            Ok(done) => Ok(Some(done)),
            Err(Error::DeviceMemory { .. }) => {
                self.max_numbers.fetch_min(numbers / 2, Relaxed);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A tensor of `numbers` on the device.
    pub(super) fn tensor(&self, numbers: Vec<f32>, shape: (usize, usize)) -> Result<Tensor> {
        let count = numbers.len();
        let tensor = self.attempt(count, || Ok(Tensor::from_vec(numbers, shape, self.tensor_device())?))?;
        tensor.ok_or_else(|| self.out_of_memory(count))
    }

    pub(super) fn out_of_memory(&self, numbers: usize) -> Error {
        let message = format!(
            "device {:?} has no memory for {numbers} more numbers of a search; the CPU needs none beside the store's",
            self.device.name()
        );
        Error::device(message)
    }
}

impl Drop for DeviceLock<'_> {
    fn drop(&mut self) {
        LOCKED_DEVICES.lock().unwrap_or_else(PoisonError::into_inner).retain(|name| name != self.0);
        DEVICE_UNLOCKED.notify_all();
    }
}
