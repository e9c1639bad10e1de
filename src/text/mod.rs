//! From strings to packed tokens.

mod batch;
mod chat;
mod chat_template;
mod inputs;
mod plan;
mod template;
mod tokenizer;
mod tokenizer_class;

pub use batch::{PackedBatch, Wanted};
pub use inputs::Inputs;
pub use plan::{Limits, cost, plan, shared_tail};
pub use template::Template;
pub use tokenizer::{Input, InputKind, Tokenizer, Tokens};
