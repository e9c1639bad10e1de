//! ERNIE 1.0 to 3.0 (Sun et al. 2019, 2020 and 2021; reference: transformers' `ErnieModel` and
//! `ErnieForSequenceClassification`).
//!
//! The network and the head are BERT's. Where `use_task_id` says so, a table of tasks is added to the embeddings, too:
//! its first row, as no caller of sentence-transformers names another task. Checkpoints with a head have the network
//! below `ernie`.

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
        name: "ERNIE",
        model_types: &["ernie"],
        embedders: &["embedders on ernie-3.0"],
        rerankers: &["cross-encoders on ernie-3.0"],
        limits: "",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

fn base_model<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_if_contains("ernie", "embeddings.word_embeddings.weight")
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (file, at) = (&source.config, base_model(source));
    let mut spec = PostNormSpec::bert(source, &at, PostNormConfig::read(source, &BERT_KEYS)?, None)?;
    if file.boolean("use_task_id")?.unwrap_or(false) {
        spec.tables.tasks = Some(file.size("task_type_vocab_size", 1 << 16, 3)?);
    }
    Ok(Box::new(PostNorm::load(spec)?))
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    ScoreHead::bert(source, &base_model(source), [PostNormConfig::read(source, &BERT_KEYS)?.hidden, labels])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::assert_refuses;

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let cases = [
            (r#"{"use_task_id": "yes"}"#, "use_task_id"),
            (r#"{"use_task_id": true, "task_type_vocab_size": 0}"#, "task_type_vocab_size"),
            (r#"{"position_embedding_type": "relative_key"}"#, "position_embedding_type"),
            (r#"{"type_vocab_size": 0}"#, "type_vocab_size"),
        ];
        assert_refuses(load, &cases);
    }
}
