//! modules.json, its Pooling and its Dense modules, as far as a GGUF file says them: `pooling_type`, and the tensors of EmbeddingGemma's
//! Dense layers. Whether embeddings are normalized it never says; they are left as they are.

use serde_json::{Value, json};

use crate::Result;
use crate::files::inside;
use crate::gguf::keys::GgufKeys;
use crate::weights::DENSE_PARTS;

/// EmbeddingGemma, which looks both ways; Ollama's first files of it say `gemma3`.
pub(super) const GEMMA_EMBEDDING: &str = "gemma-embedding";

/// A file by its name relative to the model's folder.
type MadeFile = (String, Value);

/// Architectures that some models pool the first token of, and others all.
const ENCODERS: [&str; 6] = ["bert", "nomic-bert", "nomic-bert-moe", "modern-bert", "jina-bert-v2", GEMMA_EMBEDDING];

/// Whether the file has tensors of Dense modules.
pub(super) fn has_dense(keys: &GgufKeys) -> bool {
    DENSE_PARTS.iter().any(|(_, names)| dense_part(keys, names).is_some())
}

/// The name of the file's part that a Dense module is, of those that it may have.
fn dense_part<'a>(keys: &GgufKeys, names: &[&'a str]) -> Option<&'a str> {
    names.iter().copied().find(|part| keys.has(&format!("{part}.weight")))
}

/// modules.json and what it names; none for rerankers, and for language models without a way of pooling.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) where an encoder has no way of pooling: a guess would give other vectors.
pub(super) fn listed(keys: &GgufKeys) -> Result<Vec<MadeFile>> {
    const KEY: &str = "pooling_type";
    let mode = match keys.integer(KEY)? {
        _ if keys.has("cls.output.weight") => return Ok(Vec::new()),
        Some(1) => "mean",
        Some(2) => "cls",
        Some(3) => "lasttoken",
        Some(4) => return Ok(Vec::new()),
        // Of a language model it is the last token, as for other folders.
        None if !ENCODERS.contains(&keys.architecture) => return Ok(Vec::new()),
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
    let pooling = json!({"embedding_dimension": width, "pooling_mode": mode});
    let mut folders = vec![("", "Transformer", Value::Null), ("1_Pooling", "Pooling", pooling)];
    if keys.architecture == GEMMA_EMBEDDING || has_dense(keys) {
        if mode != "mean" {
            let message = format!(
                "{mode:?} pooling is of no EmbeddingGemma, and whether the tokens of another such model look both ways is not known. Put the \
                 model's config.json and modules.json with what it names beside the file"
            );
            return Err(keys.error(KEY, message));
        }
        folders.extend(dense(keys)?.map(|(path, config)| (path, "Dense", config)));
    }
    let module = |(i, &(path, class, _)): (usize, &(&str, &str, Value))| json!({"idx": i, "name": i.to_string(), "path": path, "type": format!("sentence_transformers.models.{class}")});
    let modules = folders.iter().enumerate().map(module).collect();
    let configs = folders.into_iter().skip(1).map(|(path, _, config)| (inside(path, "config.json"), config));
    Ok([("modules.json".to_owned(), modules)].into_iter().chain(configs).collect())
}

/// Subfolder and config.json of EmbeddingGemma's Dense modules, which have no activation. Sizes are those of the tensors.
fn dense(keys: &GgufKeys) -> Result<[(&'static str, Value); 2]> {
    let config = |(path, names): (&'static str, [&str; 2])| {
        let Some(part) = dense_part(keys, &names) else {
            let message = format!(
                "embeddings go through two Dense layers, and the file lacks {}.weight: without it they are others. Put modules.json, \
                 1_Pooling, 2_Dense and 3_Dense of the original beside the file",
                names[0]
            );
            return Err(keys.all().error("general.architecture", message));
        };
        let weight = format!("{part}.weight");
        let sizes = [keys.columns(&weight), keys.rows(&weight)].map(Option::unwrap_or_default);
        for (key, size) in ["in", "out"].map(|end| format!("{}_feat_{end}", names[0])).iter().zip(sizes) {
            if let Some(said) = keys.integer(key)?.filter(|&said| said != size as u64) {
                return Err(keys.error(key, format!("is {said}, and {weight} has {size}")));
            }
        }
        let bias = keys.has(&format!("{part}.bias"));
        Ok((
            path,
            json!({"in_features": sizes[0], "out_features": sizes[1], "bias": bias,
                "activation_function": "torch.nn.modules.linear.Identity"}),
        ))
    };
    let [second, third] = DENSE_PARTS.map(config);
    Ok([second?, third?])
}
