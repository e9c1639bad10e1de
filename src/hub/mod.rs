//! Finding a model's files: a folder, the Hugging Face cache, a download, an installed package.

mod adapter;
mod cache;
mod client;
mod contents;
mod download;
mod environment;
mod find;
mod folder;
mod mmap;
mod pytorch;
mod safetensors;
mod tensor_file;
mod transfer;
mod weight;
mod weights;

pub(crate) use adapter::refuse_adapter;
pub use download::DownloadWatch;
pub use environment::HubEnvironment;
pub use find::{FindOptions, Token, find};
pub(crate) use folder::inside;
pub use folder::{ModelFolder, Origin};
pub use weight::{Half, Weight};
pub use weights::Weights;
