//! votive: embeddings, reranking and exact vector search.
//!
//! Text goes through `text` (tokens, packing plan), a model of `models` (built from the blocks of `nn`, which compute
//! with `kernels` on the CPU and with candle elsewhere) and `pipeline` (pooling and what follows it); `engine` ties
//! them together and `python` offers the result to Python.

pub mod config;
pub mod device;
pub mod engine;
pub mod error;
pub mod files;
mod gguf;
pub mod gpu;
pub mod hub;
pub mod kernels;
mod memory;
pub mod models;
pub mod nn;
mod panic;
pub mod pipeline;
mod pool;
pub mod profile;
#[cfg(feature = "python")]
mod python;
#[cfg(feature = "serve")]
pub mod serve;
pub mod store;
pub mod text;
pub mod weights;

pub use error::{CancelCheck, Error, Result};
