//! Models at work: the objects that Python sees, and the calls that share them.
//!
//! Each file uses those below it:
//!
//! ```text
//! embedder, reranker      a model of one kind
//! inspection              what a model's files say, without loading it
//! routes                  the networks of a model, by tasks
//! shared_network          a network with the queue of its calls: what a caller's thread does
//! worker                  what the other threads do
//! scheduler               the queue behind a lock, with the network that it is for
//! queue, queued_call      weighted fair queueing
//! queue_depth             how much waits
//! pass, average           what the network does for tasks
//! chunks                  cutting texts to what the network reads
//! network                 the loaded model
//! call_state              which tasks a call has next
//! task, planner, window   what is done at a time
//! call, prefix            a call's inputs, those that begin alike
//! chunk_rows              chunks that a call gives rows of
//! output_head, options, unique_inputs, stats ─→ distribution
//! ```

mod average;
mod call;
mod call_state;
mod chunk_rows;
mod chunks;
mod distribution;
mod embedder;
mod inspection;
mod network;
mod options;
mod output_head;
mod pass;
mod planner;
mod prefix;
mod queue;
mod queue_depth;
mod queued_call;
mod reranker;
mod routes;
mod scheduler;
mod shared_network;
mod stats;
mod task;
mod unique_inputs;
mod window;
mod worker;

pub use crate::models::{ModelKind, supported_kinds};
pub use call::{CallOutput, CallResult, OutputRows, Report, Request};
pub use chunk_rows::ChunkRows;
pub use chunks::ChunkOptions;
pub use distribution::{CumulativeCounts, Summary};
pub use embedder::Embedder;
pub use inspection::inspect;
pub use network::Network;
pub use options::{LoadOptions, Sharing};
pub use queue_depth::QueueDepth;
pub use reranker::Reranker;
pub use routes::Routes;
pub use shared_network::{CallHandle, SharedNetwork};
pub use stats::{CallTimes, Measure, Snapshot, Stats};
