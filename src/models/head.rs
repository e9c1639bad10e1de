//! The head of a reranker: from the hidden states of a text to its scores. All of it computes in float32.

use crate::Result;
use crate::kernels::Activation;
use crate::models::source::Source;
use crate::nn::{Linear, Loader, Norm, States, mean};
use crate::profile::Stage;
use crate::text::TokenSelection;

/// A classification head, or rows of a language model's: a vector for each text, then layers.
pub struct ScoreHead {
    pooling: HeadPooling,
    layers: Vec<HeadLayer>,
}

/// The hidden state that stands for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadPooling {
    /// The first token's state.
    First,
    /// The last token's state.
    Last,
    /// The state of the last token that is not this one.
    LastOtherThan(u32),
    /// The mean of all tokens' states.
    Mean,
    /// Each token's own: a layer takes their mean.
    All,
}

enum HeadLayer {
    Linear(Linear),
    Norm(Norm),
    /// The mean of each text's rows.
    Mean,
    /// The first column less the second.
    Difference,
}

impl ScoreHead {
    pub(super) fn new(pooling: HeadPooling) -> Self {
        Self { pooling, layers: Vec::new() }
    }

    /// `classifier(activation(dense(x)))` of the first token's state, with `sizes` `[hidden, labels]`.
    pub(super) fn two_layers(
        dense: Loader,
        classifier: Loader,
        [hidden, labels]: [usize; 2],
        activation: Activation,
    ) -> Result<Self> {
        Self::new(HeadPooling::First).linear(dense, hidden, hidden, activation)?.linear(
            classifier,
            labels,
            hidden,
            Activation::Identity,
        )
    }

    /// BERT's: `classifier(tanh(pooler(state of the first token)))`, of which the pooler is part of the network at `base`.
    pub(super) fn bert(source: &Source, base: &Loader, sizes: [usize; 2]) -> Result<Self> {
        source.require_head("classifier.weight")?;
        Self::two_layers(base.at("pooler.dense"), source.at.at("classifier"), sizes, Activation::Tanh)
    }

    /// RoBERTa's (`RobertaClassificationHead`): two layers below `classifier`.
    pub(super) fn roberta(source: &Source, sizes: [usize; 2], activation: Activation) -> Result<Self> {
        source.require_head("classifier.out_proj.weight")?;
        let at = source.at.at("classifier");
        Self::two_layers(at.at("dense"), at.at("out_proj"), sizes, activation)
    }

    /// Appends `activation(x · weightᵀ + bias)`, with `weight [n, k]`, and a bias where the checkpoint has one.
    pub(super) fn linear(self, at: Loader, n: usize, k: usize, activation: Activation) -> Result<Self> {
        let bias = at.contains("bias");
        let linear = Linear::load(Stage::Pool, &[at.in_float32()], n, k, bias)?.with_activation(activation);
        Ok(self.push(HeadLayer::Linear(linear)))
    }

    /// Appends the logit of one token, or of the first less that of the second; `rows` have a `weight [1, k]` each.
    pub(super) fn logits(self, rows: &[Loader], k: usize) -> Result<Self> {
        let rows_in_float32: Vec<_> = rows.iter().map(Loader::in_float32).collect();
        let products = self.push(HeadLayer::Linear(Linear::load(Stage::Pool, &rows_in_float32, 1, k, false)?));
        Ok(if rows.len() == 2 { products.push(HeadLayer::Difference) } else { products })
    }

    /// Appends a normalization.
    pub(super) fn norm(self, norm: Norm) -> Self {
        self.push(HeadLayer::Norm(norm))
    }

    /// Appends the mean over the tokens of each text.
    pub(super) fn mean(self) -> Self {
        self.push(HeadLayer::Mean)
    }

    fn push(mut self, layer: HeadLayer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Tokens whose hidden states the head takes.
    pub fn wanted(&self) -> TokenSelection {
        match self.pooling {
            HeadPooling::First => TokenSelection::First,
            HeadPooling::Last => TokenSelection::Last,
            HeadPooling::LastOtherThan(token) => TokenSelection::LastOtherThan(token),
            HeadPooling::Mean | HeadPooling::All => TokenSelection::All,
        }
    }

    /// The padding token, which stands for an input without tokens; None where there is none.
    pub fn padding(&self) -> Option<u32> {
        match self.pooling {
            HeadPooling::LastOtherThan(token) => Some(token),
            HeadPooling::First | HeadPooling::Last | HeadPooling::Mean | HeadPooling::All => None,
        }
    }

    /// `[texts, labels]` of the hidden states that are wanted of texts with these cumulative lengths, each of them
    /// above 0.
    pub fn forward(&self, hidden: &States, offsets: &[u32]) -> Result<States> {
        let mut x = match self.pooling {
            HeadPooling::Mean => mean(hidden, offsets)?,
            HeadPooling::First | HeadPooling::Last | HeadPooling::LastOtherThan(_) | HeadPooling::All => {
                hidden.in_float32()?
            }
        };
        for layer in &self.layers {
            x = match layer {
                HeadLayer::Linear(linear) => linear.forward(&x)?,
                HeadLayer::Norm(norm) => norm.forward(&x)?,
                HeadLayer::Mean => mean(&x, offsets)?,
                HeadLayer::Difference => x.columns(0..1)?.subtract(&x.columns(1..2)?)?,
            };
        }
        Ok(x)
    }
}
