//! Memory whose size follows from what is read or asked for: where there is none, that is an error.

use std::borrow::Cow;
use std::hint::black_box;

use crate::{Error, Result};

/// An empty list with room for `n` values of `what`.
pub(crate) fn with_room<T>(n: usize, what: impl FnOnce() -> String) -> Result<Vec<T>> {
    let mut values = Vec::new();
    match values.try_reserve_exact(n) {
        Ok(()) => Ok(values),
        Err(_) => Err(Error::memory(what(), n.saturating_mul(size_of::<T>()))),
    }
}

/// The `values` of `what` in memory of their own.
pub(crate) fn owned<T: Copy>(values: Cow<[T]>, what: impl FnOnce() -> String) -> Result<Vec<T>> {
    match values {
        Cow::Owned(values) => Ok(values),
        Cow::Borrowed(values) => {
            let mut copy = with_room(values.len(), what)?;
            copy.extend_from_slice(values);
            Ok(copy)
        }
    }
}

/// Whether there is memory for `bytes` of `what`, asked before a library takes it that would end the process if there were
/// none.
pub(crate) fn room(bytes: usize, what: impl FnOnce() -> String) -> Result<()> {
    with_room::<u8>(bytes, what).map(|room| drop(black_box(room)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_memory_for_is_named() {
        let what = || "tensor \"a\" of model.safetensors".to_owned();
        for error in [
            with_room::<f32>(usize::MAX / 8, what).unwrap_err(),
            with_room::<f32>(usize::MAX, what).unwrap_err(),
            room(isize::MAX as usize, what).unwrap_err(),
        ] {
            let message = error.to_string();
            assert!(matches!(error, Error::Memory { .. }), "{message}");
            assert!(message.starts_with("no memory for tensor \"a\" of model.safetensors: "), "{message}");
        }
        assert_eq!(owned(Cow::Borrowed(&[1, 2]), what).unwrap(), [1, 2]);
    }
}
