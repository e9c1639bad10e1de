//! MPNet (Song et al. 2020; reference: transformers' `MPNetModel` and `MPNetForSequenceClassification`).
//!
//! The network is BERT's without token types, with positions counted as RoBERTa counts them, and with a learned bias on
//! the scores for the distance between tokens (T5's: Raffel et al. 2020), the same in every layer. The head is
//! RoBERTa's.

use std::sync::Arc;

use crate::Result;
use crate::kernels::{Activation, Dtype};
use crate::models::Encoder;
use crate::models::distance_buckets::DistanceBuckets;
use crate::models::family::{Family, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::input_tables::{InputTables, PositionTable};
use crate::models::post_norm::{PostNorm, PostNormSpec, TensorNames};
use crate::models::post_norm_config::{BERT_KEYS, PostNormConfig, PostNormKeys};
use crate::models::source::Source;
use crate::nn::{Loader, PositionBias};

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "MPNet",
        model_types: &["mpnet"],
        embedders: &["all-mpnet-base-v2", "multi-qa-mpnet-base", "paraphrase-mpnet"],
        rerankers: &["cross-encoders on MPNet"],
        limits: "",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

/// The sizes of MPNet-base.
const KEYS: PostNormKeys = PostNormKeys { vocab: ("vocab_size", 30_527), ..BERT_KEYS };

const NAMES: TensorNames = TensorNames {
    qkv: &["attention.attn.q", "attention.attn.k", "attention.attn.v"],
    out: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    up: "intermediate.dense",
    gate: None,
    down: "output.dense",
    mlp_norm: "output.LayerNorm",
};

/// The padding token's id: the reference takes this one, whatever config.json says.
const PADDING_ID: u32 = 1;

/// config.json may ask for a table with more rows; the reference reads those of these buckets alone.
const BUCKETS: DistanceBuckets = DistanceBuckets { count: 32, max_distance: 128 };

fn base_model<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_if_contains("mpnet", "embeddings.word_embeddings.weight")
}

fn position_bias(source: &Source, heads: usize) -> Result<PositionBias> {
    let rows = source.config.integer("relative_attention_num_buckets", BUCKETS.count..=1 << 16)?;
    let table = base_model(source).at("encoder.relative_attention_bias");
    BUCKETS.bias(&table, rows.unwrap_or(BUCKETS.count), heads)
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (file, at) = (&source.config, base_model(source));
    let config = PostNormConfig::read(source, &KEYS)?;
    let positions =
        PositionTable { rows: file.size("max_position_embeddings", 1 << 24, 512)?, padding: Some(PADDING_ID) };
    let bias = Arc::new(position_bias(source, config.heads)?);
    let tables = InputTables { positions: Some(positions), ..InputTables::of_words(config.vocab) };
    Ok(Box::new(PostNorm::load(PostNormSpec {
        bias: Some(&|_, _| Ok(bias.clone())),
        ..PostNormSpec::new(&at, config, tables, &NAMES)
    })?))
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    ScoreHead::roberta(source, [PostNormConfig::read(source, &KEYS)?.hidden, labels], Activation::Tanh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::assert_refuses;

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let cases = [
            (r#"{"num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"max_position_embeddings": 0}"#, "max_position_embeddings"),
            (r#"{"relative_attention_num_buckets": 0}"#, "relative_attention_num_buckets"),
            (r#"{"relative_attention_num_buckets": 31}"#, "relative_attention_num_buckets"),
            (r#"{"relative_attention_num_buckets": 1e300}"#, "relative_attention_num_buckets"),
        ];
        assert_refuses(load, &cases);
    }
}
