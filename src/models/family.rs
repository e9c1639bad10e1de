//! What the registry knows of a family.

use crate::Result;
use crate::kernels::Dtype;
use crate::models::Encoder;
use crate::models::head::ScoreHead;
use crate::models::source::Source;

/// The models that one file of this folder reads: each has a `const FAMILY`.
pub(super) struct Family {
    /// The models that it reads, as users know them.
    pub(super) kinds: &'static [ModelKind],
    /// The type of two bytes that `dtype="auto"` stands for on a GPU. float16 has three significant bits more than
    /// bfloat16, but no number beyond 65,504.
    pub(super) half_dtype: Dtype,
    /// Loads the network.
    pub(super) load: fn(&Source) -> Result<Box<dyn Encoder>>,
    /// Loads the head of a classifier with so many labels; an error where the checkpoint has none.
    pub(super) head: fn(&Source, usize) -> Result<ScoreHead>,
    /// Loads the head of a language model, where the family has one.
    pub(super) logit_head: Option<LoadLogitHead>,
}

/// Models of one name, with what users are told of them: a row of the table in docs/reference/models.md, which a test compares.
#[derive(Debug)]
pub struct ModelKind {
    pub name: &'static str,
    /// The values of `model_type` in config.json; none where the models have that of another family.
    pub model_types: &'static [&'static str],
    /// Embedders by name; empty where there are none to name.
    pub embedders: &'static [&'static str],
    pub rerankers: &'static [&'static str],
    /// What they need or lack; "" for nothing.
    pub limits: &'static str,
}

impl Family {
    /// The values of `model_type` in config.json.
    pub(super) fn model_types(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.iter().flat_map(|kind| kind.model_types.iter().copied())
    }
}

/// Loads a head that scores a text by the logit of one token, or of the first token less that of the second.
pub(super) type LoadLogitHead = fn(&Source, &[u32]) -> Result<ScoreHead>;

/// Whether a checkpoint is named as the code names it that a family was published with.
pub(super) type IsPublished = fn(&Source) -> bool;
