//! Texts in, embeddings out.

use std::sync::Arc;

use crate::config::{Route, SentenceTransformersConfig};
use crate::engine::network::Network;
use crate::engine::options::LoadOptions;
use crate::engine::output_head::OutputHead;
use crate::engine::routes::{RouteNetwork, Routes};
use crate::engine::shared_network::SharedNetwork;
use crate::files::ModelFolder;
use crate::kernels::Dtype;
use crate::models::Source;
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
        let mut networks: Vec<Arc<RouteNetwork>> = Vec::new();
        let mut width_of_all = None;
        for (i, route) in config.routes.iter().enumerate() {
            if let Some(same) = config.routes[..i].iter().position(|other| other == route) {
                networks.push(networks[same].clone());
                continue;
            }
            let network = load_route(&folder, route, options)?;
            let this = width(&network);
            let first = *width_of_all.get_or_insert(this);
            if first != this {
                let message =
                    format!("the Router's routes give vectors of {first} and of {this} numbers, not to be compared");
                return Err(Error::model("modules.json", message));
            }
            let network = Arc::new(SharedNetwork::new(network, options.sharing.clone()));
            networks.push(Arc::new(RouteNetwork::loaded(network)));
        }
        let base = networks[0].get()?.clone();
        if base.network().has_task_adapters() && !config.task_adapters.is_empty() {
            config.add_task_routes();
            let adapted = config.routes[..config.task_adapters.len()].iter().map(|route| {
                let (base, route, sharing) = (base.clone(), route.clone(), options.sharing.clone());
                let load = move || Ok(SharedNetwork::new(load_task(base.network(), &route)?, sharing.clone()));
                Arc::new(RouteNetwork::unloaded(load))
            });
            networks = adapted.chain(networks).collect();
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
        width(self.routes.main().network())
    }
}

fn load_route(folder: &ModelFolder, route: &Route, options: &LoadOptions) -> Result<Network> {
    let folder = folder.clone();
    Network::load(folder, &route.transformer, options, InputKind::Text, |folder, source, hidden, _| {
        pipeline(folder, source, hidden, route)
    })
}

/// The network of a task, from the files of `base`.
fn load_task(base: &Network, route: &Route) -> Result<Network> {
    base.with_task(&route.transformer, |folder, source, hidden| pipeline(folder, source, hidden, route))
}

fn pipeline(folder: &ModelFolder, source: &Source, hidden: usize, route: &Route) -> Result<OutputHead> {
    let dtype = match source.at.body() {
        Body::Cpu { dtype, .. } => *dtype,
        // The modules after the network run on the CPU all the same.
        Body::Portable { .. } | Body::Gpu { .. } => Dtype::Float32,
    };
    Ok(OutputHead::Pipeline(Pipeline::load(folder, &route.modules, hidden, dtype)?))
}

/// Width of what a network of an embedder gives.
fn width(network: &Network) -> usize {
    match &network.head {
        OutputHead::Pipeline(pipeline) => pipeline.dimension(),
        OutputHead::Head(_) => unreachable!("an embedder was loaded with a pipeline"),
    }
}
