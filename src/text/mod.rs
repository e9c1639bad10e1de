//! From strings to packed tokens.
//!
//! ```text
//! template ─→ chat ─→ chat_template
//!    └────────────────→ tokenizer ─→ vocabulary ─→ sentencepiece
//!                           │   ├──→ tokenizer_class ─→ vocabulary, added_tokens
//!                           │   └──→ boundary ─→ tokenizer_class
//!                           └─→ library, charsmap (both also of vocabulary)
//! chunker ─→ borders;  chunk_tokens ─→ tokenizer
//! characters, for Python's places; inputs, tokens (of most); batch, the run that a network gets; plan, which texts are in one
//! ```

mod added_tokens;
mod batch;
mod borders;
mod boundary;
mod characters;
mod charsmap;
mod chat;
mod chat_template;
mod chunk_tokens;
mod chunker;
mod inputs;
mod library;
mod plan;
mod sentencepiece;
mod template;
mod token_strings;
mod tokenizer;
mod tokenizer_class;
mod tokens;
mod vocabulary;

pub use batch::{PackedBatch, TokenSelection};
pub use characters::{bytes_of, characters_before};
pub use chunk_tokens::{ChunkedText, chunk_tokens};
pub use chunker::{ChunkLimits, ChunkSize, TextChunk, chunks};
pub use inputs::{Input, InputKind, Inputs};
pub use plan::{Limits, cost, plan, shared_tail};
pub use template::{Answers, Template};
pub use token_strings::TokenIds;
pub use tokenizer::Tokenizer;
pub use tokens::Tokens;
