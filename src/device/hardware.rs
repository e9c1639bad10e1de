//! What a device's driver says of it.

/// What computes in a device, as far as it is known before it is used.
#[derive(Debug, Clone, Default)]
pub(super) struct Hardware {
    /// As its maker calls it.
    pub(super) model: Option<String>,
    /// In bytes, that votive may use.
    pub(super) memory: Option<u64>,
}
