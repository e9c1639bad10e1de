//! The encoder of T5 (Raffel et al. 2020; reference: transformers' `T5EncoderModel`), of which GTR, Sentence-T5 and
//! INSTRUCTOR are made: pre-norm, with root-mean-square normalizations, no biases of linear layers, and a learned bias
//! on the scores for the distance between tokens.
//!
//! ```text
//! x = words[ids]
//! for each block:
//!     q, k, v = linear(rms_norm(x))
//!     x = x + linear(softmax(q kᵀ + bias) v)              no scale; the bias of the first block, in all
//!     x = x + wo(activation(wi(h)))                       h = rms_norm(x); or wo(activation(wi_0(h)) * wi_1(h))
//! x = rms_norm(x)
//! ```
//!
//! Heads times `d_kv` need not be the hidden width. "gated-gelu" is the approximation of GELU by tanh, though "gelu" and
//! every other name are the function of that name. The table of words is `shared` in most checkpoints, and
//! `encoder.embed_tokens` in some; where both are there, they are one. A decoder beside the encoder is not read.

use std::sync::Arc;

use crate::Result;
use crate::config::Object;
use crate::kernels::{self, Activation, Dtype, Mask};
use crate::models::Encoder;
use crate::models::distance_buckets::DistanceBuckets;
use crate::models::family::{Family, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::input_tables::InputTables;
use crate::models::pre_norm::{PreNorm, PreNormLayer};
use crate::models::source::Source;
use crate::nn::{Attention, AttentionBias, Embedding, Linear, Loader, Mlp, MlpParts, Norm};
use crate::profile::Stage;

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "T5",
        model_types: &["t5"],
        embedders: &["gtr-t5 (base to xxl)", "sentence-t5 (base to xxl)", "instructor (base to xl)"],
        rerankers: &[],
        limits: "the encoder alone",
    }],
    // What they were trained in; states of the larger ones are beyond float16 (huggingface/transformers issue 9295).
    half_dtype: Dtype::Bfloat16,
    load,
    head,
    logit_head: None,
};

/// What config.json says.
#[derive(Debug)]
struct T5Config {
    vocab: usize,
    hidden: usize,
    layers: usize,
    intermediate: usize,
    activation: Activation,
    /// Whether feed-forward blocks have a gate.
    gated: bool,
    eps: f32,
    attention: kernels::AttentionShape,
    buckets: DistanceBuckets,
}

impl T5Config {
    fn read(source: &Source) -> Result<Self> {
        let file = &source.config;
        if file.boolean("is_decoder")? == Some(true) {
            return Err(file.error("is_decoder", "a decoder is not supported; an encoder is"));
        }
        // The reference knows sizes by two names, of which the second counts where both are there.
        let size = |[own, common]: [&str; 2], max: usize, default: usize| {
            file.size(if file.is_null(common) { own } else { common }, max, default)
        };
        let heads = size(["num_heads", "num_attention_heads"], 1 << 10, 8)?;
        let head_dim = size(["d_kv", "head_dim"], 1 << 16, 64)?;
        let (activation, gated) = activation(source)?;
        Ok(Self {
            vocab: file.size("vocab_size", 1 << 24, 32_128)?,
            hidden: size(["d_model", "hidden_size"], 1 << 16, 512)?,
            layers: size(["num_layers", "num_hidden_layers"], 1 << 10, 6)?,
            intermediate: file.size("d_ff", 1 << 20, 2048)?,
            activation,
            gated,
            eps: source.epsilon("layer_norm_epsilon", 1e-6)?,
            attention: kernels::AttentionShape { heads, kv_heads: heads, head_dim, scale: 1.0, mask: Mask::Full },
            buckets: buckets(file)?,
        })
    }
}

/// The activation of feed-forward blocks, and whether it is that of a gate. `dense_act_fn` and `is_gated_act`, which newer
/// files have beside the name that stands for both, count for more.
fn activation(source: &Source) -> Result<(Activation, bool)> {
    const NAME: &str = "feed_forward_proj";
    const FUNCTION: &str = "dense_act_fn";
    let file = &source.config;
    let (function, gated) = match file.text(NAME)?.unwrap_or("relu") {
        "gated-gelu" => ("gelu_new", true),
        name => name.strip_prefix("gated-").map_or((name, false), |function| (function, true)),
    };
    let (key, function) = file.text(FUNCTION)?.map_or((NAME, function), |function| (FUNCTION, function));
    Ok((source.activation_named(key, function)?, file.boolean("is_gated_act")?.unwrap_or(gated)))
}

fn buckets(file: &Object) -> Result<DistanceBuckets> {
    const MAX_DISTANCE: &str = "relative_attention_max_distance";
    let count = file.integer("relative_attention_num_buckets", 4..=1 << 16)?.unwrap_or(32);
    let max_distance = file.size(MAX_DISTANCE, 1 << 16, 128)?;
    // As many distances have a bucket of their own.
    let exact = count / 4;
    if max_distance <= exact {
        let message = format!("expected more than a quarter of the {count} buckets, found {max_distance}");
        return Err(file.error(MAX_DISTANCE, message));
    }
    Ok(DistanceBuckets { count, max_distance })
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let config = T5Config::read(source)?;
    let root = source.at.at_if_contains("transformer", "encoder.final_layer_norm.weight");
    let at = root.at("encoder");
    let words = at.at("embed_tokens");
    let words = if words.contains("weight") { words } else { root.at("shared") };
    let blocks = at.at("block");
    let table = blocks.at("0.layer.0.SelfAttention.relative_attention_bias");
    let bias = Arc::new(config.buckets.bias(&table, config.buckets.count, config.attention.heads)?);
    let layer = |i: usize| load_layer(&config, &blocks.at(&i.to_string()).at("layer"), bias.clone());
    Ok(Box::new(PreNorm {
        tables: InputTables::of_words(config.vocab),
        embedding: Embedding::load(&[(words, config.vocab)], None, config.hidden)?,
        layers: blocks.load_each(config.layers, layer)?,
        norm: Norm::rms_norm(&at.at("final_layer_norm"), config.hidden, config.eps)?,
        hidden: config.hidden,
    }))
}

fn load_layer(config: &T5Config, at: &Loader, bias: Arc<dyn AttentionBias>) -> Result<PreNormLayer> {
    let &T5Config { hidden, intermediate, activation, gated, eps, attention: shape, .. } = config;
    let (first, second) = (at.at("0"), at.at("1"));
    let block = first.at("SelfAttention");
    let inner = shape.heads * shape.head_dim;
    let mlp = second.at("DenseReluDense");
    let parts = MlpParts {
        up: mlp.at(if gated { "wi_1" } else { "wi" }),
        gate: gated.then(|| mlp.at("wi_0")),
        down: mlp.at("wo"),
        up_bias: false,
        down_bias: false,
    };
    Ok(PreNormLayer {
        attention_norm: Some(Norm::rms_norm(&first.at("layer_norm"), hidden, eps)?),
        qkv: Linear::qkv(&["q", "k", "v"].map(|name| block.at(name)), inner, hidden, false, &shape)?,
        rope: None,
        shape,
        attention: Attention::new(at.body(), shape).with_bias(bias),
        out: Linear::load(Stage::Out, &[block.at("o")], hidden, inner, false)?,
        attention_out_norm: None,
        mlp_norm: Norm::rms_norm(&second.at("layer_norm"), hidden, eps)?,
        mlp: Mlp::load(parts, hidden, intermediate, activation)?,
        mlp_out_norm: None,
    })
}

/// transformers' classifier on T5 goes through the decoder.
fn head(source: &Source, _: usize) -> Result<ScoreHead> {
    let message = "a classifier on T5 scores with its decoder, which is not supported; Embedder reads the encoder";
    Err(source.config.error("architectures", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};

    fn read(text: &str) -> Result<T5Config> {
        with_source(text, T5Config::read)
    }

    #[test]
    fn what_is_left_out_is_t5_small() {
        let small = read("{}").unwrap();
        assert_eq!((small.vocab, small.hidden, small.layers, small.intermediate), (32_128, 512, 6, 2048));
        assert_eq!((small.attention.heads, small.attention.head_dim, small.attention.scale), (8, 64, 1.0));
        assert_eq!((small.activation, small.gated, small.eps), (Activation::Relu, false, 1e-6));
        assert_eq!(small.buckets, DistanceBuckets { count: 32, max_distance: 128 });
    }

    #[test]
    fn gated_gelu_alone_is_not_the_function_of_its_name() {
        let activation = |text: &str| {
            let config = read(text).unwrap();
            (config.activation, config.gated)
        };
        assert_eq!(activation(r#"{"feed_forward_proj": "gated-gelu"}"#), (Activation::GeluTanh, true));
        assert_eq!(activation(r#"{"feed_forward_proj": "gelu"}"#), (Activation::Gelu, false));
        assert_eq!(activation(r#"{"feed_forward_proj": "gated-silu"}"#), (Activation::Silu, true));
        let own = r#"{"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu", "is_gated_act": false}"#;
        assert_eq!(activation(own), (Activation::Gelu, false));
    }

    #[test]
    fn what_is_impossible_is_refused_by_name() {
        let cases = [
            (r#"{"d_model": 0}"#, "d_model"),
            (r#"{"d_model": "512"}"#, "d_model"),
            (r#"{"d_kv": 1e300}"#, "d_kv"),
            (r#"{"num_heads": -1}"#, "num_heads"),
            (r#"{"num_layers": 4294967296}"#, "num_layers"),
            (r#"{"d_ff": []}"#, "d_ff"),
            (r#"{"vocab_size": 0}"#, "vocab_size"),
            (r#"{"layer_norm_epsilon": -1.0}"#, "layer_norm_epsilon"),
            (r#"{"feed_forward_proj": "gated-gelu-new"}"#, "feed_forward_proj"),
            (r#"{"feed_forward_proj": "gelu-gated"}"#, "feed_forward_proj"),
            (r#"{"feed_forward_proj": 3}"#, "feed_forward_proj"),
            (r#"{"dense_act_fn": "gelu_fancy"}"#, "dense_act_fn"),
            (r#"{"is_gated_act": "yes"}"#, "is_gated_act"),
            (r#"{"d_model": 60, "hidden_size": 0}"#, "hidden_size"),
            (r#"{"relative_attention_num_buckets": 3}"#, "relative_attention_num_buckets"),
            (r#"{"relative_attention_num_buckets": 1e300}"#, "relative_attention_num_buckets"),
            (r#"{"relative_attention_max_distance": 8}"#, "relative_attention_max_distance"),
            (r#"{"relative_attention_max_distance": 1000000}"#, "relative_attention_max_distance"),
            (r#"{"is_decoder": true}"#, "is_decoder"),
        ];
        assert_refuses(T5Config::read, &cases);
        assert_refuses(|source| head(source, 1), &[("{}", "architectures")]);
    }
}
