//! Memory whose size follows from an input or a file: where there is not enough of it, an error says so, and the process goes on.

use std::borrow::Cow;
use std::hint::black_box;

use crate::{Error, Result};

/// `len` zeros for `what`. Pages are touched when they are first used.
pub(crate) fn zeroed<T: bytemuck::Zeroable>(len: usize, what: &str) -> Result<Vec<T>> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| lack(size_of::<T>(), len, what))
}

/// Has room for `additional` more values of `what`, and no more than that.
pub(crate) fn reserve<T>(values: &mut Vec<T>, additional: usize, what: &str) -> Result<()> {
    values.try_reserve_exact(additional).map_err(|_| lack(size_of::<T>(), additional, what))
}

/// An empty list with room for `n` values of `what`.
pub(crate) fn with_room<T>(n: usize, what: &str) -> Result<Vec<T>> {
    let mut values = Vec::new();
    reserve(&mut values, n, what)?;
    Ok(values)
}

/// The `values` of `what` in memory of their own.
pub(crate) fn owned<T: Copy>(values: Cow<[T]>, what: impl FnOnce() -> String) -> Result<Vec<T>> {
    match values {
        Cow::Owned(values) => Ok(values),
        Cow::Borrowed(values) => {
            let mut copy = with_room(values.len(), &what())?;
            copy.extend_from_slice(values);
            Ok(copy)
        }
    }
}

/// Whether there is memory for `bytes` of `what`, asked before a library takes it that would end the process if there were
/// none.
pub(crate) fn room(bytes: usize, what: impl FnOnce() -> String) -> Result<()> {
    with_room::<u8>(bytes, &what()).map(|room| drop(black_box(room)))
}

/// The error where `len` items of `size` bytes each do not fit.
pub(crate) fn lack(size: usize, len: usize, what: &str) -> Error {
    Error::memory(what, size.saturating_mul(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_an_error_that_names_what_was_asked_for() {
        assert_eq!(zeroed::<f32>(3, "rows").unwrap(), [0.0; 3]);
        for len in [1 << 60, usize::MAX / 4, usize::MAX] {
            let message = zeroed::<f32>(len, "rows").unwrap_err().to_string();
            assert_eq!(message, format!("no memory for rows: {} bytes", len.saturating_mul(4)));
            let message = with_room::<u64>(len, "ids").unwrap_err().to_string();
            assert_eq!(message, format!("no memory for ids: {} bytes", len.saturating_mul(8)));
        }
        assert!(matches!(room(isize::MAX as usize, || "a file".to_owned()), Err(Error::Memory { .. })));
        assert_eq!(owned(Cow::Borrowed(&[1, 2]), || "a tensor".to_owned()).unwrap(), [1, 2]);
    }
}
