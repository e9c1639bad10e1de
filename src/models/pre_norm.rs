//! The pre-norm transformer (Xiong et al. 2020), whose layer ModernBERT, the decoders, T5 and XLM-RoBERTa-XL share.
//!
//! ```text
//! x = tables[ids]
//! for each layer:
//!     q, k, v = rope(linear(norm(x)))          turned where positions are rotary
//!     x = x + linear(attention(q, k, v))
//!     x = x + mlp(norm(x))
//! x = norm(x)
//! ```
//!
//! Gemma 3 normalizes what the two blocks give as well, before it is added.

use crate::kernels;
use crate::models::Encoder;
use crate::models::input_tables::InputTables;
use crate::nn::{Attention, Embedding, Layout, Linear, Mlp, Norm, Rope, States};
use crate::text::{PackedBatch, TokenSelection};
use crate::{CancelCheck, Result};

/// A layer; its families load its parts.
pub(super) struct PreNormLayer {
    /// None where the input is normalized.
    pub(super) attention_norm: Option<Norm>,
    pub(super) qkv: Linear,
    /// None where positions are not rotary.
    pub(super) rope: Option<Rope>,
    /// The shape of `attention`.
    pub(super) shape: kernels::AttentionShape,
    pub(super) attention: Attention,
    pub(super) out: Linear,
    /// Of what attention gives.
    pub(super) attention_out_norm: Option<Norm>,
    pub(super) mlp_norm: Norm,
    pub(super) mlp: Mlp,
    /// Of what the feed-forward block gives.
    pub(super) mlp_out_norm: Option<Norm>,
}

impl PreNormLayer {
    /// Queries, keys and values of `hidden [tokens, hidden]`, turned where they are:
    /// `[tokens, (heads + 2 * kv_heads) * head_dim]`.
    pub(super) fn project(&self, hidden: &States, layout: &Layout) -> Result<States> {
        let qkv = match &self.attention_norm {
            Some(norm) => self.qkv.forward(&norm.forward(hidden)?)?,
            None => self.qkv.forward(hidden)?,
        };
        match &self.rope {
            Some(rope) => rope.forward(qkv, layout),
            None => Ok(qkv),
        }
    }

    /// Keys and values of what [`Self::project`] gives, `[tokens, 2 * kv_heads * head_dim]`.
    pub(super) fn keys_and_values(&self, qkv: &States) -> Result<States> {
        let kernels::AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        qkv.columns(heads * head_dim..(heads + 2 * kv_heads) * head_dim)
    }

    /// The layer's output, from its input `hidden` and what [`Self::project`] gives. `past` and `rows` as for
    /// [`Attention::forward`]; `rows` are None where all tokens' output is wanted.
    pub(super) fn finish(
        &self,
        hidden: &States,
        qkv: &States,
        layout: &Layout,
        past: Option<&States>,
        rows: Option<&[u32]>,
    ) -> Result<States> {
        let attended = self.attention.forward(qkv, layout, past, rows)?;
        let hidden = match rows {
            Some(rows) => &hidden.select(rows)?,
            None => hidden,
        };
        self.add_residuals(hidden, &attended)
    }

    /// As [`Self::finish`], where attention gives zeros.
    pub(super) fn finish_without_attention(&self, hidden: &States) -> Result<States> {
        self.add_residuals(hidden, &hidden.zeros(self.shape.heads * self.shape.head_dim)?)
    }

    /// What follows attention, which gives `attended [tokens, heads * head_dim]`.
    fn add_residuals(&self, hidden: &States, attended: &States) -> Result<States> {
        let hidden = add_normed(self.out.forward(attended)?, self.attention_out_norm.as_ref(), hidden)?;
        let changed = self.mlp.forward(&self.mlp_norm.forward(&hidden)?)?;
        add_normed(changed, self.mlp_out_norm.as_ref(), &hidden)
    }
}

/// `norm(x) + residual`, all `[tokens, hidden]`.
fn add_normed(x: States, norm: Option<&Norm>, residual: &States) -> Result<States> {
    match norm {
        Some(norm) => norm.forward(&x)?.add(residual),
        None => x.add(residual),
    }
}

/// A network of such layers that computes texts whole; its families load its parts.
pub(super) struct PreNorm {
    pub(super) tables: InputTables,
    pub(super) embedding: Embedding,
    pub(super) layers: Vec<PreNormLayer>,
    /// Of what comes from the last layer.
    pub(super) norm: Norm,
    pub(super) hidden: usize,
}

impl Encoder for PreNorm {
    fn hidden_size(&self) -> usize {
        self.hidden
    }

    fn vocab_size(&self) -> usize {
        self.tables.words
    }

    fn forward(&self, batch: &PackedBatch, wanted: TokenSelection, check_cancel: CancelCheck<'_>) -> Result<States> {
        let mut hidden = self.tables.look_up(&self.embedding, batch)?;
        let (layout, rows) = (Layout::new(&batch.offsets, &batch.positions), batch.rows(wanted));
        for (i, layer) in self.layers.iter().enumerate() {
            check_cancel()?;
            let rows = rows.as_deref().filter(|_| i + 1 == self.layers.len());
            let qkv = layer.project(&hidden, &layout)?;
            hidden = layer.finish(&hidden, &qkv, &layout, None, rows)?;
        }
        self.norm.forward(&hidden)
    }
}
