//! votive's errors as Python's.

use std::io;
use std::path::PathBuf;

use pyo3::create_exception;
use pyo3::exceptions::{
    PyException, PyFileNotFoundError, PyKeyboardInterrupt, PyMemoryError, PyOSError, PyRuntimeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::Error;

create_exception!(votive, VotiveError, PyException, "What all errors of votive's own have in common.");
create_exception!(
    votive,
    ModelError,
    VotiveError,
    "A model's file is damaged, contradicts another, or is not supported.\n\n`file`, `key` and `tensor` say what it is \
     about: a path within the model's folder, a key of a JSON file, a tensor's name; None where there is none."
);
create_exception!(votive, DeviceError, VotiveError, "A device is not there, not built in, or failed.");

create_exception!(votive, QueueFull, VotiveError, "More texts wait than `max_queue` allows.");
create_exception!(
    votive,
    StoreError,
    VotiveError,
    "A store, or its folder, cannot do what it is asked for.\n\n`argument`, `row` and `reason` are set where an array was \
     refused: its name, its first row at fault, and why; None elsewhere."
);
create_exception!(votive, CorruptStoreError, StoreError, "A store's folder is damaged, or contradicts itself.");

/// Attributes of a [`ModelError`]: what the error is about.
const MODEL_PARTS: [&str; 3] = ["file", "key", "tensor"];

/// Attributes of a [`StoreError`].
const STORE_PARTS: [&str; 3] = ["argument", "row", "reason"];

/// Gives the classes their attributes, `None` where an error has no such part.
pub(super) fn declare_parts(py: Python<'_>) -> PyResult<()> {
    let declare = |class: Bound<'_, PyType>, parts: [&str; 3]| {
        parts.into_iter().try_for_each(|part| class.setattr(part, py.None()))
    };
    declare(py.get_type::<ModelError>(), MODEL_PARTS)?;
    declare(py.get_type::<StoreError>(), STORE_PARTS)
}

/// An error that carries its parts. An error of setting one comes in its place.
fn with_parts<'a>(error: PyErr, parts: impl IntoIterator<Item = (&'a str, ErrorPart<'a>)>) -> PyErr {
    Python::attach(|py| {
        let value = error.value(py);
        let set = |(name, part)| match part {
            ErrorPart::Text(text) => value.setattr(name, text),
            ErrorPart::Row(row) => value.setattr(name, row),
        };
        parts.into_iter().try_for_each(set).err().unwrap_or(error)
    })
}

/// The value of an attribute.
enum ErrorPart<'a> {
    Text(Option<&'a str>),
    Row(Option<usize>),
}

fn store_error(error: PyErr, argument: &str, row: Option<usize>, reason: &str) -> PyErr {
    with_parts(
        error,
        STORE_PARTS.into_iter().zip([
            ErrorPart::Text(Some(argument)),
            ErrorPart::Row(row),
            ErrorPart::Text(Some(reason)),
        ]),
    )
}

/// An OSError of the subclass that its number asks for. `path` is the file that it is about.
pub(super) fn os_error(source: &io::Error, path: Option<PathBuf>) -> PyErr {
    let text = source.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_owned();
    PyOSError::new_err((source.raw_os_error(), text, path))
}

impl From<Error> for PyErr {
    fn from(error: Error) -> PyErr {
        let message = error.message();
        match error {
            Error::Argument { .. } | Error::TooLong { .. } => PyValueError::new_err(message),
            Error::NotFound { .. } => PyFileNotFoundError::new_err(message),
            Error::Model { file, key, tensor, .. } => {
                let parts = [Some(&*file), key.as_deref(), tensor.as_deref()].map(ErrorPart::Text);
                with_parts(ModelError::new_err(message), MODEL_PARTS.into_iter().zip(parts))
            }
            Error::Hub { .. } => ModelError::new_err(message),
            Error::Device { .. } | Error::DeviceMemory { .. } => DeviceError::new_err(message),
            Error::QueueFull { .. } => QueueFull::new_err(message),
            Error::Store { argument, row, reason } => store_error(StoreError::new_err(message), argument, row, &reason),
            Error::CorruptStore { argument, row, reason } => {
                store_error(CorruptStoreError::new_err(message), argument, row, &reason)
            }
            Error::Memory { .. } => PyMemoryError::new_err(message),
            Error::Io { path, source } if source.raw_os_error().is_some() => os_error(&source, Some(path)),
            Error::Io { .. } => PyOSError::new_err(message),
            // The pending exception is raised instead wherever there is one.
            Error::Interrupted => PyKeyboardInterrupt::new_err(()),
            Error::Tensor(_) | Error::Internal { .. } => PyRuntimeError::new_err(message),
        }
    }
}
