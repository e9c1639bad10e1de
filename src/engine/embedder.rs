//! Texts in, embeddings out.

use std::sync::Arc;
use std::time::Instant;

use crate::Result;
use crate::config::SentenceTransformersConfig;
use crate::engine::finish::Finish;
use crate::engine::network::{LoadOptions, Network, Report, Request};
use crate::engine::pass::Results;
use crate::hub::ModelFolder;
use crate::pipeline::Pipeline;
use crate::text::{Input, InputKind, Tokens};

/// Everything that is known of some texts, in the order of the caller.
#[derive(Debug, Default)]
pub struct TokenEmbeddings {
    pub tokens: Vec<Tokens>,
    /// `[all tokens, hidden]`
    pub hidden: Vec<f32>,
    /// `[texts, width]`
    pub embeddings: Vec<f32>,
}

/// A model that turns texts into vectors.
pub struct Embedder {
    network: Arc<Network>,
    config: SentenceTransformersConfig,
}

impl Embedder {
    pub fn load(folder: ModelFolder, options: &LoadOptions) -> Result<Self> {
        let config = SentenceTransformersConfig::read(&folder)?;
        let network = Network::load(folder, &config.transformer, options, InputKind::Text, |folder, _, hidden, _| {
            Ok(Finish::Pipeline(Pipeline::load(folder, &config.modules, hidden)?))
        })?;
        Ok(Self { network: Arc::new(network), config })
    }

    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// What the model's files say of prompts and similarity.
    pub fn config(&self) -> &SentenceTransformersConfig {
        &self.config
    }

    /// Width of an embedding.
    pub fn dimension(&self) -> usize {
        match self.network.finish() {
            Finish::Pipeline(pipeline) => pipeline.dimension(),
            Finish::Head(_) => unreachable!("an embedder was loaded with a pipeline"),
        }
    }

    /// Writes the embedding of `texts[i]` to the `i`-th part of `out`, `[texts, width]` with a width up to the dimension: a smaller one
    /// keeps the first elements. `progress` is told on this thread, every now and then, how many texts are done; its error ends the call.
    pub fn encode(
        &self,
        texts: &[Input],
        request: &Request,
        out: &mut [f32],
        progress: &dyn Fn(usize) -> Result<()>,
    ) -> Result<Report> {
        self.network.run(texts, request, out, progress)
    }

    /// The hidden states of all tokens, beside embeddings of `width`.
    pub fn encode_tokens(
        &self,
        texts: &[Input],
        request: &Request,
        width: usize,
        progress: &dyn Fn(usize) -> Result<()>,
    ) -> Result<(TokenEmbeddings, Report)> {
        let start = Instant::now();
        let (network, hidden_size) = (&self.network, self.network.hidden_size());
        let tokens = network.tokenize(texts, request, &|| progress(0))?;
        let report = Report {
            tokens: tokens.iter().map(Tokens::len).sum(),
            truncated: (0..tokens.len()).filter(|&row| tokens[row].truncated).collect(),
        };
        let mut hidden = vec![0.0; report.tokens * hidden_size];
        let mut embeddings = vec![0.0; texts.len() * width];
        let mut rest = hidden.as_mut_slice();
        let parts = tokens.iter().map(|tokens| {
            let (part, next) = std::mem::take(&mut rest).split_at_mut(tokens.len() * hidden_size);
            rest = next;
            part
        });
        let results = Results { hidden: parts.collect(), rows: embeddings.chunks_mut(width).collect() };
        network.compute(texts, &tokens, request, results, &[], progress)?;
        progress(texts.len())?;
        network.count_call(start, request, texts.len(), &report);
        Ok((TokenEmbeddings { tokens, hidden, embeddings }, report))
    }
}
