//! jina-embeddings-v2 (Günther et al. 2023) and jina-reranker-v1: BERT whose positions are biases by distance
//! ([`Alibi`]), with gated feed-forward blocks. transformers has no such network; the reference is the code that the
//! models were published with, restated in tests/fixtures/jina_v2.py.
//!
//! The network is [`PostNorm`] without a table of positions, the head BERT's. Both products of a gated block are one
//! tensor: its first half goes through the activation in the models for text, its last half in the one for code. Older
//! GGUF files have the halves apart. The model for code normalizes queries and keys, all heads of a token at once, and
//! counts a layer's input twice behind attention:
//!
//! ```text
//! a = norm(x + attention(x));  x = norm(x + a);  x = norm(x + mlp(x))
//! ```
//!
//! Files say `bert`, so that the bias, or the names of the gated blocks' tensors, tell the models from BERT's.

use std::sync::Arc;

use crate::Result;
use crate::kernels::{Activation, AttentionShape, Dtype};
use crate::models::Encoder;
use crate::models::family::{Family, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::input_tables::InputTables;
use crate::models::post_norm::{BERT_NAMES, Biases, ExtraNorms, GateTensor, PostNorm, PostNormSpec, TensorNames};
use crate::models::post_norm_config::{BERT_KEYS, PostNormConfig};
use crate::models::source::Source;
use crate::nn::{Alibi, AttentionBias, Loader};

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "jina v2",
        model_types: &[],
        embedders: &["jina-embeddings-v2 (small, base, -de, -es, -zh, -code)"],
        rerankers: &["jina-reranker-v1 (tiny, turbo)"],
        limits: "told by `alibi` as `position_embedding_type` of `bert`, or by gated blocks",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

/// Names of gated blocks, of the models for text.
const TEXT_NAMES: TensorNames = TensorNames {
    up: "mlp.gated_layers",
    gate: Some(GateTensor::BeforeUp),
    down: "mlp.wo",
    mlp_norm: "mlp.layernorm",
    ..BERT_NAMES
};

/// Names of the model for code.
const CODE_NAMES: TensorNames = TensorNames {
    up: "mlp.up_gated_layer",
    gate: Some(GateTensor::BehindUp),
    down: "mlp.down_layer",
    mlp_norm: "layer_norm_2",
    ..BERT_NAMES
};

/// As older GGUF files have the products of gated blocks.
const HALVES_OF_TEXT: TensorNames =
    TensorNames { up: "mlp.gated_layers_v", gate: Some(GateTensor::Own("mlp.gated_layers_w")), ..TEXT_NAMES };
const HALVES_OF_CODE: TensorNames =
    TensorNames { up: "mlp.gated_layers_v", gate: Some(GateTensor::Own("mlp.gated_layers_w")), ..CODE_NAMES };

/// The networks with gated blocks.
const GATED: [(&TensorNames, Option<&ExtraNorms>); 4] = [
    (&TEXT_NAMES, None),
    (&CODE_NAMES, Some(&CODE_NORMS)),
    (&HALVES_OF_TEXT, None),
    (&HALVES_OF_CODE, Some(&CODE_NORMS)),
];

const CODE_NORMS: ExtraNorms = ExtraNorms {
    queries: "attention.self.layer_norm_q",
    keys: "attention.self.layer_norm_k",
    residual: "layer_norm_1",
};

/// What config.json says.
#[derive(Debug)]
struct JinaV2Config {
    layers: PostNormConfig,
    is_gated: bool,
    types: Option<usize>,
}

impl JinaV2Config {
    fn read(source: &Source) -> Result<Self> {
        let file = &source.config;
        refuse_other_positions(source)?;
        let default = if gated(source).is_some() { "geglu" } else { "original" };
        let (activation, is_gated) = match file.text("feed_forward_type")?.unwrap_or(default) {
            "geglu" => (Activation::Gelu, true),
            "reglu" => (Activation::Relu, true),
            "original" => (source.activation("hidden_act", "gelu")?, false),
            other => {
                let message = format!("{other:?} is not supported; \"geglu\", \"reglu\" and \"original\" are");
                return Err(file.error("feed_forward_type", message));
            }
        };
        let layers = PostNormConfig::with_activation(source, &BERT_KEYS, activation)?;
        Ok(Self { layers, is_gated, types: source.token_types(2)? })
    }
}

fn refuse_other_positions(source: &Source) -> Result<()> {
    let file = &source.config;
    let has_table = base_model(source).contains("embeddings.position_embeddings.weight");
    match file.text("position_embedding_type")?.unwrap_or(if has_table { "absolute" } else { "alibi" }) {
        "alibi" => Ok(()),
        other => Err(file.error(
            "position_embedding_type",
            format!("{other:?} is not supported in a network with jina's gated blocks; \"alibi\" is"),
        )),
    }
}

/// Whether the checkpoint is of the published code.
pub(super) fn is_published(source: &Source) -> bool {
    gated(source).is_some() || matches!(source.config.text("position_embedding_type"), Ok(Some("alibi")))
}

/// Names of the network with gated blocks, which the first layer tells.
fn gated(source: &Source) -> Option<(&'static TensorNames, Option<&'static ExtraNorms>)> {
    let at = base_model(source).at("encoder.layer.0");
    let has = |part: &str| at.contains(&format!("{part}.weight"));
    GATED.into_iter().find(|(names, _)| has(names.up) && has(names.down))
}

fn base_model<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_if_contains("bert", "embeddings.word_embeddings.weight")
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (JinaV2Config { layers, is_gated, types }, at) = (JinaV2Config::read(source)?, base_model(source));
    let (names, extra_norms) = match is_gated {
        true => gated(source).unwrap_or(GATED[0]),
        false => (&BERT_NAMES, None),
    };
    let alibi: Arc<dyn AttentionBias> = Arc::new(Alibi::new(at.body(), layers.heads)?);
    let bias = |_: &Loader, _: &AttentionShape| Ok(alibi.clone());
    let tables = InputTables { types, ..InputTables::of_words(layers.vocab) };
    Ok(Box::new(PostNorm::load(PostNormSpec {
        biases: Biases { up: !is_gated, ..Biases::ALL },
        extra_norms,
        bias: Some(&bias),
        ..PostNormSpec::new(&at, layers, tables, names)
    })?))
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    ScoreHead::bert(source, &base_model(source), [JinaV2Config::read(source)?.layers.hidden, labels])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};

    fn read(text: &str) -> Result<JinaV2Config> {
        with_source(text, JinaV2Config::read)
    }

    #[test]
    fn feed_forward_blocks_are_told_by_their_type() {
        let block = |text: &str| {
            let JinaV2Config { layers, is_gated, .. } = read(text).unwrap();
            (layers.activation, is_gated)
        };
        // GELU is the exact one whatever the key of other blocks says.
        assert_eq!(block(r#"{"feed_forward_type": "geglu", "hidden_act": "gelu_new"}"#), (Activation::Gelu, true));
        assert_eq!(block(r#"{"feed_forward_type": "reglu"}"#), (Activation::Relu, true));
        assert_eq!(block(r#"{"feed_forward_type": "original", "hidden_act": "relu"}"#), (Activation::Relu, false));
        assert_eq!(block("{}"), (Activation::Gelu, false));
        assert_eq!(read(r#"{"type_vocab_size": 0}"#).unwrap().types, None);
    }

    #[test]
    fn a_network_is_told_by_its_bias() {
        let is_published = |text: &str| with_source(text, is_published);
        assert!(is_published(r#"{"model_type": "bert", "position_embedding_type": "alibi"}"#));
        assert!(!is_published(r#"{"model_type": "bert", "position_embedding_type": "absolute"}"#));
        assert!(!is_published(r#"{"model_type": "bert"}"#));
    }

    #[test]
    fn what_is_impossible_or_another_network_is_refused_by_name() {
        let cases = [
            (r#"{"position_embedding_type": "absolute"}"#, "position_embedding_type"),
            (r#"{"position_embedding_type": 3}"#, "position_embedding_type"),
            (r#"{"feed_forward_type": "swiglu"}"#, "feed_forward_type"),
            (r#"{"hidden_act": "gelu_fancy"}"#, "hidden_act"),
            (r#"{"num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"type_vocab_size": -1}"#, "type_vocab_size"),
            (r#"{"is_decoder": true}"#, "is_decoder"),
        ];
        assert_refuses(JinaV2Config::read, &cases);
    }
}
