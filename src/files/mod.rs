//! A model's folder and the files in it: paths that cannot leave the folder, and reading with a limit of bytes.
//!
//! Below every room that reads a model's files; where the folder comes from is `hub`'s. `folder` uses `read`.

mod folder;
mod read;

pub(crate) use folder::{GGUF_ENDING, inside};
pub use folder::{ModelFolder, Origin};
pub(crate) use read::{MAX_INDEX_BYTES, MAX_JSON_BYTES, MAX_LINE_BYTES, MAX_TOKENIZER_BYTES, open_file, read_file};
