//! Texts in, rows of one array out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use candle_core::{Storage, Tensor};

use crate::config::SentenceTransformersConfig;
use crate::engine::pool::{Check, Pool};
use crate::hub::{ModelFolder, Weights};
use crate::kernels::caches;
use crate::models::{self, Encoder, Source};
use crate::nn::Body;
use crate::pipeline::{Chunk, Pipeline};
use crate::profile::{Profile, Stage, Work, record, stage};
use crate::text::{Limits, PackedBatch, Tokenizer, Tokens, Wanted, cost, plan};
use crate::{Error, Result, device};

/// The least tokens for which a thread fetches all weights, unless there are fewer.
const PASS_TOKENS: usize = 256;

/// Bytes of second-level cache where the CPU does not tell: the least that servers of the last years have.
const SECOND_LEVEL: usize = 1 << 20;

/// Below this cost per thread, in tokens, fetching the weights takes longer than computing with them, and threads do better to
/// share them.
const SHARED_COST: usize = 48;

/// Texts are tokenized this many, or this many bytes of them, ahead of the network: so memory stays bounded.
const WINDOW_TEXTS: usize = 4096;
const WINDOW_BYTES: usize = 1 << 20;

/// Bytes of text that one thread tokenizes at a time.
const TOKENIZE_BYTES: usize = 16 << 10;

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

/// What is wanted of some texts.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// Comes before every text.
    pub prompt: &'a str,
    /// The most texts in a pass.
    pub batch_size: Option<usize>,
    /// Scale embeddings to length 1, after they are truncated.
    pub normalize: bool,
    /// Is told where the time goes.
    pub profile: Option<&'a Arc<Profile>>,
}

/// What a call found.
#[derive(Debug, Default, Clone)]
pub struct Report {
    pub tokens: usize,
    /// Rows whose text was longer than the model takes.
    pub truncated: Vec<usize>,
}

impl Report {
    /// Counts the texts from row `first` on.
    fn count(&mut self, first: usize, tokens: &[Tokens]) {
        self.tokens += tokens.iter().map(Tokens::len).sum::<usize>();
        self.truncated.extend((first..).zip(tokens).filter(|(_, tokens)| tokens.truncated).map(|(row, _)| row));
    }
}

/// Everything that is known of some texts, in the order of the caller.
#[derive(Debug, Default)]
pub struct TokenEmbeddings {
    pub tokens: Vec<Tokens>,
    /// `[all tokens, hidden]`
    pub hidden: Vec<f32>,
    /// `[texts, width]`
    pub embeddings: Vec<f32>,
}

/// A model that turns texts into vectors. Shared freely between threads; no call waits for another.
pub struct Embedder {
    folder: ModelFolder,
    config: SentenceTransformersConfig,
    body: Body,
    tokenizer: Tokenizer,
    encoder: Box<dyn Encoder>,
    pipeline: Pipeline,
    pool: Pool,
    /// Tokens that one thread computes at a time.
    pass_tokens: usize,
}

enum Job<'a> {
    Compute(Pass<'a>),
    Tokenize(Piece<'a>),
}

/// Texts, and where their tokens go.
struct Piece<'a> {
    texts: &'a [&'a str],
    tokens: &'a mut [Option<Tokens>],
}

/// Texts of one pass, and where their results go.
struct Pass<'a> {
    texts: Vec<&'a Tokens>,
    /// `[dimension]` each
    rows: Vec<&'a mut [f32]>,
    /// `[tokens, hidden]` each; empty where nobody wants them.
    hidden: Vec<&'a mut [f32]>,
}

impl Embedder {
    pub fn load(folder: ModelFolder, options: &LoadOptions) -> Result<Self> {
        let body = device::choose(&options.device, &options.dtype)?;
        let pool = Pool::new(options.num_threads)?;
        let config = SentenceTransformersConfig::read(&folder)?;
        let tokenizer = Tokenizer::load(&folder, &config.transformer)?;
        let weights = Weights::open(&folder, &config.transformer.path)?;
        let encoder = models::load(&Source::open(&folder, &config.transformer, &weights, &body)?)?;
        weights.release();
        if let Some((id, token)) = tokenizer.largest_id()
            && id as usize >= encoder.vocab_size()
        {
            let rows = encoder.vocab_size();
            let message = format!("token {token:?} has id {id}, but the model's embedding table has {rows} rows");
            return Err(Error::model("tokenizer.json", message));
        }
        let pipeline = Pipeline::load(&folder, &config.modules, encoder.hidden_size())?;
        // Enough to use every weight many times while it is in the cache, few enough that a layer's input and what attention
        // takes, 4 * hidden numbers for each token, stay there too.
        let second_level = caches().iter().find(|cache| cache.level == 2).map_or(SECOND_LEVEL, |cache| cache.bytes);
        let pass_tokens = (second_level / (4 * 4 * encoder.hidden_size())).max(PASS_TOKENS);
        let embedder = Self { folder, config, body, tokenizer, encoder, pipeline, pool, pass_tokens };
        if let Some(length) = options.max_seq_length {
            embedder.set_max_seq_length(length)?;
        }
        Ok(embedder)
    }

    /// Where the model's files are.
    pub fn folder(&self) -> &ModelFolder {
        &self.folder
    }

    /// What the model's files say of prompts and similarity.
    pub fn config(&self) -> &SentenceTransformersConfig {
        &self.config
    }

    /// What computes.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Width of an embedding.
    pub fn dimension(&self) -> usize {
        self.pipeline.dimension()
    }

    /// Width of a token's hidden state.
    pub fn hidden_size(&self) -> usize {
        self.encoder.hidden_size()
    }

    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// The most tokens of a text, special ones included; None for no limit.
    pub fn max_seq_length(&self) -> Option<usize> {
        self.tokenizer.max_length()
    }

    pub fn set_max_seq_length(&self, length: usize) -> Result<()> {
        if let Some(limit) = self.config.transformer.architecture.position_limit()
            && length > limit
        {
            return Err(Error::argument(
                "max_seq_length",
                format!("{length} is more than the {limit} positions that the model has"),
            ));
        }
        self.tokenizer.set_max_length(length)
    }

    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.token(id)
    }

    /// Writes the embedding of `texts[i]` to the `i`-th part of `out`, `[texts, width]` with a width up to the dimension: a smaller one
    /// keeps the first elements. `progress` is told on this thread, every now and then, how many texts are done; its error ends the call.
    pub fn encode(
        &self,
        texts: &[&str],
        request: &Request,
        out: &mut [f32],
        progress: &dyn Fn(usize) -> Result<()>,
    ) -> Result<Report> {
        let start = Instant::now();
        let mut report = Report::default();
        let width = out.len() / texts.len().max(1);
        let mut rest = out;
        let mut done = 0;
        let mut windows = windows(texts).peekable();
        let mut tokens = match windows.peek() {
            Some(first) => self.tokenize(first, request, &|| progress(0))?,
            None => Vec::new(),
        };
        while let Some(window) = windows.next() {
            let (rows, next) = rest.split_at_mut(window.len() * width);
            rest = next;
            report.count(done, &tokens);
            let rows = rows.chunks_mut(width.max(1)).collect();
            let next = windows.peek().copied().unwrap_or_default();
            tokens = self.compute(&tokens, request, rows, vec![], next, &|n| progress(done + n))?;
            done += window.len();
        }
        progress(done)?;
        self.count_call(start, request, texts.len(), &report);
        Ok(report)
    }

    /// The hidden states of all tokens, beside embeddings of `width`.
    pub fn encode_tokens(
        &self,
        texts: &[&str],
        request: &Request,
        width: usize,
        progress: &dyn Fn(usize) -> Result<()>,
    ) -> Result<(TokenEmbeddings, Report)> {
        let start = Instant::now();
        let tokens = self.tokenize(texts, request, &|| progress(0))?;
        let mut report = Report::default();
        report.count(0, &tokens);
        let mut hidden = vec![0.0; report.tokens * self.hidden_size()];
        let mut embeddings = vec![0.0; texts.len() * width];
        let mut rest = hidden.as_mut_slice();
        let parts = tokens.iter().map(|tokens| {
            let (part, next) = std::mem::take(&mut rest).split_at_mut(tokens.len() * self.hidden_size());
            rest = next;
            part
        });
        let (parts, rows) = (parts.collect(), embeddings.chunks_mut(width).collect());
        self.compute(&tokens, request, rows, parts, &[], progress)?;
        progress(texts.len())?;
        self.count_call(start, request, texts.len(), &report);
        Ok((TokenEmbeddings { tokens, hidden, embeddings }, report))
    }

    fn count_call(&self, start: Instant, request: &Request, texts: usize, report: &Report) {
        if let Some(profile) = request.profile {
            profile.add_call(start.elapsed(), self.pool.threads(), texts, report.tokens);
        }
    }

    /// The tokens of each text after the prompt.
    pub fn tokenize(&self, texts: &[&str], request: &Request, check: Check<'_>) -> Result<Vec<Tokens>> {
        let mut tokens = vec![None; texts.len()];
        let work =
            |piece, pulse: Check<'_>| record(request.profile, || self.tokenize_piece(piece, request.prompt, pulse));
        self.pool.spread(pieces(texts, &mut tokens), check, work)?;
        Ok(all(tokens))
    }

    fn tokenize_piece(&self, piece: Piece, prompt: &str, pulse: Check<'_>) -> Result<()> {
        let bytes = piece.texts.iter().map(|text| text.len()).sum();
        stage(Stage::Tokenize, || Work::bytes(bytes), || self.fill(piece, prompt, pulse))
    }

    fn fill(&self, piece: Piece, prompt: &str, pulse: Check<'_>) -> Result<()> {
        let mut joined = String::new();
        for (text, tokens) in piece.texts.iter().zip(piece.tokens) {
            pulse()?;
            let text = if prompt.is_empty() {
                text
            } else {
                joined.clear();
                joined.extend([prompt, text]);
                joined.as_str()
            };
            *tokens = Some(self.tokenizer.tokenize(text)?);
        }
        Ok(())
    }

    /// Computes the texts of `tokens`, and gives the tokens of those of `next`: threads that find nothing left to compute
    /// tokenize.
    fn compute(
        &self,
        tokens: &[Tokens],
        request: &Request,
        rows: Vec<&mut [f32]>,
        hidden: Vec<&mut [f32]>,
        next: &[&str],
        progress: &dyn Fn(usize) -> Result<()>,
    ) -> Result<Vec<Tokens>> {
        let lengths: Vec<usize> = tokens.iter().map(Tokens::len).collect();
        let costs: usize = lengths.iter().map(|&length| cost(length, self.hidden_size())).sum();
        let crew = self.pool.crew();
        let last = next.is_empty();
        let small = last && costs < crew * SHARED_COST;
        let limits = Limits {
            tokens: self.pass_tokens,
            texts: request.batch_size.unwrap_or(usize::MAX),
            threads: if small { 1 } else { self.pool.threads() },
            hidden: self.hidden_size(),
        };
        let passes = plan(&lengths, &limits);
        let prompt_tokens = match self.pipeline.excludes_prompt() && !request.prompt.is_empty() {
            true => self.tokenizer.prompt_tokens(request.prompt)?,
            false => 0,
        };
        let mut rows: Vec<_> = rows.into_iter().map(Some).collect();
        let mut hidden: Vec<_> = hidden.into_iter().map(Some).collect();
        let mut next_tokens = vec![None; next.len()];
        let together = small || last && passes.len() < crew;
        let passes = passes.iter().map(|pass| {
            Job::Compute(Pass {
                texts: pass.iter().map(|&i| &tokens[i]).collect(),
                rows: pass.iter().filter_map(|&i| rows[i].take()).collect(),
                hidden: pass.iter().filter_map(|&i| hidden.get_mut(i)?.take()).collect(),
            })
        });
        let jobs = passes.chain(pieces(next, &mut next_tokens).into_iter().map(Job::Tokenize)).collect();
        let done = AtomicUsize::new(0);
        let check = || progress(done.load(Ordering::Relaxed));
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
        match together {
            true => self.pool.gather(jobs, &check, work)?,
            false => self.pool.spread(jobs, &check, work)?,
        }
        Ok(all(next_tokens))
    }

    fn pass(&self, pass: Pass, prompt_tokens: usize, normalize: bool, pulse: Check<'_>) -> Result<()> {
        let Pass { texts, mut rows, hidden: parts } = pass;
        let batch = PackedBatch::new(texts.into_iter());
        let hidden = match batch.tokens() {
            0 => Tensor::zeros((0, self.hidden_size()), candle_core::DType::F32, &candle_core::Device::Cpu)?,
            _ => self.encoder.forward(&batch, Wanted::All, pulse)?,
        };
        read(&hidden, |hidden| {
            let chunk = Chunk { hidden, offsets: &batch.offsets, ids: &batch.ids, prompt_tokens };
            let written: usize = rows.iter().map(|row| row.len()).sum();
            let work = || Work::bytes(4 * (hidden.len() + written));
            stage(Stage::Pool, work, || self.pipeline.apply(&chunk, normalize, &mut rows));
            let mut rest = hidden;
            for (part, text) in parts.into_iter().zip(batch.offsets.windows(2)) {
                let (now, later) = rest.split_at(part.len());
                part.copy_from_slice(now);
                self.pipeline.weigh_tokens(&batch.ids[text[0] as usize..text[1] as usize], part);
                rest = later;
            }
        })
    }
}

/// Cuts texts so that neither their number nor their bytes are large; a longer text is a window of its own.
fn windows<'a, 't>(texts: &'a [&'t str]) -> impl Iterator<Item = &'a [&'t str]> {
    let mut rest = texts;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |text: &&&str| {
            bytes += text.len();
            bytes <= WINDOW_BYTES
        };
        let count = rest.iter().take(WINDOW_TEXTS).take_while(fits).count().max(1).min(rest.len());
        let (window, later) = rest.split_at(count);
        rest = later;
        (!window.is_empty()).then_some(window)
    })
}

/// Cuts texts into pieces that one thread tokenizes at a time.
fn pieces<'a>(mut texts: &'a [&'a str], mut tokens: &'a mut [Option<Tokens>]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    while !texts.is_empty() {
        let mut bytes = 0;
        let fits = |text: &&&str| {
            bytes += text.len();
            bytes <= TOKENIZE_BYTES
        };
        let count = texts.iter().take_while(fits).count().max(1);
        let (now, later) = texts.split_at(count);
        let (now_tokens, later_tokens) = tokens.split_at_mut(count);
        pieces.push(Piece { texts: now, tokens: now_tokens });
        (texts, tokens) = (later, later_tokens);
    }
    pieces
}

/// After every piece is done.
fn all(tokens: Vec<Option<Tokens>>) -> Vec<Tokens> {
    tokens.into_iter().map(|tokens| tokens.expect("every piece was done")).collect()
}

/// Lends the values of a contiguous float32 tensor, without a copy where they are in this machine's memory.
fn read(tensor: &Tensor, f: impl FnOnce(&[f32])) -> Result<()> {
    let (storage, layout) = tensor.storage_and_layout();
    if let (Storage::Cpu(values), Some((start, end))) = (&*storage, layout.contiguous_offsets())
        && let Ok(values) = values.as_slice::<f32>()
    {
        f(&values[start..end]);
        return Ok(());
    }
    f(&tensor.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()?);
    Ok(())
}
