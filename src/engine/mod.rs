//! Models at work: the objects that Python sees, and the calls that share them.

mod beginnings;
mod course;
mod embedder;
mod finish;
mod job;
mod network;
mod pass;
mod queue;
mod repeats;
mod reranker;
mod scheduler;
mod window;

pub use embedder::Embedder;
pub use job::{Finished, Output, Report, Request, Rows};
pub use network::{LoadOptions, Network};
pub use reranker::Reranker;
pub use scheduler::{Sharing, Ticket};
