//! Inputs of their own for the layers of a decoder, made of the embeddings (EmbeddingGemma 2's "projection-only PLE";
//! reference: transformers' `EmbeddingGemma2TextPLE` and `EmbeddingGemma2TextPLEBlock`): a third block of each layer.
//!
//! ```text
//! p = rms_norm(W e / sqrt(hidden))             of each layer's part of the product; e: the scaled embeddings
//! x = x + rms_norm(project(activation(gate(x)) * p))
//! x = x * scalar                               a number of each layer
//! ```
//!
//! The division is in the epsilon: `rms_norm(x / s)` with `eps` is `rms_norm(x)` with `eps s²`.

use crate::Result;
use crate::kernels::Activation;
use crate::nn::{Linear, Loader, Norm, States};
use crate::profile::Stage;

/// What layers get beside the hidden states, and the blocks that mix it in.
pub(super) struct PerLayerInputs {
    projection: Linear,
    norm: Norm,
    /// Numbers of a layer's input.
    width: usize,
    blocks: Vec<PerLayerBlock>,
}

struct PerLayerBlock {
    gate: Linear,
    projection: Linear,
    norm: Norm,
    scalar: f32,
}

/// The sizes of [`PerLayerInputs`].
pub(super) struct PerLayerSizes {
    pub(super) layers: usize,
    pub(super) hidden: usize,
    /// Numbers of a layer's input.
    pub(super) width: usize,
}

impl PerLayerInputs {
    /// Those of the network at `at`.
    pub(super) fn load(at: &Loader, sizes: PerLayerSizes, activation: Activation, eps: f32) -> Result<Self> {
        let PerLayerSizes { layers, hidden, width } = sizes;
        let ple = at.at("ple");
        let part = |i: usize| ple.at("per_layer_model_projection").rows(i * width..(i + 1) * width, layers * width);
        let parts: Vec<_> = (0..layers).map(part).collect();
        let block = |i: usize| {
            let layer = at.at(&format!("layers.{i}"));
            let block = layer.at("ple_block");
            let gate = Linear::load(Stage::MlpUp, &[block.at("per_layer_input_gate")], width, hidden, false)?;
            Ok(PerLayerBlock {
                gate: gate.with_activation(activation),
                projection: Linear::load(Stage::MlpDown, &[block.at("per_layer_projection")], hidden, width, false)?,
                norm: Norm::rms_norm(&block.at("post_per_layer_input_norm"), hidden, eps)?,
                scalar: layer.values("layer_scalar", &[1])?[0],
            })
        };
        Ok(Self {
            projection: Linear::load(Stage::Embed, &parts, width, hidden, false)?,
            norm: Norm::rms_norm(&ple.at("per_layer_projection_norm"), width, eps * hidden as f32)?,
            width,
            blocks: (0..layers).map(block).collect::<Result<_>>()?,
        })
    }

    /// `[tokens, layers * width]` of the embeddings `[tokens, hidden]`.
    pub(super) fn of_tokens(&self, embeddings: &States) -> Result<States> {
        let projected = self.projection.forward(embeddings)?;
        let all = projected.width();
        self.norm.forward(&projected.with_width(self.width)?)?.with_width(all)
    }

    /// Layer `layer`'s third block, of `hidden [tokens or texts, hidden]`. `inputs`: see [`Self::of_tokens`]; `rows
    /// [texts]`: the tokens of which `hidden` is, where these are not all.
    pub(super) fn mix(&self, layer: usize, hidden: &States, inputs: &States, rows: Option<&[u32]>) -> Result<States> {
        let PerLayerBlock { gate, projection, norm, scalar } = &self.blocks[layer];
        let own = inputs.columns(layer * self.width..(layer + 1) * self.width)?;
        let own = match rows {
            Some(rows) => own.select(rows)?,
            None => own,
        };
        let mixed = projection.forward(&gate.forward(hidden)?.multiply(&own)?)?;
        norm.forward(&mixed)?.add(hidden)?.scale(*scalar)
    }
}
