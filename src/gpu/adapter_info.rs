//! What is known of an adapter before it is opened.

/// An adapter that the drivers of this machine offer. The same GPU may stand there twice, once for each interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuInfo {
    /// "vulkan:0", "dx12:0", "wgpu:0": the interface, and a number from 0 within it.
    pub id: String,
    pub name: String,
    /// Name and version, as the driver says them.
    pub driver: String,
    pub kind: GpuKind,
    /// Bytes of its largest heap of its own; None where the interface does not say.
    pub memory: Option<u64>,
    /// The most bytes that a kernel can be given as one array.
    pub max_array: u64,
    /// Whether it computes and keeps numbers in float16.
    pub float16: bool,
    /// The fewest and the most lanes of a subgroup.
    pub subgroup_lanes: [u32; 2],
    /// Shapes of the matrix units, as `m x n x k`, with the types of factors and sum.
    pub matrix_units: Vec<String>,
    /// Why it cannot be used, where it cannot.
    pub lacks: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuKind {
    Discrete,
    Integrated,
    Virtual,
    /// A driver that computes on the CPU: for tests.
    Software,
    Other,
}
