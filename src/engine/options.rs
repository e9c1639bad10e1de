//! The options that a model is loaded with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::stats::Stats;

/// How a model is loaded and shared.
#[derive(Debug, Default)]
pub struct LoadOptions {
    /// What the model was asked for by: a name, or a path.
    pub name: String,
    /// "auto" or a device's name.
    pub device: String,
    /// "auto" or a type's name.
    pub dtype: String,
    pub num_threads: Option<usize>,
    /// Where the weights are written as they were packed: each network in its subfolder.
    pub panel_folder: Option<PathBuf>,
    pub sharing: Sharing,
    /// Counters of the model's calls.
    pub stats: Arc<Stats>,
}

/// How calls share a model.
#[derive(Debug, Clone, Default)]
pub struct Sharing {
    /// Largest number of tokens in a pass; None for what fits the caches.
    pub max_batch_tokens: Option<usize>,
    /// Largest number of inputs in a pass.
    pub max_batch_size: Option<usize>,
    /// How long inputs may wait for others to be computed with.
    pub max_wait: Duration,
    /// Largest number of inputs of calls that are not done; a single call may have more.
    pub max_queue: Option<usize>,
    /// Whether calls beyond that fail, instead of waiting.
    pub refuse_when_full: bool,
    /// Largest number of passes at a time; None for one a thread, and one on a device that has an owner.
    pub max_concurrency: Option<usize>,
}
