//! States that the processor makes: sums of rows of tables, which stay in its memory. A vocabulary's table is most of a
//! small model; a pass needs a row for each of its tokens.

use crate::Result;
use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::kernel_text::KernelText;
use crate::gpu::recording::{Argument, PassRecording};

/// Sends `values [rows, width]` with the pass.
pub fn row_upload(pass: &mut PassRecording, number: Number, values: &[f32], width: usize) -> Result<DeviceRows> {
    assert!(width > 0 && values.len().is_multiple_of(width), "values are rows");
    let kernel = pass.context().kernel("row_upload", &number, || source(number))?;
    let rows = values.len() / width;
    let out = pass.rows(rows, width, number)?;
    let constants = [pass.upload(bytemuck::cast_slice(values)), width as u32, out.stride() as u32];
    pass.dispatch(&kernel, [Argument::Uploads, Argument::Rows(&out)], &constants, [rows, 1, 1], 0)?;
    Ok(out)
}

pub(super) fn source(number: Number) -> String {
    KernelText::new(include_str!("../wgsl/row_upload.wgsl"), number).render()
}
