//! Qwen2 (Yang et al. 2024) and Qwen3 (Yang et al. 2025; reference: transformers' `Qwen2Model`, `Qwen3Model`, their
//! `ForSequenceClassification` and `ForCausalLM`): Llama's decoder with biases of queries, keys and values (Qwen2), or
//! with norms of each head (Qwen3).
//!
//! `head_dim` of Qwen3 is a key of its own: heads times it need not be the hidden width. voyage-4-nano is a Qwen3 that
//! looks both ways, and projects each token's last state (`linear.weight`); the mean of projections is the projection of
//! the mean. pplx-embed (`bidirectional_pplx_qwen3`) looks both ways whatever config.json says.

use crate::Result;
use crate::config::Object;
use crate::kernels::Dtype;
use crate::models::Encoder;
use crate::models::decoder::{RotaryDecoder, base_model};
use crate::models::decoder_config::{
    DecoderBiases, DecoderConfig, DecoderDefaults, DecoderHeadNorms, DecoderNorms, LLAMA,
};
use crate::models::decoder_head::{classifier, logits};
use crate::models::family::{Family, ModelKind};
use crate::models::layer_type::LayerType;
use crate::models::source::Source;

pub(super) const FAMILY: Family = Family {
    kinds: &[
        ModelKind {
            name: "Qwen3",
            model_types: &["qwen3", BOTH_WAYS],
            embedders: &["Qwen3-Embedding", "jina-embeddings-v5-text-small (merged)", "voyage-4-nano", "pplx-embed-v1"],
            rerankers: &["Qwen3-Reranker, as a language model or `...ForSequenceClassification`"],
            limits: "",
        },
        ModelKind {
            name: "Qwen2",
            model_types: &["qwen2"],
            embedders: &["Qwen2 embedders without code of their own"],
            rerankers: &["mxbai-rerank-base-v2", "-large-v2"],
            limits: "",
        },
    ],
    // What they were trained in; in float16 they give NaN (QwenLM/Qwen3 issues 761 and 868, michaelfeil/infinity issue
    // 328).
    half_dtype: Dtype::Bfloat16,
    load,
    head: |source, labels| classifier(source, &read(source)?, labels),
    logit_head: Some(|source, tokens| logits(source, &read(source)?, tokens, false)),
};

/// The `model_type` of pplx-embed.
const BOTH_WAYS: &str = "bidirectional_pplx_qwen3";

const QWEN2: DecoderDefaults = DecoderDefaults { vocab: 151_936, intermediate: 22_016, ..LLAMA };

const QWEN3: DecoderDefaults = DecoderDefaults { head_dim: Some(128), ..QWEN2 };

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let network = RotaryDecoder::load(&read(source)?, &base_model(source))?;
    let projection = source.at.at("linear");
    if !projection.contains("weight") {
        return Ok(Box::new(network));
    }
    // Where voyage-4-nano says how wide it is.
    let width = source.config.integer("num_labels", 1..=1 << 16)?;
    let width = source.config.required("num_labels", width)?;
    Ok(Box::new(network.with_projection(projection, width)?))
}

fn read(source: &Source) -> Result<DecoderConfig> {
    let file = &source.config;
    let model_type = file.text("model_type")?;
    let is_qwen2 = model_type == Some("qwen2");
    let mut config = DecoderConfig::read(source, if is_qwen2 { &QWEN2 } else { &QWEN3 }, DecoderNorms::Llama)?;
    let bias = file.boolean("attention_bias")?.unwrap_or(false);
    let [qkv, out] = if is_qwen2 { [true, false] } else { [bias; 2] };
    config.biases = DecoderBiases { qkv, out, mlp: false };
    config.head_norms = if is_qwen2 { DecoderHeadNorms::None } else { DecoderHeadNorms::QueriesAndKeys };
    if model_type == Some(BOTH_WAYS) {
        config.see_all();
    }
    let types = layer_types(file, config.layers.len())?;
    config.with_windows(file, &types)
}

/// Windows of the last layers, unless config.json lists the types of all.
fn layer_types(file: &Object, layers: usize) -> Result<Vec<LayerType>> {
    let from = match file.boolean("use_sliding_window")?.unwrap_or(false) && !file.is_null("sliding_window") {
        true => file.integer("max_window_layers", 0..=1 << 24)?.unwrap_or(28),
        false => layers,
    };
    LayerType::of_layers(file, layers, |i| if i < from { LayerType::Full } else { LayerType::Sliding })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{self, Activation, Mask};
    use crate::models::decoder_config::DecoderLayer;
    use crate::models::testing::with_source;
    use crate::nn::RotaryAngles;

    fn read(text: &str) -> Result<DecoderConfig> {
        with_source(text, super::read)
    }

    #[test]
    fn what_is_left_out_is_as_in_transformers() {
        let qwen3 = read(r#"{"model_type": "qwen3"}"#).unwrap();
        let kernels::AttentionShape { heads, kv_heads, head_dim, mask, .. } = qwen3.attention;
        assert_eq!((heads, kv_heads, head_dim, mask), (32, 32, 128, Mask::Causal));
        assert_eq!((qwen3.vocab, qwen3.hidden, qwen3.layers.len(), qwen3.intermediate), (151_936, 4096, 32, 22_016));
        assert_eq!((qwen3.activation, qwen3.eps), (Activation::Silu, 1e-6));
        let layer = DecoderLayer { shape: qwen3.attention, angles: RotaryAngles::new(10_000.0) };
        assert!(qwen3.layers.iter().all(|other| *other == layer));
        let biases = |qkv, out| DecoderBiases { qkv, out, mlp: false };
        assert_eq!((qwen3.biases, qwen3.head_norms), (biases(false, false), DecoderHeadNorms::QueriesAndKeys));
        let qwen2 = read(r#"{"model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 4}"#).unwrap();
        assert_eq!(
            (qwen2.attention.head_dim, qwen2.biases, qwen2.head_norms),
            (16, biases(true, false), DecoderHeadNorms::None)
        );
        let biased = r#"{"model_type": "qwen3", "attention_bias": true, "head_dim": 16, "num_key_value_heads": 8}"#;
        let biased = read(biased).unwrap();
        assert_eq!((biased.biases, biased.attention.kv_heads, biased.attention.scale), (biases(true, true), 8, 0.25));
    }

    #[test]
    fn causality_is_said_in_two_ways() {
        for (keys, expected) in [
            (r#""is_causal": true"#, Mask::Causal),
            (r#""is_causal": false"#, Mask::Full),
            (r#""is_causal": null"#, Mask::Full),
            (r#""use_bidirectional_attention": false"#, Mask::Causal),
            (r#""use_bidirectional_attention": true"#, Mask::Full),
        ] {
            let config = read(&format!(r#"{{"model_type": "qwen3", {keys}}}"#)).unwrap();
            assert_eq!(config.attention.mask, expected, "{keys}");
        }
    }

    #[test]
    fn full_layers_are_no_windows() {
        for keys in [
            r#""use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 0"#,
            r#""use_sliding_window": true, "num_hidden_layers": 28"#,
            r#""num_hidden_layers": 2, "layer_types": ["full_attention", "full_attention"]"#,
        ] {
            let config = read(&format!(r#"{{"model_type": "qwen2", {keys}}}"#)).unwrap();
            assert!(config.layers.iter().all(|layer| layer.shape.mask == Mask::Causal), "{keys}");
        }
    }

    #[test]
    fn windows_look_back() {
        let masks = |keys: &str| -> Vec<Mask> {
            let text = format!(r#"{{"model_type": "qwen3", "num_hidden_layers": 3, "sliding_window": 7, {keys}}}"#);
            read(&text).unwrap().layers.iter().map(|layer| layer.shape.mask).collect()
        };
        let window = Mask::CausalWindow(7);
        assert_eq!(masks(r#""use_sliding_window": true, "max_window_layers": 1"#), [Mask::Causal, window, window]);
        let listed = r#""layer_types": ["sliding_attention", "full_attention", "sliding_attention"]"#;
        assert_eq!(masks(listed), [window, Mask::Causal, window]);
        let both_ways = with_source(r#"{"model_type": "bidirectional_pplx_qwen3"}"#, super::read).unwrap();
        assert!(both_ways.layers.iter().all(|layer| layer.shape.mask == Mask::Full));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (keys, expected) in [
            (r#""num_key_value_heads": 3"#, "num_key_value_heads: 3 does not divide num_attention_heads, 32"),
            (r#""num_attention_heads": 0"#, "num_attention_heads: expected an integer from 1 to 1024, found 0"),
            (r#""num_attention_heads": 7"#, "num_attention_heads: 7 does not divide hidden_size, 4096"),
            (r#""head_dim": 15"#, "head_dim: 15 is odd: numbers of a head are turned in pairs"),
            (r#""head_dim": 1099511627776"#, "head_dim: expected an integer from 1 to 65536, found 1099511627776"),
            (r#""hidden_act": "fancy""#, "hidden_act: \"fancy\" is not supported; supported: "),
            (r#""rms_norm_eps": 2"#, "rms_norm_eps: expected 0 to 1, found 2"),
            (r#""rope_theta": 0.5"#, "rope_theta: expected a number from 1, found 0.5"),
            (r#""use_sliding_window": true, "sliding_window": 0"#, "sliding_window: expected an integer from 1"),
            (
                r#""is_causal": false, "sliding_window": 4, "use_sliding_window": true, "max_window_layers": 0"#,
                "sliding_window: a window of a network that looks both ways is not supported",
            ),
            (r#""layer_types": ["full_attention", "linear_attention"]"#, "layer_types: expected one of each"),
        ] {
            let message = read(&format!(r#"{{"model_type": "qwen2", {keys}}}"#)).unwrap_err().to_string();
            assert!(message.starts_with(&format!("config.json: {expected}")), "{message}");
        }
    }
}
