//! Rows that are added to some rows of others: what experts make of the tokens that they get.

use crate::Result;
use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::kernel_text::KernelText;
use crate::gpu::recording::{Argument, PassRecording};

/// `out[targets[i]] += factors[i] * x[i]`, where `out` stands. No two `targets` are the same.
pub fn scatter_add(
    pass: &mut PassRecording,
    x: &DeviceRows,
    targets: &[u32],
    factors: &[f32],
    out: &DeviceRows,
) -> Result<()> {
    assert!(targets.len() == x.rows && factors.len() == x.rows, "each row has a target and a factor");
    assert!(out.width == x.width && out.number == x.number, "rows are alike");
    assert!(targets.iter().all(|&row| (row as usize) < out.rows), "rows are there");
    let kernel = pass.context().kernel("scatter", &x.number, || source(x.number))?;
    let constants = [pass.upload(targets), pass.upload(bytemuck::cast_slice(factors)), x.stride() as u32];
    let arrays = [Argument::Uploads, Argument::Rows(x), Argument::Rows(out)];
    pass.dispatch(&kernel, arrays, &constants, [x.rows, 1, 1], 0)
}

pub(super) fn source(number: Number) -> String {
    KernelText::new(include_str!("../wgsl/scatter.wgsl"), number).render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::{Noise, assert_near, compute, numbers};

    #[test]
    #[ignore = "needs a GPU"]
    fn rows_are_added_to_their_targets() {
        for number in numbers() {
            let (mut random, width) = (Noise::new(6), 70);
            let (x, start) = (random.states(number, 5 * width), random.states(number, 9 * width));
            let (targets, factors) = ([8, 0, 3, 7, 2], random.values(5));
            let found = compute(number, &[(&x, width), (&start, width)], |pass, inputs| {
                scatter_add(pass, &inputs[0], &targets, &factors, &inputs[1])?;
                Ok(inputs[1].clone())
            });
            let mut expected: Vec<f64> = start.iter().copied().map(f64::from).collect();
            for (row, (&to, &factor)) in x.chunks_exact(width).zip(targets.iter().zip(&factors)) {
                let out = expected[to as usize * width..][..width].iter_mut();
                out.zip(row).for_each(|(out, x)| *out += f64::from(factor) * f64::from(*x));
            }
            assert_near(number, &found, &expected, 1e-6, "sums");
        }
    }
}
