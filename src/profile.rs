//! Where the time of a call goes: seconds and work of each stage, summed over the threads that take part.
//!
//! A [`Profile`] is told only of what runs between the start and the end of [`record`] on a thread, so calls beside it leave
//! no trace in it. Without one, [`stage`] looks at one thread-local variable and nothing else.

use std::cell::RefCell;
use std::ops::AddAssign;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A part of the way from a text to its vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Tokenize,
    Embed,
    /// The products that make queries, keys and values.
    Qkv,
    Attention,
    /// The product after attention.
    Out,
    /// The first product of a feed-forward block with its activation, and its gate where it has one.
    MlpUp,
    MlpDown,
    Norms,
    /// All that follows the encoder.
    Pool,
    /// Products that are none of the above.
    Other,
}

impl Stage {
    /// In the order of a pass.
    pub const ALL: [Self; 10] = [
        Self::Tokenize,
        Self::Embed,
        Self::Qkv,
        Self::Attention,
        Self::Out,
        Self::MlpUp,
        Self::MlpDown,
        Self::Norms,
        Self::Pool,
        Self::Other,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Tokenize => "tokenize",
            Self::Embed => "embed",
            Self::Qkv => "qkv",
            Self::Attention => "attention",
            Self::Out => "out",
            Self::MlpUp => "mlp up",
            Self::MlpDown => "mlp down",
            Self::Norms => "norms",
            Self::Pool => "pool",
            Self::Other => "other",
        }
    }
}

/// What numbers are multiplied as; sums are float32 or 32-bit integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    Float32,
    Bfloat16,
    Int8,
}

/// What is done, as the definition counts it: padding, repeated reads and conversions are not in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// For each [`Arithmetic`]; a multiply-add is two.
    pub operations: [u64; 3],
    /// Read and written, wherever they are: in memory or in a cache.
    pub bytes: u64,
}

impl Work {
    /// Work that is all reading and writing.
    pub fn bytes(bytes: usize) -> Self {
        Self { operations: [0; 3], bytes: bytes as u64 }
    }

    pub fn multiply_adds(arithmetic: Arithmetic, count: usize, bytes: usize) -> Self {
        let mut operations = [0; 3];
        operations[arithmetic as usize] = 2 * count as u64;
        Self { operations, bytes: bytes as u64 }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.operations.iter_mut().zip(other.operations).for_each(|(sum, more)| *sum += more);
        self.bytes += other.bytes;
    }
}

/// What a number of threads can do together at most, as measured: per second.
#[derive(Debug, Clone, Copy)]
pub struct Peaks {
    pub threads: usize,
    /// Operations for each [`Arithmetic`]; 0 for one that the instruction set has not.
    pub operations: [f64; 3],
    /// Bytes read from memory.
    pub memory: f64,
    /// Bytes that were read to measure it.
    pub buffer: usize,
}

impl Peaks {
    /// Seconds of all the threads that the work takes at the least, be it for its operations or for its bytes.
    pub fn least_seconds(&self, work: &Work) -> f64 {
        let busy = |count: u64, peak: f64| if count == 0 { 0.0 } else { count as f64 / peak };
        let operations: f64 = work.operations.iter().zip(self.operations).map(|(&count, peak)| busy(count, peak)).sum();
        operations.max(busy(work.bytes, self.memory)) * self.threads as f64
    }
}

/// Time and work of one stage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// Sum over all threads.
    pub time: Duration,
    pub work: Work,
}

/// What some calls spent.
#[derive(Debug, Default)]
pub struct Profile {
    stages: [Counter; Stage::ALL.len()],
    /// From the start of each call to its end.
    wall: AtomicU64,
    /// The same for every thread that the calls had.
    threads: AtomicU64,
    texts: AtomicU64,
    tokens: AtomicU64,
}

/// Times are in nanoseconds.
#[derive(Debug, Default)]
struct Counter {
    time: AtomicU64,
    operations: [AtomicU64; 3],
    bytes: AtomicU64,
}

impl Profile {
    pub fn spent(&self, stage: Stage) -> Spent {
        let counter = &self.stages[stage as usize];
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let work = Work { operations: counter.operations.each_ref().map(read), bytes: read(&counter.bytes) };
        Spent { time: Duration::from_nanos(read(&counter.time)), work }
    }

    /// From the start of each call to its end, summed over the calls.
    pub fn wall(&self) -> Duration {
        Duration::from_nanos(self.wall.load(Ordering::Relaxed))
    }

    /// What the calls' threads spent in no stage: waiting for each other or for the caller, and what lies between stages.
    pub fn idle(&self) -> Duration {
        let busy: Duration = Stage::ALL.iter().map(|&stage| self.spent(stage).time).sum();
        Duration::from_nanos(self.threads.load(Ordering::Relaxed)).saturating_sub(busy)
    }

    /// The part of a stage's time in which its work could have been done; None for work without such a limit, or none at all.
    pub fn share(&self, stage: Stage, peaks: &Peaks) -> Option<f64> {
        let Spent { time, work } = self.spent(stage);
        // Nothing bounds the tokenizer but its own code.
        let limited = stage != Stage::Tokenize && work != Work::default() && !time.is_zero();
        limited.then(|| peaks.least_seconds(&work) / time.as_secs_f64())
    }

    pub fn texts(&self) -> u64 {
        self.texts.load(Ordering::Relaxed)
    }

    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// Counts a call that took `wall` and had so many threads.
    pub fn add_call(&self, wall: Duration, threads: usize, texts: usize, tokens: usize) {
        add(&self.wall, nanoseconds(wall));
        add(&self.threads, nanoseconds(wall) * threads as u64);
        add(&self.texts, texts as u64);
        add(&self.tokens, tokens as u64);
    }

    fn add(&self, stage: Stage, time: Duration, work: &Work) {
        let counter = &self.stages[stage as usize];
        add(&counter.time, nanoseconds(time));
        counter.operations.iter().zip(work.operations).for_each(|(sum, more)| add(sum, more));
        add(&counter.bytes, work.bytes);
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

/// What a thread records into.
#[derive(Clone)]
struct Recording {
    profile: Arc<Profile>,
    /// Inner stages are part of the outer one.
    stage: Option<Stage>,
    /// Waits until a device has computed what a stage asked it for.
    wait: Option<Rc<dyn Fn()>>,
}

thread_local! {
    static RECORDING: RefCell<Option<Recording>> = const { RefCell::new(None) };
}

/// Puts a recording in the place of the one that is there until it is dropped, also in a panic.
struct Replaced(Option<Recording>);

impl Replaced {
    fn by(recording: Recording) -> Self {
        Self(RECORDING.replace(Some(recording)))
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        RECORDING.set(self.0.take());
    }
}

fn is_recording() -> bool {
    RECORDING.with_borrow(Option::is_some)
}

/// Runs `work`, whose stages on this thread are recorded in `profile` if there is one.
pub fn record<R>(profile: Option<&Arc<Profile>>, work: impl FnOnce() -> R) -> R {
    record_on(|| None, profile, work)
}

/// The same where a device computes, and goes on while this thread does: a stage ends when what `waiter` gives returns. It is
/// only called for a profile.
pub fn record_on<R>(
    waiter: impl FnOnce() -> Option<Rc<dyn Fn()>>,
    profile: Option<&Arc<Profile>>,
    work: impl FnOnce() -> R,
) -> R {
    let Some(profile) = profile else { return work() };
    let _before = Replaced::by(Recording { profile: profile.clone(), stage: None, wait: waiter() });
    work()
}

/// Runs `run`, which is (a part of) `stage`. `work` is only called for a profile.
///
/// `run` must not hold vector instructions itself, but call a kernel that does: a closure is not compiled for the kernel's
/// instruction set.
#[inline]
pub fn stage<R>(stage: Stage, work: impl FnOnce() -> Work, run: impl FnOnce() -> R) -> R {
    if !is_recording() {
        return run();
    }
    let recording = RECORDING.with_borrow(|recording| recording.clone().filter(|recording| recording.stage.is_none()));
    let Some(recording) = recording else { return run() };
    let (profile, wait) = (recording.profile.clone(), recording.wait.clone());
    let before = Replaced::by(Recording { stage: Some(stage), ..recording });
    let start = Instant::now();
    let result = run();
    if let Some(wait) = wait {
        wait();
    }
    let time = start.elapsed();
    drop(before);
    profile.add(stage, time, &work());
    result
}

/// The stage that a thread is in, for those that help it.
pub struct Shared(Option<(Arc<Profile>, Stage)>);

/// The stage that this thread is in.
#[inline]
pub fn shared() -> Shared {
    if !is_recording() {
        return Shared(None);
    }
    Shared(RECORDING.with_borrow(|recording| {
        recording.as_ref().and_then(|recording| Some((recording.profile.clone(), recording.stage?)))
    }))
}

impl Shared {
    /// Runs a part of the stage on this thread, which may be the one that shares it: its time is counted already.
    #[inline]
    pub fn help<R>(&self, part: impl FnOnce() -> R) -> R {
        match &self.0 {
            Some((profile, stage)) if !is_recording() => {
                let start = Instant::now();
                let result = part();
                profile.add(*stage, start.elapsed(), &Work::default());
                result
            }
            _ => part(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at least as long as can be told from nothing.
    fn busy() {
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(50) {
            std::hint::spin_loop();
        }
    }

    fn product() -> Work {
        Work::multiply_adds(Arithmetic::Int8, 50, 7)
    }

    #[test]
    fn only_what_is_recorded_is_counted() {
        let profile = Arc::new(Profile::default());
        stage(Stage::Qkv, || unreachable!("no profile asked"), busy);
        record(None, || stage(Stage::Qkv, || unreachable!("no profile asked"), busy));
        record(Some(&profile), || {
            stage(Stage::Qkv, product, busy);
            stage(Stage::Qkv, product, busy);
            // Another thread is no part of it.
            std::thread::scope(|scope| scope.spawn(|| stage(Stage::Out, product, busy)).join().unwrap());
        });
        stage(Stage::Qkv, product, busy);
        let spent = profile.spent(Stage::Qkv);
        assert!(spent.time >= Duration::from_micros(100));
        assert_eq!(spent.work, Work { operations: [0, 0, 200], bytes: 14 });
        assert_eq!(profile.spent(Stage::Out).work, Work::default());
    }

    #[test]
    fn a_stage_ends_when_the_device_has_computed() {
        let profile = Arc::new(Profile::default());
        let waits = Rc::new(std::cell::Cell::new(0));
        let wait = {
            let waits = waits.clone();
            move || {
                waits.set(waits.get() + 1);
                busy();
            }
        };
        record_on(
            || Some(Rc::new(wait)),
            Some(&profile),
            || {
                stage(Stage::Pool, product, || stage(Stage::Other, product, || ()));
            },
        );
        assert_eq!(waits.get(), 1, "the outer one");
        assert!(profile.spent(Stage::Pool).time >= Duration::from_micros(50));
    }

    #[test]
    fn an_inner_stage_is_part_of_the_outer_one() {
        let profile = Arc::new(Profile::default());
        record(Some(&profile), || stage(Stage::Pool, || Work::bytes(3), || stage(Stage::Other, product, busy)));
        assert_eq!(profile.spent(Stage::Other).time, Duration::ZERO);
        assert!(profile.spent(Stage::Pool).time >= Duration::from_micros(50));
        assert_eq!(profile.spent(Stage::Pool).work, Work::bytes(3));
    }

    #[test]
    fn recordings_do_not_mix() {
        let (one, other) = (Arc::new(Profile::default()), Arc::new(Profile::default()));
        record(Some(&one), || {
            record(Some(&other), || stage(Stage::Embed, || Work::bytes(1), busy));
            stage(Stage::Embed, || Work::bytes(10), busy);
            let panicked = std::panic::catch_unwind(|| stage(Stage::Norms, product, || panic!("within a stage")));
            assert!(panicked.is_err());
            stage(Stage::Embed, || Work::bytes(10), busy);
        });
        assert_eq!(other.spent(Stage::Embed).work.bytes, 1);
        assert_eq!(one.spent(Stage::Embed).work.bytes, 20);
    }

    #[test]
    fn helpers_are_counted_and_the_one_they_help_is_not_counted_twice() {
        let profile = Arc::new(Profile::default());
        record(Some(&profile), || {
            stage(Stage::MlpUp, product, || {
                let shared = shared();
                shared.help(busy);
                std::thread::scope(|scope| {
                    for _ in 0..3 {
                        scope.spawn(|| shared.help(busy));
                    }
                });
            });
            // In no stage.
            std::thread::scope(|scope| {
                let shared = shared();
                scope.spawn(move || shared.help(busy));
            });
        });
        let spent = profile.spent(Stage::MlpUp);
        assert!(spent.time >= Duration::from_micros(200), "{:?}", spent.time);
        assert_eq!(spent.work, product());
    }

    #[test]
    fn idle_is_what_is_left_of_all_threads() {
        let profile = Profile::default();
        profile.add(Stage::Embed, Duration::from_secs(3), &Work::default());
        profile.add(Stage::Qkv, Duration::from_secs(4), &Work::default());
        profile.add_call(Duration::from_secs(5), 2, 30, 400);
        assert_eq!((profile.wall(), profile.idle()), (Duration::from_secs(5), Duration::from_secs(3)));
        assert_eq!((profile.texts(), profile.tokens()), (30, 400));
        profile.add(Stage::Qkv, Duration::from_secs(40), &Work::default());
        assert_eq!(profile.idle(), Duration::ZERO);
    }

    #[test]
    fn the_slower_of_operations_and_bytes_is_what_the_work_takes() {
        let peaks = Peaks { threads: 2, operations: [100.0, 0.0, 400.0], memory: 10.0, buffer: 1 };
        let mut work = Work::multiply_adds(Arithmetic::Float32, 50, 5);
        assert_eq!(peaks.least_seconds(&work), 2.0);
        work += Work::multiply_adds(Arithmetic::Int8, 100, 0);
        assert_eq!(peaks.least_seconds(&work), 3.0);
        work += Work::bytes(25);
        assert_eq!(peaks.least_seconds(&work), 6.0);
        let profile = Profile::default();
        for stage in [Stage::Norms, Stage::Tokenize] {
            profile.add(stage, Duration::from_secs(12), &work);
        }
        assert_eq!(profile.share(Stage::Norms, &peaks), Some(0.5));
        assert_eq!(profile.share(Stage::Tokenize, &peaks), None);
        assert_eq!(profile.share(Stage::Pool, &peaks), None);
    }
}
