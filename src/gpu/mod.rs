//! Networks on GPUs through Vulkan, Direct3D 12 and Metal (by wgpu), with kernels in WGSL: no tensors, no models, no
//! Python.
//!
//! ```text
//! pipelines: product, attention, norm, rotation, element, gather, columns, reshape, mean, scatter, row_upload, read_back
//!     one file each: what a kernel is called with; its text is in wgsl/
//! pass            the pass of a model             recording       kernels' calls, submissions, a read-back, a canary
//! product_rate    how fast a device multiplies
//! arena           the memory of a model's passes          device_rows     states in it
//! device_array    arrays of a device ── unique_id         kernel_text     WGSL, made of templates
//! context         a device that is open ── compiled_kernel, adapter_info, interface
//! ```
//!
//! A block of a network holds its weights, and records into a pass:
//!
//! ```text
//! passes = Passes::new(open("vulkan:0"))         pass = passes.pass(tokens)
//! x = row_upload(pass, values)                   sums of rows of tables, which stay on the CPU
//! x = product.record(pass, x), ...               nothing is computed yet
//! values = read(pass, x)                         all of it, and the canary
//! ```
//!
//! A row of states takes a multiple of 16 numbers; those beyond its width are zero, and every kernel keeps it so. A row's
//! bits depend on that row (in attention: on that text) alone: each sum has one order, which neither the number of rows
//! nor a row's place decides.

mod adapter_info;
mod arena;
mod compiled_kernel;
mod context;
mod device_array;
mod device_rows;
mod interface;
mod kernel_text;
mod pass;
mod pipelines;
mod product_rate;
mod recording;
#[cfg(test)]
pub(crate) mod testing;
mod unique_id;

pub use adapter_info::{GpuInfo, GpuKind};
pub use arena::MAX_ROWS;
pub use context::{Context, FORKED, adapters, claim, is_forked, open};
pub use device_rows::{DeviceRows, Number};
pub use interface::Interface;
pub use pass::{Passes, SharedPass};
pub use pipelines::attention::{PackedInputs, SentQueries, attend};
pub use pipelines::columns::{keep, side_by_side};
pub use pipelines::element::{ElementOperation, element};
pub use pipelines::gather::{NO_ROW, gather};
pub use pipelines::mean::mean;
pub use pipelines::norm::{NormKind, Normalization};
pub use pipelines::product::{Product, ProductTypes};
pub use pipelines::read_back::read;
pub use pipelines::reshape::reshape;
pub use pipelines::rotation::{SentAngles, rotate};
pub use pipelines::row_upload::row_upload;
pub use pipelines::scatter::scatter_add;
pub use pipelines::score_bias::ScoreBias;
pub use pipelines::weights::{MatrixParts, WeightType};
pub use product_rate::product_rate;
