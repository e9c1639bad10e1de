//! Texts in, embeddings out.

use std::sync::Arc;

use crate::config::{Route, SentenceTransformersConfig};
use crate::engine::network::Network;
use crate::engine::options::LoadOptions;
use crate::engine::output_head::OutputHead;
use crate::engine::routes::Routes;
use crate::engine::shared_network::SharedNetwork;
use crate::files::ModelFolder;
use crate::kernels::Dtype;
use crate::nn::Body;
use crate::pipeline::Pipeline;
use crate::text::InputKind;
use crate::{Error, Result};

/// Models whose prompts are not pooled, though their files do not say so: sentence-transformers knows them by these names.
const INSTRUCTOR: [&str; 3] = ["hkunlp/instructor-base", "hkunlp/instructor-large", "hkunlp/instructor-xl"];

/// A model that turns texts into vectors.
pub struct Embedder {
    routes: Routes,
    config: SentenceTransformersConfig,
}

impl Embedder {
    pub fn load(folder: ModelFolder, options: &LoadOptions) -> Result<Self> {
        let mut config = SentenceTransformersConfig::read(&folder)?;
        if INSTRUCTOR.contains(&options.name.as_str()) {
            config.exclude_prompts();
        }
        let mut networks: Vec<Arc<SharedNetwork>> = Vec::new();
        for (i, route) in config.routes.iter().enumerate() {
            networks.push(match config.routes[..i].iter().position(|other| other == route) {
                Some(same) => networks[same].clone(),
                None => Arc::new(SharedNetwork::new(load_route(&folder, route, options)?, options.sharing.clone())),
            });
            let [first, this] = [0, i].map(|i| width(&networks[i]));
            if first != this {
                let message =
                    format!("the Router's routes give vectors of {first} and of {this} numbers, not to be compared");
                return Err(Error::model("modules.json", message));
            }
        }
        Ok(Self { routes: Routes::new(networks, config.router.clone()), config })
    }

    /// The networks with the queues of their calls.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// What the model's files say of prompts and similarity.
    pub fn config(&self) -> &SentenceTransformersConfig {
        &self.config
    }

    /// Width of an embedding.
    pub fn dimension(&self) -> usize {
        width(self.routes.main())
    }
}

fn load_route(folder: &ModelFolder, route: &Route, options: &LoadOptions) -> Result<Network> {
    let folder = folder.clone();
    Network::load(folder, &route.transformer, options, InputKind::Text, |folder, source, hidden, _| {
        let dtype = match source.at.body() {
            Body::Cpu { dtype, .. } => *dtype,
            // The modules after the network run on the CPU all the same.
            Body::Portable { .. } => Dtype::Float32,
        };
        Ok(OutputHead::Pipeline(Pipeline::load(folder, &route.modules, hidden, dtype)?))
    })
}

/// Width of what a network of an embedder gives.
fn width(network: &SharedNetwork) -> usize {
    match &network.network().head {
        OutputHead::Pipeline(pipeline) => pipeline.dimension(),
        OutputHead::Head(_) => unreachable!("an embedder was loaded with a pipeline"),
    }
}
