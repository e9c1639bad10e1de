//! Models at work: the objects that Python sees, and the threads that they share.

mod beginnings;
mod embedder;
mod finish;
mod network;
mod pass;
mod repeats;
mod reranker;
mod window;

pub use embedder::{Embedder, TokenEmbeddings};
pub use network::{LoadOptions, Network, Report, Request};
pub use reranker::Reranker;
