//! DeBERTa-v2 and -v3 (He et al. 2021 and 2023; reference: transformers' `DebertaV2Model` and
//! `DebertaV2ForSequenceClassification`): BERT, with disentangled attention.
//!
//! ```text
//! score(i, j) = (q_i · k_j + q_i · r_k[bucket(i - j)] + k_j · r_q[bucket(i - j)]) scale
//! scale       = 1 / sqrt(head_dim * terms)             terms: 1, and one for each of c2p and p2c
//! r_k, r_q    = linear layers of the table rel_embeddings: the layer's own, or those of contents (share_att_key)
//! ```
//!
//! `c2p` is the term of a query's content and its key's position, `p2c` that of a key's content and its query's
//! position. Positions may be in no table of embeddings (`position_biased_input`), and then the scores alone know of
//! them. DeBERTa-v2-xlarge and -xxlarge have a convolution beside the first layer (`conv_kernel_size`). Heads of another
//! size than `hidden_size / num_attention_heads` are not supported. The head is
//! `classifier(activation(pooler(state of the first token)))`.

use std::sync::Arc;

use crate::Result;
use crate::config::Object;
use crate::kernels::{self, Buckets, Dtype};
use crate::models::Encoder;
use crate::models::family::{Family, ModelKind};
use crate::models::head::ScoreHead;
use crate::models::input_tables::{InputTables, PositionTable};
use crate::models::post_norm::{BERT_NAMES, EmbeddingProjection, LoadBias, PostNorm, PostNormSpec, TensorNames};
use crate::models::post_norm_config::{PostNormConfig, PostNormKeys};
use crate::models::source::Source;
use crate::nn::{AttentionBias, Convolution, DisentangledAttentionBias, Embedding, Linear, Loader, Norm, States};
use crate::profile::Stage;

pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "DeBERTa-v2 and -v3",
        model_types: &["deberta-v2"],
        embedders: &[],
        rerankers: &[
            "mxbai-rerank-v1 (xsmall to large)",
            "cross-encoder/nli-deberta-v3",
            "cross-encoders on deberta-v2-xlarge",
            "-xxlarge",
        ],
        limits: "",
    }],
    half_dtype: Dtype::Float16,
    load,
    head,
    logit_head: None,
};

/// BERT's keys, and the sizes of DeBERTa-v2-xlarge.
const KEYS: PostNormKeys = PostNormKeys {
    vocab: ("vocab_size", 128_100),
    hidden: ("hidden_size", 1536),
    layers: ("num_hidden_layers", 24),
    heads: ("num_attention_heads", 24),
    intermediate: ("intermediate_size", 6144),
    activation: ("hidden_act", "gelu"),
    eps: ("layer_norm_eps", 1e-7),
};

const NAMES: TensorNames = TensorNames {
    qkv: &["attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"],
    ..BERT_NAMES
};

/// The terms of a score, besides that of content and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ScoreTerms {
    /// A query's content and its key's position.
    content_to_position: bool,
    /// A key's content and its query's position.
    position_to_content: bool,
}

impl ScoreTerms {
    /// Reads a list of names, or names with bars between them.
    fn read(file: &Object) -> Result<Self> {
        const KEY: &str = "pos_att_type";
        let names: Vec<String> = match file.text(KEY) {
            Ok(names) => names.map(separated).unwrap_or_default(),
            Err(_) => file.texts(KEY)?.unwrap_or_default().into_iter().map(str::to_owned).collect(),
        };
        if let Some(name) = names.iter().find(|name| !["c2p", "p2c"].contains(&name.as_str())) {
            return Err(file.error(KEY, format!("{name:?} is not supported; supported: c2p, p2c")));
        }
        let has = |name: &str| names.iter().any(|other| other == name);
        Ok(Self { content_to_position: has("c2p"), position_to_content: has("p2c") })
    }

    /// How many terms a score has, with that of content and content.
    fn count(self) -> usize {
        1 + usize::from(self.content_to_position) + usize::from(self.position_to_content)
    }
}

/// Words with bars between them.
fn separated(text: &str) -> Vec<String> {
    text.to_lowercase().split('|').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

/// What config.json says of relative positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RelativeAttention {
    buckets: Buckets,
    terms: ScoreTerms,
    /// Whether position embeddings go through the linear layers of contents, and have none of their own.
    shared: bool,
    /// Whether the table of position embeddings is normalized.
    normed: bool,
}

impl RelativeAttention {
    /// Reads them; None where scores are those of contents alone.
    fn read(file: &Object, terms: ScoreTerms) -> Result<Option<Self>> {
        if !file.boolean("relative_attention")?.unwrap_or(false) || terms.count() == 1 {
            return Ok(None);
        }
        let norms = file.text("norm_rel_ebd")?.map(separated).unwrap_or_default();
        if let Some(name) = norms.iter().find(|name| !["none", "layer_norm"].contains(&name.as_str())) {
            let message = format!("{name:?} is not supported; supported: none, layer_norm");
            return Err(file.error("norm_rel_ebd", message));
        }
        Ok(Some(Self {
            buckets: buckets(file)?,
            terms,
            shared: file.boolean("share_att_key")?.unwrap_or(false),
            normed: norms.iter().any(|name| name == "layer_norm"),
        }))
    }

    /// The table of relative position embeddings, `[buckets, hidden]`.
    fn embeddings(self, at: &Loader, config: &PostNormConfig) -> Result<States> {
        let count = self.buckets.count();
        let norm = match self.normed {
            true => Some(Norm::layer_norm(&at.at("LayerNorm"), config.hidden, config.eps)?),
            false => None,
        };
        let table = Embedding::load(&[(at.at("rel_embeddings").in_float32(), count)], norm, config.hidden)?;
        table.forward(&[&(0..count as u32).collect::<Vec<_>>()])
    }

    /// The bias of the layer `at` with this attention, from the position embeddings `[buckets, hidden]`.
    fn bias(
        self,
        at: &Loader,
        shape: &kernels::AttentionShape,
        embeddings: &States,
    ) -> Result<DisentangledAttentionBias> {
        let at = at.at("attention.self");
        let hidden = shape.heads * shape.head_dim;
        // In float32: this is done once, and what comes out takes part in every score.
        let project = |own: &str, shared: &str| {
            let at = at.at(if self.shared { shared } else { own }).in_float32();
            Linear::load(Stage::Other, &[at], hidden, hidden, true)?.forward(embeddings)
        };
        let ScoreTerms { content_to_position, position_to_content } = self.terms;
        let keys = content_to_position.then(|| project("pos_key_proj", "key_proj")).transpose()?;
        let queries = position_to_content.then(|| project("pos_query_proj", "query_proj")).transpose()?;
        DisentangledAttentionBias::new(at.body(), shape, self.buckets, keys, queries)
    }
}

/// How distances of positions are put into buckets.
fn buckets(file: &Object) -> Result<Buckets> {
    // What is not above 0 stands for "not set" in both.
    let set = |key: &str, min: usize| match file.number(key)? {
        Some(number) if number < 1.0 => Ok(None),
        _ => file.integer(key, min..=1 << 20),
    };
    let most = match set("max_relative_positions", 1)? {
        Some(most) => most,
        None => file.size("max_position_embeddings", 1 << 20, 512)?,
    };
    match set("position_buckets", 2)? {
        None => Ok(Buckets::Each { span: most }),
        Some(span) if most > span / 2 + 1 => Ok(Buckets::Logarithmic { span, max_distance: most }),
        Some(span) => {
            let message = format!("{span} are too many for max_relative_positions, {most}");
            Err(file.error("position_buckets", message))
        }
    }
}

/// The convolution beside the first layer, with its normalization; None where there is none.
fn convolution(source: &Source, at: &Loader, config: &PostNormConfig) -> Result<Option<(Convolution, Norm)>> {
    const KEY: &str = "conv_kernel_size";
    let file = &source.config;
    if file.number(KEY)?.is_none_or(|length| length < 1.0) {
        return Ok(None);
    }
    let length = file.size(KEY, 1 << 8, 1)?;
    if length.is_multiple_of(2) {
        return Err(file.error(KEY, format!("{length} is even: a token would not be in the middle")));
    }
    if let Some(groups) = file.integer("conv_groups", 1..=1 << 16)?.filter(|&groups| groups > 1) {
        return Err(file.error("conv_groups", format!("{groups} is not supported; supported: 1")));
    }
    let activation = source.activation("conv_act", "tanh")?;
    let norm = Norm::layer_norm(&at.at("LayerNorm"), config.hidden, config.eps)?;
    Ok(Some((Convolution::load(&at.at("conv"), config.hidden, length, activation)?, norm)))
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let file = &source.config;
    let at = source.at.at_if_contains("deberta", "embeddings.word_embeddings.weight");
    let terms = ScoreTerms::read(file)?;
    let mut config = PostNormConfig::read(source, &KEYS)?;
    config.scale /= (terms.count() as f32).sqrt();
    let head_dim = config.hidden / config.heads;
    if let Some(other) = file.integer("attention_head_size", 0..=1 << 16)?.filter(|&other| other != head_dim) {
        let message = format!("{other} is not supported; supported: hidden_size / num_attention_heads, {head_dim}");
        return Err(file.error("attention_head_size", message));
    }
    let relative = match RelativeAttention::read(file, terms)? {
        Some(relative) => Some((relative, relative.embeddings(&at.at("encoder"), &config)?)),
        None => None,
    };
    let bias = relative.as_ref().map(|(relative, embeddings)| {
        |at: &Loader, shape: &kernels::AttentionShape| -> Result<Arc<dyn AttentionBias>> {
            Ok(Arc::new(relative.bias(at, shape, embeddings)?))
        }
    });
    let absolute = file.boolean("position_biased_input")?.unwrap_or(true);
    let positions = PositionTable { rows: file.size("max_position_embeddings", 1 << 24, 512)?, padding: None };
    let width = file.size("embedding_size", 1 << 16, config.hidden)?;
    let tables = InputTables {
        positions: absolute.then_some(positions),
        types: source.token_types(0)?,
        ..InputTables::of_words(config.vocab)
    };
    Ok(Box::new(PostNorm::load(PostNormSpec {
        projection: (width != config.hidden).then(|| EmbeddingProjection {
            at: at.at("embeddings.embed_proj"),
            width,
            after_norm: false,
        }),
        bias: bias.as_ref().map(|bias| bias as LoadBias),
        convolution: convolution(source, &at.at("encoder.conv"), &config)?,
        ..PostNormSpec::new(&at, config, tables, &NAMES)
    })?))
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    source.require_head("classifier.weight")?;
    let file = &source.config;
    let hidden = PostNormConfig::read(source, &KEYS)?.hidden;
    if let Some(other) = file.integer("pooler_hidden_size", 0..=1 << 16)?.filter(|&other| other != hidden) {
        let message = format!("{other} is not supported; supported: hidden_size, {hidden}");
        return Err(file.error("pooler_hidden_size", message));
    }
    let activation = source.activation("pooler_hidden_act", "gelu")?;
    ScoreHead::two_layers(source.at.at("pooler.dense"), source.at.at("classifier"), [hidden, labels], activation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};

    fn relative(text: &str) -> Option<RelativeAttention> {
        with_source(text, |source| RelativeAttention::read(&source.config, ScoreTerms::read(&source.config)?)).unwrap()
    }

    #[test]
    fn positions_are_read_as_version_3_and_2_write_them() {
        let both = ScoreTerms { content_to_position: true, position_to_content: true };
        let v3 = r#"{"relative_attention": true, "position_buckets": 256, "max_relative_positions": -1,
            "norm_rel_ebd": "layer_norm", "share_att_key": true, "pos_att_type": "p2c | C2P"}"#;
        let buckets = Buckets::Logarithmic { span: 256, max_distance: 512 };
        assert_eq!(relative(v3), Some(RelativeAttention { buckets, terms: both, shared: true, normed: true }));
        let v2 = r#"{"relative_attention": true, "max_relative_positions": 20, "pos_att_type": ["c2p", "p2c"]}"#;
        let buckets = Buckets::Each { span: 20 };
        assert_eq!(relative(v2), Some(RelativeAttention { buckets, terms: both, shared: false, normed: false }));
        for contents_alone in [
            "{}",
            r#"{"relative_attention": true}"#,
            r#"{"relative_attention": true, "pos_att_type": []}"#,
            r#"{"pos_att_type": "c2p"}"#,
        ] {
            assert_eq!(relative(contents_alone), None, "{contents_alone}");
        }
    }

    #[test]
    fn what_is_impossible_is_refused_by_name() {
        let relative = |rest: &str| format!(r#"{{"relative_attention": true, "pos_att_type": "c2p", {rest}}}"#);
        let [buckets, narrow, most, norm, shared] = [
            r#""position_buckets": 1e300"#,
            r#""position_buckets": 64, "max_relative_positions": 33"#,
            r#""max_relative_positions": "many""#,
            r#""norm_rel_ebd": "batch_norm""#,
            r#""share_att_key": "yes""#,
        ]
        .map(relative);
        let cases = [
            (r#"{"num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"hidden_size": 0}"#, "hidden_size"),
            (r#"{"attention_head_size": 65}"#, "attention_head_size"),
            (r#"{"relative_attention": 1}"#, "relative_attention"),
            (r#"{"pos_att_type": "p2p|c2p"}"#, "pos_att_type"),
            (r#"{"pos_att_type": ["c2c"]}"#, "pos_att_type"),
            (r#"{"pos_att_type": 3}"#, "pos_att_type"),
            (&buckets, "position_buckets"),
            (&narrow, "position_buckets"),
            (&most, "max_relative_positions"),
            (&norm, "norm_rel_ebd"),
            (&shared, "share_att_key"),
            (r#"{"position_biased_input": "no"}"#, "position_biased_input"),
            (r#"{"max_position_embeddings": -1}"#, "max_position_embeddings"),
            (r#"{"embedding_size": 0}"#, "embedding_size"),
            (r#"{"type_vocab_size": -2}"#, "type_vocab_size"),
        ];
        assert_refuses(load, &cases);
        let cases = [
            (r#"{"conv_kernel_size": 4}"#, "conv_kernel_size"),
            (r#"{"conv_kernel_size": 1e300}"#, "conv_kernel_size"),
            (r#"{"conv_kernel_size": "3"}"#, "conv_kernel_size"),
            (r#"{"conv_kernel_size": 3, "conv_groups": 2}"#, "conv_groups"),
            (r#"{"conv_kernel_size": 3, "conv_act": "gelu_fancy"}"#, "conv_act"),
        ];
        let read = |source: &Source| convolution(source, &source.at, &PostNormConfig::read(source, &KEYS)?);
        assert_refuses(read, &cases);
    }
}
