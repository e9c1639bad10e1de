//! What can go wrong, one case per way that a caller can react to it.

use std::fmt::Display;
use std::path::PathBuf;
use std::{fs, io};

/// The most bytes of a message, not counting the note on those that are left out.
const MAX_MESSAGE_BYTES: usize = 4000;
/// Bytes of the end of a message that is too long that are kept.
const END_BYTES: usize = 1000;

/// Asks the caller of a long job whether it should go on; the error that it gives ends the job and is the job's result.
pub type CancelCheck<'a> = &'a dyn Fn() -> Result<()>;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument has the right type and a value that is not accepted.
    #[error("{name}: {message}")]
    Argument {
        name: &'static str,
        /// Position, from 0, of the item or row that is not accepted, where one of several is not.
        position: Option<usize>,
        message: String,
    },

    /// An input has more tokens than are read, and the caller asked for none to be cut off.
    #[error("texts[{position}]: has {tokens} tokens, the model takes {limit}")]
    TooLong {
        /// In what the caller gave, from 0.
        position: usize,
        /// Of all of it, with special ones and what a template writes.
        tokens: usize,
        limit: usize,
    },

    /// A model, or a file that it must have, is nowhere to be found.
    #[error("{message}")]
    NotFound { message: String },

    /// A model's file is damaged, contradicts another one, or asks for what is not supported.
    #[error("{file}: {message}")]
    Model {
        /// As a user knows it: relative to the model's folder, or a whole path.
        file: String,
        /// Path of the JSON key that the message is about, where it is about one: `[1].path`, `rope.theta`.
        key: Option<String>,
        /// Name of the tensor that the message is about, where it is about one.
        tensor: Option<String>,
        /// All of what is said, key and tensor included.
        message: String,
    },

    /// The hub answered with an error, or could not be reached.
    #[error("{repo}: {message}")]
    Hub { repo: String, message: String },

    /// A device that is not there, not built in, or that failed.
    #[error("{message}")]
    Device { message: String },

    /// A device had no memory for so much work at a time.
    #[error("{message}")]
    DeviceMemory { message: String },

    /// More waits to be computed than the caller allowed.
    #[error("{message}")]
    QueueFull { message: String },

    /// An array that a store is to hold has another size or type than it must have. `argument` is the array's name;
    /// `row`, counted within the array, is the first that is refused, where a row is.
    #[error("{argument}: {reason}")]
    Store { argument: &'static str, row: Option<usize>, reason: String },

    /// An array that a store was kept as is damaged, or contradicts another. The parts are those of [`Error::Store`].
    #[error("{argument}: {reason}")]
    CorruptStore { argument: &'static str, row: Option<usize>, reason: String },

    /// The process had no memory for `what`: a file, a tensor, a result.
    #[error("no memory for {what}: {bytes} bytes")]
    Memory { what: String, bytes: usize },

    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },

    /// The caller asked for the work to stop; the reason is the caller's (in Python: the pending exception).
    #[error("interrupted")]
    Interrupted,

    /// A bug of votive's.
    #[error("internal error of votive: {message}")]
    Internal { message: String },

    /// An operation of the tensor library failed: a bug in votive, or a device that gave up.
    #[error("tensor operation failed: {0}")]
    Tensor(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    pub fn argument(name: &'static str, message: impl Into<String>) -> Self {
        Self::Argument { name, position: None, message: message.into() }
    }

    /// As [`Self::argument`], of one of several items or rows; `message` names the position.
    pub fn argument_at(name: &'static str, position: usize, message: impl Into<String>) -> Self {
        Self::Argument { name, position: Some(position), message: message.into() }
    }

    /// `file` is named as a user knows it: relative to the model's folder, or a whole path.
    pub fn model(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Model { file: file.into(), key: None, tensor: None, message: message.into() }
    }

    /// What is wrong with `key` of the JSON file `file`.
    pub fn model_key(file: impl Into<String>, key: impl Into<String>, message: impl Display) -> Self {
        let key = key.into();
        let message = format!("{key}: {message}");
        Self::Model { file: file.into(), key: Some(key), tensor: None, message }
    }

    /// What is wrong with `tensor` of `file`; `message` goes on from the tensor's name.
    pub fn model_tensor(file: impl Into<String>, tensor: &str, message: impl Display) -> Self {
        Self::model(file, format!("tensor {tensor:?} {message}")).about_tensor(tensor)
    }

    /// Notes the tensor of an [`Error::Model`] whose message names it by itself.
    #[must_use]
    pub fn about_tensor(mut self, name: impl Into<String>) -> Self {
        if let Self::Model { tensor, .. } = &mut self {
            *tensor = Some(name.into());
        }
        self
    }

    pub fn device(message: impl Into<String>) -> Self {
        Self::Device { message: message.into() }
    }

    pub fn device_memory(message: impl Into<String>) -> Self {
        Self::DeviceMemory { message: message.into() }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal { message: message.into() }
    }

    /// What `to_string` gives, without what a file may have put into it: megabytes, and characters that a terminal obeys.
    pub fn message(&self) -> String {
        fit(&self.to_string())
    }

    /// `what` is what `bytes` of memory were wanted for, as a user knows it.
    pub fn memory(what: impl Into<String>, bytes: usize) -> Self {
        Self::Memory { what: what.into(), bytes }
    }

    pub fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        if source.kind() == io::ErrorKind::OutOfMemory {
            let bytes = fs::metadata(&path).map_or(0, |file| file.len());
            return Self::memory(path.display().to_string(), usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        Self::Io { path, source }
    }
}

/// `message` with its middle cut out where it is too long, and with control characters escaped.
fn fit(message: &str) -> String {
    let plain = |text: &str| -> String {
        let escape = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
        text.chars().map(|l| if escape(l) { l.escape_default().to_string() } else { l.to_string() }).collect()
    };
    if message.len() <= MAX_MESSAGE_BYTES {
        return plain(message);
    }
    let head = message.floor_char_boundary(MAX_MESSAGE_BYTES - END_BYTES);
    let tail = message.ceil_char_boundary(message.len() - END_BYTES);
    format!("{} [{} bytes left out] {}", plain(&message[..head]), tail - head, plain(&message[tail..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_error_carries_its_parts() {
        let error = Error::model_tensor("model.safetensors", "a.weight", "has shape [2]");
        assert_eq!(error.to_string(), "model.safetensors: tensor \"a.weight\" has shape [2]");
        assert!(matches!(error, Error::Model { key: None, tensor: Some(tensor), .. } if tensor == "a.weight"));
        let error = Error::model_key("config.json", "rope.theta", "missing");
        assert_eq!(error.to_string(), "config.json: rope.theta: missing");
        assert!(matches!(error, Error::Model { key: Some(key), tensor: None, .. } if key == "rope.theta"));
    }

    #[test]
    fn messages_are_plain_and_of_a_length_to_read() {
        assert_eq!(fit("a\nb\tc: ü\u{0}\u{1b}[31m\u{9b}"), "a\nb\tc: ü\\u{0}\\u{1b}[31m\\u{9b}");
        let long = format!("head{}tail", "ü".repeat(5_000_000));
        let message = fit(&long);
        assert!(message.len() < 4100 && message.starts_with("head") && message.ends_with("tail"));
        assert!(message.contains("bytes left out"), "{message}");
        assert_eq!(fit(&"x".repeat(4000)).len(), 4000);
    }
}
