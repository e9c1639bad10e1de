//! votive's errors as Python's.

use pyo3::create_exception;
use pyo3::exceptions::{
    PyException, PyFileNotFoundError, PyKeyboardInterrupt, PyMemoryError, PyOSError, PyRuntimeError, PyValueError,
};
use pyo3::prelude::*;

use crate::Error;

create_exception!(votive, VotiveError, PyException, "What all errors of votive's own have in common.");
create_exception!(
    votive,
    ModelError,
    VotiveError,
    "A model's file is damaged, contradicts another, or is not supported."
);
create_exception!(votive, DeviceError, VotiveError, "A device is not there, not built in, or failed.");

create_exception!(votive, QueueFull, VotiveError, "More texts wait than `max_queue` allows.");
create_exception!(votive, StoreError, VotiveError, "A store, or its folder, cannot do what it is asked for.");
create_exception!(votive, CorruptStoreError, StoreError, "A store's folder is damaged, or contradicts itself.");

/// The parts of a [`ModelError`]: attributes, `None` on the class where an error has none.
const MODEL_PARTS: [&str; 3] = ["file", "key", "tensor"];

/// Gives the class its attributes, for errors without parts.
pub(super) fn init_model_error(py: Python<'_>) -> PyResult<()> {
    MODEL_PARTS.iter().try_for_each(|part| py.get_type::<ModelError>().setattr(*part, py.None()))
}

fn model_error(message: String, file: &str, key: Option<&str>, tensor: Option<&str>) -> PyErr {
    let error = ModelError::new_err(message);
    Python::attach(|py| {
        let set = |(part, value)| error.value(py).setattr(part, value);
        match MODEL_PARTS.into_iter().zip([Some(file), key, tensor]).try_for_each(set) {
            Ok(()) => error,
            Err(failure) => failure,
        }
    })
}

impl From<Error> for PyErr {
    fn from(error: Error) -> PyErr {
        let message = error.message();
        match error {
            Error::Argument { .. } => PyValueError::new_err(message),
            Error::NotFound { .. } => PyFileNotFoundError::new_err(message),
            Error::Model { file, key, tensor, .. } => model_error(message, &file, key.as_deref(), tensor.as_deref()),
            Error::Hub { .. } => ModelError::new_err(message),
            Error::Device { .. } | Error::DeviceMemory { .. } => DeviceError::new_err(message),
            Error::QueueFull { .. } => QueueFull::new_err(message),
            Error::Store { argument, row, reason } => with_parts(StoreError::new_err(message), argument, row, &reason),
            Error::CorruptStore { argument, row, reason } => {
                with_parts(CorruptStoreError::new_err(message), argument, row, &reason)
            }
            Error::Memory { .. } => PyMemoryError::new_err(message),
            Error::Io { path, source } => match source.raw_os_error() {
                // With a number and a file, OSError becomes the right one of its subclasses by itself.
                Some(number) => {
                    let text = source.to_string();
                    let text = text.split(" (os error").next().unwrap_or_default().to_owned();
                    PyOSError::new_err((number, text, path))
                }
                None => PyOSError::new_err(message),
            },
            // The pending exception is raised instead wherever there is one.
            Error::Interrupted => PyKeyboardInterrupt::new_err(()),
            Error::Tensor(_) | Error::Internal { .. } => PyRuntimeError::new_err(message),
        }
    }
}

/// Gives a StoreError's class the attributes that [`with_parts`] sets, for those that are raised without parts.
pub(super) fn declare_parts(py: Python<'_>) -> PyResult<()> {
    let store_error = py.get_type::<StoreError>();
    ["argument", "row", "reason"].into_iter().try_for_each(|part| store_error.setattr(part, py.None()))
}

/// A StoreError that carries its parts. An error of setting one comes in its place.
fn with_parts(error: PyErr, argument: &str, row: Option<usize>, reason: &str) -> PyErr {
    Python::attach(|py| {
        let value = error.value(py);
        let set = value.setattr("argument", argument).and_then(|()| value.setattr("row", row));
        set.and_then(|()| value.setattr("reason", reason)).err().unwrap_or(error)
    })
}
