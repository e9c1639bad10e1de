//! What all modules after the Transformer say of their inputs and outputs.

use crate::Result;
use crate::config::json::Object;

/// The most features of an embedding or a token's vector: beyond any module's width.
pub(super) const MAX_FEATURES: usize = 1 << 20;

/// Refuses a module that reads or writes other features than the embedding of the text; with `scores`, those of a
/// cross-encoder's last module are accepted.
pub(super) fn refuse_other_features(file: &Object, scores: bool) -> Result<()> {
    for (key, scores) in [("module_input_name", false), ("module_output_name", scores)] {
        let supported = |name: &str| name == "sentence_embedding" || scores && name == "scores";
        if let Some(name) = file.text(key)?.filter(|name| !supported(name)) {
            return Err(file.error(key, format!("\"{name}\" is not supported; \"sentence_embedding\" is")));
        }
    }
    Ok(())
}
