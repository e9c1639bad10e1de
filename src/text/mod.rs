//! From strings to packed tokens.

mod batch;
mod plan;
mod template;
mod tokenizer;

pub use batch::{PackedBatch, Wanted};
pub use plan::{Limits, cost, plan};
pub use template::Template;
pub use tokenizer::{Tokenizer, Tokens};
