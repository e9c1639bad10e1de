//! Finding a model's files: a folder, the Hugging Face cache, a download, an installed package.

mod cache;
mod checksum;
mod client;
mod contents;
mod download;
mod environment;
mod find;
mod network;
mod own_file;
mod secret;
mod transfer;

pub use download::DownloadWatch;
pub use environment::HubEnvironment;
pub use find::{FindOptions, Token, find};
pub use network::NetworkEnvironment;
pub use secret::Secret;
