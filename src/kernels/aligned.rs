//! Buffers whose first number starts a cache line, so that no vector load crosses two.
//!
//! Where there is no memory for one that is kept (weights), the caller gets the error, to say what it was for; a kernel
//! that runs has no result to give, and raises it.

use std::cell::RefCell;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytemuck::Pod;
use memmap2::{Mmap, MmapMut};

use crate::memory::{lack, reserve, zeroed};
use crate::panic::raise;
use crate::{Error, Result};

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Bytes of address space that are taken at a time for what is kept. Pages of it that nothing was written to take no
/// memory.
const CHUNK_BYTES: usize = 32 << 20;

/// Memory of many [`Aligned`]s, one after the other, in huge pages, for which one layer's weights are too few. Of a page of
/// 4 KB the CPU must look up the address again every 64 lines, in tables that are larger than what it keeps of them. Huge
/// ones made a short text 15 % faster in float32, 11 % in bfloat16, 5 % in int8 (MiniLM, Zen 3, a virtual machine).
enum Chunk {
    Anonymous(MmapMut),
    /// A file of weights that were packed before.
    File(#[expect(dead_code, reason = "kept as long as a part of it is used")] Arc<Mmap>),
}

/// A part of a mapped file.
#[derive(Clone)]
pub struct FileBytes {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl FileBytes {
    /// The bytes of a range within the map.
    pub fn new(map: Arc<Mmap>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= map.len(), "a part lies within the file");
        Self { map, range }
    }

    /// Takes the first bytes off; None where there are fewer.
    fn split_off(&mut self, bytes: usize) -> Option<Self> {
        let middle = self.range.start.checked_add(bytes).filter(|&middle| middle <= self.range.end)?;
        let first = Self { map: self.map.clone(), range: self.range.start..middle };
        self.range.start = middle;
        Some(first)
    }

    fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The numbers that lie there; None where they are not aligned, or the last is cut.
    fn numbers<T: Pod>(self) -> Option<Aligned<T>> {
        let numbers: &[T] = bytemuck::try_cast_slice(&self.map[self.range]).ok()?;
        let (first, len) = (NonNull::from(numbers).cast(), numbers.len());
        Some(Aligned { numbers: first, len, chunk: Arc::new(Chunk::File(self.map)) })
    }
}

/// Where the buffers of a matrix come from, one after the other.
pub(super) enum BufferSource {
    /// Zeros.
    Memory,
    /// A file, in which each buffer starts a line.
    File(FileBytes),
}

impl BufferSource {
    /// The next buffer, of `len` numbers; an error where there is no memory for it, or the file has no such buffer.
    pub(super) fn next<T: Pod>(&mut self, len: usize) -> Result<Aligned<T>> {
        let Self::File(file) = self else { return Aligned::zeroed(len) };
        let damaged = || Error::Internal { message: "a file's buffers are not those of its matrix".to_owned() };
        let mut lines = file.split_off(padded_bytes::<T>(len).ok_or_else(damaged)?).ok_or_else(damaged)?;
        lines.split_off(len * size_of::<T>()).and_then(FileBytes::numbers).ok_or_else(damaged)
    }

    /// Whether nothing of a file is left.
    pub(super) fn is_used_up(&self) -> bool {
        matches!(self, Self::File(file) if file.is_empty())
    }
}

/// Bytes of the whole lines that so many numbers take.
fn padded_bytes<T>(len: usize) -> Option<usize> {
    len.checked_mul(size_of::<T>())?.checked_next_multiple_of(size_of::<Line>())
}

/// Numbers that are only read, in memory or in a mapped file.
pub enum HeldNumbers<T> {
    Memory(Vec<T>),
    File(MappedNumbers<T>),
}

/// Numbers in a mapped file.
pub struct MappedNumbers<T>(Aligned<T>);

impl<T: Pod> HeldNumbers<T> {
    /// The numbers that lie in a file; None where they are not aligned, or the last is cut.
    pub fn of_file(bytes: FileBytes) -> Option<Self> {
        bytes.numbers().map(|numbers| Self::File(MappedNumbers(numbers)))
    }
}

impl<T> From<Vec<T>> for HeldNumbers<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self::Memory(numbers)
    }
}

impl<T: Pod> Deref for HeldNumbers<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        match self {
            Self::Memory(numbers) => numbers,
            Self::File(MappedNumbers(numbers)) => numbers.as_slice(),
        }
    }
}

/// The chunk that a thread's next [`Aligned`]s come from, as long as one of them is there, and the lines that are taken.
struct Growing {
    chunk: Weak<Chunk>,
    taken: usize,
}

thread_local! {
    static GROWING: RefCell<Growing> = const { RefCell::new(Growing { chunk: Weak::new(), taken: 0 }) };
}

/// A buffer of numbers, aligned to 64 bytes: zeroed, or what a file holds.
pub(super) struct Aligned<T> {
    numbers: NonNull<T>,
    len: usize,
    chunk: Arc<Chunk>,
}

// SAFETY: the numbers are this buffer's alone, as a `Vec`'s would be, and plain bytes.
unsafe impl<T: Pod + Send> Send for Aligned<T> {}
// SAFETY: as above; they are written through an exclusive reference alone.
unsafe impl<T: Pod + Sync> Sync for Aligned<T> {}

impl<T: Pod> Aligned<T> {
    /// `len` zeros; an error where there is no memory for them.
    pub(super) fn zeroed(len: usize) -> Result<Self> {
        let lack = || lack(size_of::<T>(), len, "packed weights");
        let lines = len.checked_mul(size_of::<T>()).ok_or_else(lack)?.div_ceil(size_of::<Line>());
        let (chunk, start) = GROWING.with_borrow_mut(|growing| growing.take(lines)).ok_or_else(lack)?;
        let Chunk::Anonymous(pages) = &*chunk else { unreachable!("files do not grow") };
        let first = pages.as_ptr().wrapping_add(start * size_of::<Line>()).cast::<Line>();
        let numbers = NonNull::new(first.cast_mut()).ok_or_else(lack)?;
        assert!(numbers.is_aligned(), "a page starts with a line");
        Ok(Self { numbers: numbers.cast(), len, chunk })
    }

    pub(super) fn as_slice(&self) -> &[T] {
        // SAFETY: the numbers are within the chunk, which stays as long as this; they are zero or written, and belong to
        // this buffer alone.
        unsafe { std::slice::from_raw_parts(self.numbers.as_ptr(), self.len) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        assert!(matches!(*self.chunk, Chunk::Anonymous(_)), "a file's weights are not written to");
        // SAFETY: as above; the pages of a file, which are shared and read-only, were just ruled out.
        unsafe { std::slice::from_raw_parts_mut(self.numbers.as_ptr(), self.len) }
    }
}

impl Growing {
    /// A chunk, and the first of so many lines of it that nothing else has.
    fn take(&mut self, lines: usize) -> Option<(Arc<Chunk>, usize)> {
        let bytes = |lines: usize| lines.checked_mul(size_of::<Line>()).filter(|&bytes| bytes <= isize::MAX as usize);
        if let Some(chunk) = self.chunk.upgrade()
            && let Chunk::Anonymous(pages) = &*chunk
            && bytes(self.taken.checked_add(lines)?)? <= pages.len()
        {
            let start = self.taken;
            self.taken += lines;
            return Some((chunk, start));
        }
        let exact = bytes(lines)?;
        // Where address space is limited there may be room for the numbers and none for a whole chunk.
        let pages = MmapMut::map_anon(exact.max(CHUNK_BYTES)).or_else(|_| MmapMut::map_anon(exact.max(1))).ok()?;
        #[cfg(target_os = "linux")]
        // Without them it works as well.
        let _ = pages.advise(memmap2::Advice::HugePage);
        let chunk = Arc::new(Chunk::Anonymous(pages));
        *self = Self { chunk: Arc::downgrade(&chunk), taken: lines };
        Some((chunk, 0))
    }
}

/// The bytes of a buffer's numbers.
pub(super) fn bytes_of<T: Pod>(buffer: &Aligned<T>) -> &[u8] {
    bytemuck::cast_slice(buffer.as_slice())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zero_and_apart_and_aligned() {
        let lengths = [0, 1, 63, 64, 65, 1000, CHUNK_BYTES / 2, CHUNK_BYTES / 2, CHUNK_BYTES + 1, 3];
        let mut buffers: Vec<Aligned<u8>> = lengths.iter().map(|&len| Aligned::zeroed(len).unwrap()).collect();
        for (i, buffer) in buffers.iter_mut().enumerate() {
            assert_eq!(buffer.as_slice().as_ptr() as usize % 64, 0);
            assert!(buffer.as_slice().iter().all(|&number| number == 0));
            buffer.as_mut_slice().fill(1 + i as u8);
        }
        for (i, (buffer, len)) in buffers.iter().zip(lengths).enumerate() {
            assert_eq!(buffer.as_slice().len(), len);
            assert!(buffer.as_slice().iter().all(|&number| number == 1 + i as u8));
        }
    }

    #[test]
    fn a_chunk_goes_with_its_last_buffer() {
        let first = Aligned::<f32>::zeroed(100).unwrap();
        let chunk = Arc::downgrade(&first.chunk);
        let second = Aligned::<f32>::zeroed(100).unwrap();
        drop(first);
        assert!(Arc::ptr_eq(&chunk.upgrade().unwrap(), &second.chunk));
        drop(second);
        assert!(chunk.upgrade().is_none());
        assert_eq!(Aligned::<f32>::zeroed(3).unwrap().as_slice(), [0.0; 3]);
    }

    #[test]
    fn too_much_is_an_error_that_names_it() {
        for len in [1 << 58, usize::MAX / 4, usize::MAX] {
            let error = Aligned::<f32>::zeroed(len).err().unwrap().to_string();
            assert_eq!(error, format!("no memory for packed weights: {} bytes", len.saturating_mul(4)));
        }
    }
}
