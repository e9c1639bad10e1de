//! Rows that are wanted: of the tokens that a model pools, or of neighbours.

use crate::Result;
use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::kernel_text::KernelText;
use crate::gpu::recording::{Argument, PassRecording};

/// In the place of a row's number: a row of zeros.
pub const NO_ROW: u32 = u32::MAX;

/// The `rows` of `x`, each a number of one or [`NO_ROW`].
pub fn gather(pass: &mut PassRecording, x: &DeviceRows, rows: &[u32]) -> Result<DeviceRows> {
    assert!(rows.iter().all(|&row| row == NO_ROW || (row as usize) < x.rows), "rows are there");
    let kernel = pass.context().kernel("gather", &x.number, || source(x.number))?;
    let out = pass.rows(rows.len(), x.width, x.number)?;
    let constants = [pass.upload(rows), x.stride() as u32];
    let arrays = [Argument::Uploads, Argument::Rows(x), Argument::Rows(&out)];
    pass.dispatch(&kernel, arrays, &constants, [rows.len(), 1, 1], 0)?;
    Ok(out)
}

pub(super) fn source(number: Number) -> String {
    KernelText::new(include_str!("../wgsl/gather.wgsl"), number).render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::{Noise, compute, numbers};

    #[test]
    #[ignore = "needs a GPU"]
    fn rows_come_in_the_order_of_their_numbers() {
        for number in numbers() {
            let width = 33;
            let x = Noise::new(1).states(number, 40 * width);
            for rows in [vec![], vec![39], vec![3, 0, NO_ROW, 3, 17]] {
                let found = compute(number, &[(&x, width)], |pass, inputs| gather(pass, &inputs[0], &rows));
                let row = |&row: &u32| match row {
                    NO_ROW => vec![0.0; width],
                    row => x[row as usize * width..][..width].to_vec(),
                };
                assert_eq!(found, rows.iter().flat_map(row).collect::<Vec<f32>>());
            }
        }
    }
}
