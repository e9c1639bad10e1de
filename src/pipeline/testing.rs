//! Weights and comparisons for the modules' tests.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use tempfile::TempDir;

use crate::config;
use crate::files::ModelFolder;

/// A tensor's name, shape and values.
pub(super) type TestTensor<'a> = (&'a str, &'a [usize], &'a [f32]);

/// A model's folder with a model.safetensors in each of these subfolders.
pub(super) fn folder(modules: &[(&str, &[TestTensor<'_>])]) -> (TempDir, ModelFolder) {
    let (root, folder) = config::testing::folder(&[]);
    for (path, tensors) in modules {
        let tensor = |&(name, shape, values): &TestTensor<'_>| {
            (name.to_owned(), Tensor::from_slice(values, shape, &Device::Cpu).unwrap())
        };
        let tensors: HashMap<_, _> = tensors.iter().map(tensor).collect();
        std::fs::create_dir(root.path().join(path)).unwrap();
        candle_core::safetensors::save(&tensors, root.path().join(path).join("model.safetensors")).unwrap();
    }
    (root, folder)
}

pub(super) fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
    assert!(found.iter().zip(expected).all(close), "{found:?} is not {expected:?}");
}
