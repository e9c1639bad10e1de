//! The two normalizations of rows, with a residual or without, and of parts of rows; `wgsl/norm.wgsl` has the algorithm.

use std::sync::Arc;

use crate::Result;
use crate::gpu::compiled_kernel::CompiledKernel;
use crate::gpu::context::Context;
use crate::gpu::device_array::DeviceArray;
use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::kernel_text::KernelText;
use crate::gpu::pipelines::weights::vector;
use crate::gpu::recording::{Argument, PassRecording};

/// Layer normalization, or root-mean-square normalization, of `width` numbers.
pub struct Normalization {
    kind: NormKind,
    weight: DeviceArray,
    bias: DeviceArray,
    width: usize,
    eps: f32,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    Layer,
    RootMeanSquare,
}

impl Normalization {
    /// `weight [width]`, `bias [width]`.
    pub fn new(context: &Context, kind: NormKind, weight: &[f32], bias: Option<&[f32]>, eps: f32) -> Result<Self> {
        let zeros = vec![0.0; weight.len()];
        let bias = bias.unwrap_or(&zeros);
        assert!(bias.len() == weight.len() && !weight.is_empty(), "weight and bias are [width]");
        Ok(Self { kind, weight: vector(context, weight)?, bias: vector(context, bias)?, width: weight.len(), eps })
    }

    /// `norm(x)`, or `norm(x + residual)`, of `[rows, width]`.
    pub fn record(
        &self,
        pass: &mut PassRecording,
        x: &DeviceRows,
        residual: Option<&DeviceRows>,
    ) -> Result<DeviceRows> {
        assert_eq!(x.width, self.width, "rows are as wide as the normalization");
        assert!(residual.is_none_or(|residual| residual.shape() == x.shape()), "a residual has the shape of x");
        let form = if residual.is_some() { NormForm::WithResidual } else { NormForm::Plain };
        let kernel = self.kernel(pass, x, form)?;
        let out = pass.rows(x.rows, x.width, x.number)?;
        let [weight, bias] = [&self.weight, &self.bias].map(Argument::Array);
        let arrays = [Argument::Rows(&out), weight, bias, Argument::Rows(x)];
        let arrays = arrays.into_iter().chain(residual.map(Argument::Rows));
        pass.dispatch(&kernel, arrays, &self.constants(x, 0), [x.rows, 1, 1], 0)?;
        Ok(out)
    }

    /// Normalizes parts of each row of `x` where they stand: `count` of them, from number `start` on.
    pub fn record_parts(&self, pass: &mut PassRecording, x: &DeviceRows, start: usize, count: usize) -> Result<()> {
        assert!(start + count * self.width <= x.width, "parts are within the rows");
        let [weight, bias] = [&self.weight, &self.bias].map(Argument::Array);
        let (constants, kernel) = (self.constants(x, start), self.kernel(pass, x, NormForm::InPlace)?);
        pass.dispatch(&kernel, [Argument::Rows(x), weight, bias], &constants, [x.rows, count, 1], 0)
    }

    fn kernel(&self, pass: &PassRecording, x: &DeviceRows, form: NormForm) -> Result<Arc<CompiledKernel>> {
        pass.context().kernel("norm", &(x.number, self.kind, form), || source(x.number, self.kind, form))
    }

    fn constants(&self, x: &DeviceRows, start: usize) -> [u32; 4] {
        [self.width as u32, x.stride() as u32, start as u32, self.eps.to_bits()]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NormForm {
    Plain,
    WithResidual,
    InPlace,
}

pub(super) fn source(number: Number, kind: NormKind, form: NormForm) -> String {
    KernelText::new(include_str!("../wgsl/norm.wgsl"), number)
        .flag("CENTRED", kind == NormKind::Layer)
        .flag("RESIDUAL", form == NormForm::WithResidual)
        .flag("IN_PLACE", form == NormForm::InPlace)
        .render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::{Noise, RAGGED, assert_near, compute, device, numbers};

    const KINDS: [NormKind; 2] = [NormKind::Layer, NormKind::RootMeanSquare];

    /// In float64.
    fn reference(kind: NormKind, row: &[f64], weight: &[f32], bias: &[f32], eps: f64) -> Vec<f64> {
        let count = row.len() as f64;
        let mean = if kind == NormKind::Layer { row.iter().sum::<f64>() / count } else { 0.0 };
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let scaled = row.iter().map(|x| (x - mean) / (variance + eps).sqrt());
        scaled.zip(weight.iter().zip(bias)).map(|(x, (w, b))| x * f64::from(*w) + f64::from(*b)).collect()
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn ragged_rows() {
        for number in numbers() {
            for (rows, width) in RAGGED.into_iter().flat_map(|rows| [1, 15, 60, 312].map(|width| (rows, width))) {
                let mut random = Noise::new((rows * 1000 + width) as u64);
                let (x, residual) = (random.states(number, rows * width), random.states(number, rows * width));
                let (weight, bias) = (random.values(width), random.values(width));
                for (kind, with_residual) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
                    let norm = Normalization::new(device(), kind, &weight, Some(&bias), 1e-5).unwrap();
                    let found = compute(number, &[(&x, width), (&residual, width)], |pass, inputs| {
                        norm.record(pass, &inputs[0], with_residual.then_some(&inputs[1]))
                    });
                    let sum = x
                        .iter()
                        .zip(&residual)
                        .map(|(x, y)| f64::from(*x) + if with_residual { f64::from(*y) } else { 0.0 });
                    let sum: Vec<f64> = sum.collect();
                    let expected: Vec<f64> =
                        sum.chunks_exact(width).flat_map(|row| reference(kind, row, &weight, &bias, 1e-5)).collect();
                    let what = format!("{kind:?} of {rows} x {width}");
                    // A single number is its own mean: what is left of it is rounding, made large.
                    assert_near(number, &found, &expected, 4e-6, &what);
                }
            }
        }
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn parts_are_normalized_where_they_stand() {
        for number in numbers() {
            let (mut random, width, head) = (Noise::new(5), 70, 12);
            let (x, weight) = (random.states(number, 9 * width), random.values(head));
            let norm = Normalization::new(device(), NormKind::RootMeanSquare, &weight, None, 1e-6).unwrap();
            let found = compute(number, &[(&x, width)], |pass, inputs| {
                norm.record_parts(pass, &inputs[0], 24, 3)?;
                Ok(inputs[0].clone())
            });
            let mut expected: Vec<f64> = x.iter().copied().map(f64::from).collect();
            for row in expected.chunks_exact_mut(width) {
                for part in row[24..60].chunks_exact_mut(head) {
                    let normed = reference(NormKind::RootMeanSquare, part, &weight, &vec![0.0; head], 1e-6);
                    part.copy_from_slice(&normed);
                }
            }
            assert_near(number, &found, &expected, 2e-6, "parts");
        }
    }
}
