//! A weight matrix, packed once for products with many rows.

use crate::kernels::Activation;

/// `y = activation(x · weightᵀ + bias)` with `weight [n, k]`, as `torch.nn.Linear` stores it.
pub struct Matrix {
    n: usize,
    k: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Matrix {
    /// Packs `weight [n, k]`, row-major, and `bias [n]`.
    pub fn new(weight: &[f32], bias: Option<&[f32]>, n: usize, k: usize) -> Self {
        Self { n, k, weight: weight.to_vec(), bias: bias.map_or_else(|| vec![0.0; n], <[f32]>::to_vec) }
    }

    pub fn n(&self) -> usize {
        self.n
    }

    pub fn k(&self) -> usize {
        self.k
    }

    /// `x [m, k]` to `out [m, n]`. A row's result has the same bits for every `m`.
    pub fn apply(&self, x: &[f32], activation: Activation, out: &mut [f32]) {
        let _ = (&self.weight, &self.bias, x, activation, out);
        todo!()
    }
}
