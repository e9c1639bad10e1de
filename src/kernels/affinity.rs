//! On which CPUs a thread may run. Where the system does not say, or has no such thing, everything stays as it is.

#[cfg(all(test, target_os = "linux"))]
pub(super) use system::allowed_cpus;
pub(super) use system::{Id, current_cpu, id_of, keep_off};

#[cfg(target_os = "linux")]
mod system {
    use std::os::unix::thread::{JoinHandleExt, RawPthread};
    use std::thread::JoinHandle;

    /// A thread of this process.
    pub(crate) type Id = RawPthread;

    pub(crate) fn id_of(thread: &JoinHandle<()>) -> Id {
        thread.as_pthread_t()
    }

    /// The CPU that this thread runs on just now.
    pub(crate) fn current_cpu() -> Option<usize> {
        // SAFETY: it takes nothing, and gives a number, negative where it fails.
        usize::try_from(unsafe { libc::sched_getcpu() }).ok()
    }

    /// Allows a thread all CPUs that this thread may use but for `cpu`, if any is left.
    ///
    /// # Safety
    /// The thread has not ended.
    pub(crate) unsafe fn keep_off(thread: Id, cpu: usize) {
        let Some(mut cpus) = allowed().filter(|_| cpu < MAX_CPUS) else { return };
        // SAFETY: the number is within the set.
        let left = unsafe {
            libc::CPU_CLR(cpu, &mut cpus);
            libc::CPU_COUNT(&cpus)
        };
        if left > 0 {
            // SAFETY: the set has this size, and the caller vouches for the thread. Failure leaves its CPUs as they are.
            unsafe { libc::pthread_setaffinity_np(thread as libc::pthread_t, size_of_val(&cpus), &cpus) };
        }
    }

    /// Numbers of CPUs that a set has bits for.
    const MAX_CPUS: usize = 8 * size_of::<libc::cpu_set_t>();

    /// The CPUs that this thread may use.
    fn allowed() -> Option<libc::cpu_set_t> {
        // SAFETY: a set is plain bits, of which none set is an empty one.
        let mut cpus: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is that of a set of this size; 0 is this thread.
        let status = unsafe { libc::sched_getaffinity(0, size_of_val(&cpus), &mut cpus) };
        (status == 0).then_some(cpus)
    }

    #[cfg(test)]
    pub(crate) fn allowed_cpus() -> Vec<usize> {
        let cpus = allowed().unwrap();
        // SAFETY: the numbers are within the set.
        (0..MAX_CPUS).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &cpus) }).collect()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::thread::JoinHandle;

    #[derive(Clone, Copy)]
    pub(crate) struct Id;

    pub(crate) fn id_of(_: &JoinHandle<()>) -> Id {
        Id
    }

    pub(crate) fn current_cpu() -> Option<usize> {
        None
    }

    /// # Safety
    /// There is nothing to keep.
    pub(crate) unsafe fn keep_off(_: Id, _: usize) {}
}
