//! Qwen2 (Yang et al. 2024) and Qwen3 (Yang et al. 2025; reference: transformers' `modeling_qwen2.py`, `modeling_qwen3.py`):
//! decoders whose hidden states are embeddings, or answers.

use candle_core::Tensor;

use crate::config::Object;
use crate::kernels::{self, Activation, Mask};
use crate::models::head::{Head, HeadPooling};
use crate::models::post_norm::{eps, require_rows};
use crate::models::registry::{Family, Source, require_head};
use crate::models::{Decoder, Encoder, Past};
use crate::nn::{Attention, Embedding, Layout, Linear, Loader, Mlp, MlpParts, Norm, Rope, Rotations, add, select};
use crate::profile::Stage;
use crate::text::{PackedBatch, TokenSelection};
use crate::{CancelCheck, Result};

pub(super) const FAMILY: Family = Family { model_types: &["qwen3", "qwen2"], load, head, logit_head: Some(logit_head) };

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    // voyage-4-nano's, whose width config.json gives as num_labels.
    if source.at.contains("linear.weight") {
        let message = "a projection of the hidden states, \"linear.weight\", is not supported";
        return Err(source.config.error("architectures", message));
    }
    Ok(Box::new(Qwen::load(&Config::read(source)?, &place(source))?))
}

/// Checkpoints of a bare network have no prefix, those with a head have one.
fn place<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_first_with(&["model"], "embed_tokens.weight")
}

/// One layer, on the last token that is not the one for padding: as transformers finds it, be there padding or not.
fn head(source: &Source, labels: usize) -> Result<Head> {
    require_head(source, "score.weight")?;
    let hidden = Config::read(source)?.hidden;
    let padding = source.config.integer("pad_token_id", 0..=1 << 24)?;
    let pooling = padding.map_or(HeadPooling::Last, |token| HeadPooling::LastOtherThan(token as u32));
    Head::new(pooling).linear(source.at.at("score"), labels, hidden, Activation::Identity)
}

/// Some rows of the output matrix, which may be the table of embeddings.
fn logit_head(source: &Source, tokens: &[u32]) -> Result<Head> {
    let Config { hidden, vocab, .. } = Config::read(source)?;
    let tied = source.config.boolean("tie_word_embeddings")?.unwrap_or(false);
    let output = source.at.at("lm_head");
    let at = if tied && !output.contains("weight") { place(source).at("embed_tokens") } else { output };
    let row = |&token: &u32| match (token as usize) < vocab {
        true => Ok(at.rows(token as usize..token as usize + 1, vocab)),
        false => Err(source.config.error("vocab_size", format!("{vocab} has no room for token {token}"))),
    };
    Head::new(HeadPooling::Last).logits(&tokens.iter().map(row).collect::<Result<Vec<_>>>()?, hidden)
}

/// What config.json says.
#[derive(Debug)]
struct Config {
    vocab: usize,
    hidden: usize,
    layers: usize,
    wide: usize,
    activation: Activation,
    eps: f32,
    attention: kernels::Attention,
    /// Of the rotations.
    theta: f64,
    /// Whether queries, keys and values have a bias, and whether the product after attention has one.
    biases: [bool; 2],
    /// Whether queries and keys are normalized.
    norms: bool,
}

impl Config {
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
            wide: file.size("intermediate_size", 1 << 20, 22_016)?,
            activation: source.activation("hidden_act", "silu")?,
            eps: eps(file, "rms_norm_eps", 1e-6)?,
            attention: attention(file, hidden, qwen3)?,
            theta: theta(file)?,
            biases: if qwen3 { [bias; 2] } else { [true, false] },
            norms: qwen3,
        })
    }
}

fn attention(file: &Object, hidden: usize, qwen3: bool) -> Result<kernels::Attention> {
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
    Ok(kernels::Attention { heads, kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt(), mask })
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

/// The base of the rotations' angles: of the file itself, or of what newer files call rope_parameters and older ones, where it
/// is not null, rope_scaling.
fn theta(file: &Object) -> Result<f64> {
    let of_file = file.number("rope_theta")?.unwrap_or(10_000.0);
    let key = if file.is_null("rope_scaling") { "rope_parameters" } else { "rope_scaling" };
    let parameters = file.object(key)?.unwrap_or_else(Object::empty);
    for key in ["rope_type", "type"] {
        if let Some(kind) = parameters.text(key)?.filter(|&kind| kind != "default") {
            return Err(parameters.error(key, format!("{kind:?} is not supported; \"default\" is")));
        }
    }
    let theta = parameters.number("rope_theta")?.unwrap_or(of_file);
    // Angles of a far smaller one are no numbers of float32.
    match (1.0..1e30).contains(&theta) {
        true => Ok(theta),
        false => Err(file.error("rope_theta", format!("expected a number from 1, found {theta}"))),
    }
}

struct Qwen {
    embedding: Embedding,
    layers: Vec<Layer>,
    norm: Norm,
    vocab: usize,
    hidden: usize,
    mask: Mask,
}

impl Qwen {
    fn load(config: &Config, at: &Loader) -> Result<Self> {
        let Config { vocab, hidden, attention, .. } = *config;
        let rotations = Rotations::new(at.body(), attention.head_dim, config.theta)?;
        let layer = |i: usize| {
            let at = at.at("layers").at(&i.to_string());
            let norms = match config.norms {
                true => Some([head_norm(config, &at, "q_norm")?, head_norm(config, &at, "k_norm")?]),
                false => None,
            };
            Layer::load(config, &at, Rope::new(attention, rotations.clone(), norms))
        };
        Ok(Self {
            embedding: Embedding::load(&[(at.at("embed_tokens"), vocab)], None, hidden)?,
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            norm: Norm::root_mean_square(&at.at("norm"), hidden, config.eps)?,
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
        self.resume(&Past::default(), batch, wanted, check_cancel)
    }

    fn padding_state(&self, token: u32) -> Result<Option<Tensor>> {
        require_rows(&[token], self.vocab, "words")?;
        let mut hidden = self.embedding.forward(&[&[token]])?;
        for layer in &self.layers {
            hidden = layer.unattended(&hidden)?;
        }
        Ok(Some(self.norm.forward(&hidden)?))
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        (self.mask == Mask::Causal).then_some(self)
    }
}

impl Decoder for Qwen {
    fn remember(&self, prefix: &PackedBatch, check_cancel: CancelCheck<'_>) -> Result<Past> {
        let tokens = prefix.tokens();
        let mut past = Past { tokens, layers: Vec::with_capacity(self.layers.len()) };
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

    fn resume(
        &self,
        past: &Past,
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

fn head_norm(config: &Config, layer: &Loader, name: &str) -> Result<Norm> {
    Norm::root_mean_square(&layer.at("self_attn").at(name), config.attention.head_dim, config.eps)
}

/// Normalizes before each block, not after it.
struct Layer {
    attention_norm: Norm,
    qkv: Linear,
    rope: Rope,
    shape: kernels::Attention,
    attention: Attention,
    out: Linear,
    mlp_norm: Norm,
    mlp: Mlp,
}

impl Layer {
    fn load(config: &Config, at: &Loader, rope: Rope) -> Result<Self> {
        let Config { hidden, wide, attention: shape, biases: [qkv_bias, out_bias], .. } = *config;
        let block = at.at("self_attn");
        // A linear layer's parts have equal rows: so the queries are several, each as large as the keys.
        let (part, all) = (shape.kv_heads * shape.head_dim, shape.heads * shape.head_dim);
        let queries = (0..all / part).map(|i| block.at("q_proj").rows(i * part..(i + 1) * part, all));
        let qkv: Vec<_> = queries.chain(["k_proj", "v_proj"].map(|name| block.at(name))).collect();
        let mlp = at.at("mlp");
        let parts =
            MlpParts { up: mlp.at("up_proj"), gate: Some(mlp.at("gate_proj")), down: mlp.at("down_proj"), bias: false };
        Ok(Self {
            attention_norm: Norm::root_mean_square(&at.at("input_layernorm"), hidden, config.eps)?,
            qkv: Linear::load(Stage::Qkv, &qkv, part, hidden, qkv_bias)?,
            rope,
            shape,
            attention: Attention::new(at.body(), shape),
            out: Linear::load(Stage::Out, &[block.at("o_proj")], hidden, all, out_bias)?,
            mlp_norm: Norm::root_mean_square(&at.at("post_attention_layernorm"), hidden, config.eps)?,
            mlp: Mlp::load(parts, hidden, wide, config.activation)?,
        })
    }

    /// Queries, keys and values of `hidden [tokens, hidden]`, turned: `[tokens, (heads + 2 * kv_heads) * head_dim]`.
    fn project(&self, hidden: &Tensor, layout: &Layout) -> Result<Tensor> {
        self.rope.forward(&self.qkv.forward(&self.attention_norm.forward(hidden)?)?, layout)
    }

    /// `[tokens, 2 * kv_heads * head_dim]` of what [`Self::project`] gives.
    fn keys_and_values(&self, qkv: &Tensor) -> Result<Tensor> {
        let kernels::Attention { heads, kv_heads, head_dim, .. } = self.shape;
        Ok(qkv.narrow(1, heads * head_dim, 2 * kv_heads * head_dim)?.contiguous()?)
    }

    /// `rows`: those that are wanted of the output, None for all.
    fn finish(
        &self,
        hidden: &Tensor,
        qkv: &Tensor,
        layout: &Layout,
        past: Option<&Tensor>,
        rows: Option<&[u32]>,
    ) -> Result<Tensor> {
        let attended = self.attention.forward(qkv, layout, past, rows)?;
        let hidden = match rows {
            Some(rows) => &select(hidden, rows)?,
            None => hidden,
        };
        self.close(hidden, &attended)
    }

    /// As [`Self::finish`], where attention gives zeros.
    fn unattended(&self, hidden: &Tensor) -> Result<Tensor> {
        let width = self.shape.heads * self.shape.head_dim;
        self.close(hidden, &Tensor::zeros((hidden.dim(0)?, width), hidden.dtype(), hidden.device())?)
    }

    /// What follows attention, with `attended [tokens, heads * head_dim]`.
    fn close(&self, hidden: &Tensor, attended: &Tensor) -> Result<Tensor> {
        let hidden = add(&self.out.forward(attended)?, hidden)?;
        add(&self.mlp.forward(&self.mlp_norm.forward(&hidden)?)?, &hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::with_source;

    fn read(text: &str) -> Result<Config> {
        with_source(text, Config::read)
    }

    #[test]
    fn what_is_left_out_is_as_in_transformers() {
        let qwen3 = read(r#"{"model_type": "qwen3"}"#).unwrap();
        let kernels::Attention { heads, kv_heads, head_dim, mask, .. } = qwen3.attention;
        assert_eq!((heads, kv_heads, head_dim, mask), (32, 32, 128, Mask::Causal));
        assert_eq!((qwen3.vocab, qwen3.hidden, qwen3.layers, qwen3.wide), (151_936, 4096, 32, 22_016));
        assert_eq!((qwen3.activation, qwen3.eps, qwen3.theta), (Activation::Silu, 1e-6, 10_000.0));
        assert_eq!((qwen3.biases, qwen3.norms), ([false, false], true));
        let qwen2 = read(r#"{"model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 4}"#).unwrap();
        assert_eq!((qwen2.attention.head_dim, qwen2.biases, qwen2.norms), (16, [true, false], false));
        let biased = r#"{"model_type": "qwen3", "attention_bias": true, "head_dim": 16, "num_key_value_heads": 8}"#;
        let biased = read(biased).unwrap();
        assert_eq!((biased.biases, biased.attention.kv_heads, biased.attention.scale), ([true, true], 8, 0.25));
    }

    #[test]
    fn who_sees_whom_is_said_in_two_ways() {
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
