//! Operations between blocks, number by number: adding, subtracting, multiplying, scaling.

use crate::Result;
use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::kernel_text::KernelText;
use crate::gpu::recording::{Argument, PassRecording};

/// An operation on each number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ElementOperation {
    Add,
    Subtract,
    Multiply,
    /// By a constant.
    Scale(f32),
}

/// Of `x` and `y`, which have one shape; scaling takes no `y`.
pub fn element(
    pass: &mut PassRecording,
    operation: ElementOperation,
    x: &DeviceRows,
    y: Option<&DeviceRows>,
) -> Result<DeviceRows> {
    assert_eq!(y.is_none(), matches!(operation, ElementOperation::Scale(_)), "{operation:?} has other inputs");
    assert!(y.is_none_or(|y| y.shape() == x.shape() && y.number == x.number), "both are alike");
    let kernel = pass.context().kernel("element", &(x.number, operation.name()), || source(x.number, operation))?;
    let out = pass.rows(x.rows, x.width, x.number)?;
    let factor = if let ElementOperation::Scale(factor) = operation { factor } else { 1.0 };
    let constants = [x.stride() as u32, factor.to_bits()];
    let arrays = [x, &out].into_iter().chain(y).map(Argument::Rows);
    pass.dispatch(&kernel, arrays, &constants, [x.rows, 1, 1], 0)?;
    Ok(out)
}

impl ElementOperation {
    /// As the kernel's text calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Subtract => "SUBTRACT",
            Self::Multiply => "MULTIPLY",
            Self::Scale(_) => "SCALE",
        }
    }
}

pub(super) fn source(number: Number, operation: ElementOperation) -> String {
    KernelText::new(include_str!("../wgsl/element.wgsl"), number).flag(operation.name(), true).render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::{Noise, RAGGED, assert_near, compute, numbers};

    #[test]
    #[ignore = "needs a GPU"]
    fn ragged_rows() {
        for (number, rows) in numbers().into_iter().flat_map(|number| RAGGED.map(|rows| (number, rows))) {
            let (mut random, width) = (Noise::new(rows as u64), 67);
            let (x, y) = (random.states(number, rows * width), random.states(number, rows * width));
            let two = [ElementOperation::Add, ElementOperation::Subtract, ElementOperation::Multiply];
            for operation in two.into_iter().chain([ElementOperation::Scale(-3.5)]) {
                let scales = matches!(operation, ElementOperation::Scale(_));
                let found = compute(number, &[(&x, width), (&y, width)], |pass, inputs| {
                    element(pass, operation, &inputs[0], (!scales).then_some(&inputs[1]))
                });
                let pairs = x.iter().zip(&y).map(|(x, y)| (f64::from(*x), f64::from(*y)));
                let expected = pairs.map(|(x, y)| match operation {
                    ElementOperation::Add => x + y,
                    ElementOperation::Subtract => x - y,
                    ElementOperation::Multiply => x * y,
                    ElementOperation::Scale(factor) => x * f64::from(factor),
                });
                assert_near(number, &found, &expected.collect::<Vec<_>>(), 1e-6, &format!("{operation:?}"));
            }
        }
    }
}
