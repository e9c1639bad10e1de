//! Pairs in, scores out.

use crate::config::{CrossEncoderConfig, Scoring};
use crate::engine::network::Network;
use crate::engine::options::LoadOptions;
use crate::engine::output_head::OutputHead;
use crate::engine::routes::Routes;
use crate::engine::shared_network::SharedNetwork;
use crate::files::ModelFolder;
use crate::kernels::Dtype;
use crate::models::{self, Source};
use crate::pipeline::Pipeline;
use crate::text::{Answers, InputKind, Template};
use crate::{Error, Result};

/// A model that says of two texts how well they belong together.
pub struct Reranker {
    routes: Routes,
    config: CrossEncoderConfig,
}

impl Reranker {
    /// `num_labels`: how many scores the caller expects for a pair; None for what the model has.
    pub fn load(folder: ModelFolder, options: &LoadOptions, num_labels: Option<usize>) -> Result<Self> {
        let config = CrossEncoderConfig::read(&folder)?;
        let labels = config.labels();
        if let Some(expected) = num_labels.filter(|&expected| expected != labels) {
            let message = format!("{expected} were asked for, and the model gives {labels}");
            return Err(Error::argument("num_labels", message));
        }
        let head = |folder: &ModelFolder, source: &Source, hidden, template: Option<&Template>| match &config.scoring {
            Scoring::Classifier { labels } => Ok(OutputHead::Head(models::load_head(source, *labels)?)),
            Scoring::Modules { modules, .. } => {
                // As every head that gives scores.
                Ok(OutputHead::Pipeline(Pipeline::load(folder, modules, hidden, Dtype::Float32)?))
            }
            Scoring::Logits(given) => {
                let (yes, no) = match (given, template.and_then(Template::answers)) {
                    (Some(given), _) => (given.true_token_id, given.false_token_id),
                    (None, Some(Answers { yes, no })) => (yes, no),
                    (None, None) => return Err(Error::model("tokenizer.json", "has no tokens \"yes\" and \"no\"")),
                };
                Ok(OutputHead::Head(models::load_logit_head(source, yes, no)?))
            }
        };
        let inputs = match config.scoring {
            // A folder that says what its model takes means pairs of texts, where that is not messages.
            Scoring::Logits(_) if config.transformer.is_saved && config.transformer.chat_template.is_none() => {
                InputKind::Pair
            }
            Scoring::Logits(_) => InputKind::Question,
            Scoring::Classifier { .. } | Scoring::Modules { .. } => InputKind::Pair,
        };
        let network = Network::load(folder, &config.transformer, options, inputs, head)?;
        Ok(Self { routes: Routes::one(SharedNetwork::new(network, options.sharing.clone())), config })
    }

    /// The network with the queue of its calls.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// What the model's files say of prompts and activation.
    pub fn config(&self) -> &CrossEncoderConfig {
        &self.config
    }
}
