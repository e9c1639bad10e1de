//! Texts in, embeddings out.

use std::sync::Arc;

use crate::Result;
use crate::config::SentenceTransformersConfig;
use crate::engine::network::Network;
use crate::engine::options::LoadOptions;
use crate::engine::output_head::OutputHead;
use crate::engine::shared_network::SharedNetwork;
use crate::files::ModelFolder;
use crate::kernels::Dtype;
use crate::nn::Body;
use crate::pipeline::Pipeline;
use crate::text::InputKind;

/// Models whose prompts are not pooled, though their files do not say so: sentence-transformers knows them by these names.
const INSTRUCTOR: [&str; 3] = ["hkunlp/instructor-base", "hkunlp/instructor-large", "hkunlp/instructor-xl"];

/// A model that turns texts into vectors.
pub struct Embedder {
    network: Arc<SharedNetwork>,
    config: SentenceTransformersConfig,
}

impl Embedder {
    pub fn load(folder: ModelFolder, options: &LoadOptions) -> Result<Self> {
        let mut config = SentenceTransformersConfig::read(&folder)?;
        if INSTRUCTOR.contains(&options.name.as_str()) {
            config.exclude_prompts();
        }
        let network = Network::load(folder, &config.transformer, options, InputKind::Text, |folder, source, hidden, _| {
            let dtype = match source.at.body() {
                Body::Cpu { dtype, .. } => *dtype,
                // The modules after the network run on the CPU all the same.
                Body::Portable { .. } => Dtype::Float32,
            };
            Ok(OutputHead::Pipeline(Pipeline::load(folder, &config.modules, hidden, dtype)?))
        })?;
        Ok(Self { network: Arc::new(SharedNetwork::new(network, options.sharing.clone())), config })
    }

    /// The network with the queue of its calls.
    pub fn network(&self) -> &Arc<SharedNetwork> {
        &self.network
    }

    /// What the model's files say of prompts and similarity.
    pub fn config(&self) -> &SentenceTransformersConfig {
        &self.config
    }

    /// Width of an embedding.
    pub fn dimension(&self) -> usize {
        match &self.network.network().head {
            OutputHead::Pipeline(pipeline) => pipeline.dimension(),
            OutputHead::Head(_) => unreachable!("an embedder was loaded with a pipeline"),
        }
    }
}
