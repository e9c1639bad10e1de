//! Finding a model's files: a folder, the Hugging Face cache, a download, an installed package.

mod folder;
mod mmap;
mod safetensors;
mod weights;

pub use folder::{ModelFolder, Origin};
pub use weights::{Weight, Weights};
