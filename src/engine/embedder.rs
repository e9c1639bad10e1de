//! Texts in, embeddings out.

use std::sync::Arc;

use crate::Result;
use crate::config::SentenceTransformersConfig;
use crate::engine::finish::Finish;
use crate::engine::network::{LoadOptions, Network};
use crate::files::ModelFolder;
use crate::pipeline::Pipeline;
use crate::text::InputKind;

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
}
