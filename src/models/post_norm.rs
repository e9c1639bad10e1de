//! The post-norm transformer encoder (Vaswani et al. 2017, as BERT has it: Devlin et al. 2019), which BERT, RoBERTa,
//! DistilBERT, ELECTRA, MPNet, DeBERTa, NomicBERT, GTE and jina's models share.
//!
//! ```text
//! x = norm(words[ids] + positions[position ids] + types[type ids])    a family may lack tables, and project x to the width
//! for each layer:
//!     q, k, v = linear(x)                                              turned by their positions where these are rotary
//!     a = softmax(q kᵀ scale + bias) v                                 every token sees every token of its text
//!     x = norm(x + linear(a))
//!     x = norm(x + down(activation(up(x))))                            or down(activation(gate(x)) * up(x))
//!     x = norm(x + convolution(what came in))                          after the first layer, where there is one
//! ```
//!
//! Families differ in the keys of config.json ([`PostNormConfig`]), in the names of tensors ([`TensorNames`]), in what
//! they count as a position ([`PositionTable`]), and in the bias ([`LoadBias`]); a [`PostNormSpec`] says all of it.
//!
//! The table of token types counts for a single text, too (its type is 0), and GELU is the exact one unless config.json
//! names the approximation by tanh: both show in the last digits of an embedding.

use std::sync::Arc;

use crate::config::Object;
use crate::kernels::{self, Mask};
use crate::models::Encoder;
use crate::models::input_tables::{InputTables, PositionTable};
use crate::models::post_norm_config::PostNormConfig;
use crate::models::source::Source;
use crate::nn::{
    Attention, AttentionBias, Convolution, Embedding, Experts, Layout, Linear, Loader, Mlp, MlpParts, Norm, Rope,
    RotaryTable, States,
};
use crate::profile::Stage;
use crate::text::{PackedBatch, TokenSelection};
use crate::{CancelCheck, Error, Result};

/// An error where config.json asks for positions that are no rows of a table.
pub(super) fn require_absolute_positions(file: &Object) -> Result<()> {
    match file.text("position_embedding_type")?.filter(|&name| name != "absolute") {
        Some(name) => {
            Err(file.error("position_embedding_type", format!("\"{name}\" is not supported; \"absolute\" is")))
        }
        None => Ok(()),
    }
}

/// Names of a layer's tensors, below the layer's own.
pub(super) struct TensorNames {
    /// Queries, keys and values: a tensor of each, or one that has the rows of all.
    pub(super) qkv: &'static [&'static str],
    pub(super) out: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) up: &'static str,
    /// Where feed-forward blocks have one.
    pub(super) gate: Option<GateTensor>,
    pub(super) down: &'static str,
    pub(super) mlp_norm: &'static str,
}

/// Where the weights of a gate are.
pub(super) enum GateTensor {
    Own(&'static str),
    /// The rows that the tensor of `up` has before its own,
    BeforeUp,
    /// or behind them.
    BehindUp,
}

/// Names of the normalizations that jina's network for code has beside those of every layer.
pub(super) struct ExtraNorms {
    /// Of all heads' queries at once, and of their keys.
    pub(super) queries: &'static str,
    pub(super) keys: &'static str,
    /// Of the sum of a layer's input and the normalized output of attention, which has this input in it already.
    pub(super) residual: &'static str,
}

/// BERT's names, which most families have.
pub(super) const BERT_NAMES: TensorNames = TensorNames {
    qkv: &["attention.self.query", "attention.self.key", "attention.self.value"],
    out: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    gate: None,
    down: "output.dense",
    mlp_norm: "output.LayerNorm",
};

/// transformers' own names for networks with rotary positions and a gate, which it has from Llama.
pub(super) const ROTARY_NAMES: TensorNames = TensorNames {
    qkv: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    out: "self_attn.o_proj",
    attention_norm: "post_attention_layernorm",
    up: "mlp.up_proj",
    gate: Some(GateTensor::Own("mlp.gate_proj")),
    down: "mlp.down_proj",
    mlp_norm: "post_mlp_layernorm",
};

/// A linear layer from the width of the tables to that of the hidden states, where these differ.
pub(super) struct EmbeddingProjection<'a> {
    pub(super) at: Loader<'a>,
    /// Width of the tables.
    pub(super) width: usize,
    /// Whether it comes after the normalization. It has a bias then, and else none.
    pub(super) after_norm: bool,
}

/// Which linear layers have a bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct Biases {
    /// Of queries, keys and values, and behind attention.
    pub(super) attention: bool,
    pub(super) up: bool,
    pub(super) down: bool,
}

impl Biases {
    pub(super) const ALL: Self = Self { attention: true, up: true, down: true };
}

/// Loads the bias on the scores of the layer with these tensors and this attention.
pub(super) type LoadBias<'a> = &'a (dyn Fn(&Loader, &kernels::AttentionShape) -> Result<Arc<dyn AttentionBias>> + Sync);

/// Loads the experts of the layer with this number and these tensors, where it has some in the place of its feed-forward
/// block.
pub(super) type LoadExperts<'a> = &'a (dyn Fn(usize, &Loader) -> Result<Option<Experts>> + Sync);

/// What a family says of itself: all that [`PostNorm`] is loaded from.
pub(super) struct PostNormSpec<'a> {
    pub(super) config: PostNormConfig,
    pub(super) tables: InputTables,
    /// The tables, under BERT's names.
    pub(super) embeddings: Loader<'a>,
    /// The normalization of what comes from them.
    pub(super) embedding_norm: Loader<'a>,
    pub(super) projection: Option<EmbeddingProjection<'a>>,
    /// The layers, by number.
    pub(super) layers: Loader<'a>,
    pub(super) names: &'static TensorNames,
    pub(super) extra_norms: Option<&'static ExtraNorms>,
    pub(super) biases: Biases,
    /// Angles by which queries and keys are turned, where positions are rotary.
    pub(super) angles: Option<Arc<RotaryTable>>,
    pub(super) bias: Option<LoadBias<'a>>,
    /// A convolution of the first layer's input, and the normalization of the sum of both outputs.
    pub(super) convolution: Option<(Convolution, Norm)>,
    pub(super) experts: Option<LoadExperts<'a>>,
}

impl<'a> PostNormSpec<'a> {
    /// The spec of a network at `base` that is BERT's but for its tables and the names of its layers' tensors.
    pub(super) fn new(
        base: &Loader<'a>,
        config: PostNormConfig,
        tables: InputTables,
        names: &'static TensorNames,
    ) -> Self {
        Self {
            config,
            tables,
            embeddings: base.at("embeddings"),
            embedding_norm: base.at("embeddings.LayerNorm"),
            projection: None,
            layers: base.at("encoder.layer"),
            names,
            extra_norms: None,
            biases: Biases::ALL,
            angles: None,
            bias: None,
            convolution: None,
            experts: None,
        }
    }

    /// The spec of a checkpoint with BERT's three tables and BERT's names, of which `base` is the network; `padding` as
    /// in [`PositionTable`].
    pub(super) fn bert(
        source: &Source<'a>,
        base: &Loader<'a>,
        config: PostNormConfig,
        padding: Option<u32>,
    ) -> Result<Self> {
        let file = &source.config;
        require_absolute_positions(file)?;
        let positions = PositionTable { rows: file.size("max_position_embeddings", 1 << 24, 512)?, padding };
        let types = file.size("type_vocab_size", 1 << 16, 2)?;
        let tables =
            InputTables { positions: Some(positions), types: Some(types), ..InputTables::of_words(config.vocab) };
        Ok(Self::new(base, config, tables, &BERT_NAMES))
    }
}

/// The network.
pub(super) struct PostNorm {
    tables: InputTables,
    embedding: Embedding,
    projection: Option<Linear>,
    /// The normalization that follows the projection.
    norm: Option<Norm>,
    layers: Vec<PostNormLayer>,
    convolution: Option<(Convolution, Norm)>,
    hidden: usize,
}

impl PostNorm {
    pub(super) fn load(spec: PostNormSpec) -> Result<Self> {
        let PostNormSpec { config, tables, ref embeddings, ref embedding_norm, ref projection, ref layers, .. } = spec;
        let width = projection.as_ref().map_or(config.hidden, |projection| projection.width);
        let norm_first = projection.as_ref().is_none_or(|projection| projection.after_norm);
        let norm = Norm::layer_norm(embedding_norm, if norm_first { width } else { config.hidden }, config.eps)?;
        let (first, second) = if norm_first { (Some(norm), None) } else { (None, Some(norm)) };
        let project = |EmbeddingProjection { at, after_norm, .. }: &EmbeddingProjection| {
            Linear::load(Stage::Embed, std::slice::from_ref(at), config.hidden, width, *after_norm)
        };
        Ok(Self {
            tables,
            embedding: tables.load(embeddings, first, width)?,
            projection: projection.as_ref().map(project).transpose()?,
            norm: second,
            layers: layers.load_each(config.layers, |i| PostNormLayer::load(&spec, i, &layers.at(&i.to_string())))?,
            convolution: spec.convolution,
            hidden: config.hidden,
        })
    }

    fn embed(&self, batch: &PackedBatch) -> Result<States> {
        let mut embedded = self.tables.look_up(&self.embedding, batch)?;
        if let Some(projection) = &self.projection {
            embedded = projection.forward(&embedded)?;
        }
        match &self.norm {
            Some(norm) => norm.forward(&embedded),
            None => Ok(embedded),
        }
    }
}

impl Encoder for PostNorm {
    fn hidden_size(&self) -> usize {
        self.hidden
    }

    fn vocab_size(&self) -> usize {
        self.tables.words
    }

    fn forward(&self, batch: &PackedBatch, wanted: TokenSelection, check_cancel: CancelCheck<'_>) -> Result<States> {
        let mut hidden = self.embed(batch)?;
        let (layout, rows) = (Layout::new(&batch.offsets, &batch.positions), batch.rows(wanted));
        for (i, layer) in self.layers.iter().enumerate() {
            check_cancel()?;
            let rows = rows.as_deref().filter(|_| i + 1 == self.layers.len());
            let output = layer.forward(&hidden, &layout, rows)?;
            hidden = match &self.convolution {
                Some((convolution, norm)) if i == 0 => {
                    let beside = convolution.forward(&hidden, &layout)?;
                    let beside = match rows {
                        Some(rows) => beside.select(rows)?,
                        None => beside,
                    };
                    norm.add_and_norm(&beside, &output)?
                }
                _ => output,
            };
        }
        Ok(hidden)
    }
}

struct PostNormLayer {
    qkv: Linear,
    /// Of queries and of keys.
    qk_norms: Option<[Norm; 2]>,
    rope: Option<Rope>,
    attention: Attention,
    out: Linear,
    attention_norm: Norm,
    residual_norm: Option<Norm>,
    feed_forward: FeedForward,
    mlp_norm: Norm,
}

impl PostNormLayer {
    fn load(spec: &PostNormSpec, number: usize, at: &Loader) -> Result<Self> {
        let &PostNormSpec { config, names, extra_norms, ref angles, bias, .. } = spec;
        let PostNormConfig { hidden, heads, eps, scale, .. } = config;
        let shape =
            kernels::AttentionShape { heads, kv_heads: heads, head_dim: config.head_dim(), scale, mask: Mask::Full };
        let attention = Attention::new(at.body(), shape);
        let norm = |name: &str| Norm::layer_norm(&at.at(name), hidden, eps);
        let qk_norms = |names: &ExtraNorms| Ok::<_, Error>([norm(names.queries)?, norm(names.keys)?]);
        let qkv: Vec<_> = names.qkv.iter().map(|name| at.at(name)).collect();
        Ok(Self {
            qkv: Linear::qkv(&qkv, 3 * hidden / qkv.len(), hidden, spec.biases.attention, &shape)?,
            qk_norms: extra_norms.map(qk_norms).transpose()?,
            rope: angles.as_ref().map(|table| Rope::new(shape, table.clone(), None)),
            attention: match bias {
                Some(bias) => attention.with_bias(bias(at, &shape)?),
                None => attention,
            },
            out: Linear::load(Stage::Out, &[at.at(names.out)], hidden, hidden, spec.biases.attention)?,
            attention_norm: norm(names.attention_norm)?,
            residual_norm: extra_norms.map(|names| norm(names.residual)).transpose()?,
            feed_forward: FeedForward::load(spec, number, at)?,
            mlp_norm: norm(names.mlp_norm)?,
        })
    }

    /// `rows`: those that are wanted of the output, None for all.
    fn forward(&self, hidden: &States, layout: &Layout, rows: Option<&[u32]>) -> Result<States> {
        let mut qkv = self.qkv.forward(hidden)?;
        if let Some([of_queries, of_keys]) = &self.qk_norms {
            let third = |i: usize| qkv.columns(i * qkv.width() / 3..(i + 1) * qkv.width() / 3);
            let (queries, keys) = (of_queries.forward(&third(0)?)?, of_keys.forward(&third(1)?)?);
            qkv = States::side_by_side(&[&queries, &keys, &third(2)?])?;
        }
        if let Some(rope) = &self.rope {
            qkv = rope.forward(qkv, layout)?;
        }
        let attended = self.attention.forward(&qkv, layout, None, rows)?;
        let hidden = match rows {
            Some(rows) => &hidden.select(rows)?,
            None => hidden,
        };
        let mut attended = self.attention_norm.add_and_norm(&self.out.forward(&attended)?, hidden)?;
        if let Some(norm) = &self.residual_norm {
            attended = norm.add_and_norm(&attended, hidden)?;
        }
        self.mlp_norm.add_and_norm(&self.feed_forward.forward(&attended)?, &attended)
    }
}

enum FeedForward {
    Mlp(Box<Mlp>),
    Experts(Box<Experts>),
}

impl FeedForward {
    /// That of the layer with this number and these tensors.
    fn load(spec: &PostNormSpec, number: usize, at: &Loader) -> Result<Self> {
        let &PostNormSpec { config: PostNormConfig { hidden, intermediate, activation, .. }, names, biases, .. } = spec;
        if let Some(experts) = spec.experts.map(|load| load(number, at)).transpose()?.flatten() {
            return Ok(Self::Experts(Box::new(experts)));
        }
        let half = |first: usize| at.at(names.up).rows(first..first + intermediate, 2 * intermediate);
        let (up, gate) = match names.gate {
            None => (at.at(names.up), None),
            Some(GateTensor::Own(name)) => (at.at(names.up), Some(at.at(name))),
            Some(GateTensor::BeforeUp) => (half(intermediate), Some(half(0))),
            Some(GateTensor::BehindUp) => (half(0), Some(half(intermediate))),
        };
        let parts = MlpParts { up, gate, down: at.at(names.down), up_bias: biases.up, down_bias: biases.down };
        Ok(Self::Mlp(Box::new(Mlp::load(parts, hidden, intermediate, activation)?)))
    }

    fn forward(&self, x: &States) -> Result<States> {
        match self {
            Self::Mlp(mlp) => mlp.forward(x),
            Self::Experts(experts) => experts.forward(x),
        }
    }
}
