//! What config.json says of the layers of a post-norm network (post_norm.rs), under the keys of each family.

use crate::Result;
use crate::config::Object;
use crate::kernels::Activation;
use crate::models::source::Source;

/// What config.json says of the layers.
#[derive(Debug, Clone, Copy)]
pub(super) struct PostNormConfig {
    /// Rows of the table of words.
    pub(super) vocab: usize,
    /// Width of a hidden state.
    pub(super) hidden: usize,
    pub(super) layers: usize,
    /// Divides `hidden`.
    pub(super) heads: usize,
    /// Width between the two products of a feed-forward block.
    pub(super) intermediate: usize,
    pub(super) activation: Activation,
    /// The number that normalizations add to a variance.
    pub(super) eps: f32,
    /// What scores of attention are multiplied by.
    pub(super) scale: f32,
}

/// The keys of config.json for [`PostNormConfig`], each with its default.
pub(super) struct PostNormKeys {
    pub(super) vocab: (&'static str, usize),
    pub(super) hidden: (&'static str, usize),
    pub(super) layers: (&'static str, usize),
    pub(super) heads: (&'static str, usize),
    pub(super) intermediate: (&'static str, usize),
    pub(super) activation: (&'static str, &'static str),
    pub(super) eps: (&'static str, f64),
}

/// BERT's keys, and the sizes of BERT-base.
pub(super) const BERT_KEYS: PostNormKeys = PostNormKeys {
    vocab: ("vocab_size", 30_522),
    hidden: ("hidden_size", 768),
    layers: ("num_hidden_layers", 12),
    heads: ("num_attention_heads", 12),
    intermediate: ("intermediate_size", 3072),
    activation: ("hidden_act", "gelu"),
    eps: ("layer_norm_eps", 1e-12),
};

impl PostNormConfig {
    pub(super) fn read(source: &Source, keys: &PostNormKeys) -> Result<Self> {
        Self::with_activation(source, keys, source.activation(keys.activation.0, keys.activation.1)?)
    }

    /// As `read`, with an activation that config.json says in another way than by its name.
    pub(super) fn with_activation(source: &Source, keys: &PostNormKeys, activation: Activation) -> Result<Self> {
        let file = &source.config;
        let size = |(key, default), max| file.size(key, max, default);
        let (hidden, heads) = (size(keys.hidden, 1 << 16)?, size(keys.heads, 1 << 10)?);
        let config = Self {
            vocab: size(keys.vocab, 1 << 24)?,
            hidden,
            layers: size(keys.layers, 1 << 10)?,
            heads,
            intermediate: size(keys.intermediate, 1 << 20)?,
            activation,
            eps: source.epsilon(keys.eps.0, keys.eps.1)?,
            scale: 1.0 / ((hidden / heads) as f32).sqrt(),
        };
        if !config.hidden.is_multiple_of(config.heads) {
            let message = format!("{} does not divide {}, {}", config.heads, keys.hidden.0, config.hidden);
            return Err(file.error(keys.heads.0, message));
        }
        if file.boolean("is_decoder")? == Some(true) {
            return Err(file.error("is_decoder", "a network of this kind that looks only backwards is not supported"));
        }
        Ok(config)
    }

    pub(super) fn head_dim(&self) -> usize {
        self.hidden / self.heads
    }

    /// An error where heads are of an odd width, whose numbers rotary positions cannot turn in pairs. `keys`: those that it
    /// was read by.
    pub(super) fn require_even_heads(&self, file: &Object, keys: &PostNormKeys) -> Result<()> {
        if self.head_dim().is_multiple_of(2) {
            return Ok(());
        }
        let message = format!("{} does not divide {}, {}, into even parts", self.heads, keys.hidden.0, self.hidden);
        Err(file.error(keys.heads.0, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};

    fn read(text: &str) -> Result<PostNormConfig> {
        with_source(text, |source| PostNormConfig::read(source, &BERT_KEYS))
    }

    #[test]
    fn what_is_left_out_is_bert_base() {
        let base = read("{}").unwrap();
        assert_eq!((base.hidden, base.layers, base.heads, base.intermediate, base.vocab), (768, 12, 12, 3072, 30_522));
        assert_eq!((base.activation, base.eps), (Activation::Gelu, 1e-12));
    }

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let cases = [
            (r#"{"hidden_size": 0}"#, "hidden_size"),
            (r#"{"hidden_size": 1152921504606846976}"#, "hidden_size"),
            (r#"{"hidden_size": 1e300}"#, "hidden_size"),
            (r#"{"hidden_size": "768"}"#, "hidden_size"),
            (r#"{"vocab_size": -1}"#, "vocab_size"),
            (r#"{"num_hidden_layers": 4294967296}"#, "num_hidden_layers"),
            (r#"{"num_attention_heads": 0}"#, "num_attention_heads"),
            (r#"{"num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"intermediate_size": []}"#, "intermediate_size"),
            (r#"{"layer_norm_eps": -1.0}"#, "layer_norm_eps"),
            (r#"{"layer_norm_eps": 1e300}"#, "layer_norm_eps"),
            (r#"{"hidden_act": {"name": "gelu"}}"#, "hidden_act"),
            (r#"{"hidden_act": "gelu_fancy"}"#, "hidden_act"),
            (r#"{"is_decoder": true}"#, "is_decoder"),
        ];
        assert_refuses(|source| PostNormConfig::read(source, &BERT_KEYS), &cases);
    }
}
