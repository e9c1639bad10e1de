//! Means for tests of what a family reads from config.json, without a checkpoint.

use std::fs;

use candle_core::{DType, Device, Tensor};

use crate::Result;
use crate::config::Object;
use crate::files::{ModelFolder, Origin};
use crate::kernels::{Dtype, Isa};
use crate::models::source::Source;
use crate::nn::{Body, Loader};
use crate::weights::Weights;

/// Runs `work` on a model with this config.json and no tensor of use.
pub(super) fn with_source<R>(config: &str, work: impl FnOnce(&Source) -> R) -> R {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("config.json"), config).unwrap();
    let unused = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
    unused.save_safetensors("unused", root.path().join("model.safetensors")).unwrap();
    let folder = ModelFolder::new(root.path().to_owned(), Origin::Folder);
    let weights = Weights::open(&folder, "").unwrap();
    let body = Body::Cpu { isa: Isa::available()[0], dtype: Dtype::Float32 };
    let config = Object::require(&folder, "config.json").unwrap();
    work(&Source { config, at: Loader::new(&weights, &body) })
}

/// Asserts that `read` refuses each config.json with an error about the key beside it.
pub(super) fn assert_refuses<R>(read: impl Fn(&Source) -> Result<R>, cases: &[(&str, &str)]) {
    for (text, key) in cases {
        let message = with_source(text, |source| read(source).err().unwrap().to_string());
        assert!(message.starts_with(&format!("config.json: {key}: ")), "{message}");
    }
}
