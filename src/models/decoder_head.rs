//! What makes scores of a decoder's hidden states: a classifier, or rows of its language model's output matrix.

use crate::Result;
use crate::kernels::Activation;
use crate::models::decoder::base_model;
use crate::models::decoder_config::DecoderConfig;
use crate::models::head::{HeadPooling, ScoreHead};
use crate::models::source::Source;

/// One layer, on the last token that is not the padding token: as transformers finds it, whether or not the text was
/// padded.
pub(super) fn classifier(source: &Source, config: &DecoderConfig, labels: usize) -> Result<ScoreHead> {
    source.require_head("score.weight")?;
    let padding = source.config.integer("pad_token_id", 0..=1 << 24)?;
    let pooling = padding.map_or(HeadPooling::Last, |token| HeadPooling::LastOtherThan(token as u32));
    ScoreHead::new(pooling).linear(source.at.at("score"), labels, config.hidden, Activation::Identity)
}

/// Some rows of the output matrix, which may be the table of embeddings; `tied`: whether it is, where config.json does
/// not say.
pub(super) fn logits(source: &Source, config: &DecoderConfig, tokens: &[u32], tied: bool) -> Result<ScoreHead> {
    let &DecoderConfig { hidden, vocab, .. } = config;
    let tied = source.config.boolean("tie_word_embeddings")?.unwrap_or(tied);
    let output = source.at.at("lm_head");
    let at = if tied && !output.contains("weight") { base_model(source).at("embed_tokens") } else { output };
    let row = |&token: &u32| match (token as usize) < vocab {
        true => Ok(at.rows(token as usize..token as usize + 1, vocab)),
        false => Err(source.config.error("vocab_size", format!("{vocab} has no room for token {token}"))),
    };
    ScoreHead::new(HeadPooling::Last).logits(&tokens.iter().map(row).collect::<Result<Vec<_>>>()?, hidden)
}
