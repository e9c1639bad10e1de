//! Rotary position embedding of queries and keys. Heads that are normalized first go through
//! [`Normalization::record_parts`](super::norm::Normalization::record_parts).

use crate::Result;
use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::kernel_text::KernelText;
use crate::gpu::recording::{Argument, PassRecording};

/// The angles of a pass's tokens, which its layers share.
#[derive(Debug, Clone, Copy)]
pub struct SentAngles {
    at: u32,
    count: usize,
}

impl SentAngles {
    /// `angles [tokens, head_dim]`: the cosines of each token, then its sines.
    pub fn send(pass: &mut PassRecording, angles: &[f32]) -> Self {
        Self { at: pass.upload(bytemuck::cast_slice(angles)), count: angles.len() }
    }
}

/// Turns the first `heads` heads of `head_dim` numbers of each token of `x` where they stand.
pub fn rotate(
    pass: &mut PassRecording,
    x: &DeviceRows,
    [heads, head_dim]: [usize; 2],
    angles: SentAngles,
) -> Result<()> {
    assert!(head_dim.is_multiple_of(2) && head_dim > 0, "numbers of a head are in pairs");
    assert!(heads * head_dim <= x.width && angles.count == x.rows * head_dim, "angles are the tokens'");
    let kernel = pass.context().kernel("rotation", &x.number, || source(x.number))?;
    let constants = [angles.at, x.stride() as u32, heads as u32, head_dim as u32 / 2];
    pass.dispatch(&kernel, [Argument::Uploads, Argument::Rows(x)], &constants, [x.rows, 1, 1], 0)
}

pub(super) fn source(number: Number) -> String {
    KernelText::new(include_str!("../wgsl/rotation.wgsl"), number).render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::{Noise, RAGGED, assert_near, compute, numbers};

    #[test]
    #[ignore = "needs a GPU"]
    fn ragged_rows() {
        for (number, rows) in numbers().into_iter().flat_map(|number| RAGGED.map(|rows| (number, rows))) {
            for (heads, head_dim) in [(8, 8), (4, 34), (2, 64)] {
                let (mut random, width) = (Noise::new((rows + head_dim) as u64), (heads + 2) * head_dim + 1);
                let (x, turns) = (random.states(number, rows * width), random.values(rows * head_dim / 2));
                let sent: Vec<f32> = turns
                    .chunks_exact(head_dim / 2)
                    .flat_map(|token| {
                        token.iter().map(|a| (9.0 * a).cos()).chain(token.iter().map(|a| (9.0 * a).sin()))
                    })
                    .collect();
                let found = compute(number, &[(&x, width)], |pass, inputs| {
                    let angles = SentAngles::send(pass, &sent);
                    rotate(pass, &inputs[0], [heads, head_dim], angles)?;
                    Ok(inputs[0].clone())
                });
                let mut expected: Vec<f64> = x.iter().copied().map(f64::from).collect();
                for (row, angles) in expected.chunks_exact_mut(width).zip(turns.chunks_exact(head_dim / 2)) {
                    for head in row[..heads * head_dim].chunks_exact_mut(head_dim) {
                        let (first, second) = head.split_at_mut(head_dim / 2);
                        for ((x, y), angle) in first.iter_mut().zip(second).zip(angles) {
                            let (sine, cosine) = f64::from(9.0 * angle).sin_cos();
                            (*x, *y) = (*x * cosine - *y * sine, *y * cosine + *x * sine);
                        }
                    }
                }
                assert_near(number, &found, &expected, 1e-6, &format!("{rows} rows, {heads} x {head_dim}"));
            }
        }
    }
}
