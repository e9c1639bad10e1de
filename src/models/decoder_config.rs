//! What config.json says of the networks that `decoder.rs` computes.

use half::{bf16, f16};

use crate::Result;
use crate::config::Object;
use crate::kernels::{self, Activation, Dtype, Mask};
use crate::models::layer_type::LayerType;
use crate::models::rotary::RotaryKeys;
use crate::models::source::Source;
use crate::nn::{Loader, Norm, RotaryAngles};

/// The configuration of a decoder.
#[derive(Debug)]
pub(super) struct DecoderConfig {
    pub(super) vocab: usize,
    pub(super) hidden: usize,
    pub(super) intermediate: usize,
    pub(super) activation: Activation,
    pub(super) eps: f32,
    /// The shape of attention in every layer that does not say another.
    pub(super) attention: kernels::AttentionShape,
    pub(super) layers: Vec<DecoderLayer>,
    pub(super) biases: DecoderBiases,
    pub(super) head_norms: DecoderHeadNorms,
    pub(super) norms: DecoderNorms,
}

/// What of a token's heads is normalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecoderHeadNorms {
    None,
    QueriesAndKeys,
    /// Values without a weight.
    All,
}

/// What the layers of a decoder may differ in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct DecoderLayer {
    pub(super) shape: kernels::AttentionShape,
    pub(super) angles: RotaryAngles,
}

/// Which linear layers have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DecoderBiases {
    pub(super) qkv: bool,
    pub(super) out: bool,
    pub(super) mlp: bool,
}

/// The normalizations of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecoderNorms {
    /// Before each block, times a weight.
    Llama,
    /// Before each block, times 1 + weight; the embeddings are scaled.
    Gemma,
    /// As Gemma's, and of what each block gives, too.
    Gemma3,
    /// As Gemma 3's, times a weight.
    EmbeddingGemma2,
}

/// Names of a layer's normalizations.
pub(super) struct NormNames {
    pub(super) attention: &'static str,
    pub(super) attention_out: Option<&'static str>,
    pub(super) mlp: &'static str,
    pub(super) mlp_out: Option<&'static str>,
}

impl DecoderNorms {
    pub(super) fn names(self) -> NormNames {
        let attention = "input_layernorm";
        match self {
            Self::Llama | Self::Gemma => {
                NormNames { attention, attention_out: None, mlp: "post_attention_layernorm", mlp_out: None }
            }
            Self::Gemma3 | Self::EmbeddingGemma2 => NormNames {
                attention,
                attention_out: Some("post_attention_layernorm"),
                mlp: "pre_feedforward_layernorm",
                mlp_out: Some("post_feedforward_layernorm"),
            },
        }
    }
}

/// What a family's config.json may leave out.
pub(super) struct DecoderDefaults {
    pub(super) vocab: usize,
    pub(super) hidden: usize,
    pub(super) intermediate: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    /// None: as many as `heads`.
    pub(super) kv_heads: Option<usize>,
    /// None: the hidden width divided by the heads.
    pub(super) head_dim: Option<usize>,
    /// The key of the activation, too.
    pub(super) activation: (&'static str, &'static str),
    pub(super) eps: f64,
    pub(super) theta: f64,
}

/// Llama's, which other families differ from in sizes.
pub(super) const LLAMA: DecoderDefaults = DecoderDefaults {
    vocab: 32_000,
    hidden: 4096,
    intermediate: 11_008,
    layers: 32,
    heads: 32,
    kv_heads: None,
    head_dim: None,
    activation: ("hidden_act", "silu"),
    eps: 1e-6,
    theta: 10_000.0,
};

impl DecoderConfig {
    /// The keys that all families share: layers see all tokens before them, or all, and have one kind of angles.
    pub(super) fn read(source: &Source, defaults: &DecoderDefaults, norms: DecoderNorms) -> Result<Self> {
        let file = &source.config;
        let hidden = file.size("hidden_size", 1 << 16, defaults.hidden)?;
        let layers = file.size("num_hidden_layers", 1 << 10, defaults.layers)?;
        let attention = attention(file, hidden, defaults)?;
        let keys = RotaryKeys { theta: "rope_theta", default: defaults.theta, head_dim: attention.head_dim };
        let angles = source.rotary_angles(&source.rotary_parameters()?, &keys)?;
        Ok(Self {
            vocab: file.size("vocab_size", 1 << 24, defaults.vocab)?,
            hidden,
            intermediate: file.size("intermediate_size", 1 << 20, defaults.intermediate)?,
            activation: source.activation(defaults.activation.0, defaults.activation.1)?,
            eps: source.epsilon("rms_norm_eps", defaults.eps)?,
            layers: vec![DecoderLayer { shape: attention, angles }; layers],
            attention,
            biases: DecoderBiases { qkv: false, out: false, mlp: false },
            head_norms: DecoderHeadNorms::None,
            norms,
        })
    }

    /// Layers of these types, of which the sliding ones see so many tokens; an error where they see both ways.
    pub(super) fn with_windows(mut self, file: &Object, types: &[LayerType]) -> Result<Self> {
        if !types.contains(&LayerType::Sliding) {
            return Ok(self);
        }
        let tokens = file.required("sliding_window", file.integer("sliding_window", 1..=1 << 24)?)?;
        if self.attention.mask != Mask::Causal {
            let message = "a window of a network that looks both ways is not supported";
            return Err(file.error("sliding_window", message));
        }
        for (layer, layer_type) in self.layers.iter_mut().zip(types) {
            if *layer_type == LayerType::Sliding {
                layer.shape.mask = Mask::CausalWindow(tokens);
            }
        }
        Ok(self)
    }

    /// Biases of all of attention's linear layers, where config.json says so.
    pub(super) fn bias_attention(&mut self, file: &Object) -> Result<()> {
        let bias = file.boolean("attention_bias")?.unwrap_or(false);
        self.biases = DecoderBiases { qkv: bias, out: bias, ..self.biases };
        Ok(())
    }

    /// As `bias_attention`, and of feed-forward blocks.
    pub(super) fn bias_all(&mut self, file: &Object) -> Result<()> {
        self.bias_attention(file)?;
        self.biases.mlp = file.boolean("mlp_bias")?.unwrap_or(false);
        Ok(())
    }

    /// Layers that see all tokens, whatever config.json says.
    pub(super) fn see_all(&mut self) {
        self.attention.mask = Mask::Full;
        self.layers.iter_mut().for_each(|layer| layer.shape.mask = Mask::Full);
    }

    /// A normalization of `width` numbers.
    pub(super) fn norm(&self, at: &Loader, width: usize) -> Result<Norm> {
        match self.norms {
            DecoderNorms::Llama | DecoderNorms::EmbeddingGemma2 => Norm::rms_norm(at, width, self.eps),
            DecoderNorms::Gemma | DecoderNorms::Gemma3 => Norm::offset_rms_norm(at, width, self.eps),
        }
    }

    /// What embeddings are multiplied by: rounded to the type that the reference holds their table in.
    pub(super) fn embedding_factor(&self, dtype: Dtype) -> f32 {
        let root = (self.hidden as f64).sqrt() as f32;
        match (self.norms, dtype) {
            (DecoderNorms::Llama, _) => 1.0,
            (_, Dtype::Bfloat16) => bf16::from_f32(root).to_f32(),
            (_, Dtype::Float16) => f16::from_f32(root).to_f32(),
            (_, Dtype::Float32 | Dtype::Int8 | Dtype::Int4) => root,
        }
    }
}

fn attention(file: &Object, hidden: usize, defaults: &DecoderDefaults) -> Result<kernels::AttentionShape> {
    let heads = file.size("num_attention_heads", 1 << 10, defaults.heads)?;
    let kv_heads = file.size("num_key_value_heads", 1 << 10, defaults.kv_heads.unwrap_or(heads))?;
    if !heads.is_multiple_of(kv_heads) {
        let message = format!("{kv_heads} does not divide num_attention_heads, {heads}");
        return Err(file.error("num_key_value_heads", message));
    }
    let head_dim = match file.integer("head_dim", 1..=1 << 16)?.or(defaults.head_dim) {
        Some(head_dim) => head_dim,
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
