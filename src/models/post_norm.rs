//! Transformers that normalize after each block, as Vaswani et al. 2017 did and BERT after them. Families differ in the names of
//! their tensors, in what they count as a position, and in what they add to the scores of attention.

use std::sync::Arc;

use candle_core::Tensor;

use crate::config::Object;
use crate::kernels::{self, Activation, Mask};
use crate::models::Encoder;
use crate::models::registry::Source;
use crate::nn::{Attention, AttentionBias, Embedding, Layout, Linear, Loader, Mlp, MlpParts, Norm, select};
use crate::profile::Stage;
use crate::text::{PackedBatch, TokenSelection};
use crate::{CancelCheck, Error, Result};

/// The sizes of a network, by the keys that BERT gave them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) vocab: usize,
    pub(super) hidden: usize,
    pub(super) layers: usize,
    /// Divides `hidden`.
    pub(super) heads: usize,
    pub(super) wide: usize,
    pub(super) activation: Activation,
    pub(super) eps: f32,
    /// What scores of attention are multiplied by.
    pub(super) scale: f32,
}

/// The keys of config.json for [`Sizes`], each with what it stands for where it is left out.
pub(super) struct Keys {
    pub(super) vocab: (&'static str, usize),
    pub(super) hidden: (&'static str, usize),
    pub(super) layers: (&'static str, usize),
    pub(super) heads: (&'static str, usize),
    pub(super) wide: (&'static str, usize),
    pub(super) activation: (&'static str, &'static str),
    pub(super) eps: (&'static str, f64),
}

/// BERT's keys, and the sizes of BERT-base.
pub(super) const BERT_KEYS: Keys = Keys {
    vocab: ("vocab_size", 30_522),
    hidden: ("hidden_size", 768),
    layers: ("num_hidden_layers", 12),
    heads: ("num_attention_heads", 12),
    wide: ("intermediate_size", 3072),
    activation: ("hidden_act", "gelu"),
    eps: ("layer_norm_eps", 1e-12),
};

impl Sizes {
    pub(super) fn read(source: &Source, keys: &Keys) -> Result<Self> {
        let file = &source.config;
        let size = |(key, default), most| file.size(key, most, default);
        let (hidden, heads) = (size(keys.hidden, 1 << 16)?, size(keys.heads, 1 << 10)?);
        let sizes = Self {
            vocab: size(keys.vocab, 1 << 24)?,
            hidden,
            layers: size(keys.layers, 1 << 10)?,
            heads,
            wide: size(keys.wide, 1 << 20)?,
            activation: source.activation(keys.activation.0, keys.activation.1)?,
            eps: eps(file, keys.eps.0, keys.eps.1)?,
            scale: 1.0 / ((hidden / heads) as f32).sqrt(),
        };
        if !sizes.hidden.is_multiple_of(sizes.heads) {
            let message = format!("{} does not divide {}, {}", sizes.heads, keys.hidden.0, sizes.hidden);
            return Err(file.error(keys.heads.0, message));
        }
        if file.boolean("is_decoder")? == Some(true) {
            return Err(file.error("is_decoder", "a network of this kind that looks only backwards is not supported"));
        }
        Ok(sizes)
    }
}

/// What is added to a variance.
pub(super) fn eps(file: &Object, key: &str, default: f64) -> Result<f32> {
    let eps = file.number(key)?.unwrap_or(default);
    match (0.0..1.0).contains(&eps) {
        true => Ok(eps as f32),
        false => Err(file.error(key, format!("expected 0 to 1, found {eps}"))),
    }
}

/// The network refuses positions that are not counted as BERT does.
pub(super) fn require_absolute_positions(file: &Object) -> Result<()> {
    match file.text("position_embedding_type")?.filter(|&name| name != "absolute") {
        Some(name) => {
            Err(file.error("position_embedding_type", format!("\"{name}\" is not supported; \"absolute\" is")))
        }
        None => Ok(()),
    }
}

/// The names of a layer's parts, below the layer's place.
pub(super) struct Names {
    pub(super) qkv: [&'static str; 3],
    pub(super) out: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    pub(super) mlp_norm: &'static str,
}

/// As BERT named them, and most after it.
pub(super) const BERT_NAMES: Names = Names {
    qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
    out: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    mlp_norm: "output.LayerNorm",
};

/// The tables of embeddings, each by its number of rows.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    pub(super) words: usize,
    pub(super) positions: Option<Positions>,
    pub(super) types: Option<usize>,
}

/// A learned table of positions.
#[derive(Clone, Copy)]
pub(super) struct Positions {
    pub(super) rows: usize,
    /// In families that count positions from behind the padding token's id, that id: a padding token has it as its position,
    /// any other one more for each such token up to itself.
    pub(super) padding: Option<u32>,
}

/// Brings the tables to the width of the layers, where theirs is another.
pub(super) struct Projection<'a> {
    pub(super) at: Loader<'a>,
    /// Of the tables.
    pub(super) width: usize,
    /// Whether it comes behind the norm. It has a bias then, and else none.
    pub(super) after_norm: bool,
}

/// Makes what is added to the scores of this attention, of the layer at this place.
pub(super) type MakeBias<'a> = &'a dyn Fn(&Loader, &kernels::Attention) -> Result<Arc<dyn AttentionBias>>;

/// What a family says of itself.
pub(super) struct Parts<'a> {
    pub(super) sizes: Sizes,
    pub(super) tables: Tables,
    /// Where the tables are, and their norm, under BERT's names.
    pub(super) embeddings: Loader<'a>,
    pub(super) projection: Option<Projection<'a>>,
    /// Where layers are, by number.
    pub(super) layers: Loader<'a>,
    pub(super) names: &'static Names,
    pub(super) bias: Option<MakeBias<'a>>,
}

pub(super) struct PostNorm {
    tables: Tables,
    embedding: Embedding,
    projection: Option<Linear>,
    /// Where it comes behind the projection.
    norm: Option<Norm>,
    layers: Vec<Layer>,
    hidden: usize,
}

impl PostNorm {
    pub(super) fn load(parts: Parts) -> Result<Self> {
        let Parts { sizes, tables, embeddings, projection, layers, names, bias } = parts;
        let width = projection.as_ref().map_or(sizes.hidden, |projection| projection.width);
        let norm_first = projection.as_ref().is_none_or(|projection| projection.after_norm);
        let places = [
            Some(("word_embeddings", tables.words)),
            tables.positions.map(|table| ("position_embeddings", table.rows)),
            tables.types.map(|rows| ("token_type_embeddings", rows)),
        ];
        let places: Vec<_> = places.into_iter().flatten().map(|(name, rows)| (embeddings.at(name), rows)).collect();
        let norm = Norm::layer(&embeddings.at("LayerNorm"), if norm_first { width } else { sizes.hidden }, sizes.eps)?;
        let (first, second) = if norm_first { (Some(norm), None) } else { (None, Some(norm)) };
        let project =
            |Projection { at, after_norm, .. }| Linear::load(Stage::Embed, &[at], sizes.hidden, width, after_norm);
        Ok(Self {
            tables,
            embedding: Embedding::load(&places, first, width)?,
            projection: projection.map(project).transpose()?,
            norm: second,
            layers: (0..sizes.layers)
                .map(|i| Layer::load(&sizes, names, &layers.at(&i.to_string()), bias))
                .collect::<Result<_>>()?,
            hidden: sizes.hidden,
        })
    }

    fn embed(&self, batch: &PackedBatch) -> Result<Tensor> {
        let Tables { words, positions, types } = self.tables;
        let counted = positions.and_then(|table| table.padding).map(|padding| positions_after(batch, padding));
        let places = counted.as_deref().unwrap_or(&batch.positions);
        let tables = [
            Some((batch.ids.as_slice(), words, "words")),
            positions.map(|table| (places, table.rows, "positions")),
            types.map(|rows| (batch.type_ids.as_slice(), rows, "token types")),
        ];
        let mut rows = Vec::new();
        for (ids, all, what) in tables.into_iter().flatten() {
            require_rows(ids, all, what)?;
            rows.push(ids);
        }
        let mut embedded = self.embedding.forward(&rows)?;
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

    fn forward(&self, batch: &PackedBatch, wanted: TokenSelection, check_cancel: CancelCheck<'_>) -> Result<Tensor> {
        let mut hidden = self.embed(batch)?;
        let (layout, rows) = (Layout::new(&batch.offsets, &batch.positions), batch.rows(wanted));
        for (i, layer) in self.layers.iter().enumerate() {
            check_cancel()?;
            let rows = rows.as_deref().filter(|_| i + 1 == self.layers.len());
            hidden = layer.forward(&hidden, &layout, rows)?;
        }
        Ok(hidden)
    }
}

/// That a table has the rows, which a template's ids need not be within.
pub(super) fn require_rows(ids: &[u32], rows: usize, what: &str) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= rows) {
        Some(id) => Err(Error::model("tokenizer.json", format!("gives {id} where the model has {rows} {what}"))),
        None => Ok(()),
    }
}

/// `[tokens]`, as [`Positions::padding`] says.
fn positions_after(batch: &PackedBatch, padding: u32) -> Vec<u32> {
    let mut positions = Vec::with_capacity(batch.tokens());
    for text in batch.offsets.windows(2) {
        let mut last = padding;
        positions.extend(batch.ids[text[0] as usize..text[1] as usize].iter().map(|&id| {
            if id == padding {
                return padding;
            }
            last += 1;
            last
        }));
    }
    positions
}

struct Layer {
    qkv: Linear,
    attention: Attention,
    out: Linear,
    attention_norm: Norm,
    mlp: Mlp,
    mlp_norm: Norm,
}

impl Layer {
    fn load(sizes: &Sizes, names: &Names, at: &Loader, bias: Option<MakeBias>) -> Result<Self> {
        let Sizes { hidden, heads, eps, scale, .. } = *sizes;
        let shape = kernels::Attention { heads, kv_heads: heads, head_dim: hidden / heads, scale, mask: Mask::Full };
        let attention = Attention::new(at.body(), shape);
        let parts = MlpParts { up: at.at(names.up), gate: None, down: at.at(names.down), bias: true };
        Ok(Self {
            qkv: Linear::load(Stage::Qkv, &names.qkv.map(|name| at.at(name)), hidden, hidden, true)?,
            attention: match bias {
                Some(bias) => attention.with_bias(bias(at, &shape)?),
                None => attention,
            },
            out: Linear::load(Stage::Out, &[at.at(names.out)], hidden, hidden, true)?,
            attention_norm: Norm::layer(&at.at(names.attention_norm), hidden, eps)?,
            mlp: Mlp::load(parts, hidden, sizes.wide, sizes.activation)?,
            mlp_norm: Norm::layer(&at.at(names.mlp_norm), hidden, eps)?,
        })
    }

    /// `rows`: those that are wanted of the output, None for all.
    fn forward(&self, hidden: &Tensor, layout: &Layout, rows: Option<&[u32]>) -> Result<Tensor> {
        let attended = self.attention.forward(&self.qkv.forward(hidden)?, layout, None, rows)?;
        let hidden = match rows {
            Some(rows) => &select(hidden, rows)?,
            None => hidden,
        };
        let hidden = self.attention_norm.add(&self.out.forward(&attended)?, hidden)?;
        self.mlp_norm.add(&self.mlp.forward(&hidden)?, &hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};

    fn read(text: &str) -> Result<Sizes> {
        with_source(text, |source| Sizes::read(source, &BERT_KEYS))
    }

    #[test]
    fn what_is_left_out_is_bert_base() {
        let base = read("{}").unwrap();
        assert_eq!((base.hidden, base.layers, base.heads, base.wide, base.vocab), (768, 12, 12, 3072, 30_522));
        assert_eq!((base.activation, base.eps), (Activation::Gelu, 1e-12));
    }

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let cases = [
            (r#"{"hidden_size": 0}"#, "hidden_size"),
            (r#"{"hidden_size": 1152921504606846976}"#, "hidden_size"),
            (r#"{"hidden_size": 1e300}"#, "hidden_size"),
            (r#"{"hidden_size": "768"}"#, "hidden_size"),
            (r#"{"vocab_size": -1}"#, "vocab_size"),
            (r#"{"num_hidden_layers": 4294967296}"#, "num_hidden_layers"),
            (r#"{"num_attention_heads": 0}"#, "num_attention_heads"),
            (r#"{"num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"intermediate_size": []}"#, "intermediate_size"),
            (r#"{"layer_norm_eps": -1.0}"#, "layer_norm_eps"),
            (r#"{"layer_norm_eps": 1e300}"#, "layer_norm_eps"),
            (r#"{"hidden_act": {"name": "gelu"}}"#, "hidden_act"),
            (r#"{"hidden_act": "gelu_fancy"}"#, "hidden_act"),
            (r#"{"is_decoder": true}"#, "is_decoder"),
        ];
        assert_refuses(|source| Sizes::read(source, &BERT_KEYS), &cases);
    }

    #[test]
    fn positions_are_counted_from_behind_the_padding_token() {
        let batch = PackedBatch { ids: vec![0, 5, 1, 6, 2, 0, 2], offsets: vec![0, 5, 5, 7], ..PackedBatch::default() };
        assert_eq!(positions_after(&batch, 1), [2, 3, 1, 4, 5, 2, 3]);
    }
}
