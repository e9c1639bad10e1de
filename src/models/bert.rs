//! BERT (Devlin et al. 2019; reference: transformers' `BertModel` and `BertForSequenceClassification`).
//!
//! The network is [`PostNorm`] as it stands. The head is [`ScoreHead::bert`].
//! Checkpoints converted from TensorFlow call a normalization's tensors `gamma` and `beta`; those saved with a head
//! keep the network below `bert`.

use crate::Result;
use crate::kernels::Dtype;
use crate::models::Encoder;
use crate::models::family::{Family, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::post_norm::{PostNorm, PostNormSpec};
use crate::models::post_norm_config::{BERT_KEYS, PostNormConfig};
use crate::models::source::Source;
use crate::nn::Loader;

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "BERT",
        model_types: &["bert"],
        embedders: &[
            "all-MiniLM",
            "paraphrase-MiniLM and -multilingual-MiniLM",
            "bge (v1.5, small to large)",
            "e5 (v2)",
            "gte (small to large)",
            "snowflake-arctic-embed (xs to l, v1)",
            "mxbai-embed-large",
        ],
        rerankers: &["cross-encoder/ms-marco-MiniLM", "-TinyBERT"],
        limits: "",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

fn base_model<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_if_contains("bert", "embeddings.word_embeddings.weight")
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let config = PostNormConfig::read(source, &BERT_KEYS)?;
    Ok(Box::new(PostNorm::load(PostNormSpec::bert(source, &base_model(source), config, None)?)?))
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    ScoreHead::bert(source, &base_model(source), [PostNormConfig::read(source, &BERT_KEYS)?.hidden, labels])
}
