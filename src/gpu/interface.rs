//! Interfaces to GPUs that wgpu has.

/// What drives a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    Vulkan,
    Direct3D12,
    /// Metal, by wgpu.
    Metal,
}

impl Interface {
    pub(crate) const ALL: [Self; 3] = [Self::Vulkan, Self::Direct3D12, Self::Metal];

    /// As programs call it: "metal" is what candle drives.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vulkan => "vulkan",
            Self::Direct3D12 => "dx12",
            Self::Metal => "wgpu",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|interface| interface.name() == name)
    }

    /// As wgpu calls it.
    pub(crate) fn backend(self) -> wgpu::Backend {
        match self {
            Self::Vulkan => wgpu::Backend::Vulkan,
            Self::Direct3D12 => wgpu::Backend::Dx12,
            Self::Metal => wgpu::Backend::Metal,
        }
    }
}
