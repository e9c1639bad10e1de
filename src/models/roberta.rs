//! RoBERTa (Liu et al. 2019) and its descendants XLM-RoBERTa (Conneau et al. 2020) and CamemBERT (Martin et al. 2020; reference:
//! transformers' `modeling_roberta.py`).

use crate::Result;
use crate::kernels::Activation;
use crate::models::Encoder;
use crate::models::head::Head;
use crate::models::post_norm::{
    BERT_KEYS, BERT_NAMES, Keys, Parts, Positions, PostNorm, Sizes, Tables, require_absolute_positions,
};
use crate::models::registry::{Family, Source};
use crate::nn::Loader;

pub(super) const FAMILY: Family =
    Family { model_types: &["roberta", "xlm-roberta", "camembert"], load, head, logit_head: None };

fn sizes(source: &Source) -> Result<Sizes> {
    let vocab = if source.config.text("model_type")? == Some("roberta") { 50_265 } else { 30_522 };
    Sizes::read(source, &Keys { vocab: ("vocab_size", vocab), ..BERT_KEYS })
}

fn place<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_first_with(&["roberta"], "embeddings.word_embeddings.weight")
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (file, at) = (&source.config, place(source));
    let sizes = sizes(source)?;
    require_absolute_positions(file)?;
    let padding = file.integer("pad_token_id", 0..=sizes.vocab - 1)?.unwrap_or(1);
    let positions =
        Positions { rows: file.size("max_position_embeddings", 1 << 24, 512)?, padding: Some(padding as u32) };
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

fn head(source: &Source, labels: usize) -> Result<Head> {
    Head::of_roberta(source, [sizes(source)?.hidden, labels], Activation::Tanh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::assert_refuses;

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let cases = [
            (r#"{"model_type": "roberta", "num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"model_type": "roberta", "pad_token_id": -1}"#, "pad_token_id"),
            (r#"{"model_type": "roberta", "pad_token_id": 50265}"#, "pad_token_id"),
            (r#"{"model_type": "roberta", "max_position_embeddings": 1e300}"#, "max_position_embeddings"),
            (r#"{"model_type": "roberta", "type_vocab_size": 0}"#, "type_vocab_size"),
            (r#"{"model_type": "roberta", "position_embedding_type": "relative_key"}"#, "position_embedding_type"),
        ];
        assert_refuses(load, &cases);
    }
}
