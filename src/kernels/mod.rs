//! CPU kernels on slices: no tensors, no Python.

mod activation;
mod matrix;

pub use activation::Activation;
pub use matrix::Matrix;
