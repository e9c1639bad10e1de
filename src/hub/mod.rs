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
mod safetensors;
mod transfer;
mod weights;

pub(crate) use adapter::refuse_adapter;
pub use download::DownloadWatch;
pub use environment::HubEnvironment;
pub use find::{FindOptions, Token, find};
pub(crate) use folder::inside;
pub use folder::{ModelFolder, Origin};
pub use weights::{Half, Weight, Weights};
