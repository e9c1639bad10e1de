//! The same numbers in rows of another width, or in another type.

use crate::Result;
use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::kernel_text::KernelText;
use crate::gpu::recording::{Argument, PassRecording};

/// The numbers of `x`, row by row, as rows of this width, in their own type or in float32.
pub fn reshape(pass: &mut PassRecording, x: &DeviceRows, width: usize, number: Number) -> Result<DeviceRows> {
    assert!(number == x.number || number == Number::F32, "numbers do not lose digits");
    assert!(width > 0 && (x.rows * x.width).is_multiple_of(width), "rows are whole");
    let kernel = pass.context().kernel("reshape", &(x.number, number), || source(x.number, number))?;
    let out = pass.rows(x.rows * x.width / width, width, number)?;
    let constants = [x.width, x.stride(), width, out.stride()].map(|value| value as u32);
    pass.dispatch(&kernel, [Argument::Rows(x), Argument::Rows(&out)], &constants, [out.rows, 1, 1], 0)?;
    Ok(out)
}

pub(super) fn source(number: Number, to: Number) -> String {
    let out = if to == number { "Num" } else { "f32" };
    KernelText::new(include_str!("../wgsl/reshape.wgsl"), number).set("OUT", out).render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::{Noise, compute, numbers};

    #[test]
    #[ignore = "needs a GPU"]
    fn numbers_stay_in_their_order() {
        for (number, to) in numbers().into_iter().flat_map(|number| [(number, number), (number, Number::F32)]) {
            let x = Noise::new(4).states(number, 6 * 35);
            for width in [1, 5, 35, 42, 70] {
                let found = compute(number, &[(&x, 35)], |pass, inputs| reshape(pass, &inputs[0], width, to));
                assert_eq!(found, x);
            }
        }
    }
}
