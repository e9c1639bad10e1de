//! Kernels, one file for each: its text is in `wgsl/`, its file here says what it is called with, and compares it with a
//! scalar reference.
//!
//! ```text
//! product ── activation, weights      attention ── score_bias ── weights      norm ── weights
//! rotation, element, gather, columns, reshape, mean, scatter, row_upload, read_back
//! ```

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod columns;
pub(crate) mod element;
pub(crate) mod gather;
pub(crate) mod mean;
pub(crate) mod norm;
pub(crate) mod product;
pub(crate) mod read_back;
pub(crate) mod reshape;
pub(crate) mod rotation;
pub(crate) mod row_upload;
pub(crate) mod scatter;
pub(crate) mod score_bias;
#[cfg(test)]
mod translation_tests;
pub(crate) mod weights;
