//! Models at work: the objects that Python sees, and the threads that they share.

mod cache;
mod embedder;
mod pool;

pub use embedder::{Embedder, LoadOptions, Report, Request, TokenEmbeddings};
