//! From strings to packed tokens.
//!
//! ```text
//! template ─→ chat ─→ chat_template
//!    └────────────────→ tokenizer ─→ vocabulary ─→ sentencepiece
//!                           │   ├──→ tokenizer_class ─→ vocabulary, added_tokens
//!                           │   └──→ boundary ─→ tokenizer_class
//!                           ├─→ static_tokens ─→ model2vec_rules, word_pieces ─→ piece_table ─→ word_key
//!                           └─→ library, charsmap (both also of vocabulary)
//! chunker ─→ borders;  chunk_tokens ─→ tokenizer
//! direct_ids ─→ pieces ─→ tokenizer;  direct_ids ─→ static_tokens
//! characters, for Python's places; inputs, tokens, truncation (of most); batch, the run that a network gets; plan, which texts are in one
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
mod direct_ids;
mod inputs;
mod library;
mod model2vec_rules;
mod piece_table;
mod pieces;
mod plan;
mod sentencepiece;
mod static_tokens;
mod template;
mod token_strings;
mod tokenizer;
mod tokenizer_class;
mod tokens;
mod truncation;
mod vocabulary;
mod word_key;
mod word_pieces;

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
pub use truncation::{LengthLimit, Truncation};
pub use word_pieces::WordCache;
