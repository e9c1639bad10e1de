//! Qwen2 (Yang et al. 2024) and Qwen3 (Yang et al. 2025; reference: transformers' `Qwen2Model`, `Qwen3Model`, their
//! `ForSequenceClassification` and `ForCausalLM`): pre-norm decoders with rotary positions, grouped queries (Ainslie et
//! al. 2023) and gated feed-forward blocks (SwiGLU).
//!
//! ```text
//! x = words[ids]
//! for each layer:
//!     q, k, v = linear(rms_norm(x))            Qwen2: with biases; Qwen3: then q, k = rms_norm of each head
//!     q, k = rope(q, k)                        several heads of queries share one of keys and values
//!     x = x + linear(softmax(q kᵀ / sqrt(head_dim)) v)       causal, unless config.json says that both ways are seen
//!     h = rms_norm(x)
//!     x = x + down(activation(gate(h)) * up(h))
//! x = rms_norm(x)
//! ```
//!
//! `head_dim` of Qwen3 is a key of its own: heads times it need not be the hidden width. What a causal layer computes
//! of the first tokens of a text does not depend on the rest, so texts that begin alike share it. Whether a layer is
//! causal is its own property, not that of a mask made from padding: a text alone, or texts of one length, are no
//! exception.

use candle_core::Tensor;

use crate::config::Object;
use crate::kernels::{self, Activation, Dtype, Mask};
use crate::models::family::Family;
use crate::models::head::{HeadPooling, ScoreHead};
use crate::models::ids::require_rows;
use crate::models::pre_norm::PreNormLayer;
use crate::models::source::Source;
use crate::models::{Decoder, Encoder, KvCache};
use crate::nn::{Attention, Embedding, Layout, Linear, Loader, Mlp, MlpParts, Norm, Rope, RotaryTable};
use crate::profile::Stage;
use crate::text::{PackedBatch, TokenSelection};
use crate::{CancelCheck, Result};

pub(super) const FAMILY: Family = Family {
    model_types: &["qwen3", "qwen2"],
    // What they were trained in; in float16 they give NaN (QwenLM/Qwen3 issues 761 and 868, michaelfeil/infinity issue
    // 328).
    half_dtype: Dtype::Bfloat16,
    load,
    head,
    logit_head: Some(logit_head),
};

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    // voyage-4-nano's, whose width config.json gives as num_labels.
    if source.at.contains("linear.weight") {
        let message = "a projection of the hidden states, \"linear.weight\", is not supported";
        return Err(source.config.error("architectures", message));
    }
    Ok(Box::new(Qwen::load(&QwenConfig::read(source)?, &base_model(source))?))
}

/// The network: checkpoints of it alone have no prefix, those with a head have one.
fn base_model<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_if_contains("model", "embed_tokens.weight")
}

/// One layer, on the last token that is not the padding token: as transformers finds it, whether or not the text was
/// padded.
fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    source.require_head("score.weight")?;
    let hidden = QwenConfig::read(source)?.hidden;
    let padding = source.config.integer("pad_token_id", 0..=1 << 24)?;
    let pooling = padding.map_or(HeadPooling::Last, |token| HeadPooling::LastOtherThan(token as u32));
    ScoreHead::new(pooling).linear(source.at.at("score"), labels, hidden, Activation::Identity)
}

/// Some rows of the output matrix, which may be the table of embeddings.
fn logit_head(source: &Source, tokens: &[u32]) -> Result<ScoreHead> {
    let QwenConfig { hidden, vocab, .. } = QwenConfig::read(source)?;
    let tied = source.config.boolean("tie_word_embeddings")?.unwrap_or(false);
    let output = source.at.at("lm_head");
    let at = if tied && !output.contains("weight") { base_model(source).at("embed_tokens") } else { output };
    let row = |&token: &u32| match (token as usize) < vocab {
        true => Ok(at.rows(token as usize..token as usize + 1, vocab)),
        false => Err(source.config.error("vocab_size", format!("{vocab} has no room for token {token}"))),
    };
    ScoreHead::new(HeadPooling::Last).logits(&tokens.iter().map(row).collect::<Result<Vec<_>>>()?, hidden)
}

/// What config.json says.
#[derive(Debug)]
struct QwenConfig {
    vocab: usize,
    hidden: usize,
    layers: usize,
    intermediate: usize,
    activation: Activation,
    eps: f32,
    attention: kernels::AttentionShape,
    /// The base of rotary angles.
    theta: f64,
    /// Whether queries, keys and values have a bias, and whether the product after attention has one.
    biases: [bool; 2],
    /// Whether queries and keys are normalized.
    norms: bool,
}

impl QwenConfig {
    fn read(source: &Source) -> Result<Self> {
        let file = &source.config;
        let qwen3 = file.text("model_type")? == Some("qwen3");
        let hidden = file.size("hidden_size", 1 << 16, 4096)?;
        let layers = file.size("num_hidden_layers", 1 << 10, 32)?;
        refuse_windows(file, layers)?;
        let bias = file.boolean("attention_bias")?.unwrap_or(false);
        Ok(Self {
            vocab: file.size("vocab_size", 1 << 24, 151_936)?,
            hidden,
            layers,
            intermediate: file.size("intermediate_size", 1 << 20, 22_016)?,
            activation: source.activation("hidden_act", "silu")?,
            eps: source.epsilon("rms_norm_eps", 1e-6)?,
            attention: attention(file, hidden, qwen3)?,
            theta: theta(source)?,
            biases: if qwen3 { [bias; 2] } else { [true, false] },
            norms: qwen3,
        })
    }
}

fn attention(file: &Object, hidden: usize, qwen3: bool) -> Result<kernels::AttentionShape> {
    let heads = file.size("num_attention_heads", 1 << 10, 32)?;
    let kv_heads = file.size("num_key_value_heads", 1 << 10, heads)?;
    if !heads.is_multiple_of(kv_heads) {
        let message = format!("{kv_heads} does not divide num_attention_heads, {heads}");
        return Err(file.error("num_key_value_heads", message));
    }
    let head_dim = match file.integer("head_dim", 1..=1 << 16)? {
        Some(head_dim) => head_dim,
        None if qwen3 => 128,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => return Err(file.error("num_attention_heads", format!("{heads} does not divide hidden_size, {hidden}"))),
    };
    if !head_dim.is_multiple_of(2) {
        return Err(file.error("head_dim", format!("{head_dim} is odd: numbers of a head are turned in pairs")));
    }
    // A null counts as false in Python, and so it does here.
    let causal = !file.contains("is_causal") || file.boolean("is_causal")?.unwrap_or(false);
    let both_ways = file.boolean("use_bidirectional_attention")?.unwrap_or(false);
    let mask = if causal && !both_ways { Mask::Causal } else { Mask::Full };
    Ok(kernels::AttentionShape { heads, kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt(), mask })
}

/// Windows of attention that look only backwards are in no model that is asked for here.
fn refuse_windows(file: &Object, layers: usize) -> Result<()> {
    let unsupported = "a sliding window is not supported; attention to all tokens is";
    match file.texts("layer_types")? {
        Some(types) if types.iter().any(|&name| name != "full_attention") => {
            Err(file.error("layer_types", unsupported))
        }
        None if file.boolean("use_sliding_window")?.unwrap_or(false)
            && file.integer("max_window_layers", 0..=1 << 24)?.unwrap_or(28) < layers =>
        {
            Err(file.error("use_sliding_window", unsupported))
        }
        _ => Ok(()),
    }
}

/// The base of the rotary angles: of what newer files call `rope_parameters` and older ones, where it is not null,
/// `rope_scaling`, else of the file itself.
fn theta(source: &Source) -> Result<f64> {
    let file = &source.config;
    let key = if file.is_null("rope_scaling") { "rope_parameters" } else { "rope_scaling" };
    let parameters = file.object(key)?.unwrap_or_else(Object::empty);
    source.rope_theta(&parameters, "rope_theta", 10_000.0)
}

struct Qwen {
    embedding: Embedding,
    layers: Vec<PreNormLayer>,
    norm: Norm,
    vocab: usize,
    hidden: usize,
    mask: Mask,
}

impl Qwen {
    fn load(config: &QwenConfig, at: &Loader) -> Result<Self> {
        let QwenConfig { vocab, hidden, attention, .. } = *config;
        let table = RotaryTable::new(at.body(), attention.head_dim, config.theta)?;
        let layer = |i: usize| {
            let at = at.at("layers").at(&i.to_string());
            let norms = match config.norms {
                true => Some([head_norm(config, &at, "q_norm")?, head_norm(config, &at, "k_norm")?]),
                false => None,
            };
            load_layer(config, &at, Rope::new(attention, table.clone(), norms))
        };
        Ok(Self {
            embedding: Embedding::load(&[(at.at("embed_tokens"), vocab)], None, hidden)?,
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            norm: Norm::rms_norm(&at.at("norm"), hidden, config.eps)?,
            vocab,
            hidden,
            mask: attention.mask,
        })
    }

    /// `[tokens, hidden]`
    fn embed(&self, batch: &PackedBatch) -> Result<Tensor> {
        require_rows(&batch.ids, self.vocab, "words")?;
        self.embedding.forward(&[&batch.ids])
    }
}

impl Encoder for Qwen {
    fn hidden_size(&self) -> usize {
        self.hidden
    }

    fn vocab_size(&self) -> usize {
        self.vocab
    }

    fn forward(&self, batch: &PackedBatch, wanted: TokenSelection, check_cancel: CancelCheck<'_>) -> Result<Tensor> {
        self.forward_from(&KvCache::default(), batch, wanted, check_cancel)
    }

    fn padding_state(&self, token: u32) -> Result<Option<Tensor>> {
        require_rows(&[token], self.vocab, "words")?;
        let mut hidden = self.embedding.forward(&[&[token]])?;
        for layer in &self.layers {
            hidden = layer.finish_without_attention(&hidden)?;
        }
        Ok(Some(self.norm.forward(&hidden)?))
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        (self.mask == Mask::Causal).then_some(self)
    }
}

impl Decoder for Qwen {
    fn prefill(&self, prefix: &PackedBatch, check_cancel: CancelCheck<'_>) -> Result<KvCache> {
        let tokens = prefix.tokens();
        let mut past = KvCache { tokens, layers: Vec::with_capacity(self.layers.len()) };
        if tokens == 0 {
            return Ok(past);
        }
        let layout = Layout::new(&prefix.offsets, &prefix.positions);
        let mut hidden = self.embed(prefix)?;
        for (i, layer) in self.layers.iter().enumerate() {
            check_cancel()?;
            let qkv = layer.project(&hidden, &layout)?;
            past.layers.push(layer.keys_and_values(&qkv)?);
            if i + 1 < self.layers.len() {
                hidden = layer.finish(&hidden, &qkv, &layout, None, None)?;
            }
        }
        Ok(past)
    }

    fn forward_from(
        &self,
        past: &KvCache,
        batch: &PackedBatch,
        wanted: TokenSelection,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Tensor> {
        let positions: Vec<u32> = batch.positions.iter().map(|position| past.tokens as u32 + position).collect();
        let (layout, rows) = (Layout::new(&batch.offsets, &positions), batch.rows(wanted));
        let mut hidden = self.embed(batch)?;
        for (i, layer) in self.layers.iter().enumerate() {
            check_cancel()?;
            let rows = rows.as_deref().filter(|_| i + 1 == self.layers.len());
            let qkv = layer.project(&hidden, &layout)?;
            hidden = layer.finish(&hidden, &qkv, &layout, past.layers.get(i), rows)?;
        }
        self.norm.forward(&hidden)
    }
}

fn head_norm(config: &QwenConfig, layer: &Loader, name: &str) -> Result<Norm> {
    Norm::rms_norm(&layer.at("self_attn").at(name), config.attention.head_dim, config.eps)
}

fn load_layer(config: &QwenConfig, at: &Loader, rope: Rope) -> Result<PreNormLayer> {
    let QwenConfig { hidden, intermediate, attention: shape, biases: [qkv_bias, out_bias], .. } = *config;
    let block = at.at("self_attn");
    // A linear layer's parts have equal rows: so the queries are several, each as large as the keys.
    let (part, all) = (shape.kv_heads * shape.head_dim, shape.heads * shape.head_dim);
    let queries = (0..all / part).map(|i| block.at("q_proj").rows(i * part..(i + 1) * part, all));
    let qkv: Vec<_> = queries.chain(["k_proj", "v_proj"].map(|name| block.at(name))).collect();
    let mlp = at.at("mlp");
    let parts = MlpParts {
        up: mlp.at("up_proj"),
        gate: Some(mlp.at("gate_proj")),
        down: mlp.at("down_proj"),
        up_bias: false,
        down_bias: false,
    };
    Ok(PreNormLayer {
        attention_norm: Some(Norm::rms_norm(&at.at("input_layernorm"), hidden, config.eps)?),
        qkv: Linear::load(Stage::Qkv, &qkv, part, hidden, qkv_bias)?,
        rope: Some(rope),
        shape,
        attention: Attention::new(at.body(), shape),
        out: Linear::load(Stage::Out, &[block.at("o_proj")], hidden, all, out_bias)?,
        mlp_norm: Norm::rms_norm(&at.at("post_attention_layernorm"), hidden, config.eps)?,
        mlp: Mlp::load(parts, hidden, intermediate, config.activation)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::with_source;

    fn read(text: &str) -> Result<QwenConfig> {
        with_source(text, QwenConfig::read)
    }

    #[test]
    fn what_is_left_out_is_as_in_transformers() {
        let qwen3 = read(r#"{"model_type": "qwen3"}"#).unwrap();
        let kernels::AttentionShape { heads, kv_heads, head_dim, mask, .. } = qwen3.attention;
        assert_eq!((heads, kv_heads, head_dim, mask), (32, 32, 128, Mask::Causal));
        assert_eq!((qwen3.vocab, qwen3.hidden, qwen3.layers, qwen3.intermediate), (151_936, 4096, 32, 22_016));
        assert_eq!((qwen3.activation, qwen3.eps, qwen3.theta), (Activation::Silu, 1e-6, 10_000.0));
        assert_eq!((qwen3.biases, qwen3.norms), ([false, false], true));
        let qwen2 = read(r#"{"model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 4}"#).unwrap();
        assert_eq!((qwen2.attention.head_dim, qwen2.biases, qwen2.norms), (16, [true, false], false));
        let biased = r#"{"model_type": "qwen3", "attention_bias": true, "head_dim": 16, "num_key_value_heads": 8}"#;
        let biased = read(biased).unwrap();
        assert_eq!((biased.biases, biased.attention.kv_heads, biased.attention.scale), ([true, true], 8, 0.25));
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
    fn the_base_of_the_angles_is_found_under_each_of_its_names() {
        for (keys, expected) in [
            (r#""rope_theta": 1000000"#, 1e6),
            (r#""rope_theta": 1e6, "rope_scaling": null, "rope_parameters": null"#, 1e6),
            (r#""rope_theta": 1e6, "rope_parameters": {"rope_type": "default", "rope_theta": 5e3}"#, 5e3),
            (r#""rope_parameters": {"rope_theta": 5e3}"#, 5e3),
            (r#""rope_theta": 1e6, "rope_scaling": {"type": "default"}"#, 1e6),
        ] {
            let config = read(&format!(r#"{{"model_type": "qwen2", {keys}}}"#)).unwrap();
            assert_eq!(config.theta, expected, "{keys}");
        }
    }

    #[test]
    fn full_layers_are_no_windows() {
        for keys in [
            r#""use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 0"#,
            r#""use_sliding_window": true, "num_hidden_layers": 28"#,
            r#""layer_types": ["full_attention", "full_attention"]"#,
        ] {
            assert!(read(&format!(r#"{{"model_type": "qwen2", {keys}}}"#)).is_ok(), "{keys}");
        }
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
            (r#""rope_theta": 0"#, "rope_theta: expected a number from 1, found 0"),
            (r#""rope_theta": 0.5"#, "rope_theta: expected a number from 1, found 0.5"),
            (r#""rope_theta": "big""#, "rope_theta: expected a number, found \"big\""),
            (
                r#""rope_scaling": {"type": "yarn", "factor": 4}"#,
                "rope_scaling.type: \"yarn\" is not supported; \"default\" is",
            ),
            (
                r#""rope_parameters": {"rope_type": "dynamic"}"#,
                "rope_parameters.rope_type: \"dynamic\" is not supported; \"default\" is",
            ),
            (r#""use_sliding_window": true"#, "use_sliding_window: a sliding window is not supported"),
            (
                r#""layer_types": ["full_attention", "sliding_attention"]"#,
                "layer_types: a sliding window is not supported",
            ),
        ] {
            let message = read(&format!(r#"{{"model_type": "qwen2", {keys}}}"#)).unwrap_err().to_string();
            assert!(message.starts_with(&format!("config.json: {expected}")), "{message}");
        }
    }
}
