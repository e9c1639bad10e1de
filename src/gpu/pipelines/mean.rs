//! The mean of each text's states: of all that a pass computed, only the means leave the device.

use crate::Result;
use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::kernel_text::KernelText;
use crate::gpu::recording::{Argument, PassRecording};

/// `x [tokens, width]` to `[texts, width]` in float32. `offsets [texts + 1]`: where texts begin and end.
pub fn mean(pass: &mut PassRecording, x: &DeviceRows, offsets: &[u32]) -> Result<DeviceRows> {
    let last = offsets.last().expect("offsets start with 0");
    assert!(offsets.is_sorted() && *last as usize <= x.rows, "texts are within the rows");
    let kernel = pass.context().kernel("mean", &x.number, || source(x.number))?;
    let texts = offsets.len() - 1;
    let out = pass.rows(texts, x.width, Number::F32)?;
    let constants = [pass.upload(offsets), x.width as u32, x.stride() as u32];
    let arrays = [Argument::Uploads, Argument::Rows(x), Argument::Rows(&out)];
    pass.dispatch(&kernel, arrays, &constants, [texts, x.stride().div_ceil(64), 1], 0)?;
    Ok(out)
}

pub(super) fn source(number: Number) -> String {
    KernelText::new(include_str!("../wgsl/mean.wgsl"), number).render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::{Noise, assert_near, compute, numbers};

    #[test]
    #[ignore = "needs a GPU"]
    fn means_are_those_of_each_text() {
        for (number, width) in numbers().into_iter().flat_map(|number| [1, 70, 312].map(|width| (number, width))) {
            let offsets = [0, 3, 3, 40, 41, 60, 60, 100];
            let x = Noise::new(3).states(number, 100 * width);
            let found = compute(number, &[(&x, width)], |pass, inputs| mean(pass, &inputs[0], &offsets));
            let of_text = |text: &[u32]| -> Vec<f64> {
                let rows = &x[text[0] as usize * width..text[1] as usize * width];
                let count = f64::from((text[1] - text[0]).max(1));
                let sum = |column| rows.iter().skip(column).step_by(width).map(|x| f64::from(*x)).sum::<f64>();
                (0..width).map(|column| sum(column) / count).collect()
            };
            let expected: Vec<f64> = offsets.windows(2).flat_map(of_text).collect();
            assert_near(Number::F32, &found, &expected, 1e-6, "means");
        }
    }
}
