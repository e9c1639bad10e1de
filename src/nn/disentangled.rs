//! The bias of disentangled attention.

use candle_core::Tensor;

use crate::Result;
use crate::kernels::{self, Bias, Buckets};
use crate::nn::{AttentionBias, Body};

/// What contents and places say to each other (He et al. 2021; reference: transformers' `modeling_deberta_v2.py`).
pub struct Disentangled(Bodies);

enum Bodies {
    Cpu(kernels::Disentangled),
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
        shape: &kernels::Attention,
        buckets: Buckets,
        keys: Option<Tensor>,
        queries: Option<Tensor>,
    ) -> Result<Self> {
        let kernels::Attention { heads, head_dim, scale, .. } = *shape;
        let scaled = |places: Option<Tensor>| places.map(|places| places * f64::from(scale)).transpose();
        let (keys, queries) = (scaled(keys)?, scaled(queries)?);
        Ok(Self(match body {
            Body::Cpu { isa, .. } => {
                let values = |places: Option<Tensor>| places.map(|places| places.flatten_all()?.to_vec1()).transpose();
                let (keys, queries) = (values(keys)?, values(queries)?);
                let (keys, queries) = (keys.as_deref(), queries.as_deref());
                Bodies::Cpu(kernels::Disentangled::new(*isa, (heads, head_dim), buckets, keys, queries))
            }
            Body::Portable { .. } => {
                let by_head = |places: Option<Tensor>| {
                    let shape = (buckets.count(), heads, head_dim);
                    places.map(|places| places.reshape(shape)?.permute((1, 2, 0))?.contiguous()).transpose()
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

    fn portable(&self, queries: &Tensor, keys: &Tensor) -> candle_core::Result<Tensor> {
        let Bodies::Portable { buckets, keys: of_keys, queries: of_queries } = &self.0 else {
            unreachable!("attention and its bias are of one body")
        };
        let (heads, len, _) = queries.dims3()?;
        // `[heads, len, len]`, from the products of rows `x` with the places of all buckets.
        let gathered = |x: &Tensor, places: &Tensor, bucket: &dyn Fn(isize, isize) -> usize| {
            let index = |i: usize| bucket((i / len) as isize, (i % len) as isize) as u32;
            let index = Tensor::from_iter((0..len * len).map(index), x.device())?;
            let index = index.reshape((1, len, len))?.repeat((heads, 1, 1))?;
            x.matmul(places)?.gather(&index, 2)
        };
        let mut sum = Tensor::zeros((heads, len, len), queries.dtype(), queries.device())?;
        if let Some(places) = of_keys {
            sum = (sum + gathered(queries, places, &|query, key| buckets.of(query - key))?)?;
        }
        if let Some(places) = of_queries {
            sum = (sum + gathered(keys, places, &|key, query| buckets.of(query - key))?.transpose(1, 2)?)?;
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kernels::Mask;
    use crate::nn::Attention;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree};

    #[test]
    fn bodies_agree() {
        for buckets in [Buckets::Each { span: 4 }, Buckets::Logarithmic { span: 6, most: 14 }] {
            for (with_keys, with_queries) in [(true, true), (true, false), (false, true)] {
                assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
                    let shape = kernels::Attention { heads: 3, kv_heads: 3, head_dim: 8, scale: 0.3, mask: Mask::Full };
                    let mut places = || x.tensor(&[buckets.count(), 24]);
                    let (keys, queries) = (places()?, places()?);
                    let (keys, queries) = (with_keys.then_some(keys), with_queries.then_some(queries));
                    let bias = Disentangled::new(at.body(), &shape, buckets, keys, queries)?;
                    let qkv = x.tensor(&[40, shape.width()])?;
                    Attention::new(at.body(), shape).with_bias(Arc::new(bias)).forward(
                        &qkv,
                        &[0, 1, 8, 8, 40],
                        None,
                        None,
                    )
                });
            }
        }
    }
}
