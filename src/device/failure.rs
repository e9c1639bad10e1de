//! What a GPU's failures mean to a caller.

use std::any::Any;

use candle_core::Error as TensorError;

use crate::Error;
use crate::panic::error_of;

/// How the libraries say that memory was refused: CUDA's driver, cuBLAS, and Metal, which gives no buffer.
const OUT_OF_MEMORY_SIGNS: &[&str] = &[
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "out of memory",
    "Failed to create metal resource: Buffer",
    "Insufficient Memory",
    "kIOGPUCommandBufferCallbackErrorOutOfMemory",
];

/// `error`, that came up in work on `device`, as an error of the device where it is one.
pub(super) fn classify(device: &str, error: Error) -> Error {
    let Error::Tensor(error) = error else { return error };
    let reason = error.downcast_ref().map_or_else(|| first_line(&error.to_string()).to_owned(), reason);
    let message = format!("{device}: {reason}");
    match OUT_OF_MEMORY_SIGNS.iter().any(|sign| reason.contains(sign)) {
        true => Error::DeviceMemory { message },
        false => Error::Device { message },
    }
}

/// The error for a panic in work on `device`. The libraries that drive a GPU have no other way to say that a part of them is
/// missing.
pub(super) fn panicked(device: &str, panic: Box<dyn Any + Send>) -> Error {
    match error_of(panic) {
        Error::Internal { message } => Error::device(format!("{device}: {}", first_line(&message))),
        error => error,
    }
}

/// What went wrong, in one line, without where.
fn reason(error: &TensorError) -> String {
    match error {
        TensorError::WithBacktrace { inner, .. }
        | TensorError::Context { inner, .. }
        | TensorError::WithPath { inner, .. } => reason(inner),
        // Driver errors show as `DriverError(CUDA_ERROR_..., "...")`.
        error => first_line(&error.to_string()).to_owned(),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(text: &'static str) -> Error {
        classify("cuda:1", TensorError::Cuda(text.into()).into())
    }

    #[test]
    fn memory_is_told_from_the_rest() {
        let refused = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
        assert!(
            matches!(classified(refused), Error::DeviceMemory { message } if message == format!("cuda:1: {refused}"))
        );
        assert!(matches!(classified("CublasError(CUBLAS_STATUS_ALLOC_FAILED)"), Error::DeviceMemory { .. }));
        let buffer = TensorError::Msg("Metal error Failed to create metal resource: Buffer".to_owned());
        assert!(matches!(classify("metal", buffer.into()), Error::DeviceMemory { .. }));
        assert!(matches!(classified("DriverError(CUDA_ERROR_ILLEGAL_ADDRESS)"), Error::Device { .. }));
    }

    #[test]
    fn a_reason_is_one_line() {
        let error =
            TensorError::Cuda("DriverError(CUDA_ERROR_NO_DEVICE)\n   0: backtrace".into()).context("when loading");
        let error = TensorError::WithBacktrace {
            inner: Box::new(error),
            backtrace: Box::new(std::backtrace::Backtrace::force_capture()),
        };
        let message = classify("cuda:0", error.into()).to_string();
        assert_eq!(message, "cuda:0: DriverError(CUDA_ERROR_NO_DEVICE)");
    }

    #[test]
    fn what_is_no_failure_of_the_device_stays_what_it_is() {
        assert!(matches!(classify("metal", Error::Interrupted), Error::Interrupted));
        assert!(matches!(classify("metal", Error::argument("texts", "bad")), Error::Argument { .. }));
    }

    #[test]
    fn a_panic_says_which_device() {
        let panic: Box<dyn Any + Send> = Box::new("Unable to load the library\nmore".to_owned());
        assert_eq!(panicked("cuda:0", panic).to_string(), "cuda:0: Unable to load the library");
        assert_eq!(panicked("cuda:0", Box::new(())).to_string(), "cuda:0: panic");
    }
}
