//! Memory whose size follows from an input or a file: where there is not enough of it, an error says so, and the process goes on.

use crate::{Error, Result};

/// `len` zeros for `what`. Pages are touched when they are first used.
pub(crate) fn zeroed<T: bytemuck::Zeroable>(len: usize, what: &str) -> Result<Vec<T>> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| lack(size_of::<T>(), len, what))
}

/// Has room for `additional` more numbers of `what`, and no more than that.
pub(crate) fn reserve<T>(numbers: &mut Vec<T>, additional: usize, what: &str) -> Result<()> {
    numbers.try_reserve_exact(additional).map_err(|_| lack(size_of::<T>(), additional, what))
}

/// The error where `len` items of `size` bytes each do not fit.
pub(crate) fn lack(size: usize, len: usize, what: &str) -> Error {
    Error::Memory { what: what.to_owned(), bytes: size.saturating_mul(len) }
}

/// Gives an error back from where no result can: [`Error::of_panic`] finds it again. No panic hook is told.
pub(crate) fn raise<R>(error: Error) -> R {
    std::panic::resume_unwind(Box::new(error))
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn too_much_is_an_error_that_names_what_was_asked_for() {
        assert_eq!(zeroed::<f32>(3, "rows").unwrap(), [0.0; 3]);
        for len in [1 << 60, usize::MAX / 4, usize::MAX] {
            let message = zeroed::<f32>(len, "rows").unwrap_err().to_string();
            assert_eq!(message, format!("no memory for rows: {} bytes", len.saturating_mul(4)));
            let reserved = reserve(&mut Vec::<u64>::new(), len, "ids").unwrap_err().to_string();
            assert_eq!(reserved, format!("no memory for ids: {} bytes", len.saturating_mul(8)));
        }
    }

    #[test]
    fn an_error_that_was_raised_comes_back() {
        let work = || zeroed::<f32>(usize::MAX, "scratch").unwrap_or_else(raise);
        let error = Error::of_panic(catch_unwind(work).unwrap_err());
        assert!(matches!(error, Error::Memory { what, .. } if what == "scratch"));
    }
}
