//! From strings to packed tokens.

mod batch;
mod plan;
mod tokenizer;

pub use batch::{PackedBatch, Wanted};
pub use plan::{Limits, cost, plan};
pub use tokenizer::{Input, InputKind, Tokenizer, Tokens};
