//! The end of a pass: rows as float32, in the array that is read back.

use crate::Result;
use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::kernel_text::KernelText;
use crate::gpu::recording::{Argument, PassRecording};

/// Computes what was recorded, and gives `x` in float32, `[rows, width]`.
pub fn read(pass: &mut PassRecording, x: &DeviceRows) -> Result<Vec<f32>> {
    if x.rows * x.width == 0 {
        return Ok(Vec::new());
    }
    let kernel = pass.context().kernel("read_back", &x.number, || source(x.number))?;
    let constants = [x.rows as u32, x.width as u32, x.stride() as u32];
    pass.dispatch(&kernel, [Argument::Rows(x), Argument::Output], &constants, [x.rows, 1, 1], 0)?;
    pass.compute(x.rows * x.width)
}

pub(super) fn source(number: Number) -> String {
    KernelText::new(include_str!("../wgsl/read_back.wgsl"), number).render()
}
