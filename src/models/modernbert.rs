//! ModernBERT (Warner et al. 2024; reference: transformers' `ModernBertModel` and
//! `ModernBertForSequenceClassification`): a pre-norm encoder with rotary positions, gated feed-forward blocks (GeGLU)
//! and, in most layers, attention within a window.
//!
//! ```text
//! x = norm(words[ids])
//! for each layer:
//!     q, k, v = rope(linear(norm(x)))          the first layer has no norm here: x is normalized already
//!     x = x + linear(softmax(q kᵀ / sqrt(head_dim)) v)
//!     gate, up = Wi norm(x)                    one matrix: the rows of the gate first, which goes through the activation
//!     x = x + Wo (activation(gate) * up)
//! x = norm(x)
//! ```
//!
//! Every third layer, from the first, sees all tokens, with its own base of rotary angles; the others see
//! `local_attention / 2` tokens to each side, that distance included. Normalizations have no bias unless config.json
//! says so, and their epsilon is `norm_eps`, not `layer_norm_eps`. The tensors are below `model` in a checkpoint with a
//! head.

use std::sync::Arc;

use crate::Result;
use crate::kernels::{self, Activation, Dtype, Mask};
use crate::models::Encoder;
use crate::models::family::{Family, ModelKind};
use crate::models::head::{HeadPooling, ScoreHead};
use crate::models::input_tables::InputTables;
use crate::models::layer_type::LayerType;
use crate::models::pre_norm::{PreNorm, PreNormLayer};
use crate::models::rotary::RotaryKeys;
use crate::models::source::Source;
use crate::nn::{Attention, Embedding, Linear, Loader, Mlp, MlpParts, Norm, Rope, RotaryAngles, RotaryTable};
use crate::profile::Stage;

// Pre-norm states grow from layer to layer, but no overflow of float16 in inference is reported.
pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "ModernBERT",
        model_types: &["modernbert"],
        embedders: &["gte-modernbert-base", "modernbert-embed", "granite-embedding-english-r2"],
        rerankers: &["gte-reranker-modernbert-base", "granite-embedding-reranker-english-r2"],
        limits: "",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

/// What config.json says.
#[derive(Debug)]
struct ModernBertConfig {
    vocab: usize,
    hidden: usize,
    /// Divides `hidden` into parts of even width.
    heads: usize,
    intermediate: usize,
    activation: Activation,
    eps: f32,
    norm_bias: bool,
    attention_bias: bool,
    mlp_bias: bool,
    /// The layers' types, in their order.
    layer_types: Vec<LayerType>,
    /// How many tokens to each side a sliding layer sees.
    window: usize,
    full_angles: RotaryAngles,
    sliding_angles: RotaryAngles,
}

impl ModernBertConfig {
    fn read(source: &Source) -> Result<Self> {
        let file = &source.config;
        let flag = |key: &str| -> Result<bool> { Ok(file.boolean(key)?.unwrap_or(false)) };
        let layers = file.size("num_hidden_layers", 1 << 10, 22)?;
        let (hidden, heads) = (file.size("hidden_size", 1 << 16, 768)?, file.size("num_attention_heads", 1 << 10, 12)?);
        if !hidden.is_multiple_of(2 * heads) {
            let message = format!("{heads} does not divide hidden_size, {hidden}, into even parts");
            return Err(file.error("num_attention_heads", message));
        }
        let (every, head_dim) = (file.size("global_attn_every_n_layers", 1 << 10, 3)?, hidden / heads);
        let default = |i: usize| if i.is_multiple_of(every) { LayerType::Full } else { LayerType::Sliding };
        Ok(Self {
            vocab: file.size("vocab_size", 1 << 24, 50_368)?,
            hidden,
            heads,
            intermediate: file.size("intermediate_size", 1 << 20, 1152)?,
            activation: source.activation("hidden_activation", "gelu")?,
            eps: source.epsilon("norm_eps", 1e-5)?,
            norm_bias: flag("norm_bias")?,
            attention_bias: flag("attention_bias")?,
            mlp_bias: flag("mlp_bias")?,
            layer_types: LayerType::of_layers(file, layers, default)?,
            window: file.size("local_attention", 1 << 24, 128)? / 2,
            full_angles: angles(source, LayerType::Full, "global_rope_theta", 160_000.0, head_dim)?,
            sliding_angles: angles(source, LayerType::Sliding, "local_rope_theta", 10_000.0, head_dim)?,
        })
    }

    fn norm(&self, at: &Loader) -> Result<Norm> {
        match self.norm_bias {
            true => Norm::layer_norm(at, self.hidden, self.eps),
            false => Norm::layer_norm_without_bias(at, self.hidden, self.eps),
        }
    }
}

/// The angles of layers of this type; `old` is the key of their base in older files.
fn angles(
    source: &Source,
    layer_type: LayerType,
    old: &'static str,
    default: f64,
    head_dim: usize,
) -> Result<RotaryAngles> {
    let parameters = source.rope_scaling()?.map_or_else(|| source.parameters_of(layer_type), Ok)?;
    let keys = RotaryKeys { theta: old, default, head_dim };
    source.rotary_angles(&parameters, &keys)
}

fn base_model<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_if_contains("model", "embeddings.tok_embeddings.weight")
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (config, at) = (ModernBertConfig::read(source)?, base_model(source));
    let words = (at.at("embeddings.tok_embeddings"), config.vocab);
    let norm = config.norm(&at.at("embeddings.norm"))?;
    let embedding = Embedding::load(&[words], Some(norm), config.hidden)?;
    let table = |angles| RotaryTable::new(at.body(), config.hidden / config.heads, angles);
    let (full, sliding) = (table(config.full_angles)?, table(config.sliding_angles)?);
    let layer = |i: usize| {
        let (mask, table) = match config.layer_types[i] {
            LayerType::Full => (Mask::Full, &full),
            LayerType::Sliding => (Mask::Window(config.window), &sliding),
        };
        // What comes from the embeddings is normalized.
        load_layer(&config, &at.at(&format!("layers.{i}")), i > 0, mask, table.clone())
    };
    Ok(Box::new(PreNorm {
        tables: InputTables::of_words(config.vocab),
        embedding,
        layers: at.load_each(config.layer_types.len(), layer)?,
        norm: config.norm(&at.at("final_norm"))?,
        hidden: config.hidden,
    }))
}

/// `classifier(norm(activation(dense(x))))` of the first token's state, or of the mean of all, as `classifier_pooling`
/// says.
fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    source.require_head("classifier.weight")?;
    let (config, file) = (ModernBertConfig::read(source)?, &source.config);
    let pooling = match file.text("classifier_pooling")? {
        None | Some("cls") => HeadPooling::First,
        Some("mean") => HeadPooling::Mean,
        Some(other) => {
            let message = format!("{other:?} is not supported; supported: cls, mean");
            return Err(file.error("classifier_pooling", message));
        }
    };
    let activation = source.activation("classifier_activation", "gelu")?;
    let at = source.at.at("head");
    ScoreHead::new(pooling)
        .linear(at.at("dense"), config.hidden, config.hidden, activation)?
        .norm(config.norm(&at.at("norm"))?)
        .linear(source.at.at("classifier"), labels, config.hidden, Activation::Identity)
}

/// `normed`: whether the input is normalized before attention.
fn load_layer(
    config: &ModernBertConfig,
    at: &Loader,
    normed: bool,
    mask: Mask,
    table: Arc<RotaryTable>,
) -> Result<PreNormLayer> {
    let &ModernBertConfig { hidden, heads, intermediate, attention_bias, mlp_bias, .. } = config;
    let head_dim = hidden / heads;
    let scale = 1.0 / (head_dim as f32).sqrt();
    let shape = kernels::AttentionShape { heads, kv_heads: heads, head_dim, scale, mask };
    let both = at.at("mlp.Wi");
    let parts = MlpParts {
        gate: Some(both.rows(0..intermediate, 2 * intermediate)),
        up: both.rows(intermediate..2 * intermediate, 2 * intermediate),
        down: at.at("mlp.Wo"),
        up_bias: mlp_bias,
        down_bias: mlp_bias,
    };
    Ok(PreNormLayer {
        attention_norm: if normed { Some(config.norm(&at.at("attn_norm"))?) } else { None },
        qkv: Linear::qkv(&[at.at("attn.Wqkv")], 3 * hidden, hidden, attention_bias, &shape)?,
        rope: Some(Rope::new(shape, table, None)),
        shape,
        attention: Attention::new(at.body(), shape),
        attention_out_norm: None,
        out: Linear::load(Stage::Out, &[at.at("attn.Wo")], hidden, hidden, attention_bias)?,
        mlp_norm: config.norm(&at.at("mlp_norm"))?,
        mlp: Mlp::load(parts, hidden, intermediate, config.activation)?,
        mlp_out_norm: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};

    fn read(text: &str) -> Result<ModernBertConfig> {
        with_source(text, ModernBertConfig::read)
    }

    #[test]
    fn what_is_left_out_is_modernbert_base() {
        let base = read("{}").unwrap();
        assert_eq!((base.vocab, base.hidden, base.heads, base.intermediate), (50_368, 768, 12, 1152));
        assert_eq!((base.activation, base.eps, base.window), (Activation::Gelu, 1e-5, 64));
        assert_eq!(
            (base.full_angles, base.sliding_angles),
            (RotaryAngles::new(160_000.0), RotaryAngles::new(10_000.0))
        );
        assert_eq!(base.layer_types.len(), 22);
        assert!(
            base.layer_types.iter().enumerate().all(|(i, &layer_type)| (layer_type == LayerType::Full) == (i % 3 == 0))
        );
    }

    #[test]
    fn old_keys_and_new_ones_say_the_same() {
        let thetas = |text: &str| {
            let config = read(text).unwrap();
            (config.full_angles.theta, config.sliding_angles.theta)
        };
        assert_eq!(thetas(r#"{"global_rope_theta": 80000, "local_rope_theta": 500.0}"#), (80_000.0, 500.0));
        let new = r#"{"global_rope_theta": 3.0, "rope_parameters": {
            "full_attention": {"rope_theta": 80000.0, "rope_type": "default"}, "sliding_attention": null}}"#;
        assert_eq!(thetas(new), (80_000.0, 10_000.0));
        let layer_types = |text: &str| read(text).unwrap().layer_types;
        let old = r#"{"num_hidden_layers": 3, "global_attn_every_n_layers": 2}"#;
        let new = r#"{"num_hidden_layers": 3, "global_attn_every_n_layers": 1,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"]}"#;
        assert_eq!(layer_types(old), [LayerType::Full, LayerType::Sliding, LayerType::Full]);
        assert_eq!(layer_types(new), layer_types(old));
    }

    #[test]
    fn what_is_impossible_is_refused_by_name() {
        let cases = [
            (r#"{"hidden_size": 0}"#, "hidden_size"),
            (r#"{"hidden_size": "768"}"#, "hidden_size"),
            (r#"{"vocab_size": 1152921504606846976}"#, "vocab_size"),
            (r#"{"num_hidden_layers": -1}"#, "num_hidden_layers"),
            (r#"{"num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"hidden_size": 60, "num_attention_heads": 12}"#, "num_attention_heads"),
            (r#"{"intermediate_size": 1.5}"#, "intermediate_size"),
            (r#"{"hidden_activation": "gelu_fancy"}"#, "hidden_activation"),
            (r#"{"norm_eps": -1.0}"#, "norm_eps"),
            (r#"{"norm_bias": "yes"}"#, "norm_bias"),
            (r#"{"attention_bias": 1}"#, "attention_bias"),
            (r#"{"mlp_bias": []}"#, "mlp_bias"),
            (r#"{"local_attention": 0}"#, "local_attention"),
            (r#"{"global_attn_every_n_layers": 0}"#, "global_attn_every_n_layers"),
            (r#"{"layer_types": ["full_attention"]}"#, "layer_types"),
            (r#"{"num_hidden_layers": 1, "layer_types": ["chunked_attention"]}"#, "layer_types"),
            (r#"{"global_rope_theta": 0}"#, "global_rope_theta"),
            (r#"{"local_rope_theta": -5}"#, "local_rope_theta"),
            (r#"{"rope_scaling": {"type": "linear", "factor": 0}}"#, "rope_scaling.factor"),
            (
                r#"{"rope_parameters": {"full_attention": {"rope_type": "longrope"}}}"#,
                "rope_parameters.full_attention.rope_type",
            ),
            (
                r#"{"rope_parameters": {"sliding_attention": {"rope_theta": "big"}}}"#,
                "rope_parameters.sliding_attention.rope_theta",
            ),
        ];
        assert_refuses(ModernBertConfig::read, &cases);
    }
}
