//! Whether CUDA's libraries are there. What uses them opens them by name when it first needs one, and panics where it is absent.

use std::ffi::OsStr;

use libloading::Library;

/// What a candle device needs, each by the names that are looked for.
const NEEDED: &[&[&str]] = &[
    &["libcuda.so.1", "libcuda.so"],
    &["libcublas.so.13", "libcublas.so.12", "libcublas.so"],
    &["libcurand.so.10", "libcurand.so"],
];

/// The first library that is needed and absent.
pub(super) fn absent() -> Option<&'static str> {
    NEEDED.iter().find(|names| !names.iter().any(|name| opens(OsStr::new(name)))).map(|names| names[0])
}

fn opens(name: &OsStr) -> bool {
    // SAFETY: what NVIDIA's libraries do as they are loaded may be done at any time and on any thread; no symbol is taken from them.
    match unsafe { Library::new(name) } {
        Ok(library) => {
            // It is about to be used: loading some hundred megabytes again would take time.
            std::mem::forget(library);
            true
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_by_name() {
        assert!(!opens(OsStr::new("libvotive-that-is-nowhere.so.1")));
        assert!(opens(OsStr::new("libc.so.6")));
    }
}
