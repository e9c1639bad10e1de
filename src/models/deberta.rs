//! DeBERTa-v2 and -v3 (He et al. 2021 and 2023; reference: transformers' `modeling_deberta_v2.py`): BERT, with relative positions
//! that take part in the scores of attention.

use std::sync::Arc;

use candle_core::Tensor;

use crate::Result;
use crate::config::Object;
use crate::kernels::{self, Buckets};
use crate::models::Encoder;
use crate::models::head::Head;
use crate::models::post_norm::{
    BERT_NAMES, Keys, MakeBias, Names, Parts, Positions, PostNorm, Projection, Sizes, Tables,
};
use crate::models::registry::{Family, Source, require_head};
use crate::nn::{AttentionBias, Disentangled, Embedding, Linear, Loader, Norm};
use crate::profile::Stage;

pub(super) const FAMILY: Family = Family { model_types: &["deberta-v2"], load, head, logit_head: None };

/// BERT's keys, and the sizes of DeBERTa-v2-xlarge.
const KEYS: Keys = Keys {
    vocab: ("vocab_size", 128_100),
    hidden: ("hidden_size", 1536),
    layers: ("num_hidden_layers", 24),
    heads: ("num_attention_heads", 24),
    wide: ("intermediate_size", 6144),
    activation: ("hidden_act", "gelu"),
    eps: ("layer_norm_eps", 1e-7),
};

const NAMES: Names =
    Names { qkv: ["attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"], ..BERT_NAMES };

/// Which of content and place score each other, besides content and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terms {
    /// A query's content and its key's place.
    content_to_position: bool,
    /// A key's content and its query's place.
    position_to_content: bool,
}

impl Terms {
    /// As config.json has them: a list, or words with bars between them.
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

    /// Those of a score, with that of content and content.
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
struct Relative {
    buckets: Buckets,
    terms: Terms,
    /// Whether places go through the layers of contents, and have none of their own.
    shared: bool,
    /// Whether the table of places is normalized.
    normed: bool,
}

impl Relative {
    /// None where scores are those of contents alone.
    fn read(file: &Object, terms: Terms) -> Result<Option<Self>> {
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

    /// The table of places, `[buckets, hidden]`.
    fn places(self, at: &Loader, sizes: &Sizes) -> Result<Tensor> {
        let count = self.buckets.count();
        let norm = match self.normed {
            true => Some(Norm::layer(&at.at("LayerNorm"), sizes.hidden, sizes.eps)?),
            false => None,
        };
        let table = Embedding::load(&[(at.at("rel_embeddings").precise(), count)], norm, sizes.hidden)?;
        table.forward(&[&(0..count as u32).collect::<Vec<_>>()])
    }

    /// The bias of the layer `at` with this attention, from the table of places `[buckets, hidden]`.
    fn bias(self, at: &Loader, shape: &kernels::AttentionShape, places: &Tensor) -> Result<Disentangled> {
        let at = at.at("attention.self");
        let hidden = shape.heads * shape.head_dim;
        // In float32: this is done once, and what comes out takes part in every score.
        let project = |own: &str, shared: &str| {
            let at = at.at(if self.shared { shared } else { own }).precise();
            Linear::load(Stage::Other, &[at], hidden, hidden, true)?.forward(places)
        };
        let Terms { content_to_position, position_to_content } = self.terms;
        let keys = content_to_position.then(|| project("pos_key_proj", "key_proj")).transpose()?;
        let queries = position_to_content.then(|| project("pos_query_proj", "query_proj")).transpose()?;
        Disentangled::new(at.body(), shape, self.buckets, keys, queries)
    }
}

fn buckets(file: &Object) -> Result<Buckets> {
    // What is not above 0 stands for "not set" in both.
    let set = |key: &str, least: usize| match file.number(key)? {
        Some(number) if number < 1.0 => Ok(None),
        _ => file.integer(key, least..=1 << 20),
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

fn place<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_first_with(&["deberta"], "embeddings.word_embeddings.weight")
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (file, at) = (&source.config, place(source));
    let terms = Terms::read(file)?;
    let mut sizes = Sizes::read(source, &KEYS)?;
    sizes.scale /= (terms.count() as f32).sqrt();
    let head_dim = sizes.hidden / sizes.heads;
    if let Some(other) = file.integer("attention_head_size", 0..=1 << 16)?.filter(|&other| other != head_dim) {
        let message = format!("{other} is not supported; supported: hidden_size / num_attention_heads, {head_dim}");
        return Err(file.error("attention_head_size", message));
    }
    if file.number("conv_kernel_size")?.is_some_and(|size| size > 0.0) {
        return Err(file.error("conv_kernel_size", "a convolution beside the first layer is not supported"));
    }
    let relative = match Relative::read(file, terms)? {
        Some(relative) => Some((relative, relative.places(&at.at("encoder"), &sizes)?)),
        None => None,
    };
    let bias = relative.as_ref().map(|(relative, places)| {
        |at: &Loader, shape: &kernels::AttentionShape| -> Result<Arc<dyn AttentionBias>> {
            Ok(Arc::new(relative.bias(at, shape, places)?))
        }
    });
    let absolute = file.boolean("position_biased_input")?.unwrap_or(true);
    let positions = Positions { rows: file.size("max_position_embeddings", 1 << 24, 512)?, padding: None };
    let width = file.size("embedding_size", 1 << 16, sizes.hidden)?;
    Ok(Box::new(PostNorm::load(Parts {
        sizes,
        tables: Tables {
            words: sizes.vocab,
            positions: absolute.then_some(positions),
            types: file.integer("type_vocab_size", 0..=1 << 16)?.filter(|&types| types > 0),
        },
        embeddings: at.at("embeddings"),
        projection: (width != sizes.hidden).then(|| Projection {
            at: at.at("embeddings.embed_proj"),
            width,
            after_norm: false,
        }),
        layers: at.at("encoder.layer"),
        names: &NAMES,
        bias: bias.as_ref().map(|bias| bias as MakeBias),
    })?))
}

/// A dense layer on the first token's state, and the classifier.
fn head(source: &Source, labels: usize) -> Result<Head> {
    require_head(source, "classifier.weight")?;
    let file = &source.config;
    let hidden = Sizes::read(source, &KEYS)?.hidden;
    if let Some(other) = file.integer("pooler_hidden_size", 0..=1 << 16)?.filter(|&other| other != hidden) {
        let message = format!("{other} is not supported; supported: hidden_size, {hidden}");
        return Err(file.error("pooler_hidden_size", message));
    }
    let activation = source.activation("pooler_hidden_act", "gelu")?;
    Head::two_layers(source.at.at("pooler.dense"), source.at.at("classifier"), [hidden, labels], activation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};

    fn relative(text: &str) -> Option<Relative> {
        with_source(text, |source| Relative::read(&source.config, Terms::read(&source.config)?)).unwrap()
    }

    #[test]
    fn positions_are_read_as_version_3_and_2_write_them() {
        let both = Terms { content_to_position: true, position_to_content: true };
        let v3 = r#"{"relative_attention": true, "position_buckets": 256, "max_relative_positions": -1,
            "norm_rel_ebd": "layer_norm", "share_att_key": true, "pos_att_type": "p2c | C2P"}"#;
        let buckets = Buckets::Logarithmic { span: 256, max_distance: 512 };
        assert_eq!(relative(v3), Some(Relative { buckets, terms: both, shared: true, normed: true }));
        let v2 = r#"{"relative_attention": true, "max_relative_positions": 20, "pos_att_type": ["c2p", "p2c"]}"#;
        let buckets = Buckets::Each { span: 20 };
        assert_eq!(relative(v2), Some(Relative { buckets, terms: both, shared: false, normed: false }));
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
            (r#"{"conv_kernel_size": 3}"#, "conv_kernel_size"),
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
    }
}
