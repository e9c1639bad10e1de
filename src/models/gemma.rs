//! Gemma (Gemma Team 2024) and Gemma 3 (Gemma Team 2025; EmbeddingGemma: Vera et al. 2025; reference: transformers'
//! `GemmaModel`, `Gemma3TextModel` and their `ForCausalLM`): Llama's decoder with norms by `1 + weight` and embeddings
//! times the root of their width.
//!
//! Gemma 3 normalizes what each block gives as well, and each head of queries and keys. Of its layers five of six see a
//! window, with angles of their own, the sixth all. EmbeddingGemma looks both ways: `sliding_window` is the width of its
//! windows, of which each side has a half; a file whose width is odd has been halved already (transformers before 5.24
//! wrote it so), and its number is one more than a side.

use crate::Result;
use crate::config::Object;
use crate::kernels::{self, Activation, Dtype, Mask};
use crate::models::Encoder;
use crate::models::decoder::{RotaryDecoder, base_model};
use crate::models::decoder_config::{DecoderConfig, DecoderDefaults, DecoderHeadNorms, DecoderLayer, DecoderNorms};
use crate::models::decoder_head::{classifier, logits};
use crate::models::family::{Family, ModelKind};
use crate::models::layer_type::LayerType;
use crate::models::source::Source;

pub(super) const FAMILY: Family = Family {
    kinds: &[
        ModelKind {
            name: "Gemma 3",
            model_types: &["gemma3_text"],
            embedders: &["embeddinggemma-300m", "harrier-270m"],
            rerankers: &[],
            limits: "",
        },
        ModelKind {
            name: "Gemma",
            model_types: &["gemma"],
            embedders: &[],
            rerankers: &["bge-reranker-v2-gemma"],
            limits: "",
        },
    ],
    // Their states are beyond float16.
    half_dtype: Dtype::Bfloat16,
    load,
    head: |source, labels| classifier(source, &read(source)?, labels),
    logit_head: Some(|source, tokens| logits(source, &read(source)?, tokens, true)),
};

const GEMMA: DecoderDefaults = DecoderDefaults {
    vocab: 256_000,
    hidden: 3072,
    intermediate: 24_576,
    layers: 28,
    heads: 16,
    kv_heads: Some(16),
    head_dim: Some(256),
    activation: ("hidden_act", "gelu_pytorch_tanh"),
    eps: 1e-6,
    theta: 10_000.0,
};

const GEMMA3: DecoderDefaults = DecoderDefaults {
    vocab: 262_208,
    hidden: 2304,
    intermediate: 9216,
    layers: 26,
    heads: 8,
    kv_heads: Some(4),
    activation: ("hidden_activation", "gelu_pytorch_tanh"),
    theta: 1e6,
    ..GEMMA
};

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    Ok(Box::new(RotaryDecoder::load(&read(source)?, &base_model(source))?))
}

fn read(source: &Source) -> Result<DecoderConfig> {
    let file = &source.config;
    if file.text("model_type")? != Some("gemma") {
        return read_gemma3(source);
    }
    let mut config = DecoderConfig::read(source, &GEMMA, DecoderNorms::Gemma)?;
    // The first files say so of the approximation.
    if file.text("hidden_act")? == Some("gelu") {
        config.activation = Activation::GeluTanh;
    }
    config.bias_attention(file)?;
    Ok(config)
}

fn read_gemma3(source: &Source) -> Result<DecoderConfig> {
    let file = &source.config;
    if file.number("attn_logit_softcapping")?.is_some() {
        return Err(file.error("attn_logit_softcapping", "a bound on the scores of attention is not supported"));
    }
    let mut config = DecoderConfig::read(source, &GEMMA3, DecoderNorms::Gemma3)?;
    config.bias_attention(file)?;
    config.head_norms = DecoderHeadNorms::QueriesAndKeys;
    let scalar = file.number("query_pre_attn_scalar")?.unwrap_or(256.0);
    if !(scalar > 0.0 && scalar < 1e9) {
        return Err(file.error("query_pre_attn_scalar", format!("expected a number above 0, found {scalar}")));
    }
    config.attention.scale = scalar.powf(-0.5) as f32;
    let window = window(file, config.attention.mask)?;
    let angles = |layer_type| source.gemma_angles(layer_type, config.attention.head_dim);
    let (full, sliding) = (angles(LayerType::Full)?, angles(LayerType::Sliding)?);
    let attention = config.attention;
    let layer = |layer_type: &LayerType| match layer_type {
        LayerType::Full => DecoderLayer { shape: attention, angles: full },
        LayerType::Sliding => {
            DecoderLayer { shape: kernels::AttentionShape { mask: window, ..attention }, angles: sliding }
        }
    };
    config.layers = LayerType::by_pattern(file, config.layers.len())?.iter().map(layer).collect();
    Ok(config)
}

/// What a layer with a window sees, where others have this mask.
fn window(file: &Object, mask: Mask) -> Result<Mask> {
    let width = file.size("sliding_window", 1 << 24, 4096)?;
    Ok(match mask.is_causal() {
        true => Mask::CausalWindow(width),
        false if width.is_multiple_of(2) => Mask::Window(width / 2),
        false => Mask::Window(width - 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};
    use crate::nn::{RopeScaling, RotaryAngles};

    fn config(text: &str) -> DecoderConfig {
        with_source(text, read).unwrap()
    }

    #[test]
    fn what_is_left_out_is_as_in_transformers() {
        let gemma3 = config(r#"{"model_type": "gemma3_text"}"#);
        assert_eq!((gemma3.vocab, gemma3.hidden, gemma3.intermediate), (262_208, 2304, 9216));
        assert_eq!((gemma3.attention.heads, gemma3.attention.kv_heads, gemma3.attention.head_dim), (8, 4, 256));
        assert_eq!((gemma3.attention.scale, gemma3.activation), (1.0 / 16.0, Activation::GeluTanh));
        let full: Vec<_> = (0..26).filter(|&i| gemma3.layers[i].shape.mask == Mask::Causal).collect();
        assert_eq!(full, [5, 11, 17, 23]);
        assert_eq!(gemma3.layers[5].angles, RotaryAngles::new(1e6));
        let DecoderLayer { shape, angles } = gemma3.layers[0];
        assert_eq!((shape.mask, angles), (Mask::CausalWindow(4096), RotaryAngles::new(10_000.0)));
        let gemma = config(r#"{"model_type": "gemma", "hidden_act": "gelu"}"#);
        assert_eq!((gemma.activation, gemma.norms), (Activation::GeluTanh, DecoderNorms::Gemma));
        assert_eq!(gemma.embedding_factor(Dtype::Bfloat16), 55.5);
    }

    #[test]
    fn a_window_both_ways_has_half_its_width_on_each_side() {
        for (width, reach) in [(512, 256), (257, 256), (6, 3)] {
            let text = format!(
                r#"{{"model_type": "gemma3_text", "use_bidirectional_attention": true, "sliding_window": {width}}}"#
            );
            assert_eq!(config(&text).layers[0].shape.mask, Mask::Window(reach));
            assert_eq!(config(&text).layers[5].shape.mask, Mask::Full);
        }
    }

    #[test]
    fn old_keys_and_new_ones_say_the_same() {
        let old = r#"{"model_type": "gemma3_text", "num_hidden_layers": 2, "sliding_window_pattern": 2,
            "rope_theta": 500, "rope_local_base_freq": 50, "rope_scaling": {"rope_type": "linear", "factor": 8}}"#;
        let new = r#"{"model_type": "gemma3_text", "num_hidden_layers": 2,
            "layer_types": ["sliding_attention", "full_attention"], "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8, "rope_theta": 500},
            "sliding_attention": {"rope_type": "default", "rope_theta": 50}}}"#;
        let (old, new) = (config(old), config(new));
        assert_eq!(old.layers, new.layers);
        assert_eq!(new.layers[1].angles.scaling, RopeScaling::Linear { factor: 8.0 });
    }

    #[test]
    fn what_is_impossible_is_refused_by_name() {
        let cases = [
            (r#"{"attn_logit_softcapping": 50}"#, "attn_logit_softcapping"),
            (r#"{"query_pre_attn_scalar": 0}"#, "query_pre_attn_scalar"),
            (r#"{"sliding_window": 0}"#, "sliding_window"),
            (r#"{"sliding_window_pattern": 0}"#, "sliding_window_pattern"),
            (r#"{"layer_types": ["full_attention"]}"#, "layer_types"),
            (
                r#"{"rope_parameters": {"full_attention": {"rope_type": "su"}}}"#,
                "rope_parameters.full_attention.rope_type",
            ),
            (r#"{"hidden_activation": "fancy"}"#, "hidden_activation"),
        ];
        assert_refuses(read, &cases);
    }
}
