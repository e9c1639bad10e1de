//! A network with what lies before and behind it: what embedders and rerankers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::TransformerConfig;
use crate::device::Device;
use crate::engine::course::{Pass, Unit};
use crate::engine::finish::Finish;
use crate::engine::job::{Finished, Job, Report, Request, Rows};
use crate::engine::queue::{Done, Work};
use crate::engine::scheduler::{End, Lane, Scheduler, Sharing, Ticket};
use crate::engine::stats::Stats;
use crate::files::ModelFolder;
use crate::kernels::caches;
use crate::models::{self, Encoder, Source};
use crate::nn::Body;
use crate::panic::guarded;
use crate::pool::{PerProcess, Pool};
use crate::text::{InputKind, Inputs, Limits, Template, Tokenizer, Tokens, cost, plan, shared_tail};
use crate::weights::Weights;
use crate::{CancelCheck, Error, Result};

/// The least tokens for which a thread fetches all weights, unless there are fewer.
const PASS_TOKENS: usize = 256;

/// On a device that is not the CPU: enough to keep thousands of its cores at work.
const DEVICE_PASS_TOKENS: usize = 16 << 10;

/// Bytes of second-level cache where the CPU does not tell: the least that servers of the last years have.
const SECOND_LEVEL: usize = 1 << 20;

/// Below this cost per thread, in tokens, fetching the weights takes longer than computing with them, and threads do better to
/// share them.
const SHARED_COST: usize = 48;

/// How a model is loaded.
#[derive(Debug, Default)]
pub struct LoadOptions {
    /// "auto" or a device's name.
    pub device: String,
    /// "auto" or a type's name.
    pub dtype: String,
    /// In tokens, instead of what the model's files say.
    pub max_seq_length: Option<usize>,
    pub num_threads: Option<usize>,
    pub sharing: Sharing,
    /// Is told of the calls.
    pub stats: Arc<Stats>,
}

/// Shared freely between threads.
pub struct Network {
    folder: ModelFolder,
    pub(super) device: Device,
    body: Body,
    pub(super) tokenizer: Tokenizer,
    /// What makes one text of a pair, for language models.
    pub(super) template: Option<Template>,
    position_limit: Option<usize>,
    pub(super) encoder: Box<dyn Encoder>,
    pub(super) finish: Finish,
    pub(super) pool: Pool,
    /// Has one thread, which the device is used from; None where the CPU's kernels compute.
    owner: Option<Pool>,
    /// Tokens that one thread computes at a time: fewer than at first where the device had no memory for those.
    pass_tokens: AtomicUsize,
    sharing: Sharing,
    pub(super) stats: Arc<Stats>,
    /// Of the weights, in the types that they are held in.
    weight_bytes: usize,
    /// What its files say, in tokens; None for no limit.
    own_length: Option<usize>,
    scheduler: PerProcess<Scheduler>,
}

/// Inputs of one call in a pass that several may share.
pub(super) struct Part {
    pub(super) job: Arc<Job>,
    pub(super) pass: Pass,
}

impl Network {
    /// Loads the network that `config` describes, for such inputs; `finish` gives what follows it, from its files and the width of its hidden states.
    pub(super) fn load(
        folder: ModelFolder,
        config: &TransformerConfig,
        options: &LoadOptions,
        inputs: InputKind,
        finish: impl FnOnce(&ModelFolder, &Source, usize, Option<&Template>) -> Result<Finish>,
    ) -> Result<Self> {
        // The CPU's kernels alone multiply in int8.
        let by_itself = options.device == "auto" && options.dtype == "int8";
        let device = Device::choose(if by_itself { "cpu" } else { &options.device })?;
        let body = device.body(&options.dtype, models::narrow(&config.architecture.model_type))?;
        let pool = Pool::new(options.num_threads)?;
        let mut tokenizer = Tokenizer::load(&folder, config, inputs)?;
        let template = Template::load(config, inputs, &mut tokenizer)?;
        let weights = Weights::open(&folder, &config.path)?;
        let source = Source::open(&folder, config, &weights, &body)?;
        let encoder = device.attempt(0, || models::load(&source))?;
        tokenizer.require_rows(encoder.vocab_size())?;
        let finish = finish(&folder, &source, encoder.hidden_size(), template.as_ref())?;
        weights.release();
        let weight_bytes = weights.packed_bytes();
        // Enough to use every weight many times while it is in the cache, few enough that a layer's input and what attention
        // takes, 4 * hidden numbers for each token, stay there too.
        let second_level = caches().iter().find(|cache| cache.level == 2).map_or(SECOND_LEVEL, |cache| cache.bytes);
        let pass_tokens = match device.has_owner() {
            true => DEVICE_PASS_TOKENS,
            false => (second_level / (4 * 4 * encoder.hidden_size())).max(PASS_TOKENS),
        };
        let owner = device.has_owner().then(|| Pool::new(Some(1))).transpose()?;
        let sharing = options.sharing.clone();
        let pass_tokens = AtomicUsize::new(sharing.max_batch_tokens.unwrap_or(pass_tokens));
        let position_limit = config.architecture.position_limit();
        let own_length = tokenizer.max_length();
        let network = Self {
            folder,
            device,
            body,
            tokenizer,
            template,
            position_limit,
            encoder,
            finish,
            pool,
            owner,
            pass_tokens,
            sharing,
            stats: options.stats.clone(),
            weight_bytes,
            own_length,
            scheduler: PerProcess::none(),
        };
        if let Some(length) = options.max_seq_length {
            network.set_max_seq_length(Some(length))?;
        }
        Ok(network)
    }

    /// Where the model's files are.
    pub fn folder(&self) -> &ModelFolder {
        &self.folder
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What computes.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Width of a token's hidden state.
    pub fn hidden_size(&self) -> usize {
        self.encoder.hidden_size()
    }

    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Bytes of the weights, without padding.
    pub fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    pub(super) fn finish(&self) -> &Finish {
        &self.finish
    }

    /// The most tokens of an input, special ones included; None for no limit.
    pub fn max_seq_length(&self) -> Option<usize> {
        self.tokenizer.max_length()
    }

    /// Cuts inputs to so many tokens from now on; None for what the model's files say.
    pub fn set_max_seq_length(&self, length: Option<usize>) -> Result<()> {
        let Some(length) = length else {
            return self.tokenizer.set_max_length(self.own_length.unwrap_or(usize::MAX));
        };
        if let Some(limit) = self.position_limit
            && length > limit
        {
            return Err(Error::argument(
                "max_seq_length",
                format!("{length} is more than the {limit} positions that the model has"),
            ));
        }
        if let Some(template) = self.template.as_ref().filter(|template| length <= template.reserved()) {
            let message = format!("{length} leaves no room for text beside the template's {}", template.reserved());
            return Err(Error::argument("max_seq_length", message));
        }
        self.tokenizer.set_max_length(length)
    }

    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.token(id)
    }

    pub(super) fn sharing(&self) -> &Sharing {
        &self.sharing
    }

    /// Tokens that one thread computes at a time.
    pub(super) fn pass_tokens(&self) -> usize {
        self.pass_tokens.load(Ordering::Relaxed)
    }

    /// The device has no memory for more.
    pub(super) fn shrink_passes(&self, tokens: usize) {
        self.pass_tokens.fetch_min(tokens.max(1), Ordering::Relaxed);
    }

    /// Threads that share one pass.
    pub(super) fn team(&self) -> usize {
        if self.owner.is_some() { 1 } else { self.pool.team_threads() }
    }

    pub(super) fn has_decoder(&self) -> bool {
        self.encoder.decoder().is_some()
    }

    /// The rows of some inputs; of every token the hidden state, too, if `every_token`. `progress` is told on this thread, every now
    /// and then, how many inputs are done; its error ends the call.
    pub fn run(
        self: &Arc<Self>,
        inputs: Box<dyn Inputs>,
        request: Request,
        rows: Rows,
        every_token: bool,
        progress: &dyn Fn(usize) -> Result<()>,
    ) -> Result<Finished> {
        let count = inputs.len();
        let job = self.job(inputs, request, rows, every_token, &|| progress(0))?;
        let finished = self.scheduler().run(self, job, progress)?;
        progress(count)?;
        Ok(finished)
    }

    /// As [`Self::run`], with nobody waiting: `end` is told of the end by a thread of its own.
    pub fn submit(
        self: &Arc<Self>,
        inputs: Box<dyn Inputs>,
        request: Request,
        rows: Rows,
        every_token: bool,
        end: End,
    ) -> Result<Ticket> {
        let job = self.job(inputs, request, rows, every_token, &|| Ok(()))?;
        self.scheduler().submit(self, job, end)
    }

    fn job(
        &self,
        inputs: Box<dyn Inputs>,
        request: Request,
        rows: Rows,
        every_token: bool,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Job> {
        self.device.check()?;
        let prompt_tokens = match &self.finish {
            Finish::Pipeline(pipeline) if pipeline.excludes_prompt() && !request.prompt.is_empty() => {
                self.tokenizer.prompt_tokens(&request.prompt, check_cancel)?
            }
            _ => 0,
        };
        Job::new(inputs, request, prompt_tokens, rows, every_token)
    }

    fn scheduler(&self) -> Arc<Scheduler> {
        self.scheduler.get(|| Scheduler::new(self))
    }

    pub(super) fn count_call(&self, job: &Job, report: &Report) {
        self.stats.add_call(job.start.elapsed(), report.truncated.len(), report.halved);
        if let Some(profile) = &job.request.profile {
            profile.add_call(job.start.elapsed(), self.pool.threads(), job.len(), report.tokens);
        }
    }

    /// Has a worker of the lane start.
    pub(super) fn start(&self, lane: Lane, work: impl FnOnce() + Send + 'static) -> Result<()> {
        match (lane, &self.owner) {
            (Lane::Device, Some(owner)) => owner.spawn(work),
            _ => self.pool.spawn(work),
        }
    }

    /// The tokens of each input after the prompt.
    pub fn tokens(&self, inputs: &dyn Inputs, prompt: &str, check_cancel: CancelCheck<'_>) -> Result<Vec<Tokens>> {
        self.pool.run_inline(check_cancel, |check_cancel| {
            let tokens = |i| {
                check_cancel()?;
                self.tokens_of(inputs.get(i), prompt, check_cancel)
            };
            (0..inputs.len()).map(tokens).collect()
        })
    }

    /// Which inputs of which of some groups, of these lengths in tokens, are computed together; and how many of the last of these
    /// passes all threads share. `last`: nothing else of the call comes after them.
    pub(super) fn plan(
        &self,
        lengths: &[Vec<usize>],
        batch_size: Option<usize>,
        last: bool,
    ) -> (Vec<(usize, Vec<usize>)>, usize) {
        let hidden = self.hidden_size();
        let threads = if self.owner.is_some() { 1 } else { self.pool.threads() };
        let team = self.team();
        let costs = lengths.iter().flatten().map(|&length| cost(length, hidden));
        let small = last && costs.sum::<usize>() < team * SHARED_COST;
        let limits = Limits {
            tokens: self.pass_tokens(),
            texts: batch_size.unwrap_or(usize::MAX).min(self.sharing.max_batch_size.unwrap_or(usize::MAX)),
            threads: if small { 1 } else { threads },
            hidden,
        };
        let mut passes = Vec::new();
        for (group, lengths) in lengths.iter().enumerate() {
            passes.extend(plan(lengths, &limits).into_iter().map(|pass| (group, pass)));
        }
        let shared = match (small, last && team > 1) {
            (true, _) => passes.len(),
            (false, false) => 0,
            (false, true) => {
                let cost_of = |(group, members): &(usize, Vec<usize>)| {
                    members.iter().map(|&i| cost(lengths[*group][i], hidden)).sum::<usize>()
                };
                shared_tail(&passes.iter().map(cost_of).collect::<Vec<_>>(), team)
            }
        };
        (passes, shared)
    }

    /// Does a worker's work, and says what became of each unit. Panics are errors: callers wait for the end of each.
    pub(super) fn perform(&self, work: Work) -> Vec<Done> {
        let Work { units, together, .. } = work;
        let jobs: Vec<_> = units.iter().map(|(_, job, _)| job.clone()).collect();
        let check_cancel = || match jobs.iter().all(|job| job.is_given_up()) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        };
        let mut done = Vec::new();
        let mut numbers = Vec::new();
        let mut parts = Vec::new();
        for (number, job, unit) in units {
            match unit {
                Unit::Tokenize { piece, kinds } => {
                    let tokens = guarded(|| self.tokenize(&job, kinds, &check_cancel));
                    done.push((number, tokens.map(|tokens| Some((piece, tokens)))));
                }
                Unit::Remember { batch, group } => {
                    let remember = |check_cancel: CancelCheck<'_>| self.remember(&job, &batch, group, check_cancel);
                    let remembered = match together {
                        true => guarded(|| self.pool.run_on_team(&check_cancel, remember)),
                        false => guarded(|| remember(&check_cancel)),
                    };
                    done.push((number, remembered.map(|()| None)));
                }
                Unit::Compute(pass) => {
                    numbers.push(number);
                    parts.push(Part { job, pass });
                }
            }
        }
        if !parts.is_empty() {
            let results = match together {
                true => self.pool.run_on_team(&check_cancel, |check_cancel| Ok(self.compute(&parts, check_cancel))),
                false => Ok(self.compute(&parts, &check_cancel)),
            };
            // Where threads cannot be started, one does it.
            let results = results.unwrap_or_else(|_| self.compute(&parts, &check_cancel));
            done.extend(numbers.into_iter().zip(results.into_iter().map(|result| result.map(|()| None))));
        }
        done
    }
}
