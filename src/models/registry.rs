//! From the `model_type` of a config.json to the code that reads such a model.

use crate::config::TransformerConfig;
use crate::hub::{ModelFolder, Weights};
use crate::models::{Encoder, bert};
use crate::nn::{Body, Loader};
use crate::{Error, Result};

/// Reads config.json in the subfolder, and the weights.
type Load = fn(&ModelFolder, &str, &Loader) -> Result<Box<dyn Encoder>>;

/// Every family: one line each.
const FAMILIES: &[(&str, Load)] = &[("bert", bert::load)];

/// Loads the network of a Transformer module.
pub fn load(
    folder: &ModelFolder,
    config: &TransformerConfig,
    weights: &Weights,
    body: &Body,
) -> Result<Box<dyn Encoder>> {
    let model_type = &config.architecture.model_type;
    let Some((_, load)) = FAMILIES.iter().find(|(name, _)| name == model_type) else {
        let known: Vec<_> = FAMILIES.iter().map(|(name, _)| *name).collect();
        let message = format!("model_type {model_type:?} is not supported; supported: {}", known.join(", "));
        return Err(Error::model("config.json", message));
    };
    load(folder, &config.path, &Loader::new(weights, body))
}
