//! MPNet (Song et al. 2020; reference: transformers' `MPNetModel` and `MPNetForSequenceClassification`).
//!
//! The network is BERT's without token types, with positions counted as RoBERTa counts them, and with a learned bias on
//! the scores for the distance between tokens (T5's: Raffel et al. 2020), the same in every layer. The head is
//! RoBERTa's.
//!
//! ```text
//! bias(query i, key j)[head] = relative_attention_bias[bucket(j - i)][head]
//! bucket(d) = (half if d > 0) + (|d| if |d| < exact else exact + floor(exact ln(|d| / exact) / ln(max / exact)))
//!             half = 16, exact = 8, max = 128; the last bucket of a side holds all that is farther
//! ```
//!
//! With these constants the logarithm is `floor(2 log2(|d| / 8))`, which is taken of integers here, without rounding.

use std::sync::Arc;

use crate::Result;
use crate::kernels::{Activation, Dtype};
use crate::models::Encoder;
use crate::models::family::Family;
use crate::models::head::ScoreHead;
use crate::models::post_norm::{
    BERT_KEYS, InputTables, PositionTable, PostNorm, PostNormConfig, PostNormKeys, PostNormSpec, TensorNames,
};
use crate::models::source::Source;
use crate::nn::{Loader, PositionBias};

pub(super) const FAMILY: Family =
    Family { model_types: &["mpnet"], half_dtype: Dtype::Float16, load, head, logit_head: None };

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

/// Buckets of distances, half of them for each side. config.json may ask for a table with more rows; the reference
/// reads these alone.
const NUM_BUCKETS: usize = 32;

/// Distances from here on are in the last bucket of their side.
const MAX_DISTANCE: usize = 128;

/// The bucket of a key's distance from its query: one for each up to 7, then two for each doubling.
fn bucket(distance: isize) -> usize {
    let half = NUM_BUCKETS / 2;
    let exact = half / 2;
    let bucket = match distance.unsigned_abs().min(MAX_DISTANCE - 1) {
        near if near < exact => near,
        // exact + floor(2 · log2(far / exact))
        far => exact + (far * far / (exact * exact)).ilog2() as usize,
    };
    if distance > 0 { half + bucket } else { bucket }
}

fn base_model<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_if_contains("mpnet", "embeddings.word_embeddings.weight")
}

fn position_bias(source: &Source, heads: usize) -> Result<PositionBias> {
    let rows = source.config.integer("relative_attention_num_buckets", NUM_BUCKETS..=1 << 16)?.unwrap_or(NUM_BUCKETS);
    let table = base_model(source).values("encoder.relative_attention_bias.weight", &[rows, heads])?;
    PositionBias::new(source.at.body(), heads, MAX_DISTANCE, |head, distance| table[bucket(distance) * heads + head])
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (file, at) = (&source.config, base_model(source));
    let config = PostNormConfig::read(source, &KEYS)?;
    let positions =
        PositionTable { rows: file.size("max_position_embeddings", 1 << 24, 512)?, padding: Some(PADDING_ID) };
    let bias = Arc::new(position_bias(source, config.heads)?);
    let tables = InputTables { words: config.vocab, positions: Some(positions), types: None };
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
    fn buckets_are_the_references() {
        // MPNetEncoder.relative_position_bucket of transformers 5.23: the first distance of each bucket.
        let first = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91];
        for distance in 0..1000 {
            let expected = first.iter().rposition(|&first| first <= distance).unwrap();
            assert_eq!(bucket(-(distance as isize)), expected, "{distance} before");
            let after = if distance == 0 { 0 } else { 16 + expected };
            assert_eq!(bucket(distance as isize), after, "{distance} after");
        }
        assert_eq!(bucket(isize::MIN), 15);
    }

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
