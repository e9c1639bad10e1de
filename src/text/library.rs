//! Calling the tokenizers crate: its errors and its panics as errors that name the file.

use crate::panic::caught;
use crate::{Error, Result};

/// Does `work` of the tokenizers crate on what `file` says. The crate panics where the file contradicts itself in ways that it does
/// not look for (a template with a token that it does not declare), and may cut a token within a character, so that even its
/// message is no text.
///
/// # Errors
/// [`Error::Model`] with the crate's error, or where it panics.
pub(super) fn call_library<R>(file: &str, work: impl FnOnce() -> tokenizers::Result<R>) -> Result<R> {
    let message = match caught(work) {
        Ok(Ok(result)) => return Ok(result),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "contradicts itself: the tokenizers library cannot work with it".to_owned(),
    };
    Err(Error::model(file, String::from_utf8_lossy(message.as_bytes())))
}
