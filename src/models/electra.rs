//! ELECTRA's discriminator (Clark et al. 2020; reference: transformers' `ElectraModel` and
//! `ElectraForSequenceClassification`).
//!
//! The network is BERT's, with tables that may be narrower than the hidden states: a linear layer with a bias follows
//! their normalization then. The head is RoBERTa's, with GELU in place of tanh, whatever the network's activation is.

use crate::Result;
use crate::kernels::{Activation, Dtype};
use crate::models::Encoder;
use crate::models::family::{Family, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::post_norm::{EmbeddingProjection, PostNorm, PostNormSpec};
use crate::models::post_norm_config::{BERT_KEYS, PostNormConfig, PostNormKeys};
use crate::models::source::Source;

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "ELECTRA",
        model_types: &["electra"],
        embedders: &[],
        rerankers: &["cross-encoder/ms-marco-electra-base"],
        limits: "",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

/// The sizes of ELECTRA-small.
const KEYS: PostNormKeys = PostNormKeys {
    hidden: ("hidden_size", 256),
    heads: ("num_attention_heads", 4),
    intermediate: ("intermediate_size", 1024),
    ..BERT_KEYS
};

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let base = source.at.at_if_contains("electra", "embeddings.word_embeddings.weight");
    let config = PostNormConfig::read(source, &KEYS)?;
    let spec = PostNormSpec::bert(source, &base, config, None)?;
    let width = source.config.size("embedding_size", 1 << 16, 128)?;
    let at = base.at("embeddings_project");
    let projection = (width != config.hidden).then_some(EmbeddingProjection { at, width, after_norm: true });
    Ok(Box::new(PostNorm::load(PostNormSpec { projection, ..spec })?))
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    ScoreHead::roberta(source, [PostNormConfig::read(source, &KEYS)?.hidden, labels], Activation::Gelu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::assert_refuses;

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let cases = [
            (r#"{"num_attention_heads": 3}"#, "num_attention_heads"),
            (r#"{"embedding_size": 0}"#, "embedding_size"),
            (r#"{"embedding_size": 1e300}"#, "embedding_size"),
            (r#"{"type_vocab_size": []}"#, "type_vocab_size"),
        ];
        assert_refuses(load, &cases);
    }
}
