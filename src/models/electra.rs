//! ELECTRA's discriminator (Clark et al. 2020; reference: transformers' `modeling_electra.py`): BERT, with tables that may be
//! narrower than the layers.

use crate::Result;
use crate::kernels::Activation;
use crate::models::Encoder;
use crate::models::head::Head;
use crate::models::post_norm::{
    BERT_KEYS, BERT_NAMES, Keys, Parts, Positions, PostNorm, Projection, Sizes, Tables, require_absolute_positions,
};
use crate::models::registry::{Family, Source};
use crate::nn::Loader;

pub(super) const FAMILY: Family = Family { model_types: &["electra"], load, head, logit_head: None };

/// The sizes of ELECTRA-small.
const KEYS: Keys = Keys {
    hidden: ("hidden_size", 256),
    heads: ("num_attention_heads", 4),
    wide: ("intermediate_size", 1024),
    ..BERT_KEYS
};

fn place<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_first_with(&["electra"], "embeddings.word_embeddings.weight")
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (file, at) = (&source.config, place(source));
    let sizes = Sizes::read(source, &KEYS)?;
    require_absolute_positions(file)?;
    let width = file.size("embedding_size", 1 << 16, 128)?;
    let positions = Positions { rows: file.size("max_position_embeddings", 1 << 24, 512)?, padding: None };
    let types = file.size("type_vocab_size", 1 << 16, 2)?;
    Ok(Box::new(PostNorm::load(Parts {
        sizes,
        tables: Tables { words: sizes.vocab, positions: Some(positions), types: Some(types) },
        embeddings: at.at("embeddings"),
        projection: (width != sizes.hidden).then(|| Projection {
            at: at.at("embeddings_project"),
            width,
            after_norm: true,
        }),
        layers: at.at("encoder.layer"),
        names: &BERT_NAMES,
        bias: None,
    })?))
}

fn head(source: &Source, labels: usize) -> Result<Head> {
    Head::of_roberta(source, [Sizes::read(source, &KEYS)?.hidden, labels], Activation::Gelu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::assert_refuses;

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let cases = [
            (r#"{"num_attention_heads": 3}"#, "num_attention_heads"),
            (r#"{"embedding_size": 0}"#, "embedding_size"),
            (r#"{"embedding_size": 1e300}"#, "embedding_size"),
            (r#"{"type_vocab_size": []}"#, "type_vocab_size"),
        ];
        assert_refuses(load, &cases);
    }
}
