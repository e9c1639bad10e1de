//! How models that many quantized ones were made from make one vector of those of tokens, for where their own files cannot be had.
//!
//! This is what public code states of them, by name:
//!
//! ```text
//! FlagOpen/FlagEmbedding at 7ed43d6    FlagEmbedding/inference/embedder/model_mapping.py: `pooling_method` of each; all are normalized,
//!                                      as `normalize_embeddings=True` of the classes there has it
//! qdrant/fastembed at c48247f          fastembed/text/: onnx_embedding.py (first token, normalized), pooled_normalized_embedding.py
//!                                      (mean, normalized), pooled_embedding.py (mean)
//! ```
//!
//! Where both state a model they agree on its pooling. Prompts are in neither as the models' own files have them, and are left out.

/// What is known of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KnownModel {
    /// As modules' files call it.
    pub(super) pooling: &'static str,
    pub(super) is_normalized: bool,
}

const CLS: KnownModel = KnownModel { pooling: "cls", is_normalized: true };
const MEAN: KnownModel = KnownModel { pooling: "mean", is_normalized: true };
const MEAN_ALONE: KnownModel = KnownModel { pooling: "mean", is_normalized: false };
const LAST_TOKEN: KnownModel = KnownModel { pooling: "lasttoken", is_normalized: true };

/// Names behind that of their owner.
const KNOWN: [(KnownModel, &[&str]); 6] = [
    // FlagEmbedding
    (
        CLS,
        &[
            "bge-m3",
            "bge-large-en-v1.5",
            "bge-base-en-v1.5",
            "bge-small-en-v1.5",
            "bge-large-zh-v1.5",
            "bge-base-zh-v1.5",
            "bge-small-zh-v1.5",
            "bge-large-en",
            "bge-base-en",
            "bge-small-en",
            "bge-large-zh",
            "bge-base-zh",
            "bge-small-zh",
            "gte-multilingual-base",
            "gte-large-en-v1.5",
            "gte-base-en-v1.5",
            "gte-large-zh",
            "gte-base-zh",
            "gte-small-zh",
            "bce-embedding-base_v1",
        ],
    ),
    (
        MEAN,
        &[
            "e5-large-v2",
            "e5-base-v2",
            "e5-small-v2",
            "e5-large",
            "e5-base",
            "e5-small",
            "multilingual-e5-large-instruct",
            "multilingual-e5-large",
            "multilingual-e5-base",
            "multilingual-e5-small",
            "gte-large",
            "gte-base",
            "gte-small",
        ],
    ),
    (
        LAST_TOKEN,
        &[
            "Qwen3-Embedding-0.6B",
            "Qwen3-Embedding-4B",
            "Qwen3-Embedding-8B",
            "e5-mistral-7b-instruct",
            "SFR-Embedding-2_R",
            "SFR-Embedding-Mistral",
            "Linq-Embed-Mistral",
        ],
    ),
    // fastembed
    (
        CLS,
        &[
            "mxbai-embed-large-v1",
            "snowflake-arctic-embed-xs",
            "snowflake-arctic-embed-s",
            "snowflake-arctic-embed-m",
            "snowflake-arctic-embed-m-long",
            "snowflake-arctic-embed-l",
        ],
    ),
    (
        MEAN,
        &[
            "all-MiniLM-L6-v2",
            "jina-embeddings-v2-base-en",
            "jina-embeddings-v2-small-en",
            "jina-embeddings-v2-base-de",
            "jina-embeddings-v2-base-code",
            "jina-embeddings-v2-base-zh",
            "jina-embeddings-v2-base-es",
        ],
    ),
    (
        MEAN_ALONE,
        &[
            "nomic-embed-text-v1",
            "nomic-embed-text-v1.5",
            "paraphrase-multilingual-MiniLM-L12-v2",
            "paraphrase-multilingual-mpnet-base-v2",
        ],
    ),
];

/// What is known of the model of this name on the hub, "owner/name".
pub(super) fn known(name: &str) -> Option<KnownModel> {
    let (_, name) = name.split_once('/').filter(|(owner, _)| !owner.starts_with('.'))?;
    let has_name = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    KNOWN.iter().find(|(_, names)| has_name(names)).map(|&(model, _)| model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_known_by_the_names_that_the_hub_has() {
        assert_eq!(known("BAAI/bge-m3"), Some(CLS));
        assert_eq!(known("snowflake/snowflake-arctic-embed-M"), Some(CLS));
        assert_eq!(known("Qwen/Qwen3-Embedding-4B"), Some(LAST_TOKEN));
        assert_eq!(known("nomic-ai/nomic-embed-text-v1.5"), Some(MEAN_ALONE));
        for other in ["bge-m3", "./bge-m3", "models/of/bge-m3", "Qwen/Qwen3-0.6B-Base", "BAAI/bge-m3-unsupervised", ""]
        {
            assert_eq!(known(other), None, "{other}");
        }
    }

    #[test]
    fn a_name_is_there_once() {
        let names: Vec<_> = KNOWN.iter().flat_map(|(_, names)| *names).collect();
        assert!(names.iter().all(|name| names.iter().filter(|other| other == &name).count() == 1));
    }
}
