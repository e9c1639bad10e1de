//! Inputs in, rows of one array out: what embedders and rerankers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use candle_core::{DType, Tensor};

use crate::config::TransformerConfig;
use crate::device::Device;
use crate::engine::beginnings::{Group, alike, apart};
use crate::engine::finish::{Finish, States, read};
use crate::engine::pass::{Pass, Results, Shelf};
use crate::engine::repeats::Repeats;
use crate::engine::window::{Piece, all, pieces, windows};
use crate::hub::{ModelFolder, Weights};
use crate::kernels::caches;
use crate::models::{self, Encoder, Past, Source};
use crate::nn::Body;
use crate::pool::{Check, Pool};
use crate::profile::{Profile, Stage, Work, record, stage};
use crate::text::{
    Input, InputKind, Limits, PackedBatch, Template, Tokenizer, Tokens, Wanted, cost, plan, shared_tail,
};
use crate::{Error, Result};

/// The least tokens for which a thread fetches all weights, unless there are fewer.
const PASS_TOKENS: usize = 256;

/// Bytes of second-level cache where the CPU does not tell: the least that servers of the last years have.
const SECOND_LEVEL: usize = 1 << 20;

/// Below this cost per thread, in tokens, fetching the weights takes longer than computing with them, and threads do better to
/// share them.
const SHARED_COST: usize = 48;

/// Tokens of beginnings that are held at a time: each takes some hundred kilobytes in a language model.
const HELD_TOKENS: usize = 1024;

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
}

/// What is wanted of some inputs.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// Comes before every text, and before the first of every pair.
    pub prompt: &'a str,
    /// The most inputs in a pass.
    pub batch_size: Option<usize>,
    /// Scale rows to length 1, after they are truncated.
    pub normalize: bool,
    /// Is told where the time goes.
    pub profile: Option<&'a Arc<Profile>>,
}

/// What a call found.
#[derive(Debug, Default, Clone)]
pub struct Report {
    pub tokens: usize,
    /// Rows whose input was longer than the model takes.
    pub truncated: Vec<usize>,
}

/// A network with what lies before and behind it. Shared freely between threads; no call waits for another.
pub struct Network {
    folder: ModelFolder,
    device: Device,
    body: Body,
    tokenizer: Tokenizer,
    /// What makes one text of a pair, for language models.
    template: Option<Template>,
    position_limit: Option<usize>,
    encoder: Box<dyn Encoder>,
    finish: Finish,
    pool: Pool,
    /// Tokens that one thread computes at a time.
    pass_tokens: usize,
}

enum Job<'a> {
    Compute(Pass<'a>),
    Tokenize(Piece<'a>),
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
        let device = Device::choose(&options.device)?;
        let body = device.body(&options.dtype, models::narrow(&config.architecture.model_type))?;
        let pool = Pool::new(options.num_threads)?;
        let mut tokenizer = Tokenizer::load(&folder, config, inputs)?;
        let template = match inputs {
            InputKind::Question => Some(Template::new(&config.architecture.model_type, &mut tokenizer)?),
            InputKind::Text | InputKind::Pair => None,
        };
        let weights = Weights::open(&folder, &config.path)?;
        let source = Source::open(&folder, config, &weights, &body)?;
        let encoder = models::load(&source)?;
        if let Some((id, token)) = tokenizer.largest_id()
            && id as usize >= encoder.vocab_size()
        {
            let rows = encoder.vocab_size();
            let message = format!("token {token:?} has id {id}, but the model's embedding table has {rows} rows");
            return Err(Error::model("tokenizer.json", message));
        }
        let finish = finish(&folder, &source, encoder.hidden_size(), template.as_ref())?;
        weights.release();
        // Enough to use every weight many times while it is in the cache, few enough that a layer's input and what attention
        // takes, 4 * hidden numbers for each token, stay there too.
        let second_level = caches().iter().find(|cache| cache.level == 2).map_or(SECOND_LEVEL, |cache| cache.bytes);
        let pass_tokens = (second_level / (4 * 4 * encoder.hidden_size())).max(PASS_TOKENS);
        let position_limit = config.architecture.position_limit();
        let network =
            Self { folder, device, body, tokenizer, template, position_limit, encoder, finish, pool, pass_tokens };
        if let Some(length) = options.max_seq_length {
            network.set_max_seq_length(length)?;
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

    pub(super) fn finish(&self) -> &Finish {
        &self.finish
    }

    /// The most tokens of an input, special ones included; None for no limit.
    pub fn max_seq_length(&self) -> Option<usize> {
        self.tokenizer.max_length()
    }

    pub fn set_max_seq_length(&self, length: usize) -> Result<()> {
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

    /// Writes the row of `inputs[i]` to the `i`-th part of `out`, `[inputs, width]`. `progress` is told on this thread, every now
    /// and then, how many inputs are done; its error ends the call.
    pub(super) fn run(
        &self,
        inputs: &[Input],
        request: &Request,
        out: &mut [f32],
        progress: &dyn Fn(usize) -> Result<()>,
    ) -> Result<Report> {
        let start = Instant::now();
        let width = out.len() / inputs.len().max(1);
        let repeats = Repeats::of(inputs);
        let unlike = repeats.kinds(inputs);
        let mut rows = out.chunks_mut(width.max(1)).enumerate();
        let mut report = Report::default();
        let mut done = 0;
        let mut windows = windows(&unlike).peekable();
        let mut tokens = match windows.peek() {
            Some(first) => self.tokenize(first, request, &|| progress(0))?,
            None => Vec::new(),
        };
        while let Some(window) = windows.next() {
            for (kind, tokens) in (done..).zip(&tokens) {
                report.tokens += tokens.len() * repeats.times(kind);
                report.truncated.extend(tokens.truncated.then_some(kind));
            }
            let mut row = |kind| {
                let input = repeats.first(kind);
                rows.find(|(row, _)| *row == input).expect("there is a row for each input").1
            };
            let rows = (done..done + window.len()).map(&mut row).collect();
            let next = windows.peek().copied().unwrap_or_default();
            let results = Results { rows, hidden: vec![] };
            tokens = self.compute(window, &tokens, request, results, next, &|n| progress(done + n))?;
            done += window.len();
        }
        drop(rows);
        repeats.copy(out, width);
        report.truncated = repeats.all(report.truncated);
        progress(inputs.len())?;
        self.count_call(start, request, inputs.len(), &report);
        Ok(report)
    }

    pub(super) fn count_call(&self, start: Instant, request: &Request, inputs: usize, report: &Report) {
        if let Some(profile) = request.profile {
            profile.add_call(start.elapsed(), self.pool.threads(), inputs, report.tokens);
        }
    }

    /// The tokens of each input after the prompt.
    pub fn tokenize(&self, inputs: &[Input], request: &Request, check: Check<'_>) -> Result<Vec<Tokens>> {
        let mut tokens = vec![None; inputs.len()];
        let work =
            |piece, pulse: Check<'_>| record(request.profile, || self.tokenize_piece(piece, request.prompt, pulse));
        self.pool.spread(pieces(inputs, &mut tokens), check, work)?;
        Ok(all(tokens))
    }

    fn tokenize_piece(&self, piece: Piece, prompt: &str, pulse: Check<'_>) -> Result<()> {
        let bytes = piece.inputs.iter().map(Input::bytes).sum();
        stage(Stage::Tokenize, || Work::bytes(bytes), || self.fill(piece, prompt, pulse))
    }

    fn fill(&self, piece: Piece, prompt: &str, pulse: Check<'_>) -> Result<()> {
        let mut joined = String::new();
        for (input, tokens) in piece.inputs.iter().zip(piece.tokens) {
            pulse()?;
            let mut after_prompt = |text| {
                joined.clear();
                joined.extend([prompt, text]);
            };
            *tokens = Some(match (*input, &self.template) {
                (Input::Pair(query, document), Some(template)) => {
                    let instruction = Some(prompt).filter(|prompt| !prompt.is_empty());
                    template.tokens(&self.tokenizer, query, document, instruction)?
                }
                (input, _) if prompt.is_empty() => self.tokenizer.tokenize(input)?,
                (Input::Text(text), _) => {
                    after_prompt(text);
                    self.tokenizer.tokenize(Input::Text(&joined))?
                }
                (Input::Pair(first, second), None) => {
                    after_prompt(first);
                    self.tokenizer.tokenize(Input::Pair(&joined, second))?
                }
            });
        }
        Ok(())
    }

    /// Computes `inputs`, and gives the tokens of those of `next`: threads that find nothing left to compute tokenize.
    pub(super) fn compute(
        &self,
        inputs: &[Input],
        tokens: &[Tokens],
        request: &Request,
        results: Results,
        next: &[Input],
        progress: &dyn Fn(usize) -> Result<()>,
    ) -> Result<Vec<Tokens>> {
        let prompt_tokens = match &self.finish {
            Finish::Pipeline(pipeline) if pipeline.excludes_prompt() && !request.prompt.is_empty() => {
                self.tokenizer.prompt_tokens(request.prompt)?
            }
            _ => 0,
        };
        let mut groups = match self.encoder.decoder() {
            Some(_) if results.hidden.is_empty() => alike(inputs, tokens),
            _ => apart(inputs.len()),
        };
        let mut shelf = Shelf::new(tokens, results);
        let mut next_tokens = vec![None; next.len()];
        let mut next_pieces = Some(pieces(next, &mut next_tokens));
        let done = AtomicUsize::new(0);
        let check = || progress(done.load(Ordering::Relaxed));
        while !groups.is_empty() {
            let mut held = 0;
            let fits = |group: &&Group| {
                held += group.shared;
                held <= HELD_TOKENS
            };
            let now: Vec<_> = groups.drain(..groups.iter().take_while(fits).count().max(1)).collect();
            let pasts = self.remember(&now, tokens, request, &check)?;
            let last = groups.is_empty() && next.is_empty();
            let (passes, shared) = self.passes(&now, tokens, request, last);
            let job = |(group, members): (usize, Vec<usize>)| {
                let past = pasts[group].as_ref().map(|past: &Past| (past, now[group].shared));
                Job::Compute(shelf.take(past, &members))
            };
            let mut jobs: Vec<_> = passes.into_iter().map(job).collect();
            let tail = jobs.split_off(jobs.len() - shared);
            if groups.is_empty() {
                jobs.extend(next_pieces.take().into_iter().flatten().map(Job::Tokenize));
            }
            let run = |job: Job, pulse: Check<'_>| {
                match job {
                    Job::Compute(pass) => {
                        let texts = pass.texts.len();
                        self.pass(pass, prompt_tokens, request.normalize, pulse)?;
                        done.fetch_add(texts, Ordering::Relaxed);
                    }
                    Job::Tokenize(piece) => self.tokenize_piece(piece, request.prompt, pulse)?,
                }
                Ok(())
            };
            let work = |job: Job, pulse: Check<'_>| record(request.profile, || run(job, pulse));
            self.pool.spread(jobs, &check, work)?;
            self.pool.gather(tail, &check, work)?;
        }
        drop(next_pieces);
        Ok(all(next_tokens))
    }

    /// What each group begins with, as far as it shares anything.
    fn remember(
        &self,
        groups: &[Group],
        tokens: &[Tokens],
        request: &Request,
        check: Check<'_>,
    ) -> Result<Vec<Option<Past>>> {
        let mut pasts: Vec<Option<Past>> = groups.iter().map(|_| None).collect();
        let Some(decoder) = self.encoder.decoder() else { return Ok(pasts) };
        let jobs: Vec<_> = groups.iter().zip(&mut pasts).filter(|(group, _)| group.shared > 0).collect();
        let work = |(group, past): (&Group, &mut Option<Past>), pulse: Check<'_>| {
            record(request.profile, || {
                let first = &tokens[group.members[0]];
                let beginning = Tokens { ids: first.ids[..group.shared].to_vec(), type_ids: None, truncated: false };
                *past = Some(decoder.remember(&PackedBatch::new([&beginning].into_iter()), pulse)?);
                Ok(())
            })
        };
        match jobs.len() < self.pool.crew() {
            true => self.pool.gather(jobs, check, work)?,
            false => self.pool.spread(jobs, check, work)?,
        }
        Ok(pasts)
    }

    /// Which members of which group are computed together, and how many of the last of these passes all threads share.
    fn passes(
        &self,
        groups: &[Group],
        tokens: &[Tokens],
        request: &Request,
        last: bool,
    ) -> (Vec<(usize, Vec<usize>)>, usize) {
        let length = |group: &Group, i: usize| tokens[i].len() - group.shared;
        let cost_of = |group: &Group, i: usize| cost(length(group, i), self.hidden_size());
        let costs = groups.iter().flat_map(|group| group.members.iter().map(|&i| cost_of(group, i)));
        let crew = self.pool.crew();
        let small = last && costs.sum::<usize>() < crew * SHARED_COST;
        let limits = Limits {
            tokens: self.pass_tokens,
            texts: request.batch_size.unwrap_or(usize::MAX),
            threads: if small { 1 } else { self.pool.threads() },
            hidden: self.hidden_size(),
        };
        let mut passes = Vec::new();
        for (number, group) in groups.iter().enumerate() {
            let lengths: Vec<_> = group.members.iter().map(|&i| length(group, i)).collect();
            let members = |pass: Vec<usize>| pass.into_iter().map(|i| group.members[i]).collect::<Vec<_>>();
            passes.extend(plan(&lengths, &limits).into_iter().map(|pass| (number, members(pass))));
        }
        let shared = match (small, last) {
            (true, _) => passes.len(),
            (false, false) => 0,
            (false, true) => {
                let cost_of = |(group, members): &(usize, Vec<usize>)| {
                    members.iter().map(|&i| cost_of(&groups[*group], i)).sum::<usize>()
                };
                shared_tail(&passes.iter().map(cost_of).collect::<Vec<_>>(), crew)
            }
        };
        (passes, shared)
    }

    fn pass(&self, pass: Pass, prompt_tokens: usize, normalize: bool, pulse: Check<'_>) -> Result<()> {
        let Pass { past, texts, mut rows, hidden: parts } = pass;
        let batch = PackedBatch::without(past.map_or(0, |(_, shared)| shared), texts.iter().copied());
        let wanted = match self.finish.wanted(prompt_tokens) {
            // A text without tokens has no first one.
            wanted if parts.is_empty() && texts.iter().all(|text| !text.is_empty()) => wanted,
            _ => Wanted::All,
        };
        let hidden = match (past, self.encoder.decoder()) {
            (Some((past, _)), Some(decoder)) => decoder.resume(past, &batch, wanted, pulse)?,
            _ if batch.tokens() == 0 => Tensor::zeros((0, self.hidden_size()), DType::F32, &candle_core::Device::Cpu)?,
            _ => self.encoder.forward(&batch, wanted, pulse)?,
        };
        let states = States { hidden: &hidden, wanted, batch: &batch, prompt_tokens };
        self.finish.apply(&states, normalize, &mut rows)?;
        if !parts.is_empty() {
            read(&hidden, |mut hidden| {
                for (part, text) in parts.into_iter().zip(batch.offsets.windows(2)) {
                    part.copy_from_slice(hidden.split_off(..part.len()).expect("a row for each token"));
                    if let Finish::Pipeline(pipeline) = &self.finish {
                        pipeline.weigh_tokens(&batch.ids[text[0] as usize..text[1] as usize], part);
                    }
                }
            })?;
        }
        Ok(())
    }
}
