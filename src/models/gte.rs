//! GTE (Zhang et al. 2024, mGTE; reference: transformers' `GteModel` and `GteForSequenceClassification`): BERT with
//! rotary positions and gated feed-forward blocks.
//!
//! The network is [`PostNorm`] without a table of positions. The models were published as `new`, with code of their own:
//! queries, keys and values in one tensor, or three with `pack_qkv: false`, and both products of a gated block in one,
//! of which the last half goes through the activation. transformers calls the family `gte`, with names of its own.
//!
//! "ntk" scales positions by changing the base of the angles ("NTK-aware scaled RoPE", 2023), for texts of any length:
//!
//! ```text
//! frequency(i) = (theta * factor)^(-2 i / head_dim) / factor^(2 / head_dim)
//! ```

use crate::Result;
use crate::config::Object;
use crate::kernels::Dtype;
use crate::models::Encoder;
use crate::models::family::{Family, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::input_tables::InputTables;
use crate::models::post_norm::{Biases, GateTensor, PostNorm, PostNormSpec, ROTARY_NAMES, TensorNames};
use crate::models::post_norm_config::{BERT_KEYS, PostNormConfig};
use crate::models::rotary::{RotaryKeys, factor};
use crate::models::source::Source;
use crate::nn::{Loader, RopeScaling, RotaryAngles, RotaryTable};

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "GTE",
        model_types: &["new", "gte"],
        embedders: &[
            "gte-base-en-v1.5",
            "gte-large-en-v1.5",
            "gte-multilingual-base",
            "snowflake-arctic-embed-m-v2.0",
            "stella_en_400M_v5",
        ],
        rerankers: &["gte-multilingual-reranker-base"],
        limits: "",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

const BIASES: Biases = Biases { attention: true, up: false, down: true };

/// Names of the published code.
const PACKED_NAMES: TensorNames = TensorNames {
    qkv: &["attention.qkv_proj"],
    out: "attention.o_proj",
    attention_norm: "attn_ln",
    up: "mlp.up_gate_proj",
    gate: Some(GateTensor::BehindUp),
    down: "mlp.down_proj",
    mlp_norm: "mlp_ln",
};

/// Names of the published code with `pack_qkv: false`.
const UNPACKED_NAMES: TensorNames =
    TensorNames { qkv: &["attention.q_proj", "attention.k_proj", "attention.v_proj"], ..PACKED_NAMES };

/// What config.json says.
#[derive(Debug)]
struct GteConfig {
    layers: PostNormConfig,
    /// Rows of the table of token types, where there is one.
    types: Option<usize>,
    angles: RotaryAngles,
}

impl GteConfig {
    fn read(source: &Source) -> Result<Self> {
        let file = &source.config;
        refuse_other_networks(file)?;
        let layers = PostNormConfig::read(source, &BERT_KEYS)?;
        layers.require_even_heads(file, &BERT_KEYS)?;
        Ok(Self { layers, types: source.token_types(1)?, angles: angles(source, layers.head_dim())? })
    }
}

fn angles(source: &Source, head_dim: usize) -> Result<RotaryAngles> {
    let default = if source.config.text("model_type")? == Some("gte") { 160_000.0 } else { 10_000.0 };
    let (keys, parameters) = (RotaryKeys { theta: "rope_theta", default, head_dim }, source.rotary_parameters()?);
    if parameters.text("type")? != Some("ntk") {
        return source.rotary_angles(&parameters, &keys);
    }
    let (ntk, RotaryAngles { theta, .. }) = (factor(&parameters)?, source.rotary_angles(&Object::empty(), &keys)?);
    let factor = ntk.powf(2.0 / head_dim as f64);
    Ok(RotaryAngles { theta: theta * ntk, scaling: RopeScaling::Linear { factor } })
}

/// The published code can be other networks, which no published model is.
fn refuse_other_networks(file: &Object) -> Result<()> {
    for (key, supported) in [("position_embedding_type", "rope"), ("layer_norm_type", "layer_norm")] {
        if let Some(other) = file.text(key)?.filter(|&name| name != supported) {
            return Err(file.error(key, format!("{other:?} is not supported; {supported:?} is")));
        }
    }
    if file.boolean("logn_attention_scale")? == Some(true) {
        return Err(file.error("logn_attention_scale", "true is not supported"));
    }
    Ok(())
}

fn base_model<'a>(source: &Source<'a>) -> Loader<'a> {
    let words = "embeddings.word_embeddings.weight";
    source.at.at_if_contains("new", words).at_if_contains("gte", words)
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (GteConfig { layers, types, angles }, at) = (GteConfig::read(source)?, base_model(source));
    let (place, names) = match at.contains("layers.0.self_attn.q_proj.weight") {
        true => ("layers", &ROTARY_NAMES),
        false if at.contains("encoder.layer.0.attention.q_proj.weight") => ("encoder.layer", &UNPACKED_NAMES),
        false => ("encoder.layer", &PACKED_NAMES),
    };
    let tables = InputTables { types, ..InputTables::of_words(layers.vocab) };
    Ok(Box::new(PostNorm::load(PostNormSpec {
        layers: at.at(place),
        biases: BIASES,
        angles: Some(RotaryTable::new(at.body(), layers.head_dim(), angles)?),
        ..PostNormSpec::new(&at, layers, tables, names)
    })?))
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    ScoreHead::bert(source, &base_model(source), [GteConfig::read(source)?.layers.hidden, labels])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Activation;
    use crate::models::testing::{assert_refuses, with_source};

    fn read(text: &str) -> Result<GteConfig> {
        with_source(text, GteConfig::read)
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let base = read("{}").unwrap();
        assert_eq!((base.layers.hidden, base.layers.heads, base.layers.activation), (768, 12, Activation::Gelu));
        assert_eq!((base.types, base.angles), (Some(1), RotaryAngles::new(10_000.0)));
        assert_eq!(read(r#"{"model_type": "gte"}"#).unwrap().angles, RotaryAngles::new(160_000.0));
    }

    #[test]
    fn ntk_changes_the_base_and_divides() {
        let scaled = read(r#"{"rope_theta": 20000, "rope_scaling": {"type": "ntk", "factor": 8.0}}"#).unwrap();
        let RotaryAngles { theta, scaling: RopeScaling::Linear { factor } } = scaled.angles else { panic!("linear") };
        assert_eq!(theta, 160_000.0);
        assert!((factor - 8_f64.powf(1.0 / 32.0)).abs() < 1e-12);
        assert_eq!(read(r#"{"rope_scaling": null, "type_vocab_size": 0}"#).unwrap().types, None);
    }

    #[test]
    fn what_is_impossible_or_another_network_is_refused_by_name() {
        let cases = [
            (r#"{"hidden_size": 60, "num_attention_heads": 4}"#, "num_attention_heads"),
            (r#"{"position_embedding_type": "absolute"}"#, "position_embedding_type"),
            (r#"{"layer_norm_type": "rms_norm"}"#, "layer_norm_type"),
            (r#"{"logn_attention_scale": true}"#, "logn_attention_scale"),
            (r#"{"rope_theta": 0}"#, "rope_theta"),
            (r#"{"rope_scaling": {"type": "longrope", "factor": 2}}"#, "rope_scaling.type"),
            (r#"{"rope_scaling": {"type": "ntk"}}"#, "rope_scaling.factor"),
            (r#"{"rope_scaling": {"type": "ntk", "factor": 0.5}}"#, "rope_scaling.factor"),
            (r#"{"rope_parameters": {"rope_type": "linear", "factor": 0}}"#, "rope_parameters.factor"),
            (r#"{"type_vocab_size": -1}"#, "type_vocab_size"),
            (r#"{"hidden_act": "gelu_fancy"}"#, "hidden_act"),
        ];
        assert_refuses(GteConfig::read, &cases);
    }
}
