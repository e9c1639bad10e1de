//! Adapters of tasks, which lie in a checkpoint beside the weights (jina-embeddings-v3's own code, `modeling_lora.py`).
//!
//! ```text
//! config.json: {"lora_adaptations": [TASK, ...], "lora_alpha": 1}        adapters lie in the order of the tasks
//! ```

use crate::config::Architecture;
use crate::{Error, Result};

/// The adapter of a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskAdapter {
    /// Its place among the adapters.
    pub place: usize,
    /// Number of adapters.
    pub tasks: usize,
    /// What the product of its matrices is multiplied by, times their rank.
    pub alpha: f64,
}

/// The most tasks of a model: beyond any real one.
const MAX_TASKS: usize = 1 << 10;

/// The tasks that config.json names, each with its adapter; none where it names none.
pub(super) fn read(architecture: &Architecture) -> Result<Vec<(String, TaskAdapter)>> {
    let (file, key) = (&architecture.config, "lora_adaptations");
    let names = file.texts(key)?.unwrap_or_default();
    let alpha = file.number("lora_alpha")?.unwrap_or(1.0);
    let error = |message: String| -> Error { file.error(key, message) };
    if names.len() > MAX_TASKS {
        return Err(error(format!("expected at most {MAX_TASKS} tasks, found {}", names.len())));
    }
    for (i, name) in names.iter().enumerate() {
        if names[..i].contains(name) {
            return Err(error(format!("names {name:?} twice")));
        }
    }
    let adapter = |place| TaskAdapter { place, tasks: names.len(), alpha };
    Ok(names.iter().enumerate().map(|(place, &name)| (name.to_owned(), adapter(place))).collect())
}
