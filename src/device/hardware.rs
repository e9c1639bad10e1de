//! What a device's driver says of it.

/// What computes in a device, as far as it is known before it is used.
#[derive(Debug, Clone, Default)]
pub(super) struct Hardware {
    /// As its maker calls it.
    pub(super) model: Option<String>,
    /// In bytes, that votive may use.
    pub(super) memory: Option<u64>,
    /// Whether it computes in float16, as far as that is to be asked.
    pub(super) float16: bool,
}
