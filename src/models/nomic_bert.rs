//! NomicBERT (Nussbaum et al. 2024, nomic-embed-text; reference: transformers' `NomicBertModel` and
//! `NomicBertForSequenceClassification`): BERT with rotary positions and gated feed-forward blocks.
//!
//! The network is [`PostNorm`] without a table of positions. The models were published with code of their own, under
//! GPT-2's keys and with queries, keys and values in one tensor; transformers has others. A file may have keys of both:
//! those of GPT-2 describe the weights. Of the two products of a gated block `fc12` is the one with the activation.
//!
//! Positions of texts beyond `max_trained_positions` are scaled by the text's own length where there is a
//! `rotary_scaling_factor` (snowflake-arctic-embed-m-long has one).
//!
//! nomic-embed-text-v2-moe (Nussbaum and Duderstadt 2025) has experts in each second layer's feed-forward block. transformers
//! has no such network; the reference is the published code, restated in tests/fixtures/nomic_moe.py. Chances of the
//! chosen experts are those among all experts, not made to add up to 1.
//!
//! Sizes of feed-forward blocks with a gate are rounded up to 256 by the published code, and by no other.

use crate::Result;
use crate::config::Object;
use crate::kernels::{Activation, Dtype};
use crate::models::Encoder;
use crate::models::family::{Family, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::input_tables::InputTables;
use crate::models::post_norm::{Biases, GateTensor, PostNorm, PostNormSpec, ROTARY_NAMES, TensorNames};
use crate::models::post_norm_config::{BERT_KEYS, PostNormConfig, PostNormKeys};
use crate::models::rotary::RotaryKeys;
use crate::models::source::Source;
use crate::nn::{Experts, ExpertsParts, Loader, RopeScaling, RotaryAngles, RotaryTable};

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "NomicBERT",
        model_types: &["nomic_bert"],
        embedders: &[
            "nomic-embed-text-v1",
            "nomic-embed-text-v1.5",
            "nomic-embed-text-v2-moe",
            "snowflake-arctic-embed-m-long",
        ],
        rerankers: &["classifiers on NomicBERT"],
        limits: "",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

/// Keys of transformers, and the sizes of nomic-embed-text.
const KEYS: PostNormKeys =
    PostNormKeys { vocab: ("vocab_size", 30_528), activation: ("hidden_act", "silu"), ..BERT_KEYS };

/// Keys of the published code.
const GPT2_KEYS: PostNormKeys = PostNormKeys {
    hidden: ("n_embd", 768),
    layers: ("n_layer", 12),
    heads: ("n_head", 12),
    intermediate: ("n_inner", 3072),
    eps: ("layer_norm_epsilon", 1e-12),
    ..KEYS
};

/// What the published code rounds the width of a gated block up to.
const GATED_MULTIPLE: usize = 256;

/// Names of the published code, with a gate.
const GATED_NAMES: TensorNames = TensorNames {
    qkv: &["attn.Wqkv"],
    out: "attn.out_proj",
    attention_norm: "norm1",
    up: "mlp.fc11",
    gate: Some(GateTensor::Own("mlp.fc12")),
    down: "mlp.fc2",
    mlp_norm: "norm2",
};

/// Names of the published code, without one.
const PLAIN_NAMES: TensorNames = TensorNames { up: "mlp.fc1", gate: None, ..GATED_NAMES };

/// What config.json says.
#[derive(Debug)]
struct NomicBertConfig {
    layers: PostNormConfig,
    is_gated: bool,
    /// Rows of the table of token types, where there is one.
    types: Option<usize>,
    angles: RotaryAngles,
    biases: Biases,
    experts: Option<ExpertsConfig>,
}

/// What config.json says of experts.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ExpertsConfig {
    /// They are in each layer whose number leaves 1 when divided by this.
    every: usize,
    count: usize,
    /// Experts that a token goes through.
    top: usize,
}

impl ExpertsConfig {
    fn read(file: &Object, is_gated: bool) -> Result<Option<Self>> {
        let every = file.integer("moe_every_n_layers", 0..=1 << 10)?.unwrap_or(0);
        if every == 0 {
            return Ok(None);
        }
        // Experts of the published code have the exact GELU for all names but those of gates, and no gate.
        match file.text("activation_function")?.unwrap_or("gelu") {
            "gelu" if !is_gated => {}
            other => {
                let message = format!("{other:?} is not supported where layers have experts; \"gelu\" is");
                return Err(file.error("activation_function", message));
            }
        }
        for key in ["expert_choice_router", "moe_normalize_expert_weights"] {
            if file.boolean(key)? == Some(true) {
                return Err(file.error(key, "true is not supported"));
            }
        }
        file.integer("num_shared_experts", 0..=0)?;
        let count = file.size("num_experts", 1 << 10, 8)?;
        Ok(Some(Self { every, count, top: file.size("moe_top_k", count, 2.min(count))? }))
    }
}

impl NomicBertConfig {
    fn read(source: &Source) -> Result<Self> {
        let file = &source.config;
        let (config, keys) = match file.contains("n_embd") {
            true => (Self::read_gpt2(source)?, &GPT2_KEYS),
            false => (Self::read_new(source)?, &KEYS),
        };
        config.layers.require_even_heads(file, keys)?;
        Ok(config)
    }

    fn read_new(source: &Source) -> Result<Self> {
        let layers = PostNormConfig::read(source, &KEYS)?;
        let keys = RotaryKeys { theta: "rope_theta", default: 1000.0, head_dim: layers.head_dim() };
        Ok(Self {
            layers,
            is_gated: true,
            types: source.token_types(2)?,
            angles: source.rotary_angles(&source.rotary_parameters()?, &keys)?,
            biases: Biases { attention: false, up: false, down: false },
            experts: None,
        })
    }

    fn read_gpt2(source: &Source) -> Result<Self> {
        let file = &source.config;
        refuse_other_networks(file)?;
        let (activation, is_gated) = match file.text("activation_function")?.unwrap_or("gelu") {
            "swiglu" => (Activation::Silu, true),
            "glu" => (Activation::Sigmoid, true),
            _ => (source.activation("activation_function", "gelu")?, false),
        };
        let layers = PostNormConfig::with_activation(source, &GPT2_KEYS, activation)?;
        let intermediate = match is_gated {
            true => layers.intermediate.next_multiple_of(GATED_MULTIPLE),
            false => layers.intermediate,
        };
        let flag = |key: &str| -> Result<bool> { Ok(file.boolean(key)?.unwrap_or(true)) };
        Ok(Self {
            layers: PostNormConfig { intermediate, ..layers },
            is_gated,
            types: source.token_types(2)?,
            angles: gpt2_angles(source, layers.head_dim())?,
            biases: Biases {
                attention: flag("qkv_proj_bias")?,
                up: flag("mlp_fc1_bias")?,
                down: flag("mlp_fc2_bias")?,
            },
            experts: ExpertsConfig::read(file, is_gated)?,
        })
    }
}

/// Angles by the keys of the published code: "dynamic" ones, where positions are scaled.
fn gpt2_angles(source: &Source, head_dim: usize) -> Result<RotaryAngles> {
    let file = &source.config;
    let keys = RotaryKeys { theta: "rotary_emb_base", default: 10_000.0, head_dim };
    let angles = source.rotary_angles(&Object::empty(), &keys)?;
    let Some(factor) = file.number("rotary_scaling_factor")? else { return Ok(angles) };
    if !(1.0..1e6).contains(&factor) {
        return Err(file.error("rotary_scaling_factor", format!("expected a number from 1, found {factor}")));
    }
    let trained = file.integer("max_trained_positions", 1..=1 << 24)?;
    let trained = file.required("max_trained_positions", trained)?;
    Ok(RotaryAngles { scaling: RopeScaling::Dynamic { factor, trained }, ..angles })
}

/// The published code can be other networks, which no published model is.
fn refuse_other_networks(file: &Object) -> Result<()> {
    for key in ["prenorm", "parallel_block", "causal", "rotary_emb_interleaved", "use_rms_norm"] {
        if file.boolean(key)? == Some(true) {
            return Err(file.error(key, "true is not supported"));
        }
    }
    if let Some(fraction) = file.number("rotary_emb_fraction")?.filter(|&fraction| fraction != 1.0) {
        return Err(file.error("rotary_emb_fraction", format!("{fraction} is not supported; 1 is")));
    }
    if file.number("rotary_emb_scale_base")?.is_some() {
        return Err(file.error("rotary_emb_scale_base", "scaled positions of this kind are not supported"));
    }
    Ok(())
}

fn base_model<'a>(source: &Source<'a>) -> Loader<'a> {
    let words = "embeddings.word_embeddings.weight";
    source.at.at_if_contains("nomic_bert", words).at_if_contains("bert", words)
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (config, at) = (NomicBertConfig::read(source)?, base_model(source));
    let NomicBertConfig { layers, is_gated, types, angles, biases, experts } = config;
    let is_published = at.contains("emb_ln.weight");
    let names = match (is_published, is_gated) {
        (false, _) => &ROTARY_NAMES,
        (true, true) => &GATED_NAMES,
        (true, false) => &PLAIN_NAMES,
    };
    let load_experts = |number: usize, at: &Loader| {
        let Some(ExpertsConfig { count, top, .. }) = experts.filter(|experts| number % experts.every == 1) else {
            return Ok(None);
        };
        let parts = ExpertsParts {
            router: at.at("mlp.router.layer"),
            experts: at.at("mlp.experts.mlp"),
            bias: at.at("mlp.experts"),
            count,
            top,
            hidden: layers.hidden,
            wide: layers.intermediate,
            activation: layers.activation,
        };
        Experts::load(&parts).map(Some)
    };
    let tables = InputTables { types, ..InputTables::of_words(layers.vocab) };
    Ok(Box::new(PostNorm::load(PostNormSpec {
        embedding_norm: at.at(if is_published { "emb_ln" } else { "embeddings.LayerNorm" }),
        layers: at.at(if is_published { "encoder.layers" } else { "layers" }),
        biases,
        experts: Some(&load_experts),
        angles: Some(RotaryTable::new(at.body(), layers.head_dim(), angles)?),
        ..PostNormSpec::new(&at, layers, tables, names)
    })?))
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    ScoreHead::bert(source, &base_model(source), [NomicBertConfig::read(source)?.layers.hidden, labels])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};

    fn read(text: &str) -> Result<NomicBertConfig> {
        with_source(text, NomicBertConfig::read)
    }

    #[test]
    fn what_is_left_out_is_nomic_embed_text() {
        let base = read("{}").unwrap();
        let PostNormConfig { vocab, hidden, layers, heads, intermediate, activation, eps, .. } = base.layers;
        assert_eq!((vocab, hidden, layers, heads, intermediate), (30_528, 768, 12, 12, 3072));
        assert_eq!(
            (activation, eps, base.angles.theta, base.types, base.is_gated),
            (Activation::Silu, 1e-12, 1000.0, Some(2), true)
        );
    }

    #[test]
    fn gpt2s_keys_count_more_than_transformers() {
        let both = read(
            r#"{"n_embd": 60, "n_head": 6, "n_inner": 200, "n_layer": 3, "layer_norm_epsilon": 1e-5,
            "rotary_emb_base": 500, "activation_function": "swiglu", "qkv_proj_bias": false, "type_vocab_size": 0,
            "hidden_size": 768, "num_attention_heads": 12, "rope_parameters": {"rope_theta": 1000.0}}"#,
        )
        .unwrap();
        let PostNormConfig { hidden, layers, heads, intermediate, eps, .. } = both.layers;
        assert_eq!((hidden, layers, heads, intermediate, eps), (60, 3, 6, 256, 1e-5));
        assert_eq!((both.angles.theta, both.types, both.is_gated), (500.0, None, true));
        assert_eq!((both.biases.attention, both.biases.up, both.biases.down), (false, true, true));
        let activation = |name: &str| {
            let config =
                read(&format!(r#"{{"n_embd": 60, "n_head": 6, "n_inner": 200, "activation_function": "{name}"}}"#));
            let NomicBertConfig { layers, is_gated, .. } = config.unwrap();
            (layers.activation, is_gated, layers.intermediate)
        };
        assert_eq!(activation("glu"), (Activation::Sigmoid, true, 256));
        assert_eq!(activation("gelu_new"), (Activation::GeluTanh, false, 200));
    }

    #[test]
    fn experts_are_in_some_layers() {
        let experts = |rest: &str| read(&format!(r#"{{"n_embd": 60, "n_head": 6{rest}}}"#)).unwrap().experts;
        assert_eq!(experts(""), None);
        assert_eq!(experts(r#", "moe_every_n_layers": 0, "num_experts": 8"#), None);
        assert_eq!(experts(r#", "moe_every_n_layers": 2"#), Some(ExpertsConfig { every: 2, count: 8, top: 2 }));
        assert_eq!(
            experts(
                r#", "moe_every_n_layers": 3, "num_experts": 4, "moe_top_k": 1, "moe_normalize_expert_weights": false"#
            ),
            Some(ExpertsConfig { every: 3, count: 4, top: 1 })
        );
    }

    #[test]
    fn what_is_impossible_or_another_network_is_refused_by_name() {
        let cases = [
            (r#"{"hidden_size": 60, "num_attention_heads": 4}"#, "num_attention_heads"),
            (r#"{"rope_parameters": {"rope_type": "longrope"}}"#, "rope_parameters.rope_type"),
            (r#"{"n_embd": 60, "n_head": 4}"#, "n_head"),
            (r#"{"n_embd": 60, "n_head": 7}"#, "n_head"),
            (r#"{"n_embd": 768, "activation_function": "swish_glu"}"#, "activation_function"),
            (r#"{"n_embd": 768, "prenorm": true}"#, "prenorm"),
            (r#"{"n_embd": 768, "causal": true}"#, "causal"),
            (r#"{"n_embd": 768, "parallel_block": true}"#, "parallel_block"),
            (r#"{"n_embd": 768, "use_rms_norm": true}"#, "use_rms_norm"),
            (r#"{"n_embd": 768, "rotary_emb_interleaved": true}"#, "rotary_emb_interleaved"),
            (r#"{"n_embd": 768, "rotary_emb_fraction": 0.5}"#, "rotary_emb_fraction"),
            (r#"{"n_embd": 768, "rotary_scaling_factor": 0}"#, "rotary_scaling_factor"),
            (r#"{"n_embd": 768, "rotary_scaling_factor": 2}"#, "max_trained_positions"),
            (r#"{"n_embd": 768, "rotary_emb_base": 0}"#, "rotary_emb_base"),
            (r#"{"n_embd": 768, "type_vocab_size": -1}"#, "type_vocab_size"),
            (r#"{"n_embd": 768, "moe_every_n_layers": -1}"#, "moe_every_n_layers"),
            (r#"{"n_embd": 768, "moe_every_n_layers": 2, "num_experts": 0}"#, "num_experts"),
            (r#"{"n_embd": 768, "moe_every_n_layers": 2, "num_experts": 4, "moe_top_k": 5}"#, "moe_top_k"),
            (r#"{"n_embd": 768, "moe_every_n_layers": 2, "num_shared_experts": 1}"#, "num_shared_experts"),
            (r#"{"n_embd": 768, "moe_every_n_layers": 2, "expert_choice_router": true}"#, "expert_choice_router"),
            (
                r#"{"n_embd": 768, "moe_every_n_layers": 2, "moe_normalize_expert_weights": true}"#,
                "moe_normalize_expert_weights",
            ),
            (
                r#"{"n_embd": 768, "moe_every_n_layers": 2, "moe_normalize_expert_weights": 1}"#,
                "moe_normalize_expert_weights",
            ),
            (r#"{"n_embd": 768, "moe_every_n_layers": 2, "activation_function": "swiglu"}"#, "activation_function"),
        ];
        assert_refuses(NomicBertConfig::read, &cases);
    }
}
