//! From strings to packed tokens.

mod added_tokens;
mod batch;
mod boundary;
mod charsmap;
mod chat;
mod chat_template;
mod inputs;
mod plan;
mod sentencepiece;
mod template;
mod tokenizer;
mod tokenizer_class;
mod vocabulary;

pub use batch::{PackedBatch, Wanted};
pub use inputs::Inputs;
pub use plan::{Limits, cost, plan, shared_tail};
pub use template::Template;
pub use tokenizer::{Input, InputKind, Tokenizer, Tokens};
