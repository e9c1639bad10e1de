//! XLM-RoBERTa-XL and -XXL (Goyal et al. 2021; reference: transformers' `XLMRobertaXLModel` and
//! `XLMRobertaXLForSequenceClassification`): XLM-RoBERTa with normalizations before the blocks.
//!
//! ```text
//! x = words[ids] + positions[position ids] + types[type ids]       no normalization; positions as RoBERTa counts them
//! for each layer:
//!     x = x + linear(softmax(q kᵀ / sqrt(head_dim)) v)              q, k, v = linear(norm(x))
//!     x = x + down(activation(up(norm(x))))
//! x = norm(x)
//! ```
//!
//! Tensors have BERT's names but for the normalizations: `attention.self_attn_layer_norm` and `LayerNorm` of a layer, and
//! `encoder.LayerNorm` behind all. The head is RoBERTa's.

use crate::Result;
use crate::kernels::{self, Activation, Dtype, Mask};
use crate::models::Encoder;
use crate::models::family::{Family, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::input_tables::{InputTables, PositionTable};
use crate::models::post_norm::require_absolute_positions;
use crate::models::post_norm_config::{BERT_KEYS, PostNormConfig, PostNormKeys};
use crate::models::pre_norm::{PreNorm, PreNormLayer};
use crate::models::source::Source;
use crate::nn::{Attention, Linear, Loader, Mlp, MlpParts, Norm};
use crate::profile::Stage;

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "XLM-RoBERTa-XL",
        model_types: &["xlm-roberta-xl"],
        embedders: &["embedders on xlm-roberta-xl", "-xxl"],
        rerankers: &["cross-encoders on them"],
        limits: "",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

/// The sizes of XLM-RoBERTa-XL.
const KEYS: PostNormKeys = PostNormKeys {
    vocab: ("vocab_size", 250_880),
    hidden: ("hidden_size", 2560),
    layers: ("num_hidden_layers", 36),
    heads: ("num_attention_heads", 32),
    intermediate: ("intermediate_size", 10_240),
    eps: ("layer_norm_eps", 1e-5),
    ..BERT_KEYS
};

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let file = &source.config;
    let config = PostNormConfig::read(source, &KEYS)?;
    require_absolute_positions(file)?;
    let at = source.at.at_if_contains("roberta", "embeddings.word_embeddings.weight");
    let padding = source.padding_token(config.vocab)?;
    let rows = file.size("max_position_embeddings", 1 << 24, 514)?;
    let tables = InputTables {
        positions: Some(PositionTable { rows, padding: Some(padding) }),
        types: Some(file.size("type_vocab_size", 1 << 16, 1)?),
        ..InputTables::of_words(config.vocab)
    };
    let layer = |i: usize| load_layer(&config, &at.at("encoder.layer").at(&i.to_string()));
    Ok(Box::new(PreNorm {
        tables,
        embedding: tables.load(&at.at("embeddings"), None, config.hidden)?,
        layers: at.load_each(config.layers, layer)?,
        norm: Norm::layer_norm(&at.at("encoder.LayerNorm"), config.hidden, config.eps)?,
        hidden: config.hidden,
    }))
}

fn load_layer(config: &PostNormConfig, at: &Loader) -> Result<PreNormLayer> {
    let &PostNormConfig { hidden, heads, intermediate, activation, eps, scale, .. } = config;
    let shape =
        kernels::AttentionShape { heads, kv_heads: heads, head_dim: config.head_dim(), scale, mask: Mask::Full };
    let block = at.at("attention");
    let qkv = ["query", "key", "value"].map(|name| block.at("self").at(name));
    let parts = MlpParts {
        up: at.at("intermediate.dense"),
        gate: None,
        down: at.at("output.dense"),
        up_bias: true,
        down_bias: true,
    };
    Ok(PreNormLayer {
        attention_norm: Some(Norm::layer_norm(&block.at("self_attn_layer_norm"), hidden, eps)?),
        qkv: Linear::qkv(&qkv, hidden, hidden, true, &shape)?,
        rope: None,
        shape,
        attention: Attention::new(at.body(), shape),
        out: Linear::load(Stage::Out, &[block.at("output.dense")], hidden, hidden, true)?,
        attention_out_norm: None,
        mlp_norm: Norm::layer_norm(&at.at("LayerNorm"), hidden, eps)?,
        mlp: Mlp::load(parts, hidden, intermediate, activation)?,
        mlp_out_norm: None,
    })
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    ScoreHead::roberta(source, [PostNormConfig::read(source, &KEYS)?.hidden, labels], Activation::Tanh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};

    #[test]
    fn what_is_left_out_is_xl() {
        let xl = with_source("{}", |source| PostNormConfig::read(source, &KEYS)).unwrap();
        assert_eq!((xl.vocab, xl.hidden, xl.layers, xl.heads, xl.intermediate), (250_880, 2560, 36, 32, 10_240));
        assert_eq!((xl.activation, xl.eps), (Activation::Gelu, 1e-5));
    }

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let cases = [
            (r#"{"num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"hidden_size": 1e300}"#, "hidden_size"),
            (r#"{"pad_token_id": -1}"#, "pad_token_id"),
            (r#"{"pad_token_id": 250880}"#, "pad_token_id"),
            (r#"{"max_position_embeddings": 0}"#, "max_position_embeddings"),
            (r#"{"type_vocab_size": 0}"#, "type_vocab_size"),
            (r#"{"position_embedding_type": "relative_key"}"#, "position_embedding_type"),
            (r#"{"is_decoder": true}"#, "is_decoder"),
        ];
        assert_refuses(load, &cases);
    }
}
