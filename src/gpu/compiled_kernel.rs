//! A kernel that the device's driver has compiled.

use crate::gpu::unique_id::next_id;

/// A kernel, compiled.
pub(crate) struct CompiledKernel {
    /// As unique among pipelines as among arrays: what a set of bound arrays is found by.
    pub(crate) id: u64,
    pub(crate) name: &'static str,
    pub(crate) compiled: wgpu::ComputePipeline,
    pub(crate) arguments: wgpu::BindGroupLayout,
}

impl CompiledKernel {
    pub(crate) fn new(device: &wgpu::Device, name: &'static str, module: &wgpu::ShaderModule) -> Self {
        let compiled = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(name),
            layout: None,
            module,
            entry_point: Some("main"),
            // Kernels write all that they read of a workgroup's memory.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        let arguments = compiled.get_bind_group_layout(0);
        Self { id: next_id(), name, compiled, arguments }
    }
}
