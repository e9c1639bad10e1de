//! EuroBERT (Boizard et al. 2025; reference: transformers' `EuroBertModel` and `EuroBertForSequenceClassification`):
//! Llama's decoder that looks both ways.
//!
//! Its classifier is on the first token, on the mean of all, or "late": `classifier(gelu(dense(x)))` of each token, of
//! which the mean is taken. That is the classifier of the mean of what comes before it.

use crate::Result;
use crate::kernels::{Activation, Dtype};
use crate::models::Encoder;
use crate::models::decoder::{RotaryDecoder, base_model};
use crate::models::decoder_config::{DecoderConfig, DecoderDefaults, DecoderNorms, LLAMA};
use crate::models::family::{Family, ModelKind};
use crate::models::head::{HeadPooling, ScoreHead};
use crate::models::source::Source;

// Pre-norm states grow from layer to layer: what it was trained in.
pub(super) const FAMILY: Family = Family {
    kinds: &[ModelKind {
        name: "EuroBERT",
        model_types: &["eurobert"],
        embedders: &["jina-embeddings-v5-text-nano (merged)"],
        rerankers: &["classifiers on EuroBERT"],
        limits: "",
    }],
    half_dtype: Dtype::Bfloat16,
    load,
    head,
    logit_head: None,
};

const DEFAULTS: DecoderDefaults =
    DecoderDefaults { vocab: 128_256, hidden: 768, intermediate: 3072, layers: 12, heads: 12, eps: 1e-5, ..LLAMA };

fn read(source: &Source) -> Result<DecoderConfig> {
    let mut config = DecoderConfig::read(source, &DEFAULTS, DecoderNorms::Llama)?;
    config.bias_all(&source.config)?;
    config.see_all();
    Ok(config)
}

fn load(source: &Source) -> Result<Box<dyn Encoder>> {
    Ok(Box::new(RotaryDecoder::load(&read(source)?, &base_model(source))?))
}

fn head(source: &Source, labels: usize) -> Result<ScoreHead> {
    source.require_head("classifier.weight")?;
    let (hidden, file) = (read(source)?.hidden, &source.config);
    let (pooling, is_late) = match file.text("classifier_pooling")?.unwrap_or("late") {
        "bos" => (HeadPooling::First, false),
        "mean" => (HeadPooling::Mean, false),
        "late" => (HeadPooling::All, true),
        other => {
            let message = format!("{other:?} is not supported; supported: bos, mean, late");
            return Err(file.error("classifier_pooling", message));
        }
    };
    let dense = ScoreHead::new(pooling).linear(source.at.at("dense"), hidden, hidden, Activation::Gelu)?;
    let pooled = if is_late { dense.mean() } else { dense };
    pooled.linear(source.at.at("classifier"), labels, hidden, Activation::Identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Mask;
    use crate::models::testing::{assert_refuses, with_source};

    #[test]
    fn what_is_left_out_is_eurobert_base() {
        let base = with_source(r#"{"is_causal": true}"#, read).unwrap();
        assert_eq!((base.vocab, base.hidden, base.layers.len(), base.eps), (128_256, 768, 12, 1e-5));
        assert!(base.layers.iter().all(|layer| layer.shape.mask == Mask::Full));
    }

    #[test]
    fn what_is_impossible_is_refused_by_name() {
        let cases = [
            (r#"{"num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"attention_bias": "no"}"#, "attention_bias"),
            (r#"{"head_dim": 3}"#, "head_dim"),
        ];
        assert_refuses(read, &cases);
    }
}
