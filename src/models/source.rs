//! A model as a family reads it: its config.json and its checkpoint, with the readings that several families share.

use crate::Result;
use crate::config::{Object, TransformerConfig};
use crate::kernels::Activation;
use crate::nn::{Body, Loader};
use crate::weights::Weights;

/// What a network and its head are loaded from.
pub struct Source<'a> {
    /// config.json
    pub config: Object,
    /// The root of the checkpoint.
    pub at: Loader<'a>,
}

impl<'a> Source<'a> {
    /// `threads`: for what is loaded.
    pub fn new(config: &TransformerConfig, weights: &'a Weights, body: &Body, threads: usize) -> Self {
        Self { config: config.architecture.config.clone(), at: Loader::new(weights, body).with_threads(threads) }
    }

    /// An activation of the kernels, by the name that transformers has for it.
    pub(super) fn activation(&self, key: &str, default: &str) -> Result<Activation> {
        self.activation_named(key, self.config.text(key)?.unwrap_or(default))
    }

    /// As `activation`, of a name that is a part of what config.json has under that key.
    pub(super) fn activation_named(&self, key: &str, name: &str) -> Result<Activation> {
        Activation::named(name).ok_or_else(|| {
            let known: Vec<_> = Activation::NAMES.iter().map(|(name, _)| *name).collect();
            self.config.error(key, format!("{name:?} is not supported; supported: {}", known.join(", ")))
        })
    }

    /// The padding token, from whose id RoBERTa's kin count positions.
    pub(super) fn padding_token(&self, vocab: usize) -> Result<u32> {
        Ok(self.config.integer("pad_token_id", 0..=vocab - 1)?.unwrap_or(1) as u32)
    }

    /// The number that a normalization adds to a variance or a mean square.
    pub(super) fn epsilon(&self, key: &str, default: f64) -> Result<f32> {
        let epsilon = self.config.number(key)?.unwrap_or(default);
        match (0.0..1.0).contains(&epsilon) {
            true => Ok(epsilon as f32),
            false => Err(self.config.error(key, format!("expected 0 to 1, found {epsilon}"))),
        }
    }

    /// Rows of the table of token types, `default` where config.json does not say; None where there is no such table.
    pub(super) fn token_types(&self, default: usize) -> Result<Option<usize>> {
        let rows = self.config.integer("type_vocab_size", 0..=1 << 16)?.unwrap_or(default);
        Ok(Some(rows).filter(|&rows| rows > 0))
    }

    /// An error where the checkpoint has no classification head, of which `tensor` is one.
    pub(super) fn require_head(&self, tensor: &str) -> Result<()> {
        if self.at.contains(tensor) {
            return Ok(());
        }
        let saved_from = self.config.texts("architectures").ok().flatten().unwrap_or_default().join(", ");
        let from = if saved_from.is_empty() { String::new() } else { format!(" (saved from {saved_from})") };
        let message = format!(
            "the model has no classification head{from}: no tensor {tensor:?}; give a cross-encoder, or use Embedder"
        );
        Err(self.config.error("architectures", message))
    }
}
