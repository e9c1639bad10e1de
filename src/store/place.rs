//! A device that searches begin on.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Condvar, Mutex, PoisonError};

use candle_core::Tensor;

use crate::device::Device;
use crate::kernels::Metric;
use crate::pool::CHECK_INTERVAL;
use crate::{CancelCheck, Error, Result};

/// Numbers of a tensor at most: a block of vectors, or the scores of some queries and rows. Each takes 128 MB in float32, and scores
/// are computed through three or four.
const MAX_NUMBERS: usize = 1 << 25;

/// The devices that a search of this process uses now.
static TAKEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
static GIVEN_BACK: Condvar = Condvar::new();

/// Where the first pass of a store's searches computes, one search at a time.
pub(super) struct Place {
    device: Device,
    pub(super) metric: Metric,
    pub(super) dimension: usize,
    /// Numbers of a tensor: [`MAX_NUMBERS`], or fewer once there was no memory for as many.
    most: AtomicUsize,
}

/// While it lives no other search uses the device.
pub(super) struct Turn<'a>(&'a str);

impl Place {
    /// None where the kernels compute.
    pub(super) fn new(device: Device, metric: Metric, dimension: usize) -> Option<Self> {
        device.has_owner().then(|| Self { device, metric, dimension, most: AtomicUsize::new(MAX_NUMBERS) })
    }

    /// Where tensors are made.
    pub(super) fn tensors(&self) -> &candle_core::Device {
        self.device.tensors().unwrap_or(&candle_core::Device::Cpu)
    }

    /// Waits until no other search uses the device.
    pub(super) fn turn(&self, check_cancel: CancelCheck<'_>) -> Result<Turn<'_>> {
        // First, since a child of fork() could have inherited the lock taken.
        self.device.check()?;
        let name = self.device.name();
        loop {
            let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
            let is_taken = |taken: &mut Vec<String>| taken.iter().any(|other| other == name);
            let waited = GIVEN_BACK.wait_timeout_while(taken, CHECK_INTERVAL, is_taken);
            let (mut taken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            if !waited.timed_out() {
                taken.push(name.to_owned());
                return Ok(Turn(name));
            }
            drop(taken);
            check_cancel()?;
        }
    }

    /// Numbers that a tensor has at most.
    pub(super) fn most(&self) -> usize {
        self.most.load(Relaxed)
    }

    /// `work` with tensors of so many numbers; None where there is no memory for them, so that less is to be tried.
    pub(super) fn attempt<R>(&self, numbers: usize, work: impl FnOnce() -> Result<R>) -> Result<Option<R>> {
        match self.device.attempt(numbers, work) {
            Ok(done) => Ok(Some(done)),
            Err(Error::DeviceMemory { .. }) => {
                self.most.fetch_min(numbers / 2, Relaxed);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// `numbers` on the device.
    pub(super) fn tensor(&self, numbers: Vec<f32>, shape: (usize, usize)) -> Result<Tensor> {
        let count = numbers.len();
        let tensor = self.attempt(count, || Ok(Tensor::from_vec(numbers, shape, self.tensors())?))?;
        tensor.ok_or_else(|| self.no_memory(count))
    }

    pub(super) fn no_memory(&self, numbers: usize) -> Error {
        let message = format!(
            "device {:?} has no memory for {numbers} more numbers of a search; the CPU needs none beside the store's",
            self.device.name()
        );
        Error::Device { message }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).retain(|name| name != self.0);
        GIVEN_BACK.notify_all();
    }
}
