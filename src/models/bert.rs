//! BERT (Devlin et al. 2018; reference: transformers' `modeling_bert.py`).

use candle_core::Tensor;

use crate::config::BertConfig;
use crate::hub::ModelFolder;
use crate::kernels::{Activation, Mask};
use crate::models::Encoder;
use crate::nn::{AddNorm, Attention, Embedding, Linear, Loader, Mlp};
use crate::profile::Stage;
use crate::text::PackedBatch;
use crate::{Error, Result};

pub(super) fn load(folder: &ModelFolder, path: &str, at: &Loader) -> Result<Box<dyn Encoder>> {
    let config = BertConfig::read(folder, path)?;
    // Checkpoints with a task head keep the encoder below "bert".
    let prefixed = at.at("bert");
    let at = if prefixed.contains("embeddings.word_embeddings.weight") { &prefixed } else { at };
    Ok(Box::new(Bert::load(&config, at)?))
}

struct Bert {
    embedding: Embedding,
    layers: Vec<Layer>,
    hidden: usize,
    vocab: usize,
    positions: usize,
    types: usize,
}

impl Bert {
    fn load(config: &BertConfig, at: &Loader) -> Result<Self> {
        let Some(activation) = Activation::named(&config.hidden_act) else {
            let known: Vec<_> = Activation::NAMES.iter().map(|(name, _)| *name).collect();
            let message =
                format!("hidden_act {:?} is not supported; supported: {}", config.hidden_act, known.join(", "));
            return Err(Error::model("config.json", message));
        };
        let embeddings = at.at("embeddings");
        let tables = [
            (embeddings.at("word_embeddings"), config.vocab_size),
            (embeddings.at("position_embeddings"), config.max_position_embeddings),
            (embeddings.at("token_type_embeddings"), config.type_vocab_size),
        ];
        let norm = embeddings.at("LayerNorm");
        Ok(Self {
            embedding: Embedding::load(&tables, &norm, config.hidden_size, config.layer_norm_eps)?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(config, activation, &at.at(&format!("encoder.layer.{i}"))))
                .collect::<Result<_>>()?,
            hidden: config.hidden_size,
            vocab: config.vocab_size,
            positions: config.max_position_embeddings,
            types: config.type_vocab_size,
        })
    }
}

impl Encoder for Bert {
    fn hidden_size(&self) -> usize {
        self.hidden
    }

    fn vocab_size(&self) -> usize {
        self.vocab
    }

    fn forward(&self, batch: &PackedBatch, pulse: &dyn Fn() -> Result<()>) -> Result<Tensor> {
        // Beyond the vocabulary, too: a template's ids need not be in it.
        let bounds = [
            (&batch.ids, self.vocab, "words"),
            (&batch.positions, self.positions, "positions"),
            (&batch.type_ids, self.types, "token types"),
        ];
        for (ids, rows, what) in bounds {
            if let Some(id) = ids.iter().find(|&&id| id as usize >= rows) {
                return Err(Error::model("tokenizer.json", format!("gives {id} where the model has {rows} {what}")));
            }
        }
        let mut hidden = self.embedding.forward(&[&batch.ids, &batch.positions, &batch.type_ids])?;
        for layer in &self.layers {
            pulse()?;
            hidden = layer.forward(&hidden, &batch.offsets)?;
        }
        Ok(hidden)
    }
}

struct Layer {
    qkv: Linear,
    attention: Attention,
    out: Linear,
    attention_norm: AddNorm,
    mlp: Mlp,
    mlp_norm: AddNorm,
}

impl Layer {
    fn load(config: &BertConfig, activation: Activation, at: &Loader) -> Result<Self> {
        let (hidden, eps) = (config.hidden_size, config.layer_norm_eps);
        let head_dim = hidden / config.num_attention_heads;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let qkv = ["query", "key", "value"].map(|part| at.at("attention.self").at(part));
        Ok(Self {
            qkv: Linear::load(Stage::Qkv, &qkv, hidden, hidden, true)?,
            attention: Attention::new(at.body(), config.num_attention_heads, head_dim, scale, Mask::Full),
            out: Linear::load(Stage::Out, &[at.at("attention.output.dense")], hidden, hidden, true)?,
            attention_norm: AddNorm::load(&at.at("attention.output.LayerNorm"), hidden, eps)?,
            mlp: Mlp::load(
                at.at("intermediate.dense"),
                at.at("output.dense"),
                hidden,
                config.intermediate_size,
                activation,
            )?,
            mlp_norm: AddNorm::load(&at.at("output.LayerNorm"), hidden, eps)?,
        })
    }

    fn forward(&self, hidden: &Tensor, offsets: &[u32]) -> Result<Tensor> {
        let attended = self.attention.forward(&self.qkv.forward(hidden)?, offsets)?;
        let hidden = self.attention_norm.forward(&self.out.forward(&attended)?, hidden)?;
        self.mlp_norm.forward(&self.mlp.forward(&hidden)?, &hidden)
    }
}
