//! ModernBERT (Warner et al. 2024; reference: transformers' `modeling_modernbert.py`): it normalizes before each block, turns
//! queries and keys by their positions, gates its feed-forward blocks, and lets most layers see a window only.

use std::sync::Arc;

use candle_core::Tensor;

use crate::config::Object;
use crate::kernels::{self, Activation, Mask};
use crate::models::Encoder;
use crate::models::head::{Head, HeadPooling};
use crate::models::post_norm::{eps, require_rows};
use crate::models::registry::{Family, Source, require_head};
use crate::nn::{Attention, Embedding, Layout, Linear, Loader, Mlp, MlpParts, Norm, Rope, Rotations, add, select};
use crate::profile::Stage;
use crate::text::{PackedBatch, TokenSelection};
use crate::{CancelCheck, Result};

pub(super) const FAMILY: Family = Family { model_types: &["modernbert"], load, head, logit_head: None };

/// Which tokens a layer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Global,
    Local,
}

impl Reach {
    /// As config.json names it now.
    fn name(self) -> &'static str {
        match self {
            Self::Global => "full_attention",
            Self::Local => "sliding_attention",
        }
    }
}

/// What config.json says.
#[derive(Debug)]
struct Config {
    vocab: usize,
    hidden: usize,
    /// Divides `hidden` into even parts.
    heads: usize,
    wide: usize,
    activation: Activation,
    eps: f32,
    norm_bias: bool,
    attention_bias: bool,
    mlp_bias: bool,
    /// Of each layer.
    reaches: Vec<Reach>,
    /// How far local layers see to each side.
    window: usize,
    global_theta: f64,
    local_theta: f64,
}

impl Config {
    fn read(source: &Source) -> Result<Self> {
        let file = &source.config;
        let flag = |key: &str| -> Result<bool> { Ok(file.boolean(key)?.unwrap_or(false)) };
        let layers = file.size("num_hidden_layers", 1 << 10, 22)?;
        let config = Self {
            vocab: file.size("vocab_size", 1 << 24, 50_368)?,
            hidden: file.size("hidden_size", 1 << 16, 768)?,
            heads: file.size("num_attention_heads", 1 << 10, 12)?,
            wide: file.size("intermediate_size", 1 << 20, 1152)?,
            activation: source.activation("hidden_activation", "gelu")?,
            eps: eps(file, "norm_eps", 1e-5)?,
            norm_bias: flag("norm_bias")?,
            attention_bias: flag("attention_bias")?,
            mlp_bias: flag("mlp_bias")?,
            reaches: reaches(file, layers)?,
            window: file.size("local_attention", 1 << 24, 128)? / 2,
            global_theta: theta(file, Reach::Global, "global_rope_theta", 160_000.0)?,
            local_theta: theta(file, Reach::Local, "local_rope_theta", 10_000.0)?,
        };
        if !config.hidden.is_multiple_of(2 * config.heads) {
            let message = format!("{} does not divide hidden_size, {}, into even parts", config.heads, config.hidden);
            return Err(file.error("num_attention_heads", message));
        }
        Ok(config)
    }

    fn norm(&self, at: &Loader) -> Result<Norm> {
        match self.norm_bias {
            true => Norm::layer(at, self.hidden, self.eps),
            false => Norm::layer_without_bias(at, self.hidden, self.eps),
        }
    }
}

/// Of `layers` layers: a list by name or, in older files, a number, of so many layers one sees all.
fn reaches(file: &Object, layers: usize) -> Result<Vec<Reach>> {
    let Some(names) = file.texts("layer_types")? else {
        let every = file.size("global_attn_every_n_layers", 1 << 10, 3)?;
        return Ok((0..layers).map(|i| if i.is_multiple_of(every) { Reach::Global } else { Reach::Local }).collect());
    };
    if names.len() != layers {
        let message = format!("expected one of each of the {layers} layers, found {}", names.len());
        return Err(file.error("layer_types", message));
    }
    let reach = |name: &str| {
        [Reach::Global, Reach::Local].into_iter().find(|reach| reach.name() == name).ok_or_else(|| {
            let known = [Reach::Global.name(), Reach::Local.name()].join(", ");
            file.error("layer_types", format!("{name:?} is not supported; supported: {known}"))
        })
    };
    names.into_iter().map(reach).collect()
}

/// The base of the angles of layers with this reach, by its new name or its old one.
fn theta(file: &Object, reach: Reach, old: &str, default: f64) -> Result<f64> {
    if !file.is_null("rope_scaling") {
        return Err(file.error("rope_scaling", "scaled positions are not supported"));
    }
    let new = file.object("rope_parameters")?.map(|by_reach| by_reach.object(reach.name())).transpose()?.flatten();
    if let Some(new) = &new
        && let Some(other) = new.text("rope_type")?.filter(|&name| name != "default")
    {
        return Err(new.error("rope_type", format!("{other:?} is not supported; supported: default")));
    }
    let theta_of = |object: &Object, key: &str| match object.number(key)? {
        Some(theta) if !(1.0..1e30).contains(&theta) => {
            Err(object.error(key, format!("expected a number from 1, found {theta}")))
        }
        theta => Ok(theta),
    };
    let new = new.map(|new| theta_of(&new, "rope_theta")).transpose()?.flatten();
    Ok(new.or(theta_of(file, old)?).unwrap_or(default))
}

fn place<'a>(source: &Source<'a>) -> Loader<'a> {
    source.at.at_first_with(&["model"], "embeddings.tok_embeddings.weight")
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    let (config, at) = (Config::read(source)?, place(source));
    let words = (at.at("embeddings.tok_embeddings"), config.vocab);
    let norm = config.norm(&at.at("embeddings.norm"))?;
    let embedding = Embedding::load(&[words], Some(norm), config.hidden)?;
    let rotations = |theta| Rotations::new(at.body(), config.hidden / config.heads, theta);
    let (global, local) = (rotations(config.global_theta)?, rotations(config.local_theta)?);
    let layers = config.reaches.iter().enumerate().map(|(i, reach)| {
        let (mask, rotations) = match reach {
            Reach::Global => (Mask::Full, &global),
            Reach::Local => (Mask::Window(config.window), &local),
        };
        // What comes from the embeddings is normalized already.
        Layer::load(&config, &at.at(&format!("layers.{i}")), i > 0, mask, rotations.clone())
    });
    Ok(Box::new(ModernBert {
        vocab: config.vocab,
        hidden: config.hidden,
        embedding,
        layers: layers.collect::<Result<_>>()?,
        final_norm: config.norm(&at.at("final_norm"))?,
    }))
}

/// A dense layer and a norm, then the classifier; of the first token, or of the mean of all.
fn head(source: &Source, labels: usize) -> Result<Head> {
    require_head(source, "classifier.weight")?;
    let (config, file) = (Config::read(source)?, &source.config);
    let pooling = match file.text("classifier_pooling")? {
        None | Some("cls") => HeadPooling::First,
        Some("mean") => HeadPooling::Mean,
        Some(other) => {
            let message = format!("{other:?} is not supported; supported: cls, mean");
            return Err(file.error("classifier_pooling", message));
        }
    };
    let activation = source.activation("classifier_activation", "gelu")?;
    let at = source.at.at("head");
    Head::new(pooling)
        .linear(at.at("dense"), config.hidden, config.hidden, activation)?
        .norm(config.norm(&at.at("norm"))?)
        .linear(source.at.at("classifier"), labels, config.hidden, Activation::Identity)
}

struct ModernBert {
    vocab: usize,
    hidden: usize,
    embedding: Embedding,
    layers: Vec<Layer>,
    final_norm: Norm,
}

impl Encoder for ModernBert {
    fn hidden_size(&self) -> usize {
        self.hidden
    }

    fn vocab_size(&self) -> usize {
        self.vocab
    }

    fn forward(&self, batch: &PackedBatch, wanted: TokenSelection, check_cancel: CancelCheck<'_>) -> Result<Tensor> {
        require_rows(&batch.ids, self.vocab, "words")?;
        let mut hidden = self.embedding.forward(&[&batch.ids])?;
        let (layout, rows) = (Layout::new(&batch.offsets, &batch.positions), batch.rows(wanted));
        for (i, layer) in self.layers.iter().enumerate() {
            check_cancel()?;
            let rows = rows.as_deref().filter(|_| i + 1 == self.layers.len());
            hidden = layer.forward(&hidden, &layout, rows)?;
        }
        self.final_norm.forward(&hidden)
    }
}

struct Layer {
    attention_norm: Option<Norm>,
    qkv: Linear,
    rope: Rope,
    attention: Attention,
    out: Linear,
    mlp_norm: Norm,
    mlp: Mlp,
}

impl Layer {
    fn load(config: &Config, at: &Loader, normed: bool, mask: Mask, rotations: Arc<Rotations>) -> Result<Self> {
        let &Config { hidden, heads, wide, attention_bias, mlp_bias, .. } = config;
        let head_dim = hidden / heads;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let shape = kernels::Attention { heads, kv_heads: heads, head_dim, scale, mask };
        let both = at.at("mlp.Wi");
        let parts = MlpParts {
            gate: Some(both.rows(0..wide, 2 * wide)),
            up: both.rows(wide..2 * wide, 2 * wide),
            down: at.at("mlp.Wo"),
            bias: mlp_bias,
        };
        Ok(Self {
            attention_norm: if normed { Some(config.norm(&at.at("attn_norm"))?) } else { None },
            qkv: Linear::load(Stage::Qkv, &[at.at("attn.Wqkv")], 3 * hidden, hidden, attention_bias)?,
            rope: Rope::new(shape, rotations, None),
            attention: Attention::new(at.body(), shape),
            out: Linear::load(Stage::Out, &[at.at("attn.Wo")], hidden, hidden, attention_bias)?,
            mlp_norm: config.norm(&at.at("mlp_norm"))?,
            mlp: Mlp::load(parts, hidden, wide, config.activation)?,
        })
    }

    /// `rows`: those that are wanted of the output, None for all.
    fn forward(&self, hidden: &Tensor, layout: &Layout, rows: Option<&[u32]>) -> Result<Tensor> {
        let qkv = match &self.attention_norm {
            Some(norm) => self.qkv.forward(&norm.forward(hidden)?)?,
            None => self.qkv.forward(hidden)?,
        };
        let qkv = self.rope.forward(&qkv, layout)?;
        let attended = self.attention.forward(&qkv, layout, None, rows)?;
        let hidden = match rows {
            Some(rows) => &select(hidden, rows)?,
            None => hidden,
        };
        let hidden = add(&self.out.forward(&attended)?, hidden)?;
        let wide = self.mlp.forward(&self.mlp_norm.forward(&hidden)?)?;
        add(&wide, &hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::testing::{assert_refuses, with_source};

    fn read(text: &str) -> Result<Config> {
        with_source(text, Config::read)
    }

    #[test]
    fn what_is_left_out_is_modernbert_base() {
        let base = read("{}").unwrap();
        assert_eq!((base.vocab, base.hidden, base.heads, base.wide), (50_368, 768, 12, 1152));
        assert_eq!((base.activation, base.eps, base.window), (Activation::Gelu, 1e-5, 64));
        assert_eq!((base.global_theta, base.local_theta), (160_000.0, 10_000.0));
        assert_eq!(base.reaches.len(), 22);
        assert!(base.reaches.iter().enumerate().all(|(i, &reach)| (reach == Reach::Global) == (i % 3 == 0)));
    }

    #[test]
    fn old_keys_and_new_ones_say_the_same() {
        let thetas = |text: &str| {
            let config = read(text).unwrap();
            (config.global_theta, config.local_theta)
        };
        assert_eq!(thetas(r#"{"global_rope_theta": 80000, "local_rope_theta": 500.0}"#), (80_000.0, 500.0));
        let new = r#"{"global_rope_theta": 3.0, "rope_parameters": {
            "full_attention": {"rope_theta": 80000.0, "rope_type": "default"}, "sliding_attention": null}}"#;
        assert_eq!(thetas(new), (80_000.0, 10_000.0));
        let reaches = |text: &str| read(text).unwrap().reaches;
        let old = r#"{"num_hidden_layers": 3, "global_attn_every_n_layers": 2}"#;
        let new = r#"{"num_hidden_layers": 3, "global_attn_every_n_layers": 1,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"]}"#;
        assert_eq!(reaches(old), [Reach::Global, Reach::Local, Reach::Global]);
        assert_eq!(reaches(new), reaches(old));
    }

    #[test]
    fn what_is_impossible_is_refused_by_name() {
        let cases = [
            (r#"{"hidden_size": 0}"#, "hidden_size"),
            (r#"{"hidden_size": "768"}"#, "hidden_size"),
            (r#"{"vocab_size": 1152921504606846976}"#, "vocab_size"),
            (r#"{"num_hidden_layers": -1}"#, "num_hidden_layers"),
            (r#"{"num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"hidden_size": 60, "num_attention_heads": 12}"#, "num_attention_heads"),
            (r#"{"intermediate_size": 1.5}"#, "intermediate_size"),
            (r#"{"hidden_activation": "gelu_fancy"}"#, "hidden_activation"),
            (r#"{"norm_eps": -1.0}"#, "norm_eps"),
            (r#"{"norm_bias": "yes"}"#, "norm_bias"),
            (r#"{"attention_bias": 1}"#, "attention_bias"),
            (r#"{"mlp_bias": []}"#, "mlp_bias"),
            (r#"{"local_attention": 0}"#, "local_attention"),
            (r#"{"global_attn_every_n_layers": 0}"#, "global_attn_every_n_layers"),
            (r#"{"layer_types": ["full_attention"]}"#, "layer_types"),
            (r#"{"num_hidden_layers": 1, "layer_types": ["chunked_attention"]}"#, "layer_types"),
            (r#"{"global_rope_theta": 0}"#, "global_rope_theta"),
            (r#"{"local_rope_theta": -5}"#, "local_rope_theta"),
            (r#"{"rope_scaling": {"type": "linear", "factor": 2}}"#, "rope_scaling"),
            (
                r#"{"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}"#,
                "rope_parameters.full_attention.rope_type",
            ),
            (
                r#"{"rope_parameters": {"sliding_attention": {"rope_theta": "big"}}}"#,
                "rope_parameters.sliding_attention.rope_theta",
            ),
        ];
        assert_refuses(Config::read, &cases);
    }
}
