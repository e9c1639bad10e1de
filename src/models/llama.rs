//! Llama (Touvron et al. 2023, Grattafiori et al. 2024) and Mistral (Jiang et al. 2023; reference: transformers'
//! `LlamaModel`, `MistralModel`, `MinistralModel`, `Ministral3Model` and their heads).
//!
//! Mistral is Llama's decoder whose layers see a window, if config.json has one. `llama_bidirec` (NVIDIA's embedders and
//! rerankers) looks both ways; its classifier stands on the mean of all tokens.
//!
//! Ministral 3 multiplies queries by `1 + beta log(1 + floor(position / trained))`: by 1 up to the `trained` positions,
//! and no text may have more of them here (`config/architecture.rs`).

use crate::Result;
use crate::kernels::{Activation, Dtype};
use crate::models::Encoder;
use crate::models::decoder::{RotaryDecoder, base_model};
use crate::models::decoder_config::{DecoderConfig, DecoderDefaults, DecoderNorms, LLAMA};
use crate::models::decoder_head::{classifier, logits};
use crate::models::family::{Family, ModelKind};
use crate::models::head::{HeadPooling, ScoreHead};
use crate::models::layer_type::LayerType;
use crate::models::source::Source;

pub(super) const FAMILY: Family = Family {
    kinds: &[
        ModelKind {
            name: "Llama",
            model_types: &["llama", BOTH_WAYS],
            embedders: &["llama-nemotron-embed-1b-v2"],
            rerankers: &["llama-nemotron-rerank-1b-v2"],
            limits: "",
        },
        ModelKind {
            name: "Mistral",
            model_types: &["mistral", "ministral", "ministral3"],
            embedders: &["e5-mistral-7b-instruct", "Linq-Embed-Mistral", "SFR-Embedding-Mistral"],
            rerankers: &["classifiers on Mistral"],
            limits: "",
        },
    ],
    // What they were trained in; single numbers of their states are beyond float16.
    half_dtype: Dtype::Bfloat16,
    load,
    head,
    logit_head: Some(|source, tokens| logits(source, &read(source)?, tokens, false)),
};

/// The `model_type` of NVIDIA's models.
const BOTH_WAYS: &str = "llama_bidirec";

const MISTRAL: DecoderDefaults = DecoderDefaults { intermediate: 14_336, kv_heads: Some(8), ..LLAMA };

const MINISTRAL3: DecoderDefaults =
    DecoderDefaults { vocab: 131_072, layers: 34, head_dim: Some(128), eps: 1e-5, theta: 1e6, ..MISTRAL };

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    Ok(Box::new(RotaryDecoder::load(&read(source)?, &base_model(source))?))
}

fn read(source: &Source) -> Result<DecoderConfig> {
    let file = &source.config;
    let model_type = file.text("model_type")?.unwrap_or("llama");
    let defaults = match model_type {
        "llama" | BOTH_WAYS => &LLAMA,
        "ministral3" => &MINISTRAL3,
        _ => &MISTRAL,
    };
    let mut config = DecoderConfig::read(source, defaults, DecoderNorms::Llama)?;
    if model_type == "ministral3" && file.is_null("rope_parameters") {
        return Err(file.error("rope_parameters", "missing"));
    }
    let layers = config.layers.len();
    match model_type {
        "llama" | BOTH_WAYS => {
            config.bias_all(file)?;
            if model_type == BOTH_WAYS {
                config.see_all();
            }
            Ok(config)
        }
        _ => {
            let has_window =
                !file.is_null("sliding_window") || model_type != "ministral3" && !file.contains("sliding_window");
            let default = if has_window { LayerType::Sliding } else { LayerType::Full };
            let types = match model_type {
                "ministral" => LayerType::of_layers(file, layers, |_| default)?,
                _ => vec![default; layers],
            };
            config.with_windows(file, &types)
        }
    }
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    let (config, file) = (read(source)?, &source.config);
    if file.text("model_type")? != Some(BOTH_WAYS) {
        return classifier(source, &config, labels);
    }
    source.require_head("score.weight")?;
    if let Some(pooling) = file.text("pooling")?.filter(|&pooling| pooling != "avg") {
        return Err(file.error("pooling", format!("{pooling:?} is not supported; \"avg\" is")));
    }
    if let Some(temperature) = file.number("temperature")?.filter(|&temperature| temperature != 1.0) {
        return Err(file.error("temperature", format!("{temperature} is not supported; 1 is")));
    }
    ScoreHead::new(HeadPooling::Mean).linear(source.at.at("score"), labels, config.hidden, Activation::Identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Mask;
    use crate::models::decoder_config::DecoderBiases;
    use crate::models::testing::{assert_refuses, with_source};
    use crate::nn::RopeScaling;

    fn config(text: &str) -> DecoderConfig {
        with_source(text, read).unwrap()
    }

    #[test]
    fn what_is_left_out_is_as_in_transformers() {
        let llama = config(r#"{"model_type": "llama"}"#);
        assert_eq!((llama.vocab, llama.hidden, llama.intermediate, llama.layers.len()), (32_000, 4096, 11_008, 32));
        assert_eq!((llama.attention.kv_heads, llama.attention.head_dim), (32, 128));
        let mistral = config(r#"{"model_type": "mistral", "sliding_window": 4096}"#);
        assert_eq!((mistral.attention.kv_heads, mistral.intermediate), (8, 14_336));
        assert!(mistral.layers.iter().all(|layer| layer.shape.mask == Mask::CausalWindow(4096)));
        let whole = config(r#"{"model_type": "mistral", "sliding_window": null}"#);
        assert!(whole.layers.iter().all(|layer| layer.shape.mask == Mask::Causal));
        let both_ways = config(r#"{"model_type": "llama_bidirec"}"#);
        assert!(both_ways.layers.iter().all(|layer| layer.shape.mask == Mask::Full));
    }

    #[test]
    fn biases_windows_and_scaling_are_read() {
        let biased = config(r#"{"model_type": "llama", "attention_bias": true, "mlp_bias": true}"#);
        assert_eq!(biased.biases, DecoderBiases { qkv: true, out: true, mlp: true });
        let types = r#"{"model_type": "ministral", "num_hidden_layers": 2, "sliding_window": 5,
            "layer_types": ["sliding_attention", "full_attention"]}"#;
        let masks: Vec<_> = config(types).layers.iter().map(|layer| layer.shape.mask).collect();
        assert_eq!(masks, [Mask::CausalWindow(5), Mask::Causal]);
        let scaled = config(
            r#"{"model_type": "llama", "rope_theta": 500000, "rope_scaling": {"rope_type": "llama3", "factor": 32,
            "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 8192}}"#,
        );
        let llama3 = RopeScaling::Llama3 { factor: 32.0, low: 1.0, high: 4.0, trained: 8192 };
        assert!(scaled.layers.iter().all(|layer| layer.angles.scaling == llama3));
    }

    #[test]
    fn what_is_impossible_is_refused_by_name() {
        let cases = [
            (r#"{"model_type": "llama", "num_key_value_heads": 3}"#, "num_key_value_heads"),
            (r#"{"model_type": "llama", "mlp_bias": 1}"#, "mlp_bias"),
            (r#"{"model_type": "mistral", "sliding_window": 0}"#, "sliding_window"),
            (r#"{"model_type": "mistral"}"#, "sliding_window"),
            (r#"{"model_type": "ministral", "layer_types": ["full_attention"]}"#, "layer_types"),
            (r#"{"model_type": "ministral3"}"#, "rope_parameters"),
            (r#"{"model_type": "llama", "rope_scaling": {"type": "su", "factor": 2}}"#, "rope_scaling.type"),
        ];
        assert_refuses(read, &cases);
    }
}
