//! modules.json and its Pooling, as far as a GGUF file says them: `pooling_type`. Whether embeddings are normalized it never says; they
//! are left as they are.

use serde_json::{Value, json};

use crate::Result;
use crate::gguf::keys::GgufKeys;

/// What is made of the way of pooling.
pub(super) struct MadeModules {
    pub(super) modules: Value,
    /// 1_Pooling/config.json
    pub(super) pooling: Value,
}

/// Architectures that some models pool the first token of, and others all.
const ENCODERS: [&str; 3] = ["bert", "nomic-bert", "modern-bert"];

/// None for rerankers, and for language models without a way of pooling.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) where an encoder has no way of pooling: a guess would give other vectors.
pub(super) fn listed(keys: &GgufKeys) -> Result<Option<MadeModules>> {
    const KEY: &str = "pooling_type";
    if keys.architecture == "gemma-embedding" {
        let dense = if keys.has("dense_2.weight") { "are read from folders alone" } else { "the file lacks" };
        let message = format!(
            "embeddings go through two Dense layers, which {dense}: without them they are others. Put modules.json, 1_Pooling, 2_Dense and \
             3_Dense of the original beside the file"
        );
        return Err(keys.all().error("general.architecture", message));
    }
    let mode = match keys.integer(KEY)? {
        _ if keys.has("cls.output.weight") => return Ok(None),
        Some(1) => "mean",
        Some(2) => "cls",
        Some(3) => "lasttoken",
        Some(4) => return Ok(None),
        // Of a language model it is the last token, as for other folders.
        None if !ENCODERS.contains(&keys.architecture) => return Ok(None),
        other => {
            let found = other.map_or_else(|| "missing".to_owned(), |kind| format!("is {kind}"));
            let message = format!(
                "{found}: how tokens become one embedding is not known. Put modules.json and 1_Pooling/config.json of the model that was \
                 converted beside the file"
            );
            return Err(keys.error(KEY, message));
        }
    };
    let words = "token_embd.weight";
    let width = keys.columns(words).ok_or_else(|| keys.tensor_error(words, "is not there"))?;
    let module = |idx: usize, path: &str, name: &str| json!({"idx": idx, "name": idx.to_string(), "path": path, "type": format!("sentence_transformers.models.{name}")});
    Ok(Some(MadeModules {
        modules: json!([module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")]),
        pooling: json!({"embedding_dimension": width, "pooling_mode": mode}),
    }))
}
