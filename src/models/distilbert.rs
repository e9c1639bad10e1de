//! DistilBERT (Sanh et al. 2019; reference: transformers' `modeling_distilbert.py`): BERT without token types and pooler, under
//! other names.

use crate::Result;
use crate::kernels::Activation;
use crate::models::Encoder;
use crate::models::head::Head;
use crate::models::post_norm::{BERT_KEYS, Keys, Names, Parts, Positions, PostNorm, Sizes, Tables};
use crate::models::registry::{Family, Source, require_head};
use crate::nn::Loader;

pub(super) const FAMILY: Family = Family { model_types: &["distilbert"], load, head, logit_head: None };

/// The sizes of DistilBERT-base.
const KEYS: Keys = Keys {
    hidden: ("dim", 768),
    layers: ("n_layers", 6),
    heads: ("n_heads", 12),
    wide: ("hidden_dim", 3072),
    activation: ("activation", "gelu"),
    ..BERT_KEYS
};

const NAMES: Names = Names {
    qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    out: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    mlp_norm: "output_layer_norm",
};

fn sizes(source: &Source) -> Result<Sizes> {
    // Not among the keys: the network has it written in.
    Ok(Sizes { eps: 1e-12, ..Sizes::read(source, &KEYS)? })
}

fn place<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_first_with(&["distilbert"], "embeddings.word_embeddings.weight")
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (file, at) = (&source.config, place(source));
    let sizes = sizes(source)?;
    let positions = Positions { rows: file.size("max_position_embeddings", 1 << 24, 512)?, padding: None };
    Ok(Box::new(PostNorm::load(Parts {
        sizes,
        tables: Tables { words: sizes.vocab, positions: Some(positions), types: None },
        embeddings: at.at("embeddings"),
        projection: None,
        layers: at.at("transformer.layer"),
        names: &NAMES,
        bias: None,
    })?))
}

fn head(source: &Source, labels: usize) -> Result<Head> {
    require_head(source, "classifier.weight")?;
    let hidden = sizes(source)?.hidden;
    Head::two_layers(source.at.at("pre_classifier"), source.at.at("classifier"), [hidden, labels], Activation::Relu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::assert_refuses;

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let cases = [
            (r#"{"n_heads": 5}"#, "n_heads"),
            (r#"{"n_heads": 0}"#, "n_heads"),
            (r#"{"dim": 1e300}"#, "dim"),
            (r#"{"n_layers": 4294967296}"#, "n_layers"),
            (r#"{"hidden_dim": -1}"#, "hidden_dim"),
            (r#"{"activation": 3}"#, "activation"),
            (r#"{"max_position_embeddings": 0}"#, "max_position_embeddings"),
        ];
        assert_refuses(load, &cases);
    }
}
