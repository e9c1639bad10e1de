//! Columns of states: some of them, or those of several states side by side.

use std::ops::Range;
use std::sync::Arc;

use crate::Result;
use crate::gpu::device_array::DeviceArray;
use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::kernel_text::KernelText;
use crate::gpu::recording::{Argument, PassRecording};

/// The columns of all parts, of which there is one at least, one after the other; each has as many rows.
pub fn side_by_side(pass: &mut PassRecording, parts: &[(&DeviceRows, Range<usize>)]) -> Result<DeviceRows> {
    let (first, width) = (parts[0].0, parts.iter().map(|(_, columns)| columns.len()).sum());
    let kernel = pass.context().kernel("columns", &first.number, || source(first.number))?;
    let out = pass.rows(first.rows, width, first.number)?;
    let mut to = 0;
    for (x, columns) in parts {
        assert!(x.rows == first.rows && x.number == first.number && columns.end <= x.width, "columns are there");
        let end = if to + columns.len() == width { out.stride() } else { to + columns.len() };
        let constants = [x.stride(), out.stride(), columns.start, columns.len(), to, end].map(|value| value as u32);
        pass.dispatch(&kernel, [Argument::Rows(x), Argument::Rows(&out)], &constants, [x.rows, 1, 1], 0)?;
        to += columns.len();
    }
    Ok(out)
}

/// A copy of `x` in memory of its own, outside of the arena, for passes that come later. All that was recorded is computed.
pub fn keep(pass: &mut PassRecording, x: &DeviceRows) -> Result<DeviceRows> {
    let bytes = (x.rows * x.stride() * x.number.bytes()) as u64;
    let slot = DeviceArray::new(pass.context(), bytes, wgpu::BufferUsages::STORAGE)?.for_a_while();
    let kept = DeviceRows { slot: Arc::new(slot), ..x.clone() };
    let kernel = pass.context().kernel("columns", &x.number, || source(x.number))?;
    let constants = [x.stride(), x.stride(), 0, x.width, 0, x.stride()].map(|value| value as u32);
    pass.dispatch(&kernel, [Argument::Rows(x), Argument::Rows(&kept)], &constants, [x.rows, 1, 1], 0)?;
    pass.compute_for_later()?;
    Ok(kept)
}

pub(super) fn source(number: Number) -> String {
    KernelText::new(include_str!("../wgsl/columns.wgsl"), number).render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::{Noise, compute, numbers};

    #[test]
    #[ignore = "needs a GPU"]
    fn columns_stand_side_by_side() {
        for number in numbers() {
            let (mut noise, rows) = (Noise::new(2), 19);
            let (x, y) = (noise.states(number, rows * 70), noise.states(number, rows * 9));
            for parts in [vec![(0, 3..68)], vec![(1, 0..9), (0, 60..70), (1, 4..5)]] {
                let parts = &parts;
                let found = compute(number, &[(&x, 70), (&y, 9)], |pass, inputs| {
                    let of_inputs = parts.iter().map(|(input, columns)| (&inputs[*input], columns.clone()));
                    side_by_side(pass, &of_inputs.collect::<Vec<_>>())
                });
                let part = &|row: usize, (input, columns): &(usize, Range<usize>)| {
                    let (values, width) = if *input == 0 { (&x, 70) } else { (&y, 9) };
                    values[row * width..][columns.clone()].to_vec()
                };
                let expected = (0..rows).flat_map(|row| parts.iter().flat_map(move |at| part(row, at)));
                assert_eq!(found, expected.collect::<Vec<f32>>());
            }
        }
    }
}
