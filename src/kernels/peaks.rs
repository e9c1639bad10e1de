//! What the machine can do at most, measured: the two roofs of the roofline model (Williams et al. 2009), arithmetic
//! and memory, which say how far a kernel is from what is possible.
//!
//! ```text
//! arithmetic:  multiply-adds of a register tile, whose operands stay in the nearest cache
//! memory:      sums over a buffer larger than the caches
//! for each of several trials: all threads start together; the sum of their rates; the best trial counts
//! ```

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::kernels::simd::{Int8, Int8Operation, MAX_LANES, Operation, Simd};
#[cfg(target_arch = "x86_64")]
use crate::kernels::simd::{
    avx512::Avx512,
    bf16_x86::{Bf16, Bf16Operation},
};
use crate::kernels::{Isa, caches};
use crate::profile::{Arithmetic, Peaks};

/// Trials of a figure, of which the best counts: what else runs on the machine only makes it slower.
const TRIALS: usize = 5;

/// Steps of a loop over registers, which take some ten microseconds.
const STEPS: usize = 1 << 12;

/// Size of what is read between two looks at the clock.
const READ_BYTES: usize = 1 << 20;

/// Size of what is read where the CPU does not tell its caches, and at most where it is not known how much memory there
/// is.
const BUFFER_BYTES: usize = 256 << 20;

/// Measures what `threads` threads can do together, for `trial` in each of several trials of each figure.
pub fn measure_peaks(isa: Isa, threads: usize, trial: Duration) -> Peaks {
    measure(isa, threads.max(1), trial, buffer_bytes())
}

/// Multiplications and additions of a second in float32 that `threads` threads can do, in the best of several trials.
pub fn float32_peak(isa: Isa, threads: usize, trial: Duration) -> f64 {
    best_rate(threads, trial, || (), |()| isa.run(FloatSums))
}

fn measure(isa: Isa, threads: usize, trial: Duration, buffer: usize) -> Peaks {
    let arithmetic = |step: fn(Isa) -> usize| best_rate(threads, trial, || (), |_| step(isa));
    let mut operations = [0.0; 3];
    operations[Arithmetic::Float32 as usize] = float32_peak(isa, threads, trial);
    operations[Arithmetic::Int8 as usize] = arithmetic(|isa| isa.run_int8(Int8Sums));
    #[cfg(target_arch = "x86_64")]
    if isa.has_bf16() {
        operations[Arithmetic::Bfloat16 as usize] = arithmetic(|isa| isa.run_bf16(Bfloat16Sums));
    }
    let numbers = buffer / threads / size_of::<f32>();
    // Each thread writes its own part: pages that were never written would all be one page of zeros, in the cache.
    let memory = best_rate(
        threads,
        trial,
        || (vec![1.0_f32; numbers], 0),
        |(buffer, at)| {
            let end = (*at + READ_BYTES / size_of::<f32>()).min(numbers);
            let part = &buffer[*at..end];
            *at = if end == numbers { 0 } else { end };
            isa.run(ReadBuffer { numbers: part });
            size_of_val(part)
        },
    );
    Peaks { threads, operations, memory, buffer: numbers * threads * size_of::<f32>() }
}

/// The best of several trials of what all threads do in a second. Each thread calls `step`, which says how much it did,
/// on what its `start` gave.
fn best_rate<T>(
    threads: usize,
    trial: Duration,
    start: impl Fn() -> T + Sync,
    step: impl Fn(&mut T) -> usize + Sync,
) -> f64 {
    let barrier = Barrier::new(threads);
    let work = || {
        let mut state = start();
        [(); TRIALS].map(|()| {
            barrier.wait();
            let begun = Instant::now();
            let mut done = 0;
            loop {
                done += step(&mut state);
                let time = begun.elapsed();
                if time >= trial {
                    return done as f64 / time.as_secs_f64();
                }
            }
        })
    };
    let rates: Vec<[f64; TRIALS]> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        others.into_iter().map(|other| other.join().expect("a measurement does not panic")).chain([own]).collect()
    });
    (0..TRIALS).map(|trial| rates.iter().map(|rates| rates[trial]).sum()).fold(0.0, f64::max)
}

/// Twice the largest cache, but at most a quarter of the memory that is left.
fn buffer_bytes() -> usize {
    let largest = caches().iter().map(|cache| cache.bytes).max().unwrap_or(BUFFER_BYTES / 2);
    (2 * largest).min(spare_memory().map_or(BUFFER_BYTES, |bytes| bytes / 4)).max(READ_BYTES)
}

/// Bytes that this process may still take, where Linux says so.
fn spare_memory() -> Option<usize> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let text = read("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let machine = line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? << 10;
    let number = |name: &str| read(&format!("/sys/fs/cgroup/memory.{name}"))?.trim().parse::<usize>().ok();
    let group = number("max").zip(number("current")).map(|(most, now)| most.saturating_sub(now));
    Some(group.unwrap_or(machine).min(machine))
}

/// `STEPS` steps of a register tile, as products have, save that its operands are always the same lines of the nearest
/// cache. A tile has sums enough to hide how long one addition takes. Gives the number of vectors that were multiplied
/// and added.
///
/// `black_box` makes all operands different to the compiler, and the rows in each step: it would compute equal ones
/// once.
macro_rules! steps {
    ($rows:literal x $vectors:literal of $zero:expr, $w:ident => $columns:expr, $x:ident => $row:expr,
     ($a:ident, $b:ident, $sum:ident) => $add:expr, $s:ident: $float:expr) => {{
        let operands = [1_u32; 2 * MAX_LANES];
        let mut columns = [{
            let $w = operands.as_ptr().cast();
            // SAFETY: the operands are as long as a vector of any set.
            unsafe { $columns }
        }; $vectors];
        for column in &mut columns {
            let $w = black_box(&operands).as_ptr().cast();
            // SAFETY: as above.
            *column = unsafe { $columns };
        }
        let mut sums = [[$zero; $vectors]; $rows];
        for _ in 0..STEPS {
            let rows = black_box(&operands).as_ptr();
            for (i, sums) in sums.iter_mut().enumerate() {
                // SAFETY: there are more operands than rows, of four bytes each.
                let $a = unsafe {
                    let $x = rows.add(i).cast();
                    $row
                };
                for ($sum, &$b) in sums.iter_mut().zip(&columns) {
                    *$sum = $add;
                }
            }
        }
        let mut total = $s.splat(0.0);
        for $sum in sums.as_flattened() {
            total = $s.add(total, $float);
        }
        // Not the array of sums: an address that is given away keeps them in memory.
        black_box($s.sum(total));
        STEPS * $rows * $vectors
    }};
}

struct FloatSums;

impl Operation for FloatSums {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let vectors = if S::REGISTERS >= 32 {
            steps!(6 x 4 of s.splat(0.0), w => s.load(w), x => s.splat(*x), (x, w, sum) => s.mul_add(x, w, *sum), s: *sum)
        } else {
            steps!(6 x 2 of s.splat(0.0), w => s.load(w), x => s.splat(*x), (x, w, sum) => s.mul_add(x, w, *sum), s: *sum)
        };
        2 * vectors * S::LANES
    }
}

struct Int8Sums;

impl Int8Operation for Int8Sums {
    type Output = usize;

    #[inline(always)]
    fn run<D: Int8>(self, d: D) -> usize {
        let s = d.simd();
        // As products with weights do it, whose instructions are the fastest of each set.
        macro_rules! pairs {
            ($vectors:literal) => {
                2 * steps!(4 x $vectors of d.zero(), w => [d.columns(w), d.columns(w.add(4 * MAX_LANES))],
                    x => [d.row(x), d.row(x.add(4 * MAX_LANES))], (x, w, sum) => d.dot_weights(x, w, *sum), s: d.floats(*sum))
            };
        }
        let is_long = <D::Simd as Simd>::REGISTERS >= 32;
        let vectors = if D::WEIGHTS.groups == 2 {
            if is_long { pairs!(4) } else { pairs!(2) }
        } else if D::ROWS < 6 {
            steps!(2 x 2 of d.zero(), w => d.columns(w), x => d.row(x), (x, w, sum) => d.dot(x, w, *sum), s: d.floats(*sum))
        } else if is_long {
            steps!(6 x 4 of d.zero(), w => d.columns(w), x => d.row(x), (x, w, sum) => d.dot(x, w, *sum), s: d.floats(*sum))
        } else {
            steps!(6 x 2 of d.zero(), w => d.columns(w), x => d.row(x), (x, w, sum) => d.dot(x, w, *sum), s: d.floats(*sum))
        };
        2 * 4 * vectors * <D::Simd as Simd>::LANES
    }
}

#[cfg(target_arch = "x86_64")]
struct Bfloat16Sums;

#[cfg(target_arch = "x86_64")]
impl Bf16Operation for Bfloat16Sums {
    type Output = usize;

    #[inline(always)]
    fn run(self, d: Bf16) -> usize {
        let s = d.simd();
        let vectors =
            steps!(6 x 4 of s.splat(0.0), w => d.columns(w), x => d.row(x), (x, w, sum) => d.dot(x, w, *sum), s: *sum);
        2 * 2 * vectors * Avx512::LANES
    }
}

/// Reads the numbers.
struct ReadBuffer<'a> {
    numbers: &'a [f32],
}

impl Operation for ReadBuffer<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut sums = [s.splat(0.0); 8];
        for chunk in self.numbers.chunks_exact(8 * S::LANES) {
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the chunk is eight vectors.
                *sum = s.add(*sum, unsafe { s.load(chunk.as_ptr().add(i * S::LANES)) });
            }
        }
        let mut total = s.splat(0.0);
        for &sum in &sums {
            total = s.add(total, sum);
        }
        black_box(s.sum(total));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_has_its_peaks() {
        for isa in Isa::available() {
            for threads in [1, 3] {
                let peaks = measure(isa, threads, Duration::ZERO, 3 * READ_BYTES + 12);
                let [float32, bfloat16, int8] = peaks.operations;
                assert!(float32 > 0.0 && int8 > 0.0 && peaks.memory > 0.0, "{}: {peaks:?}", isa.name());
                assert_eq!(bfloat16 > 0.0, isa.has_bf16(), "{}: {peaks:?}", isa.name());
                assert_eq!(peaks.threads, threads);
                assert_eq!(peaks.buffer, 3 * READ_BYTES + 12);
            }
        }
    }

    #[test]
    fn more_is_read_than_the_caches_hold_where_memory_allows() {
        let bytes = buffer_bytes();
        let is_small = spare_memory().is_none_or(|spare| spare / 4 <= bytes + (64 << 20));
        assert!(is_small || caches().iter().all(|cache| cache.bytes < bytes));
    }

    #[test]
    fn the_best_trial_of_all_threads_together_counts() {
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let step = |own: &mut usize| {
            *own += 1;
            calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            1
        };
        let rate = best_rate(3, Duration::from_micros(1), || 0, step);
        assert!(rate > 0.0 && rate.is_finite());
        assert!(calls.into_inner() >= 3 * TRIALS);
    }
}
