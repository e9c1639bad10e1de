//! A call to a model: what it is about, what is wanted, and where that goes.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Result;
use crate::engine::chunk_rows::ChunkRows;
use crate::engine::stats::nanoseconds;
use crate::engine::unique_inputs::UniqueInputs;
use crate::memory::zeroed;
use crate::profile::Profile;
use crate::text::{Input, Inputs, Tokens, Truncation};

/// What a caller wants of some inputs.
#[derive(Debug, Clone)]
pub struct Request {
    /// Text that comes before every text, and before the first of every pair.
    pub prompt: String,
    /// Largest number of tokens of an input, special ones included; None for what the model's files say.
    pub max_length: Option<usize>,
    /// What becomes of inputs with more tokens.
    pub truncation: Truncation,
    /// Largest number of inputs in a pass.
    pub batch_size: Option<usize>,
    /// Scale rows to length 1, after they are truncated.
    pub normalize: bool,
    /// Above 0: a call of priority 2 gets twice as many tokens computed as one of priority 1 while both wait.
    pub priority: f32,
    /// Recorder of where the time goes. No other call's inputs are computed together with these.
    pub profile: Option<Arc<Profile>>,
    /// Chunks of each text: where there are some, and every token is wanted, rows of these are given in place of hidden states.
    pub chunks: Option<Arc<ChunkRows>>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            max_length: None,
            truncation: Truncation::default(),
            batch_size: None,
            normalize: false,
            priority: 1.0,
            profile: None,
            chunks: None,
        }
    }
}

/// Counts and times of a call.
#[derive(Debug, Default, Clone)]
pub struct Report {
    pub tokens: usize,
    /// Rows whose input was longer than the model takes.
    pub truncated: Vec<usize>,
    /// How often a pass was halved because the device had no memory for all of it.
    pub halved: usize,
    /// How long nothing was done for it.
    pub waited: Duration,
    /// Sum of the times that threads made tokens of its inputs.
    pub tokenizing: Duration,
    /// Sum of the times of its passes, those of prefixes among them; of a static embedding, which makes rows right behind the tokens, of both. A pass that threads
    /// share counts once, and one that calls share counts for each of them.
    pub computing: Duration,
}

/// Memory of a call's rows, `[inputs, width]`.
pub enum OutputRows {
    Owned(Vec<f32>),
    /// The caller's memory.
    Borrowed(Box<dyn AsMut<[f32]> + Send>),
}

impl AsMut<[f32]> for OutputRows {
    fn as_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Owned(values) => values,
            Self::Borrowed(values) => (**values).as_mut(),
        }
    }
}

/// Numbers that a call gives.
pub struct CallOutput {
    pub rows: OutputRows,
    /// Hidden states of the tokens, `[all tokens, hidden]`, where they are wanted; or the chunks' rows, `[chunks, width]`.
    pub hidden: Option<Vec<f32>>,
}

/// Everything that is known at the end of a call.
pub struct CallResult {
    pub output: CallOutput,
    pub report: Report,
    /// Tokens of each input, where hidden states are wanted.
    pub tokens: Vec<Tokens>,
}

/// A call to a model: its inputs, what is wanted of them, and where that goes. Shared by the threads that work on it.
pub(super) struct Call {
    inputs: Box<dyn Inputs>,
    pub(super) request: Request,
    pub(super) unique: UniqueInputs,
    /// See [`crate::pipeline::TokenEmbeddings::prompt_tokens`].
    pub(super) prompt_tokens: usize,
    /// Width of a row.
    width: usize,
    /// Whether the tokens' hidden states are wanted, too.
    pub(super) every_token: bool,
    /// Whether rows are made right behind the tokens, without passes.
    pub(super) is_direct: bool,
    /// What is counted of inputs without passes.
    direct: Mutex<Report>,
    /// None once the call is over, or cancelled: from then on nothing is written.
    output: Mutex<Option<CallOutput>>,
    cancelled: AtomicBool,
    /// Number of unique inputs whose rows are there.
    done: AtomicUsize,
    halved: AtomicUsize,
    /// See [`Report`], in nanoseconds.
    tokenizing: AtomicU64,
    computing: AtomicU64,
    pub(super) start: Instant,
}

impl Call {
    pub(super) fn new(
        inputs: Box<dyn Inputs>,
        request: Request,
        prompt_tokens: usize,
        mut rows: OutputRows,
        every_token: bool,
        is_direct: bool,
    ) -> Result<Self> {
        let width = rows.as_mut().len() / inputs.len().max(1);
        // Where every token is wanted, each input has its own; and comparing texts may take as long as a static embedding does.
        let unique = if every_token || is_direct { UniqueInputs::default() } else { UniqueInputs::of(&*inputs)? };
        let output = Mutex::new(Some(CallOutput { rows, hidden: None }));
        Ok(Self {
            inputs,
            request,
            unique,
            prompt_tokens,
            width,
            every_token,
            is_direct,
            direct: Mutex::default(),
            output,
            cancelled: AtomicBool::new(false),
            done: AtomicUsize::new(0),
            halved: AtomicUsize::new(0),
            tokenizing: AtomicU64::new(0),
            computing: AtomicU64::new(0),
            start: Instant::now(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Number of unique inputs: each is computed once.
    pub(super) fn unique_len(&self) -> usize {
        self.unique.len(self.inputs.len())
    }

    /// A unique input.
    pub(super) fn input(&self, unique: usize) -> Input<'_> {
        self.inputs.get(self.unique.first(unique))
    }

    /// Position of the first occurrence of a unique input in what the caller gave.
    pub(super) fn position(&self, unique: usize) -> usize {
        self.inputs.position(self.unique.first(unique))
    }

    /// Width of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Number of unique inputs whose rows are there.
    pub(super) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn count_halving(&self) {
        self.halved.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn halved(&self) -> usize {
        self.halved.load(Ordering::Relaxed)
    }

    /// A thread made tokens of some of its inputs since `start`.
    pub(super) fn add_tokenizing(&self, start: Instant) {
        self.tokenizing.fetch_add(nanoseconds(start.elapsed()), Ordering::Relaxed);
    }

    /// Some of it was computed since `start`.
    pub(super) fn add_computing(&self, start: Instant) {
        self.computing.fetch_add(nanoseconds(start.elapsed()), Ordering::Relaxed);
    }

    /// See [`Report`].
    pub(super) fn tokenizing(&self) -> Duration {
        Duration::from_nanos(self.tokenizing.load(Ordering::Relaxed))
    }

    /// See [`Report`].
    pub(super) fn computing(&self) -> Duration {
        Duration::from_nanos(self.computing.load(Ordering::Relaxed))
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Ends the call for its caller. What is being computed is not written any more.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.lock().take();
    }

    /// Allocates hidden states of so many numbers together, or the rows of chunks in place of them.
    pub(super) fn reserve_hidden(&self, numbers: usize) -> Result<()> {
        let hidden = match &self.request.chunks {
            None => zeroed(numbers, "hidden states of all tokens")?,
            Some(chunks) => zeroed(chunks.len().saturating_mul(self.width), "rows of all chunks")?,
        };
        self.with_output(|output| output.hidden = Some(hidden));
        Ok(())
    }

    /// Writes the `rows [unique inputs, width]` of some unique inputs.
    pub(super) fn write_rows(&self, uniques: impl ExactSizeIterator<Item = usize>, rows: &[f32]) {
        let count = uniques.len();
        self.with_output(|output| {
            let all = output.rows.as_mut();
            for (unique, row) in uniques.zip(rows.chunks_exact(self.width)) {
                all[self.unique.first(unique) * self.width..][..self.width].copy_from_slice(row);
            }
        });
        self.done.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts inputs without passes: their tokens, and which of them were longer than the model takes.
    pub(super) fn count_direct(&self, tokens: usize, truncated: Vec<usize>) {
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        direct.tokens += tokens;
        direct.truncated.extend(truncated);
    }

    /// What was counted of inputs without passes.
    pub(super) fn direct_report(&self) -> Report {
        let mut report = self.direct.lock().unwrap_or_else(PoisonError::into_inner).clone();
        report.truncated.sort_unstable();
        report
    }

    /// Writes hidden states or rows of chunks, from the number `start` of all of them on.
    pub(super) fn write_hidden(&self, start: usize, values: &[f32]) {
        self.with_output(|output| {
            if let Some(hidden) = &mut output.hidden {
                hidden[start..start + values.len()].copy_from_slice(values);
            }
        });
    }

    /// Takes what was written, with the rows of duplicates; None if the call was cancelled.
    pub(super) fn take_output(&self) -> Option<CallOutput> {
        let mut output = self.lock().take()?;
        self.unique.copy_rows(output.rows.as_mut(), self.width);
        Some(output)
    }

    fn with_output(&self, write: impl FnOnce(&mut CallOutput)) {
        if let Some(output) = self.lock().as_mut() {
            write(output);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<CallOutput>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
