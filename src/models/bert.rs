//! BERT (Devlin et al. 2018; reference: transformers' `modeling_bert.py`).

use crate::Result;
use crate::kernels::Activation;
use crate::models::Encoder;
use crate::models::head::Head;
use crate::models::post_norm::{
    BERT_KEYS, BERT_NAMES, Parts, Positions, PostNorm, Sizes, Tables, require_absolute_positions,
};
use crate::models::registry::{Family, Source, require_head};
use crate::nn::Loader;

pub(super) const FAMILY: Family = Family { model_types: &["bert"], load, head, logit_head: None };

fn place<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_first_with(&["bert"], "embeddings.word_embeddings.weight")
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (file, at) = (&source.config, place(source));
    let sizes = Sizes::read(source, &BERT_KEYS)?;
    require_absolute_positions(file)?;
    let positions = Positions { rows: file.size("max_position_embeddings", 1 << 24, 512)?, padding: None };
    let types = file.size("type_vocab_size", 1 << 16, 2)?;
    Ok(Box::new(PostNorm::load(Parts {
        sizes,
        tables: Tables { words: sizes.vocab, positions: Some(positions), types: Some(types) },
        embeddings: at.at("embeddings"),
        projection: None,
        layers: at.at("encoder.layer"),
        names: &BERT_NAMES,
        bias: None,
    })?))
}

/// The pooler and the classifier behind it.
fn head(source: &Source, labels: usize) -> Result<Head> {
    require_head(source, "classifier.weight")?;
    let hidden = Sizes::read(source, &BERT_KEYS)?.hidden;
    Head::two_layers(place(source).at("pooler.dense"), source.at.at("classifier"), [hidden, labels], Activation::Tanh)
}
