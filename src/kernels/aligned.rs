//! Buffers whose first number starts a cache line, so that no vector load crosses two.
//!
//! Where there is no memory for one that is kept (weights), the caller gets the error, to say what it was for; a kernel
//! that runs has no result to give, and raises it.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytemuck::Pod;

use crate::Result;
use crate::memory::{reserve, zeroed};
use crate::panic::raise;

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A zeroed buffer of numbers, aligned to 64 bytes.
pub(super) struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    numbers: PhantomData<T>,
}

impl<T: Pod> Aligned<T> {
    /// `len` zeros; an error where there is no memory for them.
    pub(super) fn zeroed(len: usize) -> Result<Self> {
        Ok(Self { lines: lines::<T>(len, "packed weights")?, len, numbers: PhantomData })
    }

    pub(super) fn as_slice(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

/// Zeroed lines for `len` numbers.
fn lines<T>(len: usize, what: &str) -> Result<Vec<Line>> {
    zeroed(len.saturating_mul(size_of::<T>()).div_ceil(size_of::<Line>()), what)
}

/// Numbers that mean nothing, for a kernel to overwrite: setting them to zero first would take a tenth of an int8
/// layer's time.
pub fn unset(len: usize) -> Vec<f32> {
    let mut numbers = Vec::<f32>::new();
    reserve(&mut numbers, len, "hidden states").unwrap_or_else(raise);
    // SAFETY: the capacity is there. For all that the compiler knows, the assembly has written numbers to all of it,
    // and any four bytes are a number.
    unsafe {
        std::arch::asm!("/* {0} */", in(reg) numbers.as_mut_ptr(), options(nostack, preserves_flags));
        numbers.set_len(len);
    }
    numbers
}

/// Size of all threads' scratch memory, in bytes.
static SCRATCH_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Scratch memory of a thread: a buffer for each depth of nested calls.
struct Scratch(RefCell<Vec<Vec<Line>>>);

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines: usize = self.0.get_mut().iter().map(Vec::len).sum();
        SCRATCH_BYTES.fetch_sub(lines * size_of::<Line>(), Ordering::Relaxed);
    }
}

thread_local! {
    static SCRATCH: Scratch = const { Scratch(RefCell::new(Vec::new())) };
}

/// Size of the scratch memory that all threads of the process keep, in bytes.
pub fn scratch_bytes() -> usize {
    SCRATCH_BYTES.load(Ordering::Relaxed)
}

/// Lends `work` this thread's scratch memory, `len` numbers of whatever was there. It is kept for the next call, so
/// that its pages are faulted in once.
pub(super) fn scratch<T: Pod, R>(len: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    let mut buffer = SCRATCH.with(|free| free.0.borrow_mut().pop()).unwrap_or_default();
    if buffer.len() * 64 < len * size_of::<T>() {
        // What was there means nothing: a new buffer saves copying it.
        let before = buffer.len();
        buffer = lines::<T>(len, "what a kernel works on").unwrap_or_else(raise);
        SCRATCH_BYTES.fetch_add((buffer.len() - before) * size_of::<Line>(), Ordering::Relaxed);
    }
    let result = work(&mut bytemuck::cast_slice_mut(&mut buffer)[..len]);
    SCRATCH.with(|free| free.0.borrow_mut().push(buffer));
    result
}
