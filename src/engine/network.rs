//! A loaded model: the network with its tokenizer, its output head and the device that computes.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{TaskAdapter, TransformerConfig};
use crate::device::Device;
use crate::engine::call::{Call, OutputRows, Report, Request};
use crate::engine::options::LoadOptions;
use crate::engine::output_head::OutputHead;
use crate::engine::planner::{DEVICE_PASS_TOKENS, Planner};
use crate::engine::stats::{CallTimes, Stats};
use crate::files::{ModelFolder, inside};
use crate::kernels::{Dtype, caches, panel_layout};
use crate::models::{self, Encoder, Source};
use crate::nn::Body;
use crate::pool::Pool;
use crate::text::{Input, InputKind, Inputs, LengthLimit, Template, Tokenizer, Tokens, Truncation};
use crate::weights::{PANEL_FILE, PanelIndex, PanelWriter, Weights, has_weights};
use crate::{CancelCheck, Error, Result};

/// The weights of the network that `config` describes.
pub(super) fn open_weights(folder: &ModelFolder, config: &TransformerConfig) -> Result<Weights> {
    Ok(Weights::open(folder, &config.path)?.quantized_by(config.architecture.quantization.clone()))
}

/// Refuses weights that were packed for others than the kernels that would compute with them.
fn check_panels(panels: &PanelIndex, config: &TransformerConfig, body: &Body) -> Result<()> {
    let file = inside(&config.path, PANEL_FILE);
    let again = "write it again from the original model, with votive quantize";
    let Body::Cpu { isa, dtype } = body else {
        return Err(no_kernels(config));
    };
    if dtype.name() != panels.dtype {
        let message = format!("holds weights in {0}; give dtype=\"{0}\" or \"auto\", or {again}", panels.dtype);
        return Err(Error::model(file, message));
    }
    let layout = panel_layout(*isa);
    if layout != panels.layout {
        let message = format!(
            "has the panels of another CPU or another votive ({}), and {} needs {layout}; on this machine, {again}",
            panels.layout,
            isa.name(),
        );
        return Err(Error::model(file, message));
    }
    Ok(())
}

/// That panels are there and no kernels for them.
fn no_kernels(config: &TransformerConfig) -> Error {
    let message = "holds panels for the CPU's kernels; give device=\"cpu\", or load the original model";
    Error::model(inside(&config.path, PANEL_FILE), message)
}

/// Bytes of second-level cache where the CPU does not tell: the least that servers of the last years have.
const MIN_SECOND_LEVEL_BYTES: usize = 1 << 20;

/// A loaded model, which computes for any number of threads.
pub struct Network {
    folder: ModelFolder,
    pub(super) device: Device,
    body: Body,
    pub(super) tokenizer: Arc<Tokenizer>,
    /// What makes one text of a pair, for language models.
    pub(super) template: Option<Arc<Template>>,
    position_limit: Option<usize>,
    pub(super) encoder: Box<dyn Encoder>,
    pub(super) head: OutputHead,
    pub(super) pool: Arc<Pool>,
    /// The one thread that the device is used from; None where the CPU's kernels compute.
    owner: Option<Arc<Pool>>,
    pub(super) planner: Planner,
    pub(super) stats: Arc<Stats>,
    /// Bytes of the weights, in the types that they are held in.
    weight_bytes: usize,
    /// Whether the checkpoint holds adapters of tasks beside the weights.
    has_task_adapters: bool,
    /// Whether the files hold the weights as codes.
    is_quantized: bool,
    /// Numbers that the network is made of.
    parameters: usize,
    /// Largest number of tokens of an input that the model's files allow; None for no limit.
    own_length: Option<usize>,
}

/// What a checkpoint gives.
struct LoadedWeights {
    encoder: Box<dyn Encoder>,
    head: OutputHead,
    bytes: usize,
    has_task_adapters: bool,
    parameters: usize,
}

impl Network {
    /// Loads the network that `config` describes, for such inputs; `head` gives what follows it, from its files and the width of
    /// its hidden states.
    pub(super) fn load(
        mut folder: ModelFolder,
        config: &TransformerConfig,
        options: &LoadOptions,
        inputs: InputKind,
        head: impl FnOnce(&ModelFolder, &Source, usize, Option<&Template>) -> Result<OutputHead>,
    ) -> Result<Self> {
        let weights = open_weights(&folder, config)?;
        let dtype = match weights.panels() {
            Some(panels) if options.dtype == "auto" => &panels.dtype,
            _ => &options.dtype,
        };
        // The CPU's kernels alone multiply in integers; and what tokenizing alone takes time of is done before a GPU has it.
        let by_itself = options.device == "auto"
            && (Dtype::named(dtype).is_some_and(Dtype::is_integer) || config.static_rules.is_some());
        let device = Device::choose(if by_itself { "cpu" } else { &options.device })?;
        let half_dtype = models::half_dtype(&config.architecture.model_type);
        let mut body = device.body(dtype, half_dtype).map_err(|error| match weights.panels() {
            Some(_) if options.dtype == "auto" => no_kernels(config),
            _ => error,
        })?;
        // Whoever has a model in few bits has no room for four times as many, and int8 adds little to what those have lost.
        let is_quantized = weights.is_quantized();
        if is_quantized && dtype == "auto" && matches!(body, Body::Cpu { .. }) {
            body = device.body("int8", half_dtype)?;
        }
        if let Some(panels) = weights.panels() {
            check_panels(panels, config, &body)?;
        }
        let pool = Arc::new(Pool::new(options.num_threads)?);
        let mut tokenizer = Tokenizer::load(&folder, config, inputs)?;
        folder.forget("tokenizer.json");
        let template = Template::load(config, inputs, &mut tokenizer)?;
        let head = |source: &Source, hidden| head(&folder, source, hidden, template.as_ref());
        let panels = options.panel_folder.as_ref().map(|root| root.join(&config.path));
        let loaded = Self::load_weights(weights, config, &device, &body, &pool, panels, head)?;
        let LoadedWeights { encoder, head, bytes, has_task_adapters, parameters } = loaded;
        tokenizer.require_rows(encoder.vocab_size())?;
        let hidden = encoder.hidden_size();
        let second_level =
            caches().iter().find(|cache| cache.level == 2).map_or(MIN_SECOND_LEVEL_BYTES, |cache| cache.bytes);
        let (pass_tokens, threads) = match device.has_owner() {
            true => (DEVICE_PASS_TOKENS, [1, 1]),
            false => (Planner::pass_tokens_for_cache(second_level, hidden), [pool.threads(), pool.team_threads()]),
        };
        let owner = device.has_owner().then(|| Pool::new(Some(1)).map(Arc::new)).transpose()?;
        let sharing = &options.sharing;
        let pass_tokens = sharing.max_batch_tokens.unwrap_or(pass_tokens);
        let shares_prefixes = encoder.decoder().is_some();
        let planner = Planner::new(hidden, threads, shares_prefixes, sharing.max_batch_size, pass_tokens);
        let position_limit = config.architecture.position_limit();
        let own_length = config.max_seq_length.or(tokenizer.own_length());
        Ok(Self {
            folder,
            device,
            body,
            tokenizer: Arc::new(tokenizer),
            template: template.map(Arc::new),
            position_limit,
            encoder,
            head,
            pool,
            owner,
            planner,
            stats: options.stats.clone(),
            weight_bytes: bytes,
            has_task_adapters,
            is_quantized,
            parameters,
            own_length,
        })
    }

    /// The same network with the weights of a task, from the same files: all else is shared.
    pub(super) fn with_task(
        &self,
        config: &TransformerConfig,
        head: impl FnOnce(&ModelFolder, &Source, usize) -> Result<OutputHead>,
    ) -> Result<Self> {
        let head = |source: &Source, hidden| head(&self.folder, source, hidden);
        let weights = open_weights(&self.folder, config)?;
        let loaded = Self::load_weights(weights, config, &self.device, &self.body, &self.pool, None, head)?;
        let LoadedWeights { encoder, head, bytes, has_task_adapters, parameters } = loaded;
        Ok(Self {
            folder: self.folder.clone(),
            device: self.device.clone(),
            body: self.body.clone(),
            tokenizer: self.tokenizer.clone(),
            template: self.template.clone(),
            position_limit: self.position_limit,
            encoder,
            head,
            pool: self.pool.clone(),
            owner: self.owner.clone(),
            planner: self.planner.anew(),
            stats: self.stats.clone(),
            weight_bytes: bytes,
            has_task_adapters,
            is_quantized: self.is_quantized,
            parameters,
            own_length: self.own_length,
        })
    }

    /// `panels`: where what is packed is written to.
    fn load_weights(
        mut weights: Weights,
        config: &TransformerConfig,
        device: &Device,
        body: &Body,
        pool: &Pool,
        panels: Option<PathBuf>,
        head: impl FnOnce(&Source, usize) -> Result<OutputHead>,
    ) -> Result<LoadedWeights> {
        weights.verify(pool.threads())?;
        if let Some(folder) = &panels {
            if weights.panels().is_some() {
                let message = "holds panels already: copy the folder, or quantize the original model";
                return Err(Error::model(inside(&config.path, PANEL_FILE), message));
            }
            if weights.has_task_adapters() {
                let message = "has adapters of tasks, which change its weights when a text asks for one: it cannot be quantized once";
                return Err(Error::model(inside(&config.path, "config.json"), message));
            }
            fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
            weights = weights.with_panel_writer(PanelWriter::new(folder)?);
        }
        if let Some(TaskAdapter { place, tasks, alpha }) = config.task_adapter {
            weights = weights.with_task(place, tasks, alpha)?;
        }
        let source = Source::new(config, &weights, body, pool.threads());
        let encoder = device.attempt(0, || models::load(&source))?;
        if panels.is_some() && encoder.bag().is_some() {
            let message =
                "a static embedding multiplies nothing, so that there is nothing to quantize: load it as it is";
            return Err(Error::model("modules.json", message));
        }
        let head = head(&source, encoder.hidden_size())?;
        weights.release();
        let (bytes, has_task_adapters) = (weights.packed_bytes(), weights.has_task_adapters());
        let parameters = weights.parameters();
        if let (Some(_), Body::Cpu { isa, dtype }) = (panels, body) {
            weights.write_panels(panel_layout(*isa), dtype.name().to_owned())?;
        }
        Ok(LoadedWeights { encoder, head, bytes, has_task_adapters, parameters })
    }

    /// Folder of the model's files.
    pub fn folder(&self) -> &ModelFolder {
        &self.folder
    }

    /// Device that computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Body of the network's blocks.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Width of a token's hidden state.
    pub fn hidden_size(&self) -> usize {
        self.encoder.hidden_size()
    }

    /// Number of threads that compute.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Bytes of the weights, without padding.
    pub fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// The GGUF file with the weights, or its parts; none where they are in others.
    pub fn gguf(&self) -> Result<Vec<PathBuf>> {
        let parts = if has_weights(&self.folder, "")? { Vec::new() } else { self.folder.gguf("")? };
        Ok(parts.into_iter().map(|(_, path)| path).collect())
    }

    /// Whether the files hold the weights as codes.
    pub fn is_quantized(&self) -> bool {
        self.is_quantized
    }

    /// Whether the checkpoint holds adapters of tasks beside the weights.
    pub(super) fn has_task_adapters(&self) -> bool {
        self.has_task_adapters
    }

    /// Numbers that the network is made of.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Largest number of tokens of an input, special ones included, that the model's files allow; None for no limit.
    pub fn own_length(&self) -> Option<usize> {
        self.own_length
    }

    /// Number of positions that the network has for an input's tokens; None for no limit.
    pub fn position_limit(&self) -> Option<usize> {
        self.position_limit
    }

    /// Largest number of tokens of an input: the one that is wanted, else that of the model's files; `usize::MAX` for no limit.
    pub(super) fn max_length(&self, wanted: Option<usize>) -> usize {
        wanted.or(self.own_length).unwrap_or(usize::MAX)
    }

    /// Refuses a largest number of tokens that the model has no positions for, or that leaves no room for text.
    pub fn check_max_length(&self, length: usize) -> Result<()> {
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
        self.tokenizer.check_max_length(length)
    }

    /// Tokenizer of the network's inputs.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Whether something is written around inputs: of a reranker, around pairs alone.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// Text of a token; None where there is no such token.
    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.token(id)
    }

    /// A call for some inputs, with the memory for what it gives.
    pub(super) fn call(
        &self,
        inputs: Box<dyn Inputs>,
        request: Request,
        rows: OutputRows,
        every_token: bool,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Call> {
        self.device.check()?;
        let max_length = self.max_length(request.max_length);
        let prompt_tokens = self.prompt_tokens(&request.prompt, max_length, check_cancel)?;
        let is_direct = !every_token && self.encoder.bag().is_some();
        Call::new(inputs, request, prompt_tokens, rows, every_token, is_direct)
    }

    /// How many tokens of a prompt are not pooled: see [`crate::pipeline::TokenEmbeddings::prompt_tokens`].
    pub(super) fn prompt_tokens(
        &self,
        prompt: &str,
        max_length: usize,
        check_cancel: CancelCheck<'_>,
    ) -> Result<usize> {
        match &self.head {
            OutputHead::Pipeline(pipeline) if pipeline.excludes_prompt() && !prompt.is_empty() => {
                self.tokenizer.prompt_tokens(prompt, max_length, check_cancel)
            }
            _ => Ok(0),
        }
    }

    /// Adds a call that ended well to the counters.
    pub(super) fn count_call(&self, call: &Call, report: &Report) {
        let &Report { tokenizing, computing, .. } = report;
        let times = CallTimes { total: call.start.elapsed(), tokenizing, computing };
        self.stats.add_call(times, report.truncated.len(), report.halved);
        if let Some(profile) = &call.request.profile {
            profile.add_call(call.start.elapsed(), self.pool.threads(), call.len(), report.tokens);
        }
    }

    /// Runs `work` on the next free thread of the CPU or, if `on_device`, on the thread that owns the device.
    pub(super) fn spawn(&self, on_device: bool, work: impl FnOnce() + Send + 'static) -> Result<()> {
        match (on_device, &self.owner) {
            (true, Some(owner)) => owner.spawn(work),
            _ => self.pool.spawn(work),
        }
    }

    /// The tokens of each input after the prompt, cut to `max_length` or, without one, to what the model's files allow.
    pub fn tokens(
        &self,
        inputs: &dyn Inputs,
        prompt: &str,
        max_length: Option<usize>,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Vec<Tokens>> {
        let limit = LengthLimit::of(self.max_length(max_length), Truncation::OfModel);
        self.pool.run_inline(check_cancel, |check_cancel| {
            let tokens = |i| {
                check_cancel()?;
                self.tokens_of(inputs.get(i), prompt, limit, check_cancel)
            };
            (0..inputs.len()).map(tokens).collect()
        })
    }

    /// How many tokens of an input are read.
    pub(super) fn limit(&self, request: &Request) -> LengthLimit {
        LengthLimit::of(self.max_length(request.max_length), request.truncation)
    }

    /// The tokens of one input after the prompt.
    pub(super) fn tokens_of(
        &self,
        input: Input,
        prompt: &str,
        limit: LengthLimit,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Tokens> {
        match (input, &self.template) {
            (input, Some(template)) => {
                let instruction = Some(prompt).filter(|prompt| !prompt.is_empty());
                template.tokens(&self.tokenizer, input, instruction, limit, check_cancel)
            }
            (input, _) if prompt.is_empty() => self.tokenizer.tokenize(input, limit, check_cancel),
            (Input::Text(text), _) => {
                let limit = limit.behind(prompt.len());
                self.tokenizer.tokenize(Input::Text(&[prompt, text].concat()), limit, check_cancel)
            }
            (Input::Pair(first, second), None) => {
                let limit = limit.behind(prompt.len());
                self.tokenizer.tokenize(Input::Pair(&[prompt, first].concat(), second), limit, check_cancel)
            }
        }
    }
}
