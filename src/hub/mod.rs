//! Finding a model's files: a folder, the Hugging Face cache, a download, an installed package.
//!
//! Gives a `ModelFolder` of `files`; asks `weights` which files weights are in and whether they are whole, and has `gguf` make what a
//! GGUF file says. Who uses whom:
//!
//! ```text
//! find ─→ download ─→ transfer ─→ cache ─→ own_file
//!   │        │           ├──────→ checksum
//!   │        │           └──────→ client ─→ network
//!   │        ├─→ contents (also of find, base, description and copy)
//!   │        └─→ description (also of find) ─→ known_models
//!   ├─→ gguf_choice (also of download)
//!   ├─→ base
//!   └─→ environment (also of client) ─→ secret, network; cache, transfer and client ─→ watch
//! ```

mod base;
mod cache;
mod checksum;
mod client;
mod contents;
mod copy;
mod description;
mod download;
mod environment;
mod find;
mod gguf_choice;
mod known_models;
mod network;
mod own_file;
mod secret;
mod transfer;
mod watch;

pub use copy::copy_description;
pub use environment::HubEnvironment;
pub use find::{FindOptions, find};
pub use network::NetworkEnvironment;
pub use secret::{Secret, Token};
pub use watch::DownloadWatch;
