//! RoBERTa (Liu et al. 2019) and its descendants XLM-RoBERTa (Conneau et al. 2020) and CamemBERT (Martin et al. 2020;
//! reference: transformers' `RobertaModel` and `RobertaForSequenceClassification`).
//!
//! The network is BERT's but for positions: they are counted from the padding token's id, and a padding token in the
//! midst of a text counts for none, so that they are computed from ids. The head is
//! `out_proj(tanh(dense(state of the first token)))`. All three keep the network below `roberta` in a checkpoint with a
//! head.

use crate::Result;
use crate::kernels::{Activation, Dtype};
use crate::models::Encoder;
use crate::models::family::{Family, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::post_norm::{PostNorm, PostNormSpec};
use crate::models::post_norm_config::{BERT_KEYS, PostNormConfig, PostNormKeys};
use crate::models::source::Source;

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "RoBERTa, XLM-RoBERTa, CamemBERT",
        model_types: &["roberta", "xlm-roberta", "camembert"],
        embedders: &["multilingual-e5", "bge-m3", "snowflake-arctic-embed-l-v2.0", "all-distilroberta-v1"],
        rerankers: &["bge-reranker-base", "-large", "-v2-m3", "cross-encoder/stsb-roberta"],
        limits: "",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

fn config(source: &Source) -> Result<PostNormConfig> {
    let vocab = if source.config.text("model_type")? == Some("roberta") { 50_265 } else { 30_522 };
    PostNormConfig::read(source, &PostNormKeys { vocab: ("vocab_size", vocab), ..BERT_KEYS })
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let base = source.at.at_if_contains("roberta", "embeddings.word_embeddings.weight");
    let config = config(source)?;
    let padding = source.padding_token(config.vocab)?;
    Ok(Box::new(PostNorm::load(PostNormSpec::bert(source, &base, config, Some(padding))?)?))
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    ScoreHead::roberta(source, [config(source)?.hidden, labels], Activation::Tanh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::assert_refuses;

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let cases = [
            (r#"{"model_type": "roberta", "num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"model_type": "roberta", "pad_token_id": -1}"#, "pad_token_id"),
            (r#"{"model_type": "roberta", "pad_token_id": 50265}"#, "pad_token_id"),
            (r#"{"model_type": "roberta", "max_position_embeddings": 1e300}"#, "max_position_embeddings"),
            (r#"{"model_type": "roberta", "type_vocab_size": 0}"#, "type_vocab_size"),
            (r#"{"model_type": "roberta", "position_embedding_type": "relative_key"}"#, "position_embedding_type"),
        ];
        assert_refuses(load, &cases);
    }
}
