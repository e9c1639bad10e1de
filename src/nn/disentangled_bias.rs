//! The bias of disentangled attention (DeBERTa: He et al. 2021; reference: `disentangled_attention_bias` of
//! transformers' `DisentangledSelfAttention`): what contents and relative positions add to the score of content and
//! content.
//!
//! ```text
//! bias(i, j) = (q_i · r_k[bucket(i - j)] + k_j · r_q[bucket(i - j)]) scale
//! ```
//!
//! The products of all tokens with all buckets that occur are two matrices by distance; the relative shift brings them
//! to pairs of positions. The reference gathers a number for each pair instead.

use candle_core::{DType, Tensor};

use crate::gpu::{MAX_ROWS, Passes, ScoreBias};
use crate::kernels::{self, Bias, Buckets};
use crate::nn::attention_bias::relative_shift;
use crate::nn::matmul::matmul;
use crate::nn::rows::Rows;
use crate::nn::{AttentionBias, Body, States};
use crate::{Error, Result};

/// Position embeddings of one layer, projected to its keys and queries.
pub struct DisentangledAttentionBias(BiasBody);

enum BiasBody {
    Cpu(kernels::DisentangledBias),
    /// `keys` and `queries [heads, head_dim, buckets]`.
    Portable {
        buckets: Buckets,
        keys: Option<Tensor>,
        queries: Option<Tensor>,
    },
    Gpu(ScoreBias),
}

impl DisentangledAttentionBias {
    /// `keys [buckets, heads * head_dim]`: for each bucket of distances, the position embedding that queries are
    /// multiplied with (`r_k`); `queries`, of the same shape, those that keys are multiplied with (`r_q`). A term
    /// without them is left out. `shape` is the attention's, whose scale these products have, too.
    pub fn new(
        body: &Body,
        shape: &kernels::AttentionShape,
        buckets: Buckets,
        keys: Option<States>,
        queries: Option<States>,
    ) -> Result<Self> {
        let kernels::AttentionShape { heads, head_dim, scale, .. } = *shape;
        let scaled = |table: Option<States>| table.map(|table| table.scale(scale)).transpose();
        Ok(Self(match body {
            Body::Cpu { isa, .. } => {
                let (keys, queries) = (scaled(keys)?, scaled(queries)?);
                let keys = keys.as_ref().map(States::cpu).transpose()?.map(Rows::values);
                let queries = queries.as_ref().map(States::cpu).transpose()?.map(Rows::values);
                BiasBody::Cpu(kernels::DisentangledBias::new(*isa, (heads, head_dim), buckets, keys, queries)?)
            }
            Body::Portable { dtype, .. } => {
                let by_head = |table: Option<States>| {
                    let shape = (buckets.count(), heads, head_dim);
                    let by_head = |table: &Tensor| table.reshape(shape)?.permute((1, 2, 0))?.contiguous();
                    table.map(|table| Ok::<_, Error>(by_head(table.portable()?)?.to_dtype(*dtype)?)).transpose()
                };
                BiasBody::Portable { buckets, keys: by_head(scaled(keys)?)?, queries: by_head(scaled(queries)?)? }
            }
            Body::Gpu { passes, .. } => BiasBody::Gpu(on_gpu(passes, shape, buckets, [keys, queries])?),
        }))
    }
}

/// The tables as a GPU's attention takes them, which multiplies them by the scale together with the scores.
fn on_gpu(
    passes: &Passes,
    shape: &kernels::AttentionShape,
    buckets: Buckets,
    tables: [Option<States>; 2],
) -> Result<ScoreBias> {
    let kernels::AttentionShape { heads, head_dim, .. } = *shape;
    let bucket = |distance: isize| buckets.of(-distance) as u32;
    let last = MAX_ROWS as isize - 1;
    // From here on all distances of a side have one bucket.
    let far = (1..=last).rev().find(|&d| bucket(d) != bucket(d - 1) || bucket(-d) != bucket(1 - d)).unwrap_or(0);
    let by_distance: Vec<u32> = (-far..=far).map(bucket).collect();
    let [keys, queries] = tables.map(|table| table.map(|table| table.read(<[f32]>::to_vec)).transpose());
    let (keys, queries) = (keys?, queries?);
    let shape = [buckets.count(), heads, head_dim];
    ScoreBias::disentangled(passes.context(), &by_distance, [keys.as_deref(), queries.as_deref()], shape)
}

impl AttentionBias for DisentangledAttentionBias {
    fn kernel(&self) -> &dyn Bias {
        match &self.0 {
            BiasBody::Cpu(kernel) => kernel,
            BiasBody::Portable { .. } | BiasBody::Gpu(_) => unreachable!("attention and its bias are of one body"),
        }
    }

    fn on_gpu(&self) -> &ScoreBias {
        let BiasBody::Gpu(bias) = &self.0 else { unreachable!("attention and its bias are of one body") };
        bias
    }

    fn column(&self, distance: isize) -> u32 {
        let BiasBody::Portable { buckets, .. } = &self.0 else {
            unreachable!("attention and its bias are of one body")
        };
        buckets.of(-distance) as u32
    }

    fn portable(&self, q: &Tensor, k: &Tensor, columns: &Tensor) -> candle_core::Result<Tensor> {
        let BiasBody::Portable { keys: of_keys, queries: of_queries, .. } = &self.0 else {
            unreachable!("attention and its bias are of one body")
        };
        // `[texts, heads, rows, others]`, from the products of `x [texts, heads, rows, head_dim]` with position
        // embeddings.
        let products = |x: &Tensor, others: usize, table: &Tensor, columns: &Tensor| {
            let (texts, heads, rows, head_dim) = x.dims4()?;
            let x = x.transpose(0, 1)?.reshape((heads, texts * rows, head_dim))?;
            let by_distance = matmul(&x, &table.index_select(columns, 2)?)?.to_dtype(DType::F32)?;
            let by_distance = by_distance.reshape((heads * texts, rows, rows + others))?;
            relative_shift(&by_distance)?.reshape((heads, texts, rows, others))?.transpose(0, 1)
        };
        let (queries, keys) = (q.dims()[2], k.dims()[2]);
        let from_queries = of_keys.as_ref().map(|table| products(q, keys, table, &columns.get(0)?)).transpose()?;
        let from_keys = of_queries
            .as_ref()
            .map(|table| products(k, queries, table, &columns.get(1)?)?.transpose(2, 3))
            .transpose()?;
        match (from_queries, from_keys) {
            (Some(a), Some(b)) => a + b,
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (None, None) => Tensor::zeros((1, q.dims()[1], queries, keys), DType::F32, q.device()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernels::Mask;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree, assert_halves_agree};
    use crate::nn::{Attention, Layout};

    #[test]
    fn bodies_agree() {
        for buckets in [Buckets::Each { span: 4 }, Buckets::Logarithmic { span: 6, max_distance: 14 }] {
            let terms = [(true, true), (true, false), (false, true)];
            let batches = [(&[0, 1, 8, 8, 60][..], None), (&[0, 1, 8, 60], Some(&[0, 7, 30][..]))];
            for ((with_keys, with_queries), (offsets, rows)) in
                terms.into_iter().flat_map(|terms| batches.map(|batch| (terms, batch)))
            {
                assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
                    let shape =
                        kernels::AttentionShape { heads: 3, kv_heads: 3, head_dim: 8, scale: 0.3, mask: Mask::Full };
                    let mut table = || x.states([buckets.count(), 24]);
                    let (keys, queries) = (table()?, table()?);
                    let (keys, queries) = (with_keys.then_some(keys), with_queries.then_some(queries));
                    let bias = DisentangledAttentionBias::new(at.body(), &shape, buckets, keys, queries)?;
                    let qkv = x.states([60, shape.width()])?;
                    Attention::new(at.body(), shape).with_bias(Arc::new(bias)).forward(
                        &qkv,
                        &Layout::new(offsets, &[]),
                        None,
                        rows,
                    )
                });
            }
        }
    }

    #[test]
    fn halves_agree_with_float32() {
        let buckets = Buckets::Logarithmic { span: 6, max_distance: 14 };
        assert_halves_agree(&Checkpoint::random(&[]), |at, x| {
            let shape = kernels::AttentionShape { heads: 3, kv_heads: 3, head_dim: 8, scale: 0.3, mask: Mask::Full };
            let mut table = || x.states([buckets.count(), 24])?.in_float32();
            let bias = DisentangledAttentionBias::new(at.body(), &shape, buckets, Some(table()?), Some(table()?))?;
            let qkv = x.states([60, shape.width()])?;
            let layout = Layout::new(&[0, 1, 8, 8, 60], &[]);
            Attention::new(at.body(), shape).with_bias(Arc::new(bias)).forward(&qkv, &layout, None, None)
        });
    }
}
