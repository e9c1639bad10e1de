//! The bias of disentangled attention.

use candle_core::{DType, Tensor};

use crate::Result;
use crate::kernels::{self, Bias, Buckets};
use crate::nn::attention::by_place;
use crate::nn::product::product;
use crate::nn::{AttentionBias, Body};

/// What contents and places say to each other (He et al. 2021; reference: transformers' `modeling_deberta_v2.py`).
pub struct Disentangled(Bodies);

enum Bodies {
    Cpu(kernels::DisentangledBias),
    /// `[heads, head_dim, buckets]` each.
    Portable {
        buckets: Buckets,
        keys: Option<Tensor>,
        queries: Option<Tensor>,
    },
}

impl Disentangled {
    /// `keys [buckets, heads * head_dim]`: for each bucket of distances, the place that queries are multiplied with; `queries`, of
    /// the same shape, those that keys are multiplied with. Where there are none, nothing is. `shape` is the attention's, whose
    /// scale these products have, too.
    pub fn new(
        body: &Body,
        shape: &kernels::AttentionShape,
        buckets: Buckets,
        keys: Option<Tensor>,
        queries: Option<Tensor>,
    ) -> Result<Self> {
        let kernels::AttentionShape { heads, head_dim, scale, .. } = *shape;
        let scaled = |places: Option<Tensor>| places.map(|places| places * f64::from(scale)).transpose();
        let (keys, queries) = (scaled(keys)?, scaled(queries)?);
        Ok(Self(match body {
            Body::Cpu { isa, .. } => {
                let values = |places: Option<Tensor>| places.map(|places| places.flatten_all()?.to_vec1()).transpose();
                let (keys, queries) = (values(keys)?, values(queries)?);
                let (keys, queries) = (keys.as_deref(), queries.as_deref());
                Bodies::Cpu(kernels::DisentangledBias::new(*isa, (heads, head_dim), buckets, keys, queries)?)
            }
            Body::Portable { dtype, .. } => {
                let by_head = |places: Option<Tensor>| {
                    let shape = (buckets.count(), heads, head_dim);
                    let by_head = |places: Tensor| places.reshape(shape)?.permute((1, 2, 0))?.contiguous();
                    places.map(|places| by_head(places)?.to_dtype(*dtype)).transpose()
                };
                Bodies::Portable { buckets, keys: by_head(keys)?, queries: by_head(queries)? }
            }
        }))
    }
}

impl AttentionBias for Disentangled {
    fn kernel(&self) -> &dyn Bias {
        match &self.0 {
            Bodies::Cpu(kernel) => kernel,
            Bodies::Portable { .. } => unreachable!("attention and its bias are of one body"),
        }
    }

    fn column(&self, distance: isize) -> u32 {
        let Bodies::Portable { buckets, .. } = &self.0 else { unreachable!("attention and its bias are of one body") };
        buckets.of(-distance) as u32
    }

    fn portable(&self, q: &Tensor, k: &Tensor, columns: &Tensor) -> candle_core::Result<Tensor> {
        let Bodies::Portable { keys: of_keys, queries: of_queries, .. } = &self.0 else {
            unreachable!("attention and its bias are of one body")
        };
        // `[texts, heads, rows, others]`, from the products of `x [texts, heads, rows, head_dim]` with places.
        let products = |x: &Tensor, others: usize, places: &Tensor, columns: &Tensor| {
            let (texts, heads, rows, head_dim) = x.dims4()?;
            let x = x.transpose(0, 1)?.reshape((heads, texts * rows, head_dim))?;
            let by_distance = product(&x, &places.index_select(columns, 2)?)?.to_dtype(DType::F32)?;
            let by_distance = by_distance.reshape((heads * texts, rows, rows + others))?;
            by_place(&by_distance)?.reshape((heads, texts, rows, others))?.transpose(0, 1)
        };
        let (queries, keys) = (q.dims()[2], k.dims()[2]);
        let from_queries = of_keys.as_ref().map(|places| products(q, keys, places, &columns.get(0)?)).transpose()?;
        let from_keys = of_queries
            .as_ref()
            .map(|places| products(k, queries, places, &columns.get(1)?)?.transpose(2, 3))
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
                    let mut places = || x.tensor(&[buckets.count(), 24]);
                    let (keys, queries) = (places()?, places()?);
                    let (keys, queries) = (with_keys.then_some(keys), with_queries.then_some(queries));
                    let bias = Disentangled::new(at.body(), &shape, buckets, keys, queries)?;
                    let qkv = x.tensor(&[60, shape.width()])?;
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
            let mut places = || Ok::<_, crate::Error>(x(&[buckets.count(), 24])?.to_dtype(DType::F32)?);
            let bias = Disentangled::new(at.body(), &shape, buckets, Some(places()?), Some(places()?))?;
            let qkv = x(&[60, shape.width()])?;
            let layout = Layout::new(&[0, 1, 8, 8, 60], &[]);
            Attention::new(at.body(), shape).with_bias(Arc::new(bias)).forward(&qkv, &layout, None, None)
        });
    }
}
