//! EmbeddingGemma 2's text part (Google 2026; reference: transformers' `EmbeddingGemma2TextModel`): Gemma 3's layers,
//! both ways, with inputs of their own ([`PerLayerInputs`]), and a projection of each token's last state.
//!
//! What differs from Gemma 3: norms are by their weight and not by 1 + weight; values are normalized, too, without a
//! weight; scores of attention are not scaled; layers that see all have heads of another size, and fewer of keys; and
//! `sliding_window` is what a token sees on each side. The mean of projections is the projection of the mean.
//!
//! A file with the other parts of the model has the network below `language_model`, and its configuration as
//! `text_config`. Tokens that stand for images, videos and sounds have the embedding of padding.

use crate::Result;
use crate::config::Object;
use crate::kernels::{self, Dtype, Mask};
use crate::models::Encoder;
use crate::models::decoder::RotaryDecoder;
use crate::models::decoder_config::{DecoderConfig, DecoderDefaults, DecoderHeadNorms, DecoderLayer, DecoderNorms};
use crate::models::decoder_head::classifier;
use crate::models::family::{Family, ModelKind};
use crate::models::layer_type::LayerType;
use crate::models::per_layer_inputs::{PerLayerInputs, PerLayerSizes};
use crate::models::source::Source;

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "EmbeddingGemma 2",
        model_types: &["embedding_gemma2", TEXT],
        embedders: &["embeddinggemma-2"],
        rerankers: &[],
        limits: "texts alone",
    }],
    // Its states are beyond float16.
    half_dtype: Dtype::Bfloat16,
    load,
    head: |source, labels| classifier(source, &read(&text_part(source)?)?, labels),
    logit_head: None,
};

/// The `model_type` of a file with the text part alone.
const TEXT: &str = "embedding_gemma2_text";

const DEFAULTS: DecoderDefaults = DecoderDefaults {
    vocab: 262_144,
    hidden: 512,
    intermediate: 2048,
    layers: 24,
    heads: 4,
    kv_heads: Some(2),
    head_dim: Some(256),
    activation: ("hidden_activation", "gelu_pytorch_tanh"),
    eps: 1e-6,
    theta: 10_000.0,
};

/// The text part of a model: its own file, or one of several parts.
fn text_part<'a>(source: &Source<'a>) -> Result<Source<'a>> {
    let words = "embed_tokens.weight";
    let at = source.at.at_if_contains("language_model", words).at_if_contains("model.language_model", words);
    if source.config.text("model_type")? == Some(TEXT) {
        return Ok(Source { config: source.config.clone(), at });
    }
    let config = source.config.required("text_config", source.config.object("text_config")?)?;
    Ok(Source { config, at })
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let text = text_part(source)?;
    let (config, file) = (read(&text)?, &text.config);
    let sizes = PerLayerSizes {
        layers: config.layers.len(),
        hidden: config.hidden,
        width: file.size("hidden_size_per_layer_input", 1 << 16, 512)?,
    };
    let inputs = PerLayerInputs::load(&text.at, sizes, config.activation, config.eps)?;
    let width = file.size("embedding_dim", 1 << 16, 768)?;
    let network = RotaryDecoder::load(&config, &text.at)?
        .with_per_layer_inputs(inputs)
        .with_projection(text.at.at("embedding_projection"), width)?;
    Ok(Box::new(network.with_placeholders(placeholders(&source.config)?, padding(file)?)))
}

/// Ids of tokens that stand for images, videos and sounds.
fn placeholders(file: &Object) -> Result<Vec<u32>> {
    let keys = ["image_token_id", "video_token_id", "audio_token_id"];
    let ids = keys.map(|key| file.integer(key, 0..=1 << 24)).into_iter().collect::<Result<Vec<_>>>()?;
    Ok(ids.into_iter().flatten().map(|id| id as u32).collect())
}

fn padding(file: &Object) -> Result<u32> {
    Ok(file.integer("pad_token_id", 0..=1 << 24)?.unwrap_or(0) as u32)
}

fn read(text: &Source) -> Result<DecoderConfig> {
    let file = &text.config;
    let mut config = DecoderConfig::read(text, &DEFAULTS, DecoderNorms::EmbeddingGemma2)?;
    config.bias_attention(file)?;
    config.head_norms = DecoderHeadNorms::All;
    config.attention.scale = 1.0;
    config.see_all();
    let types = layer_types(file, config.layers.len())?;
    let window = Mask::Window(file.size("sliding_window", 1 << 24, 512)?);
    let layer = |(i, &layer_type): (usize, &LayerType)| {
        let shape = shape(file, i, layer_type, config.attention)?;
        let mask = if layer_type == LayerType::Full { Mask::Full } else { window };
        let angles = text.gemma_angles(layer_type, shape.head_dim)?;
        Ok(DecoderLayer { shape: kernels::AttentionShape { mask, ..shape }, angles })
    };
    config.layers = types.iter().enumerate().map(layer).collect::<Result<_>>()?;
    Ok(config)
}

/// Every sixth layer sees all, and the last whatever config.json says.
fn layer_types(file: &Object, layers: usize) -> Result<Vec<LayerType>> {
    let mut types = LayerType::by_pattern(file, layers)?;
    if let Some(last) = types.last_mut() {
        *last = LayerType::Full;
    }
    Ok(types)
}

/// Heads of a layer: those of `per_layer_config`, where config.json has it, else those of all layers of its type.
fn shape(
    file: &Object,
    layer: usize,
    layer_type: LayerType,
    attention: kernels::AttentionShape,
) -> Result<kernels::AttentionShape> {
    let (head_dim, kv_heads) = match file.object("per_layer_config")? {
        Some(layers) => match layers.object(&layer.to_string())? {
            Some(own) => (
                own.size("head_dim", 1 << 16, attention.head_dim)?,
                own.size("num_key_value_heads", 1 << 10, attention.kv_heads)?,
            ),
            None => (attention.head_dim, attention.kv_heads),
        },
        None if layer_type == LayerType::Full => {
            (file.size("global_head_dim", 1 << 16, 512)?, file.size("num_global_key_value_heads", 1 << 10, 1)?)
        }
        None => (attention.head_dim, attention.kv_heads),
    };
    if !head_dim.is_multiple_of(2) || !attention.heads.is_multiple_of(kv_heads) {
        let message = format!(
            "layer {layer} has {kv_heads} heads of keys of {head_dim} numbers: an even number of them, and a divisor of {} \
             heads, are supported",
            attention.heads
        );
        return Err(file.error("per_layer_config", message));
    }
    Ok(kernels::AttentionShape { head_dim, kv_heads, ..attention })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};
    use crate::nn::RotaryAngles;

    #[test]
    fn what_is_left_out_is_the_published_model() {
        let config = with_source("{}", read).unwrap();
        assert_eq!((config.vocab, config.hidden, config.layers.len()), (262_144, 512, 24));
        let DecoderLayer { shape, angles } = config.layers[0];
        assert_eq!((shape.head_dim, shape.kv_heads, shape.mask, shape.scale), (256, 2, Mask::Window(512), 1.0));
        assert_eq!(angles, RotaryAngles::new(10_000.0));
        let DecoderLayer { shape, angles } = config.layers[5];
        assert_eq!((shape.head_dim, shape.kv_heads, shape.mask), (512, 1, Mask::Full));
        assert_eq!(angles, RotaryAngles::new(1e6));
    }

    #[test]
    fn a_layer_may_have_heads_of_its_own() {
        let text = r#"{"num_hidden_layers": 3, "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
            "per_layer_config": {"1": {"head_dim": 10, "num_key_value_heads": 4}, "2": {}}}"#;
        let config = with_source(text, read).unwrap();
        let heads: Vec<_> = config.layers.iter().map(|layer| (layer.shape.head_dim, layer.shape.kv_heads)).collect();
        assert_eq!(heads, [(256, 2), (10, 4), (256, 2)]);
        // The last sees all.
        assert_eq!(config.layers[2].shape.mask, Mask::Full);
    }

    #[test]
    fn what_is_impossible_is_refused_by_name() {
        let cases = [
            (r#"{"num_hidden_layers": 1, "per_layer_config": {"0": {"head_dim": 7}}}"#, "per_layer_config"),
            (r#"{"num_hidden_layers": 1, "num_global_key_value_heads": 3}"#, "per_layer_config"),
            (r#"{"sliding_window": 0}"#, "sliding_window"),
            (r#"{"hidden_activation": "fancy"}"#, "hidden_activation"),
        ];
        assert_refuses(read, &cases);
        assert_refuses(
            |source| text_part(source).map(|_| ()),
            &[(r#"{"model_type": "embedding_gemma2"}"#, "text_config")],
        );
    }
}
