//! What makes scores of hidden states.

use candle_core::{DType, Tensor};

use crate::Result;
use crate::kernels::Activation;
use crate::models::registry::{Source, require_head};
use crate::nn::{Linear, Loader, Norm, mean};
use crate::profile::Stage;
use crate::text::TokenSelection;

/// The classifier behind a network: one vector for each text, then linear layers. All of it in float32.
pub struct Head {
    pooling: HeadPooling,
    layers: Vec<Layer>,
}

/// Which vector stands for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadPooling {
    /// That of its first token.
    First,
    /// That of its last token.
    Last,
    /// That of the last token that is not this one.
    LastOtherThan(u32),
    /// The mean of all.
    Mean,
}

enum Layer {
    Linear(Linear),
    Norm(Norm),
    /// The first column less the second.
    Difference,
}

impl Head {
    pub(super) fn new(pooling: HeadPooling) -> Self {
        Self { pooling, layers: Vec::new() }
    }

    /// `classifier(activation(dense(x)))` on the first token's state.
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

    /// Two layers, both below `classifier`, as RoBERTa has them.
    pub(super) fn of_roberta(source: &Source, sizes: [usize; 2], activation: Activation) -> Result<Self> {
        require_head(source, "classifier.out_proj.weight")?;
        let at = source.at.at("classifier");
        Self::two_layers(at.at("dense"), at.at("out_proj"), sizes, activation)
    }

    /// Then `activation(x · weightᵀ + bias)`, with `weight [n, k]`.
    pub(super) fn linear(self, at: Loader, n: usize, k: usize, activation: Activation) -> Result<Self> {
        let bias = at.contains("bias");
        let linear = Linear::load(Stage::Pool, &[at.precise()], n, k, bias)?.then(activation);
        Ok(self.with(Layer::Linear(linear)))
    }

    /// Then the products with one row, or that with the first less that with the second, of places with a `weight [1, k]` each.
    pub(super) fn logits(self, rows: &[Loader], k: usize) -> Result<Self> {
        let precise: Vec<_> = rows.iter().map(Loader::precise).collect();
        let products = self.with(Layer::Linear(Linear::load(Stage::Pool, &precise, 1, k, false)?));
        Ok(if rows.len() == 2 { products.with(Layer::Difference) } else { products })
    }

    /// Then a normalization.
    pub(super) fn norm(self, norm: Norm) -> Self {
        self.with(Layer::Norm(norm))
    }

    fn with(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Of which tokens the head takes the hidden states.
    pub fn wanted(&self) -> TokenSelection {
        match self.pooling {
            HeadPooling::First => TokenSelection::First,
            HeadPooling::Last => TokenSelection::Last,
            HeadPooling::LastOtherThan(token) => TokenSelection::LastOtherThan(token),
            HeadPooling::Mean => TokenSelection::All,
        }
    }

    /// The token that stands for an input without tokens; None where there is none.
    pub fn padding(&self) -> Option<u32> {
        match self.pooling {
            HeadPooling::LastOtherThan(token) => Some(token),
            HeadPooling::First | HeadPooling::Last | HeadPooling::Mean => None,
        }
    }

    /// `[texts, labels]` of the hidden states that are wanted of texts with these cumulative lengths, each of them above 0.
    pub fn forward(&self, hidden: &Tensor, offsets: &[u32]) -> Result<Tensor> {
        let mut x = match self.pooling {
            HeadPooling::First | HeadPooling::Last | HeadPooling::LastOtherThan(_) => hidden.clone(),
            HeadPooling::Mean => mean(hidden, offsets)?,
        }
        .to_dtype(DType::F32)?;
        for layer in &self.layers {
            x = match layer {
                Layer::Linear(linear) => linear.forward(&x)?,
                Layer::Norm(norm) => norm.forward(&x)?,
                Layer::Difference => (x.narrow(1, 0, 1)? - x.narrow(1, 1, 1)?)?,
            };
        }
        Ok(x)
    }
}
