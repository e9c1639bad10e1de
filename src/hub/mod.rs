//! Finding a model's files: a folder, the Hugging Face cache, a download, an installed package.

mod adapter;
mod cache;
mod checksum;
mod client;
mod contents;
mod download;
mod environment;
mod file;
mod find;
mod folder;
mod mmap;
mod network;
mod pytorch;
mod safetensors;
mod secret;
mod tensor_file;
mod transfer;
mod weight;
mod weights;

pub(crate) use adapter::refuse_adapter;
pub use download::DownloadWatch;
pub use environment::HubEnvironment;
pub(crate) use file::{MAX_JSON_BYTES, MAX_TOKENIZER_BYTES, read_file};
pub use find::{FindOptions, Token, find};
pub(crate) use folder::inside;
pub use folder::{ModelFolder, Origin};
pub use network::NetworkEnvironment;
pub use secret::Secret;
pub use weight::{Half, Weight};
pub use weights::Weights;
