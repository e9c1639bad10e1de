//! DistilBERT (Sanh et al. 2019; reference: transformers' `DistilBertModel` and `DistilBertForSequenceClassification`).
//!
//! The network is BERT's without token types, under other keys and names. The head is
//! `classifier(relu(pre_classifier(state of the first token)))`: there is no pooler.

use crate::Result;
use crate::kernels::{Activation, Dtype};
use crate::models::Encoder;
use crate::models::family::{Family, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::input_tables::{InputTables, PositionTable};
use crate::models::post_norm::{PostNorm, PostNormSpec, TensorNames};
use crate::models::post_norm_config::{BERT_KEYS, PostNormConfig, PostNormKeys};
use crate::models::source::Source;

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "DistilBERT",
        model_types: &["distilbert"],
        embedders: &["msmarco-distilbert", "multi-qa-distilbert", "distiluse (with its Dense)"],
        rerankers: &["cross-encoders on DistilBERT"],
        limits: "",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

/// The sizes of DistilBERT-base.
const KEYS: PostNormKeys = PostNormKeys {
    hidden: ("dim", 768),
    layers: ("n_layers", 6),
    heads: ("n_heads", 12),
    intermediate: ("hidden_dim", 3072),
    activation: ("activation", "gelu"),
    ..BERT_KEYS
};

const NAMES: TensorNames = TensorNames {
    qkv: &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    out: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    gate: None,
    down: "ffn.lin2",
    mlp_norm: "output_layer_norm",
};

fn config(source: &Source) -> Result<PostNormConfig> {
    // Not a key of config.json: the reference has this constant.
    Ok(PostNormConfig { eps: 1e-12, ..PostNormConfig::read(source, &KEYS)? })
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let at = source.at.at_if_contains("distilbert", "embeddings.word_embeddings.weight");
    let config = config(source)?;
    let positions = PositionTable { rows: source.config.size("max_position_embeddings", 1 << 24, 512)?, padding: None };
    let tables = InputTables { positions: Some(positions), ..InputTables::of_words(config.vocab) };
    Ok(Box::new(PostNorm::load(PostNormSpec {
        layers: at.at("transformer.layer"),
        ..PostNormSpec::new(&at, config, tables, &NAMES)
    })?))
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    source.require_head("classifier.weight")?;
    let hidden = config(source)?.hidden;
    ScoreHead::two_layers(
        source.at.at("pre_classifier"),
        source.at.at("classifier"),
        [hidden, labels],
        Activation::Relu,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::assert_refuses;

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let cases = [
            (r#"{"n_heads": 5}"#, "n_heads"),
            (r#"{"n_heads": 0}"#, "n_heads"),
            (r#"{"dim": 1e300}"#, "dim"),
            (r#"{"n_layers": 4294967296}"#, "n_layers"),
            (r#"{"hidden_dim": -1}"#, "hidden_dim"),
            (r#"{"activation": 3}"#, "activation"),
            (r#"{"max_position_embeddings": 0}"#, "max_position_embeddings"),
        ];
        assert_refuses(load, &cases);
    }
}
