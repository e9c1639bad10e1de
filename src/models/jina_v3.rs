//! jina-embeddings-v3 (Sturua et al. 2024; reference: transformers' `JinaEmbeddingsV3Model` and
//! `JinaEmbeddingsV3ForSequenceClassification`) and jina-reranker-v2: XLM-RoBERTa with rotary positions, or with its own
//! table.
//!
//! The network is [`PostNorm`], the head XLM-RoBERTa's. The models were published with code of their own, named for
//! flash-attention. Their files say `xlm-roberta`, or no type at all, so that the names of tensors tell them from
//! XLM-RoBERTa's: queries, keys and values are one tensor, `mixer.Wqkv`. transformers has names and a type of its own.
//!
//! Published embedders hold adapters for tasks beside the weights, of which the [`Weights`](crate::weights::Weights) know.

use crate::Result;
use crate::kernels::{Activation, Dtype};
use crate::models::Encoder;
use crate::models::family::{Family, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::input_tables::{InputTables, PositionTable};
use crate::models::post_norm::{PostNorm, PostNormSpec, ROTARY_NAMES, TensorNames};
use crate::models::post_norm_config::{BERT_KEYS, PostNormConfig, PostNormKeys};
use crate::models::rotary::RotaryKeys;
use crate::models::source::Source;
use crate::nn::{Loader, RotaryAngles, RotaryTable};

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "jina v3",
        model_types: &["jina_embeddings_v3"],
        embedders: &["jina-embeddings-v3", "-v3-hf"],
        rerankers: &["jina-reranker-v2-base-multilingual"],
        limits: "tasks by the adapters in the file; also told by a tensor `mixer.Wqkv` in `xlm-roberta`",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

/// The sizes of jina-embeddings-v3.
const KEYS: PostNormKeys = PostNormKeys {
    vocab: ("vocab_size", 250_002),
    hidden: ("hidden_size", 1024),
    layers: ("num_hidden_layers", 24),
    heads: ("num_attention_heads", 16),
    intermediate: ("intermediate_size", 4096),
    eps: ("layer_norm_eps", 1e-5),
    ..BERT_KEYS
};

/// Names of the published code.
const PUBLISHED_NAMES: TensorNames = TensorNames {
    qkv: &["mixer.Wqkv"],
    out: "mixer.out_proj",
    attention_norm: "norm1",
    up: "mlp.fc1",
    gate: None,
    down: "mlp.fc2",
    mlp_norm: "norm2",
};

/// Names of transformers.
const NAMES: TensorNames = TensorNames { up: "mlp.fc1", gate: None, down: "mlp.fc2", ..ROTARY_NAMES };

/// What config.json says.
#[derive(Debug)]
struct JinaV3Config {
    layers: PostNormConfig,
    /// Rows of the table of token types, where there is one.
    types: Option<usize>,
    positions: Positions,
}

/// How positions enter.
#[derive(Debug)]
enum Positions {
    Rotary(RotaryAngles),
    /// As rows of a table, counted from the padding token's id.
    Table(PositionTable),
}

impl JinaV3Config {
    fn read(source: &Source) -> Result<Self> {
        let layers = PostNormConfig::read(source, &KEYS)?;
        let positions = Positions::read(source, &layers)?;
        Ok(Self { layers, types: source.token_types(1)?, positions })
    }
}

impl Positions {
    fn read(source: &Source, layers: &PostNormConfig) -> Result<Self> {
        let file = &source.config;
        match file.text("position_embedding_type")?.unwrap_or("rotary") {
            "rotary" => {}
            "absolute" => {
                let padding = source.padding_token(layers.vocab)?;
                let rows = file.size("max_position_embeddings", 1 << 24, 512)?;
                return Ok(Self::Table(PositionTable { rows, padding: Some(padding) }));
            }
            other => {
                let message = format!("{other:?} is not supported; \"rotary\" and \"absolute\" are");
                return Err(file.error("position_embedding_type", message));
            }
        }
        layers.require_even_heads(file, &KEYS)?;
        let default = if file.text("model_type")? == Some("jina_embeddings_v3") { 20_000.0 } else { 10_000.0 };
        let keys = RotaryKeys { theta: "rotary_emb_base", default, head_dim: layers.head_dim() };
        Ok(Self::Rotary(source.rotary_angles(&source.rotary_parameters()?, &keys)?))
    }
}

/// Whether the checkpoint has the names of the published code.
pub(super) fn is_published(source: &Source) -> bool {
    base_model(source).contains("encoder.layers.0.mixer.Wqkv.weight")
}

fn base_model<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_if_contains("roberta", "embeddings.word_embeddings.weight")
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (JinaV3Config { layers, types, positions }, at) = (JinaV3Config::read(source)?, base_model(source));
    let (norm, place, names) = match is_published(source) {
        true => ("emb_ln", "encoder.layers", &PUBLISHED_NAMES),
        false => ("embeddings.LayerNorm", "layers", &NAMES),
    };
    let (positions, angles) = match positions {
        Positions::Rotary(angles) => (None, Some(RotaryTable::new(at.body(), layers.head_dim(), angles)?)),
        Positions::Table(table) => (Some(table), None),
    };
    let tables = InputTables { positions, types, ..InputTables::of_words(layers.vocab) };
    Ok(Box::new(PostNorm::load(PostNormSpec {
        embedding_norm: at.at(norm),
        layers: at.at(place),
        angles,
        ..PostNormSpec::new(&at, layers, tables, names)
    })?))
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    ScoreHead::roberta(source, [JinaV3Config::read(source)?.layers.hidden, labels], Activation::Tanh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};

    fn read(text: &str) -> Result<JinaV3Config> {
        with_source(text, JinaV3Config::read)
    }

    fn theta(text: &str) -> f64 {
        match read(text).unwrap().positions {
            Positions::Rotary(angles) => angles.theta,
            Positions::Table(_) => f64::NAN,
        }
    }

    #[test]
    fn what_is_left_out_is_jina_embeddings_v3() {
        let base = read("{}").unwrap();
        let PostNormConfig { vocab, hidden, layers, heads, intermediate, activation, eps, .. } = base.layers;
        assert_eq!((vocab, hidden, layers, heads, intermediate), (250_002, 1024, 24, 16, 4096));
        assert_eq!((activation, eps, base.types), (Activation::Gelu, 1e-5, Some(1)));
    }

    #[test]
    fn positions_are_angles_or_rows() {
        assert_eq!(theta("{}"), 10_000.0);
        assert_eq!(theta(r#"{"model_type": "jina_embeddings_v3"}"#), 20_000.0);
        assert_eq!(theta(r#"{"position_embedding_type": "rotary", "rotary_emb_base": 500}"#), 500.0);
        assert_eq!(theta(r#"{"rope_parameters": {"rope_theta": 300, "rope_type": "default"}}"#), 300.0);
        let absolute = r#"{"position_embedding_type": "absolute", "max_position_embeddings": 1026, "pad_token_id": 2}"#;
        let Positions::Table(PositionTable { rows, padding }) = read(absolute).unwrap().positions else {
            panic!("a table")
        };
        assert_eq!((rows, padding), (1026, Some(2)));
    }

    #[test]
    fn what_is_impossible_or_another_network_is_refused_by_name() {
        let cases = [
            (r#"{"hidden_size": 60, "num_attention_heads": 4}"#, "num_attention_heads"),
            (r#"{"hidden_size": 60, "num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"position_embedding_type": "alibi"}"#, "position_embedding_type"),
            (r#"{"position_embedding_type": "absolute", "pad_token_id": 250002}"#, "pad_token_id"),
            (r#"{"position_embedding_type": "absolute", "max_position_embeddings": -1}"#, "max_position_embeddings"),
            (r#"{"rotary_emb_base": 0}"#, "rotary_emb_base"),
            (r#"{"rope_parameters": {"rope_type": "longrope"}}"#, "rope_parameters.rope_type"),
            (r#"{"type_vocab_size": -1}"#, "type_vocab_size"),
            (r#"{"hidden_act": "gelu_fancy"}"#, "hidden_act"),
        ];
        assert_refuses(JinaV3Config::read, &cases);
    }
}
