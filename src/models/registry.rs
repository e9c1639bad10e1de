//! From the `model_type` of a config.json to the code that reads such a model.

use crate::Result;
use crate::config::{Object, TransformerConfig};
use crate::files::{ModelFolder, inside};
use crate::kernels::{Activation, Dtype};
use crate::models::{Encoder, Head, bert, deberta, distilbert, electra, modernbert, mpnet, qwen, roberta};
use crate::nn::{Body, Loader};
use crate::weights::Weights;

/// What a family is made from: its config.json and its checkpoint.
pub struct Source<'a> {
    pub config: Object,
    pub at: Loader<'a>,
}

/// Loads a head of one token's logit, or of the difference of two tokens'.
pub(super) type LogitHead = fn(&Source, &[u32]) -> Result<Head>;

/// The models that one file reads.
pub(super) struct Family {
    /// As config.json names them.
    pub(super) model_types: &'static [&'static str],
    pub(super) load: fn(&Source) -> Result<Box<dyn Encoder>>,
    /// The head of a classifier with so many labels; an error where the checkpoint has none.
    pub(super) head: fn(&Source, usize) -> Result<Head>,
    /// The head of a language model, where it is one, that gives the logit of one token, or the first less the second.
    pub(super) logit_head: Option<LogitHead>,
}

/// Every family: one line each.
const FAMILIES: &[Family] = &[
    bert::FAMILY,
    roberta::FAMILY,
    distilbert::FAMILY,
    electra::FAMILY,
    mpnet::FAMILY,
    deberta::FAMILY,
    modernbert::FAMILY,
    qwen::FAMILY,
];

/// What `dtype="auto"` stands for on a GPU. float16 has three significant bits more than bfloat16; but nothing beyond 65,504 fits.
const NARROW: [(&[&str], Dtype); 3] = [
    // They normalize after each block: states stay small.
    (&["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "mpnet", "deberta-v2"], Dtype::Float16),
    // It normalizes before each block; of overflow in inference nothing is reported.
    (&["modernbert"], Dtype::Float16),
    // Trained in bfloat16; in float16 they give NaN (QwenLM/Qwen3 issues 761 and 868, michaelfeil/infinity issue 328).
    (&["qwen2", "qwen3"], Dtype::Bfloat16),
];

/// Every `model_type` that is supported.
fn model_types() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|family| family.model_types.iter().copied())
}

impl<'a> Source<'a> {
    pub fn open(folder: &ModelFolder, config: &TransformerConfig, weights: &'a Weights, body: &Body) -> Result<Self> {
        let file = Object::require(folder, &inside(&config.path, "config.json"))?;
        Ok(Self { config: file, at: Loader::new(weights, body) })
    }

    /// An activation of the kernels, by the name that transformers has for it.
    pub(super) fn activation(&self, key: &str, default: &str) -> Result<Activation> {
        let name = self.config.text(key)?.unwrap_or(default);
        Activation::named(name).ok_or_else(|| {
            let known: Vec<_> = Activation::NAMES.iter().map(|(name, _)| *name).collect();
            self.config.error(key, format!("{name:?} is not supported; supported: {}", known.join(", ")))
        })
    }

    fn family(&self) -> Result<&'static Family> {
        let model_type = self.config.required("model_type", self.config.text("model_type")?)?;
        FAMILIES.iter().find(|family| family.model_types.contains(&model_type)).ok_or_else(|| {
            let known: Vec<_> = model_types().collect();
            self.config.error("model_type", format!("{model_type:?} is not supported; supported: {}", known.join(", ")))
        })
    }
}

/// The type of two bytes that suits the families with this `model_type`.
pub fn narrow(model_type: &str) -> Dtype {
    NARROW.iter().find(|(types, _)| types.contains(&model_type)).map_or(Dtype::Float16, |&(_, dtype)| dtype)
}

/// Loads the network.
pub fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    (source.family()?.load)(source)
}

/// Loads what makes `labels` scores of the network's hidden states.
pub fn load_head(source: &Source, labels: usize) -> Result<Head> {
    (source.family()?.head)(source, labels)
}

/// Loads what makes one score of the last hidden state of a language model: the logit of the token `true_id`, less that of
/// `false_id` if there is one. The rest of the output matrix is not read.
pub fn load_logit_head(source: &Source, true_id: u32, false_id: Option<u32>) -> Result<Head> {
    let family = source.family()?;
    let Some(logit_head) = family.logit_head else {
        let message = format!("a {} has no language-model head", family.model_types[0]);
        return Err(source.config.error("model_type", message));
    };
    let tokens: Vec<u32> = std::iter::once(true_id).chain(false_id).collect();
    logit_head(source, &tokens)
}

/// That the checkpoint has a classifier, of which `tensor` is one.
pub(super) fn require_head(source: &Source, tensor: &str) -> Result<()> {
    if source.at.contains(tensor) {
        return Ok(());
    }
    let saved_from = source.config.texts("architectures").ok().flatten().unwrap_or_default().join(", ");
    let from = if saved_from.is_empty() { String::new() } else { format!(" (saved from {saved_from})") };
    let message = format!(
        "the model has no classification head{from}: no tensor {tensor:?}; give a cross-encoder, or use Embedder"
    );
    Err(source.config.error("architectures", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_its_narrow_type() {
        let known: Vec<_> = NARROW.iter().flat_map(|(types, _)| types.iter().copied()).collect();
        assert!(model_types().all(|model_type| known.contains(&model_type)));
        assert_eq!(
            (known.len(), narrow("qwen3"), narrow("bert")),
            (model_types().count(), Dtype::Bfloat16, Dtype::Float16)
        );
    }
}
