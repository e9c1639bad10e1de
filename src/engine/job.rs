//! A call to a model: what it is about, what is wanted, and where that goes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::Result;
use crate::engine::repeats::Repeats;
use crate::memory::zeroed;
use crate::profile::Profile;
use crate::text::{Input, Inputs, Tokens};

/// What is wanted of some inputs.
#[derive(Debug, Clone)]
pub struct Request {
    /// Comes before every text, and before the first of every pair.
    pub prompt: String,
    /// The most inputs in a pass.
    pub batch_size: Option<usize>,
    /// Scale rows to length 1, after they are truncated.
    pub normalize: bool,
    /// Above 0: a call of priority 2 gets twice as many tokens computed as one of priority 1 while both wait.
    pub priority: f32,
    /// Is told where the time goes. No other call's inputs are computed together with these.
    pub profile: Option<Arc<Profile>>,
}

impl Default for Request {
    fn default() -> Self {
        Self { prompt: String::new(), batch_size: None, normalize: false, priority: 1.0, profile: None }
    }
}

/// What a call found.
#[derive(Debug, Default, Clone)]
pub struct Report {
    pub tokens: usize,
    /// Rows whose input was longer than the model takes.
    pub truncated: Vec<usize>,
    /// How often a pass was halved because the device had no memory for all of it.
    pub halved: usize,
}

/// Rows `[inputs, width]`.
pub enum Rows {
    New(Vec<f32>),
    /// Somebody else's memory.
    Lent(Box<dyn AsMut<[f32]> + Send>),
}

impl AsMut<[f32]> for Rows {
    fn as_mut(&mut self) -> &mut [f32] {
        match self {
            Self::New(values) => values,
            Self::Lent(values) => (**values).as_mut(),
        }
    }
}

/// What a call gives.
pub struct Output {
    pub rows: Rows,
    /// The tokens' hidden states `[all tokens, hidden]`, where they are wanted.
    pub hidden: Option<Vec<f32>>,
}

/// Everything that is known at the end of a call.
pub struct Finished {
    pub output: Output,
    pub report: Report,
    /// Of each input, where hidden states are wanted.
    pub tokens: Vec<Tokens>,
}

pub(super) struct Job {
    inputs: Box<dyn Inputs>,
    pub(super) request: Request,
    pub(super) repeats: Repeats,
    /// See [`crate::pipeline::TokenEmbeddings::prompt_tokens`].
    pub(super) prompt_tokens: usize,
    /// Of a row.
    width: usize,
    /// Whether the tokens' hidden states are wanted, too.
    pub(super) every_token: bool,
    /// None once the call is over, or given up: from then on nothing is written.
    output: Mutex<Option<Output>>,
    given_up: AtomicBool,
    /// Inputs whose rows are there; of those that come more than once, one.
    done: AtomicUsize,
    halved: AtomicUsize,
    pub(super) start: Instant,
}

impl Job {
    pub(super) fn new(
        inputs: Box<dyn Inputs>,
        request: Request,
        prompt_tokens: usize,
        mut rows: Rows,
        every_token: bool,
    ) -> Result<Self> {
        let width = rows.as_mut().len() / inputs.len().max(1);
        // What is said of every token is said of each input by itself.
        let repeats = if every_token { Repeats::default() } else { Repeats::of(&*inputs)? };
        let output = Mutex::new(Some(Output { rows, hidden: None }));
        Ok(Self {
            inputs,
            request,
            repeats,
            prompt_tokens,
            width,
            every_token,
            output,
            given_up: AtomicBool::new(false),
            done: AtomicUsize::new(0),
            halved: AtomicUsize::new(0),
            start: Instant::now(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.inputs.len()
    }

    /// How many inputs differ: each kind is computed once.
    pub(super) fn kinds(&self) -> usize {
        self.repeats.kinds(self.inputs.len())
    }

    /// The first input of a kind.
    pub(super) fn kind(&self, kind: usize) -> Input<'_> {
        self.inputs.get(self.repeats.first(kind))
    }

    /// Position of the first input of a kind in what the caller gave.
    pub(super) fn position(&self, kind: usize) -> usize {
        self.inputs.position(self.repeats.first(kind))
    }

    /// Of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn count_halving(&self) {
        self.halved.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn halved(&self) -> usize {
        self.halved.load(Ordering::Relaxed)
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Nobody wants the rest. What is being computed is not written any more.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.lock().take();
    }

    /// Has room for the hidden states of so many numbers together.
    pub(super) fn reserve_hidden(&self, numbers: usize) -> Result<()> {
        let hidden = zeroed(numbers, "hidden states of all tokens")?;
        self.with_output(|output| output.hidden = Some(hidden));
        Ok(())
    }

    /// Keeps the rows of some kinds, `[kinds, width]`.
    pub(super) fn keep_rows(&self, kinds: impl ExactSizeIterator<Item = usize>, rows: &[f32]) {
        let count = kinds.len();
        self.with_output(|output| {
            let all = output.rows.as_mut();
            for (kind, row) in kinds.zip(rows.chunks_exact(self.width)) {
                all[self.repeats.first(kind) * self.width..][..self.width].copy_from_slice(row);
            }
        });
        self.done.fetch_add(count, Ordering::Relaxed);
    }

    /// Keeps hidden states, from the number `start` of all of them on.
    pub(super) fn keep_hidden(&self, start: usize, values: &[f32]) {
        self.with_output(|output| {
            if let Some(hidden) = &mut output.hidden {
                hidden[start..start + values.len()].copy_from_slice(values);
            }
        });
    }

    /// What was kept, with the rows of inputs that come again; None if the call was given up.
    pub(super) fn take_output(&self) -> Option<Output> {
        let mut output = self.lock().take()?;
        self.repeats.copy(output.rows.as_mut(), self.width);
        Some(output)
    }

    fn with_output(&self, keep: impl FnOnce(&mut Output)) {
        if let Some(output) = self.lock().as_mut() {
            keep(output);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Output>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
