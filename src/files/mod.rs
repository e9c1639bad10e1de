//! A model's folder and the files in it: paths that cannot leave the folder, and reading with a limit of bytes.
//!
//! Below every room that reads a model's files; where the folder comes from is `hub`'s. `folder` uses `read` and `split_name`.

mod folder;
mod read;
mod split_name;

pub(crate) use folder::inside;
pub use folder::{ModelFolder, Origin};
pub(crate) use read::{MAX_INDEX_BYTES, MAX_JSON_BYTES, MAX_LINE_BYTES, MAX_TOKENIZER_BYTES, open_file, read_file};
pub(crate) use split_name::{GGUF_ENDING, SplitName, all_parts, first_part};
