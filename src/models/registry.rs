//! From a model to the file that reads such ones: by the names of its tensors where code of its own was published under
//! another network's type, else by the `model_type` of config.json.
//!
//! To add a family:
//!
//! 1. `models/NAME.rs`: the network of `nn`'s blocks, with [`Encoder`] (and `Decoder` where tokens see only what comes
//!    before them) and a `const FAMILY`; for one like BERT, a [`PostNormSpec`](super::post_norm::PostNormSpec) is
//!    enough. Its head comment names the paper and the classes of transformers. It reads config.json and the
//!    checkpoint through [`Source`](super::source::Source), and refuses by its key what config.json may say and the
//!    network does not support; unit tests in the same file show defaults and refusals (`models/testing.rs`).
//! 2. `models/mod.rs`: its `mod` line. Here: its line in [`FAMILIES`], or in [`PUBLISHED`].
//! 3. `config/architecture.rs`, where a checkpoint has fewer positions than rows of its table;
//!    `config/tokenizer_class.rs`, the class that reads its tokenizer where no file names one.
//! 4. `nn/`: a block that no other family has, with a test that its two bodies agree.
//! 5. `tests/fixtures/`: a tiny checkpoint and what the reference computes with it; the README there says how. The tests
//!    of fidelity find it by its folder. A line in the table of docs/reference/models.md.

use crate::kernels::Dtype;
use crate::models::family::{Family, IsPublished, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::source::Source;
use crate::models::{
    Encoder, bert, deberta, distilbert, electra, embedding_gemma2, ernie, eurobert, gemma, gte, jina_v2, jina_v3,
    llama, modernbert, mpnet, nomic_bert, qwen, roberta, static_embedding, t5, xlm_roberta_xl,
};
use crate::{Error, Result};

/// Every family: one line each.
const FAMILIES: &[Family] = &[
    bert::FAMILY,
    ernie::FAMILY,
    roberta::FAMILY,
    xlm_roberta_xl::FAMILY,
    distilbert::FAMILY,
    electra::FAMILY,
    mpnet::FAMILY,
    deberta::FAMILY,
    modernbert::FAMILY,
    t5::FAMILY,
    nomic_bert::FAMILY,
    gte::FAMILY,
    jina_v2::FAMILY,
    jina_v3::FAMILY,
    qwen::FAMILY,
    llama::FAMILY,
    gemma::FAMILY,
    embedding_gemma2::FAMILY,
    eurobert::FAMILY,
    static_embedding::FAMILY,
];

/// Families that a checkpoint may be of whose config.json has no type, or another family's; and by what it is told. The
/// names of tensors stay in fine-tunes, which lose the name of the code.
const PUBLISHED: &[(IsPublished, Family)] =
    &[(jina_v2::is_published, jina_v2::FAMILY), (jina_v3::is_published, jina_v3::FAMILY)];

/// The models that are read, family by family.
pub fn supported_kinds() -> impl Iterator<Item = &'static ModelKind> {
    FAMILIES.iter().flat_map(|family| family.kinds)
}

fn known_types() -> String {
    FAMILIES.iter().flat_map(Family::model_types).collect::<Vec<_>>().join(", ")
}

fn family(model_type: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.model_types().any(|known| known == model_type))
}

fn family_of(source: &Source) -> Result<&'static Family> {
    if let Some((_, family)) = PUBLISHED.iter().find(|(is_published, _)| is_published(source)) {
        return Ok(family);
    }
    let config = &source.config;
    let model_type = config.required("model_type", config.text("model_type")?)?;
    family(model_type).ok_or_else(|| {
        let code = if config.contains("auto_map") { " (code of a model's own, \"auto_map\", is not run)" } else { "" };
        let known = known_types();
        let message =
            format!("{model_type:?} is not supported{code}; supported: {known}; `votive models` names models of each");
        config.error("model_type", message)
    })
}

/// The models that a checkpoint is one of.
pub fn kind_of(source: &Source) -> Result<&'static ModelKind> {
    let family = family_of(source)?;
    let model_type = source.config.text("model_type")?.unwrap_or_default();
    let named = family.kinds.iter().find(|kind| kind.model_types.contains(&model_type));
    Ok(named.unwrap_or(&family.kinds[0]))
}

/// The type of two bytes that suits models with this `model_type`, where `dtype="auto"` runs on a GPU.
pub fn half_dtype(model_type: &str) -> Dtype {
    family(model_type).map_or(Dtype::Float16, |family| family.half_dtype)
}

/// Loads the network.
pub fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    (family_of(source)?.load)(source).map_err(|error| naming_code(source, error))
}

/// The error of a tensor that does not fit, with what may be the reason: a network of the model's own.
fn naming_code(source: &Source, error: Error) -> Error {
    match error {
        Error::Model { file, key, tensor: tensor @ Some(_), message } if source.config.contains("auto_map") => {
            let model_type = source.config.text("model_type").ok().flatten().unwrap_or("network");
            let message = format!(
                "{message}; config.json names code of the model's own (\"auto_map\"), which is not run: it may be another network \
                 than {model_type:?}; supported: {}; `votive models` names models of each",
                known_types()
            );
            Error::Model { file, key, tensor, message }
        }
        error => error,
    }
}

/// Loads what makes `labels` scores of the network's hidden states.
pub fn load_head(source: &Source, labels: usize) -> Result<ScoreHead> {
    (family_of(source)?.head)(source, labels)
}

/// Loads what makes one score of the last hidden state of a language model: the logit of the token `true_id`, less that
/// of `false_id` if there is one. The rest of the output matrix is not read.
pub fn load_logit_head(source: &Source, true_id: u32, false_id: Option<u32>) -> Result<ScoreHead> {
    let family = family_of(source)?;
    let Some(logit_head) = family.logit_head else {
        let model_type = source.config.text("model_type")?.unwrap_or("model of this kind");
        return Err(source.config.error("model_type", format!("a {model_type} has no language-model head")));
    };
    let tokens: Vec<u32> = std::iter::once(true_id).chain(false_id).collect();
    logit_head(source, &tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_type_is_of_one_family() {
        let types: Vec<_> = FAMILIES.iter().flat_map(Family::model_types).collect();
        assert!(types.iter().all(|name| types.iter().filter(|other| *other == name).count() == 1));
        assert_eq!((half_dtype("qwen3"), half_dtype("bert")), (Dtype::Bfloat16, Dtype::Float16));
    }
}
