//! What can go wrong, one case per way that a caller can react to it.

use std::path::PathBuf;
use std::{fs, io};

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument has the right type and a value that is not accepted.
    #[error("{name}: {message}")]
    Argument { name: &'static str, message: String },

    /// A model, or a file that it must have, is nowhere to be found.
    #[error("{message}")]
    NotFound { message: String },

    /// A model's file is damaged, contradicts another one, or asks for what is not supported.
    #[error("{file}: {message}")]
    Model { file: String, message: String },

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

    /// A store that cannot do what it is asked for.
    #[error("{message}")]
    Store { message: String },

    /// What a store was kept as is damaged, or contradicts itself.
    #[error("{message}")]
    CorruptStore { message: String },

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

    /// A candle operation failed: a bug in votive, or a device that gave up.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    pub fn argument(name: &'static str, message: impl Into<String>) -> Self {
        Self::Argument { name, message: message.into() }
    }

    /// `file` is named as a user knows it: relative to the model's folder, or a whole path.
    pub fn model(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Model { file: file.into(), message: message.into() }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal { message: message.into() }
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
