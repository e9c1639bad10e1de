//! A model that is served: its networks, and what a request may leave to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Routes, Stats};
use crate::serve::fault::Fault;

/// Names of the prompts and tasks of what is searched with, and of what is searched, in the order in which they are looked for.
const QUERY_NAMES: &[&str] = &["query"];
const DOCUMENT_NAMES: &[&str] = &["document", "passage", "corpus"];

/// When clients are asked to come again that find no room in a queue.
const SOONEST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// A loaded model, as requests use it.
pub struct ServedModel {
    /// The networks with the queues of their calls.
    pub routes: Routes,
    pub role: Role,
    /// Texts to put before others, by name.
    pub prompts: BTreeMap<String, String>,
    /// The prompt of requests that name none.
    pub default_prompt_name: Option<String>,
    /// Most tokens of an input; None for what the files say.
    pub max_length: Option<usize>,
    /// Whether vectors are ever scaled to length 1.
    pub normalize: bool,
    /// Names of a reranker's scores.
    pub label_names: Vec<String>,
    /// Names of an embedder's pooling modes.
    pub pooling: Option<String>,
    /// The commit of the hub that its files are of.
    pub revision: Option<String>,
    /// Counters of the model's calls.
    pub stats: Arc<Stats>,
}

/// What a model gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Embedder {
        /// Width of a vector.
        dimension: usize,
    },
    Reranker {
        /// Scores of a pair.
        labels: usize,
        activation: ScoreActivation,
    },
}

/// What turns logits into scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreActivation {
    Identity,
    Sigmoid,
    Softmax,
    Tanh,
}

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// What the model does without being told.
    Usual,
    Query,
    Document,
}

impl ScoreActivation {
    /// By the name that Python knows it by.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "identity" => Self::Identity,
            "sigmoid" => Self::Sigmoid,
            "softmax" => Self::Softmax,
            "tanh" => Self::Tanh,
            _ => return None,
        })
    }

    /// Scores of the logits of one pair, in their place.
    pub(super) fn apply(self, logits: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::Sigmoid => logits.iter_mut().for_each(|logit| *logit = sigmoid(*logit)),
            Self::Tanh => logits.iter_mut().for_each(|logit| *logit = logit.tanh()),
            Self::Softmax => {
                let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                logits.iter_mut().for_each(|logit| *logit = (*logit - largest).exp());
                let sum: f32 = logits.iter().sum();
                logits.iter_mut().for_each(|share| *share /= sum);
            }
        }
    }
}

/// `1 / (1 + exp(-logit))`, which no logit makes overflow.
pub(super) fn sigmoid(logit: f32) -> f32 {
    let tail = (-logit.abs()).exp();
    if logit >= 0.0 { 1.0 / (1.0 + tail) } else { tail / (1.0 + tail) }
}

impl Role {
    pub(super) fn gives_vectors(&self) -> bool {
        matches!(self, Self::Embedder { .. })
    }

    /// Whether pairs have one score, by which they can be ranked.
    pub(super) fn ranks(&self) -> bool {
        matches!(self, Self::Reranker { labels: 1, .. })
    }

    pub(super) fn gives_scores(&self) -> bool {
        matches!(self, Self::Reranker { .. })
    }
}

impl ServedModel {
    /// Width of a vector.
    ///
    /// # Errors
    /// A fault where the model gives none.
    pub(super) fn dimension(&self) -> Result<usize, Fault> {
        match self.role {
            Role::Embedder { dimension } => Ok(dimension),
            Role::Reranker { .. } => {
                let message = "this one scores pairs; ask for an embedding model, or POST to /rerank";
                Err(Fault::unsuited(message))
            }
        }
    }

    /// How long what waits takes at the rate of the last minute.
    pub(super) fn queue_time(&self) -> Duration {
        let (seconds, inputs, tokens) = self.stats.recent();
        let depth = self.routes.depth();
        // Inputs that are not tokenized yet have no cost.
        let shares = [(depth.cost, tokens), (depth.inputs, inputs)];
        let times = shares.map(|(waiting, done)| seconds * waiting as f64 / done.max(1) as f64);
        let longest = times.into_iter().fold(0.0, f64::max);
        Duration::try_from_secs_f64(longest).unwrap_or(LONGEST_RETRY).clamp(SOONEST_RETRY, LONGEST_RETRY)
    }

    /// The most tokens of an input that are read; None for no limit.
    pub(super) fn max_tokens(&self) -> Result<Option<usize>, Fault> {
        Ok(self.max_length.or(self.routes.max_length(None)?))
    }

    /// The one score that each pair gets, as an activation.
    ///
    /// # Errors
    /// A fault where the model gives vectors, or several scores.
    pub(super) fn ranking(&self) -> Result<ScoreActivation, Fault> {
        match self.role {
            Role::Reranker { labels: 1, activation } => Ok(activation),
            Role::Reranker { labels, .. } => {
                Err(Fault::unsuited(format!("gives {labels} scores for a pair; ranking needs one")))
            }
            Role::Embedder { .. } => {
                Err(Fault::unsuited("this one gives vectors; ask for a reranker, or POST to /v1/embeddings"))
            }
        }
    }

    /// Scores of an input.
    ///
    /// # Errors
    /// A fault where the model gives vectors.
    pub(super) fn labels(&self) -> Result<usize, Fault> {
        match self.role {
            Role::Reranker { labels, .. } => Ok(labels),
            Role::Embedder { .. } => Err(Fault::unsuited("this one gives vectors; ask for a classifier")),
        }
    }

    /// The prompt of that name, or else the default one, which may be empty.
    ///
    /// # Errors
    /// A fault, about `parameter`, that lists the names where there is no such prompt.
    pub(super) fn prompt(&self, parameter: &str, name: Option<&str>) -> Result<String, Fault> {
        let Some(name) = name.or(self.default_prompt_name.as_deref()) else { return Ok(String::new()) };
        match self.prompts.get(name) {
            Some(prompt) => Ok(prompt.clone()),
            None => {
                let names: Vec<_> = self.prompts.keys().map(String::as_str).collect();
                let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                Err(Fault::value(parameter, format!("the model has no prompt {name:?}; it has {known}")))
            }
        }
    }

    /// The prompt and the task of texts for `purpose`, as `Embedder.encode_query` and `encode_document` take them.
    pub(super) fn prompt_and_task(&self, purpose: Purpose) -> Result<(String, Option<&'static str>), Fault> {
        let (names, task) = match purpose {
            Purpose::Usual => return Ok((self.prompt("model", None)?, None)),
            Purpose::Query => (QUERY_NAMES, "query"),
            Purpose::Document => (DOCUMENT_NAMES, "document"),
        };
        let name = names.iter().find(|&&name| self.prompts.contains_key(name));
        Ok((self.prompt("model", name.copied())?, self.routes.has_tasks().then_some(task)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_are_those_of_python() {
        let mut logits = [0.0, 800.0, -800.0];
        ScoreActivation::Sigmoid.apply(&mut logits);
        assert_eq!(logits, [0.5, 1.0, 0.0]);
        let mut logits = [1000.0, 1000.0];
        ScoreActivation::Softmax.apply(&mut logits);
        assert_eq!(logits, [0.5, 0.5]);
        assert_eq!(ScoreActivation::named("tanh"), Some(ScoreActivation::Tanh));
        assert_eq!(ScoreActivation::named("relu"), None);
    }
}
