//! MPNet (Song et al. 2020; reference: transformers' `modeling_mpnet.py`): BERT without token types, with positions counted as
//! RoBERTa does and a bias on the scores for the distance between tokens, the same in every layer.

use std::sync::Arc;

use crate::Result;
use crate::kernels::Activation;
use crate::models::Encoder;
use crate::models::head::Head;
use crate::models::post_norm::{BERT_KEYS, Keys, Names, Parts, Positions, PostNorm, Sizes, Tables};
use crate::models::registry::{Family, Source};
use crate::nn::{Loader, PositionBias};

pub(super) const FAMILY: Family = Family { model_types: &["mpnet"], load, head, logit_head: None };

/// The sizes of MPNet-base.
const KEYS: Keys = Keys { vocab: ("vocab_size", 30_527), ..BERT_KEYS };

const NAMES: Names = Names {
    qkv: ["attention.attn.q", "attention.attn.k", "attention.attn.v"],
    out: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    mlp_norm: "output.LayerNorm",
};

/// What the network takes for padding, whatever config.json says.
const PADDING: u32 = 1;

/// Of distances: half of them for each side. config.json may ask for a table with more rows, which nobody reads.
const BUCKETS: usize = 32;

/// Offsets from here on are in the last bucket of their side.
const FAR: usize = 128;

/// The bucket of a key's offset from its query: one for each up to 7, then two for each doubling (Raffel et al. 2020, as MPNet
/// has it).
fn bucket(offset: isize) -> usize {
    let half = BUCKETS / 2;
    let exact = half / 2;
    let bucket = match offset.unsigned_abs().min(FAR - 1) {
        near if near < exact => near,
        // exact + floor(2 · log2(far / exact))
        far => exact + (far * far / (exact * exact)).ilog2() as usize,
    };
    if offset > 0 { half + bucket } else { bucket }
}

fn place<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_first_with(&["mpnet"], "embeddings.word_embeddings.weight")
}

fn position_bias(source: &Source, heads: usize) -> Result<PositionBias> {
    let rows = source.config.integer("relative_attention_num_buckets", BUCKETS..=1 << 16)?.unwrap_or(BUCKETS);
    let table = place(source).values("encoder.relative_attention_bias.weight", &[rows, heads])?;
    PositionBias::new(source.at.body(), heads, FAR, |head, offset| table[bucket(offset) * heads + head])
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (file, at) = (&source.config, place(source));
    let sizes = Sizes::read(source, &KEYS)?;
    let positions = Positions { rows: file.size("max_position_embeddings", 1 << 24, 512)?, padding: Some(PADDING) };
    let bias = Arc::new(position_bias(source, sizes.heads)?);
    Ok(Box::new(PostNorm::load(Parts {
        sizes,
        tables: Tables { words: sizes.vocab, positions: Some(positions), types: None },
        embeddings: at.at("embeddings"),
        projection: None,
        layers: at.at("encoder.layer"),
        names: &NAMES,
        bias: Some(&|_, _| Ok(bias.clone())),
    })?))
}

fn head(source: &Source, labels: usize) -> Result<Head> {
    Head::of_roberta(source, [Sizes::read(source, &KEYS)?.hidden, labels], Activation::Tanh)
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
