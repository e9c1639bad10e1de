//! A buffer of fixed capacity that grows at its end without moving, while other threads read what is there.
//!
//! All [`AppendBuffer`]s of one memory are prefixes of it. `taken` is the length of the longest prefix or claim; a
//! claim moves it from its own start to its own end with one compare-exchange, so that of several threads that append
//! to the same prefix one gets the place. Numbers below `taken` that are published never change, and so are read
//! without a lock.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytemuck::Pod;
use memmap2::MmapMut;

/// Bytes from which on memory is wanted in huge pages: fewer faults while it is written, and fewer misses of the CPU's
/// page tables while it is scanned.
#[cfg(target_os = "linux")]
const MIN_HUGE_PAGE_BYTES: usize = 8 << 20;

/// The first `len` numbers of some memory, which never change. A holder may append to them, once: of several that try,
/// one gets the place.
pub struct AppendBuffer<T> {
    memory: Arc<Pages<T>>,
    len: usize,
}

/// Numbers of the memory behind an [`AppendBuffer`], for its holder alone to write. They are free again when it is
/// dropped.
pub struct Claim<T> {
    memory: Arc<Pages<T>>,
    start: usize,
    end: usize,
}

/// Memory of which each number is either read by many or written by one.
struct Pages<T> {
    /// Zeroed pages, which are taken when they are written: an allocator's zeroed memory is that only without an
    /// alignment.
    _map: MmapMut,
    numbers: NonNull<T>,
    capacity: usize,
    /// Number of numbers that are in some buffer or in the claim after it.
    taken: AtomicUsize,
}

// SAFETY: the pages belong to this alone, as a `Vec`'s would, and what is in them is plain bytes. What several threads
// do with them at once goes by buffers and claims: numbers below a buffer's length are only read, those of a claim are
// reached through that one claim.
unsafe impl<T: Pod> Send for Pages<T> {}
// SAFETY: as above.
unsafe impl<T: Pod> Sync for Pages<T> {}

impl<T: Pod> AppendBuffer<T> {
    /// An empty buffer with room for so many numbers, the first at the start of a page; None where there is no memory
    /// for them.
    pub fn with_capacity(capacity: usize) -> Option<Self> {
        let bytes = capacity.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize)?;
        let mut pages = MmapMut::map_anon(bytes).ok()?;
        #[cfg(target_os = "linux")]
        if bytes >= MIN_HUGE_PAGE_BYTES {
            // Without them it works as well.
            let _ = pages.advise(memmap2::Advice::HugePage);
        }
        let numbers = NonNull::new(pages.as_mut_ptr())?.cast::<T>();
        assert!(numbers.is_aligned(), "a page starts where a number may");
        let memory = Pages { _map: pages, numbers, capacity, taken: AtomicUsize::new(0) };
        Some(Self { memory: Arc::new(memory), len: 0 })
    }

    /// How many numbers can be appended now.
    pub fn room(&self) -> usize {
        let free = self.memory.taken.load(Ordering::Relaxed) == self.len;
        if free { self.capacity() - self.len } else { 0 }
    }

    /// Numbers that there is memory for.
    pub fn capacity(&self) -> usize {
        self.memory.capacity
    }

    /// The numbers of the buffer.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: these numbers are within the pages, zero or written, and this buffer was made after the last of them
        // was: the thread that made it had exclusive use of them until then, and passing it to another thread makes
        // them seen there. No claim has a number of a buffer, so none of them changes any more.
        unsafe { std::slice::from_raw_parts(self.memory.numbers.as_ptr(), self.len) }
    }

    /// The next `n` numbers; None where there is no room, or another has them.
    pub fn claim(&self, n: usize) -> Option<Claim<T>> {
        let end = self.len.checked_add(n).filter(|&end| end <= self.capacity())?;
        // Acquire: what was written in a claim that was given up comes before what is written in this one.
        let taken = &self.memory.taken;
        taken.compare_exchange(self.len, end, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Claim { memory: self.memory.clone(), start: self.len, end })
    }
}

impl<T> Clone for AppendBuffer<T> {
    fn clone(&self) -> Self {
        Self { memory: self.memory.clone(), len: self.len }
    }
}

impl<T: Pod> Claim<T> {
    /// The numbers that were claimed, zero or written before.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: the numbers are within the pages, and zero or written before. `taken` went from `start` to `end` for
        // this claim alone and stays until it ends, so no other claim has them; no buffer has them before `publish`.
        unsafe { std::slice::from_raw_parts_mut(self.memory.numbers.as_ptr().add(self.start), self.end - self.start) }
    }

    /// A buffer that ends with what was claimed.
    pub fn publish(mut self) -> AppendBuffer<T> {
        // Nothing is left to give back.
        self.start = self.end;
        AppendBuffer { memory: self.memory.clone(), len: self.end }
    }
}

impl<T> Drop for Claim<T> {
    fn drop(&mut self) {
        if self.start < self.end {
            // No other thread has changed it: that takes a buffer of `end` numbers, and only publishing makes one.
            let _ = self.memory.taken.compare_exchange(self.end, self.start, Ordering::Release, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::thread;

    fn append(buffer: &AppendBuffer<u32>, numbers: &[u32]) -> Option<AppendBuffer<u32>> {
        let mut claim = buffer.claim(numbers.len())?;
        claim.as_mut_slice().copy_from_slice(numbers);
        Some(claim.publish())
    }

    #[test]
    fn what_is_there_stays_where_it_is() {
        let empty = AppendBuffer::with_capacity(5).unwrap();
        assert_eq!((empty.as_slice(), empty.room(), empty.capacity()), (&[][..], 5, 5));
        let two = append(&empty, &[1, 2]).unwrap();
        let five = append(&two, &[3, 4, 5]).unwrap();
        assert_eq!((two.as_slice(), five.as_slice()), (&[1, 2][..], &[1, 2, 3, 4, 5][..]));
        assert_eq!(two.as_slice().as_ptr(), five.as_slice().as_ptr());
        assert_eq!(two.as_slice().as_ptr().align_offset(64), 0);
        assert!(five.claim(1).is_none());
        drop(empty);
        drop(two);
        assert_eq!(five.as_slice(), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn of_two_branches_one_gets_the_place() {
        let empty = AppendBuffer::with_capacity(10).unwrap();
        let one = append(&empty, &[1]).unwrap();
        assert!(append(&empty, &[2]).is_none());
        assert_eq!((empty.room(), one.room()), (0, 9));
        let both = append(&one, &[2]).unwrap();
        assert!(one.clone().claim(1).is_none());
        assert_eq!(both.as_slice(), [1, 2]);
    }

    #[test]
    fn a_claim_that_is_dropped_is_free_again() {
        let empty = AppendBuffer::<u32>::with_capacity(3).unwrap();
        let mut claim = empty.claim(3).unwrap();
        claim.as_mut_slice().fill(7);
        assert!(empty.claim(1).is_none());
        drop(claim);
        assert_eq!(append(&empty, &[1, 2]).unwrap().as_slice(), [1, 2]);
    }

    #[test]
    fn no_more_is_given_than_there_is() {
        let buffer = AppendBuffer::<u64>::with_capacity(2).unwrap();
        assert!(buffer.claim(3).is_none() && buffer.claim(usize::MAX).is_none());
        assert!(buffer.claim(0).is_some_and(|mut claim| claim.as_mut_slice().is_empty()));
        assert!(AppendBuffer::<u64>::with_capacity(usize::MAX / 2).is_none());
        assert!(AppendBuffer::<u64>::with_capacity(usize::MAX / 16).is_none());
    }

    #[test]
    fn threads_read_while_one_appends() {
        const N: u32 = 2_000;
        let empty = AppendBuffer::with_capacity(N as usize).unwrap();
        thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let (sender, receiver) = channel::<AppendBuffer<u32>>();
                    scope.spawn(move || {
                        for buffer in receiver {
                            assert!(buffer.as_slice().iter().copied().eq(0..buffer.as_slice().len() as u32));
                        }
                    });
                    sender
                })
                .collect();
            (0..N).fold(empty.clone(), |buffer, i| {
                let next = append(&buffer, &[i]).unwrap();
                readers.iter().for_each(|reader| reader.send(next.clone()).unwrap());
                next
            });
        });
    }

    #[test]
    fn threads_that_race_for_a_place_get_different_ones() {
        let buffer = AppendBuffer::<u32>::with_capacity(1).unwrap();
        let winners: usize = thread::scope(|scope| {
            let racers: Vec<_> = (0..4).map(|i| (i, buffer.clone())).collect();
            let threads: Vec<_> =
                racers.into_iter().map(|(i, buffer)| scope.spawn(move || append(&buffer, &[i]).is_some())).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(winners, 1);
    }
}
