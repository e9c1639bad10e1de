//! Settings in two layers: keys of a file, and arguments that replace them.

use crate::config::json::Object;

/// A file, and arguments that take precedence over it.
pub(super) struct ConfigLayers<'a> {
    pub(super) arguments: &'a Object,
    pub(super) file: &'a Object,
}

impl ConfigLayers<'_> {
    /// The object whose `key` counts.
    pub(super) fn object_of(&self, key: &str) -> &Object {
        if self.arguments.contains(key) { self.arguments } else { self.file }
    }
}
