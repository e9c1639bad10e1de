//! The decoder of Llama (Touvron et al. 2023), which Qwen, Mistral, Gemma and EuroBERT share: a pre-norm transformer
//! with rotary positions, grouped queries (Ainslie et al. 2023) and gated feed-forward blocks (Shazeer 2020).
//!
//! ```text
//! x = words[ids]                               Gemma: times sqrt(hidden)
//! for each layer:
//!     q, k, v = linear(rms_norm(x))            a family may normalize each head of q and k
//!     q, k = rope(q, k)                        several heads of queries share one of keys and values
//!     x = x + linear(softmax(q kᵀ scale) v)    causal, unless config.json says that both ways are seen; all or a window
//!     h = rms_norm(x)
//!     x = x + down(activation(gate(h)) * up(h))
//! x = rms_norm(x)                              a family may project this to another width
//! ```
//!
//! What a causal layer computes of the first tokens of a text does not depend on the rest, so texts that begin alike
//! share it. Whether a layer is causal is its own property, not that of a mask made from padding: a text alone, or texts
//! of one length, are no exception.

use std::sync::Arc;

use crate::kernels;
use crate::models::decoder_config::{DecoderConfig, DecoderHeadNorms, DecoderLayer};
use crate::models::ids::require_rows;
use crate::models::per_layer_inputs::PerLayerInputs;
use crate::models::pre_norm::PreNormLayer;
use crate::models::source::Source;
use crate::models::{Decoder, Encoder, KvCache};
use crate::nn::{
    Attention, Embedding, HeadNormalizations, Layout, Linear, Loader, Mlp, MlpParts, Norm, Rope, RotaryAngles,
    RotaryTable, States,
};
use crate::profile::Stage;
use crate::text::{PackedBatch, TokenSelection};
use crate::{CancelCheck, Result};

/// The network: checkpoints of it alone have no prefix, those with a head have one.
pub(super) fn base_model<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_if_contains("model", "embed_tokens.weight")
}

/// The network; see the head of this file.
pub(super) struct RotaryDecoder {
    embedding: Embedding,
    layers: Vec<PreNormLayer>,
    norm: Norm,
    per_layer_inputs: Option<PerLayerInputs>,
    /// Of each token's normalized state, to so many numbers.
    projection: Option<(Linear, usize)>,
    /// Tokens that have the embedding of another one.
    placeholders: Option<(Vec<u32>, u32)>,
    vocab: usize,
    hidden: usize,
    /// Whether no token sees what comes after it, nor how much.
    looks_back: bool,
}

impl RotaryDecoder {
    pub(super) fn load(config: &DecoderConfig, at: &Loader) -> Result<Self> {
        let DecoderConfig { vocab, hidden, .. } = *config;
        let mut tables: Vec<((RotaryAngles, usize), Arc<RotaryTable>)> = Vec::new();
        let mut table = |&DecoderLayer { angles, shape }: &DecoderLayer| -> Result<Arc<RotaryTable>> {
            let key = (angles, shape.head_dim);
            if let Some((_, table)) = tables.iter().find(|(other, _)| *other == key) {
                return Ok(table.clone());
            }
            let table = RotaryTable::new(at.body(), shape.head_dim, angles)?;
            tables.push((key, table.clone()));
            Ok(table)
        };
        let tables: Vec<_> = config.layers.iter().map(&mut table).collect::<Result<_>>()?;
        let layer = |i: usize| {
            load_layer(config, &at.at("layers").at(&i.to_string()), config.layers[i].shape, tables[i].clone())
        };
        let words = Embedding::load(&[(at.at("embed_tokens"), vocab)], None, hidden)?;
        let looks_back = |layer: &DecoderLayer| layer.shape.mask.is_causal() && !layer.angles.depend_on_length();
        Ok(Self {
            embedding: words.scaled(config.embedding_factor(at.body().dtype())),
            layers: at.load_each(config.layers.len(), layer)?,
            norm: config.norm(&at.at("norm"), hidden)?,
            per_layer_inputs: None,
            projection: None,
            placeholders: None,
            vocab,
            hidden,
            looks_back: config.layers.iter().all(looks_back),
        })
    }

    /// The same network with a linear layer, without a bias, behind its last norm: `at` has `weight [width, hidden]`.
    pub(super) fn with_projection(self, at: Loader, width: usize) -> Result<Self> {
        let linear = Linear::load(Stage::Pool, &[at], width, self.hidden, false)?;
        Ok(Self { projection: Some((linear, width)), ..self })
    }

    /// The same network with a third block in each layer.
    pub(super) fn with_per_layer_inputs(self, inputs: PerLayerInputs) -> Self {
        Self { per_layer_inputs: Some(inputs), ..self }
    }

    /// The same network, where tokens of these `ids` have the embedding of `padding`.
    pub(super) fn with_placeholders(self, ids: Vec<u32>, padding: u32) -> Self {
        Self { placeholders: Some((ids, padding)), ..self }
    }

    /// `[tokens, hidden]`
    fn embed(&self, batch: &PackedBatch) -> Result<States> {
        require_rows(&batch.ids, self.vocab, "words")?;
        match &self.placeholders {
            Some((placeholders, padding)) => {
                require_rows(&[*padding], self.vocab, "words")?;
                let of_token = |id: &u32| if placeholders.contains(id) { *padding } else { *id };
                self.embedding.forward(&[&batch.ids.iter().map(of_token).collect::<Vec<_>>()])
            }
            None => self.embedding.forward(&[&batch.ids]),
        }
    }

    /// The third blocks of layers, with what they get beside the hidden states, where there are such blocks.
    fn per_layer_inputs(&self, embeddings: &States) -> Result<Option<(&PerLayerInputs, States)>> {
        let blocks = self.per_layer_inputs.as_ref();
        blocks.map(|blocks| Ok((blocks, blocks.of_tokens(embeddings)?))).transpose()
    }

    /// What follows the last layer.
    fn finish(&self, hidden: &States) -> Result<States> {
        let normed = self.norm.forward(hidden)?;
        match &self.projection {
            Some((linear, _)) => linear.forward(&normed),
            None => Ok(normed),
        }
    }
}

impl Encoder for RotaryDecoder {
    fn hidden_size(&self) -> usize {
        self.projection.as_ref().map_or(self.hidden, |&(_, width)| width)
    }

    fn vocab_size(&self) -> usize {
        self.vocab
    }

    fn forward(&self, batch: &PackedBatch, wanted: TokenSelection, check_cancel: CancelCheck<'_>) -> Result<States> {
        self.forward_from(&KvCache::default(), batch, wanted, check_cancel)
    }

    fn padding_state(&self, token: u32) -> Result<Option<States>> {
        require_rows(&[token], self.vocab, "words")?;
        let mut hidden = self.embedding.forward(&[&[token]])?;
        let inputs = self.per_layer_inputs(&hidden)?;
        for (i, layer) in self.layers.iter().enumerate() {
            hidden = layer.finish_without_attention(&hidden)?;
            if let Some((blocks, inputs)) = &inputs {
                hidden = blocks.mix(i, &hidden, inputs, None)?;
            }
        }
        Ok(Some(self.finish(&hidden)?))
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        self.looks_back.then_some(self)
    }
}

impl Decoder for RotaryDecoder {
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
            past.layers.push(layer.keys_and_values(&qkv)?.kept()?);
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
    ) -> Result<States> {
        let positions: Vec<u32> = batch.positions.iter().map(|position| past.tokens as u32 + position).collect();
        let (layout, rows) = (Layout::new(&batch.offsets, &positions), batch.rows(wanted));
        let mut hidden = self.embed(batch)?;
        let inputs = self.per_layer_inputs(&hidden)?;
        for (i, layer) in self.layers.iter().enumerate() {
            check_cancel()?;
            let rows = rows.as_deref().filter(|_| i + 1 == self.layers.len());
            let qkv = layer.project(&hidden, &layout)?;
            hidden = layer.finish(&hidden, &qkv, &layout, past.layers.get(i), rows)?;
            if let Some((blocks, inputs)) = &inputs {
                hidden = blocks.mix(i, &hidden, inputs, rows)?;
            }
        }
        self.finish(&hidden)
    }
}

fn load_layer(
    config: &DecoderConfig,
    at: &Loader,
    shape: kernels::AttentionShape,
    table: Arc<RotaryTable>,
) -> Result<PreNormLayer> {
    let DecoderConfig { hidden, intermediate, biases, .. } = *config;
    let block = at.at("self_attn");
    // A linear layer's parts have equal rows: so the queries are several, each as large as the keys.
    let (part, all) = (shape.kv_heads * shape.head_dim, shape.heads * shape.head_dim);
    let queries = (0..all / part).map(|i| block.at("q_proj").rows(i * part..(i + 1) * part, all));
    let qkv: Vec<_> = queries.chain(["k_proj", "v_proj"].map(|name| block.at(name))).collect();
    let head_norm = |name: &str| config.norm(&block.at(name), shape.head_dim);
    let head_norms = match config.head_norms {
        DecoderHeadNorms::None => None,
        DecoderHeadNorms::QueriesAndKeys | DecoderHeadNorms::All => {
            let unweighted = || Norm::unweighted_rms_norm(at.body(), shape.head_dim, config.eps);
            let values = (config.head_norms == DecoderHeadNorms::All).then(unweighted).transpose()?;
            Some(HeadNormalizations { queries: head_norm("q_norm")?, keys: head_norm("k_norm")?, values })
        }
    };
    let mlp = at.at("mlp");
    let parts = MlpParts {
        up: mlp.at("up_proj"),
        gate: Some(mlp.at("gate_proj")),
        down: mlp.at("down_proj"),
        up_bias: biases.mlp,
        down_bias: biases.mlp,
    };
    let norm = |name: &str| config.norm(&at.at(name), hidden);
    let names = config.norms.names();
    Ok(PreNormLayer {
        attention_norm: Some(norm(names.attention)?),
        qkv: Linear::qkv(&qkv, part, hidden, biases.qkv, &shape)?,
        rope: Some(Rope::new(shape, table, head_norms)),
        shape,
        attention: Attention::new(at.body(), shape),
        out: Linear::load(Stage::Out, &[block.at("o_proj")], hidden, all, biases.out)?,
        attention_out_norm: names.attention_out.map(norm).transpose()?,
        mlp_norm: norm(names.mlp)?,
        mlp: Mlp::load(parts, hidden, intermediate, config.activation)?,
        mlp_out_norm: names.mlp_out.map(norm).transpose()?,
    })
}
