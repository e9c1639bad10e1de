//! The product of states with a matrix, with the activation that follows it; `wgsl/product.wgsl` has the algorithm.

use crate::Result;
use crate::gpu::context::Context;
use crate::gpu::device_array::DeviceArray;
use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::kernel_text::KernelText;
use crate::gpu::pipelines::activation;
use crate::gpu::pipelines::weights::{MatrixParts, WeightType, vector};
use crate::gpu::recording::{Argument, PassRecording};
use crate::kernels::Activation;

/// Rows of a gate's matrix, and as many of `up`, that take turns.
const TURN: usize = 16;

/// Types of a product: of the states, and of the weights.
#[derive(Debug, Clone, Copy)]
pub struct ProductTypes {
    pub states: Number,
    pub weights: WeightType,
}

/// `activation(x · weightᵀ + bias)`, or with a gate `activation(x · gateᵀ + gate bias) * (x · upᵀ + up bias)`.
pub struct Product {
    types: ProductTypes,
    weight: DeviceArray,
    /// Of each row of the weight, and then its scale.
    bias: DeviceArray,
    /// Rows of `weight`.
    columns: usize,
    /// `[n, k]`: numbers of a row of the output, and of the input.
    shape: [usize; 2],
}

impl Product {
    /// How many matrices there are: two with a gate.
    pub fn matrices(&self) -> usize {
        if self.columns > self.shape[0] { 2 } else { 1 }
    }

    pub fn new(context: &Context, types: ProductTypes, parts: MatrixParts) -> Result<Self> {
        parts.check()?;
        let [n, k] = parts.shape;
        let words = types.weights.pack((0..n).map(|i| parts.row(i)), k);
        let mut bias: Vec<f32> = (0..n).map(|i| parts.bias(i)).collect();
        bias.extend((0..n).map(|i| types.weights.scale(parts.row(i))));
        Self::of_words(context, types, (&words, &bias), [n, k])
    }

    /// Of a gate, whose output goes through the activation, and `up`: matrices of one shape.
    pub fn gated(context: &Context, types: ProductTypes, [gate, up]: [MatrixParts; 2]) -> Result<Self> {
        let parts = [MatrixParts { shape: up.shape, ..gate }, up];
        parts[0].check()?;
        parts[1].check()?;
        let [n, k] = up.shape;
        // The last turn's rows beyond the matrices are zero.
        let zeros = vec![0.0; k];
        let rows =
            (0..n.div_ceil(TURN)).flat_map(|turn| (0..2 * TURN).map(move |i| (i / TURN, turn * TURN + i % TURN)));
        let row = |(part, i): (usize, usize)| if i < n { parts[part].row(i) } else { &zeros[..] };
        let words = types.weights.pack(rows.clone().map(row), k);
        let of_bias = |(part, i): (usize, usize)| if i < n { parts[part].bias(i) } else { 0.0 };
        let mut bias: Vec<f32> = rows.clone().map(of_bias).collect();
        bias.extend(rows.map(row).map(|row| types.weights.scale(row)));
        Self::of_words(context, types, (&words, &bias), [n, k])
    }

    fn of_words(
        context: &Context,
        types: ProductTypes,
        (words, bias): (&[u32], &[f32]),
        shape: [usize; 2],
    ) -> Result<Self> {
        Ok(Self {
            types,
            weight: DeviceArray::of_words(context, words)?,
            bias: vector(context, bias)?,
            columns: bias.len() / 2,
            shape,
        })
    }

    /// `[n, k]`: numbers of a row of the output, and of the input.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// `x [rows, k]` to `[rows, n]`.
    pub fn record(&self, pass: &mut PassRecording, x: &DeviceRows, activation: Activation) -> Result<DeviceRows> {
        let Self { types, columns, shape: [n, k], .. } = *self;
        assert!(x.width == k && x.number == types.states, "states are those that the matrix is for");
        let is_gated = self.matrices() == 2;
        let form = (types, activation, is_gated);
        let kernel = pass.context().kernel("product", &form, || source(types, activation, is_gated))?;
        let out = pass.rows(x.rows, n, types.states)?;
        let constants = [x.rows, columns, out.stride(), n, x.stride() / 4].map(|value| value as u32);
        // Numbers of a row that a workgroup writes.
        let written = if is_gated { 32 } else { 64 };
        let groups = [out.stride().div_ceil(written), x.rows.div_ceil(64), 1];
        let arrays =
            [Argument::Rows(x), Argument::Array(&self.weight), Argument::Array(&self.bias), Argument::Rows(&out)];
        pass.dispatch(&kernel, arrays, &constants, groups, 2 * x.rows * columns * k)?;
        Ok(out)
    }
}

pub(super) fn source(types: ProductTypes, activation: Activation, is_gated: bool) -> String {
    KernelText::new(include_str!("../wgsl/product.wgsl"), types.states)
        .prelude(types.weights.wgsl())
        .prelude(&activation::wgsl(activation))
        .flag("GATED", is_gated)
        .flag("SCALED", types.weights == WeightType::Int8)
        .render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::pipelines::activation::tests::{ALL, reference};
    use crate::gpu::testing::{Noise, RAGGED, assert_near, compute, compute_once, device, numbers};

    fn rounded(of: WeightType, values: &[f32], k: usize) -> Vec<f32> {
        let round = |row: &[f32], x: f32| match of {
            WeightType::F32 => x,
            WeightType::F16 => half::f16::from_f32(x).to_f32(),
            WeightType::Bf16 => half::bf16::from_f32(x).to_f32(),
            WeightType::Int8 => (x / of.scale(row)).round() * of.scale(row),
        };
        values.chunks_exact(k).flat_map(|row| row.iter().map(move |&x| round(row, x))).collect()
    }

    /// In float64.
    fn product(x: &[f32], weight: &[f32], bias: Option<&[f32]>, [n, k]: [usize; 2]) -> Vec<f64> {
        let dot = |row: &[f32], i: usize| -> f64 {
            row.iter().zip(&weight[i * k..][..k]).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum()
        };
        let bias = |i: usize| bias.map_or(0.0, |bias| f64::from(bias[i]));
        x.chunks_exact(k).flat_map(|row| (0..n).map(move |i| dot(row, i) + bias(i))).collect()
    }

    fn check(rows: usize, [n, k]: [usize; 2], types: ProductTypes, activation: Activation, gated: bool) {
        let mut random = Noise::new((rows + 100 * n + 10_000 * k) as u64);
        let scale = 1.0 / (k as f32).sqrt();
        let matrix = |random: &mut Noise| -> Vec<f32> { random.values(n * k).iter().map(|w| w * scale).collect() };
        let (x, gate, up) = (random.states(types.states, rows * k), matrix(&mut random), matrix(&mut random));
        let bias = random.values(n);
        let parts = |weight, bias| MatrixParts { weight, bias, shape: [n, k] };
        let product_of = match gated {
            false => Product::new(device(), types, parts(&up, Some(&bias))),
            true => Product::gated(device(), types, [parts(&gate, Some(&bias)), parts(&up, None)]),
        };
        let block = product_of.unwrap();
        let found = compute(types.states, &[(&x, k)], |pass, inputs| block.record(pass, &inputs[0], activation));
        let up_bias = if gated { None } else { Some(&bias[..]) };
        let mut expected = product(&x, &rounded(types.weights, &up, k), up_bias, [n, k]);
        if gated {
            let gates = product(&x, &rounded(types.weights, &gate, k), Some(&bias), [n, k]);
            expected.iter_mut().zip(gates).for_each(|(y, gate)| *y *= reference(activation, gate));
        } else {
            expected.iter_mut().for_each(|y| *y = reference(activation, *y));
        }
        assert_near(
            types.states,
            &found,
            &expected,
            3e-6,
            &format!("{rows} rows, {n} x {k}, {types:?}, {activation:?}"),
        );
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn ragged_products() {
        let types = ProductTypes { states: Number::F32, weights: WeightType::F32 };
        for rows in RAGGED {
            for shape in [[1, 1], [15, 17], [64, 33], [65, 312]] {
                check(rows, shape, types, Activation::Identity, false);
                check(rows, shape, types, Activation::Silu, true);
            }
        }
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn every_type() {
        for states in numbers() {
            for weights in WeightType::ALL {
                check(17, [96, 60], ProductTypes { states, weights }, Activation::Gelu, false);
                check(17, [60, 96], ProductTypes { states, weights }, Activation::Gelu, true);
            }
        }
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn every_activation() {
        for activation in ALL {
            let types = ProductTypes { states: Number::F32, weights: WeightType::F32 };
            check(3, [300, 16], types, activation, false);
        }
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn what_is_no_number_stays_none() {
        let (weight, mut x) = (vec![0.5; 20 * 16], vec![0.25; 3 * 16]);
        x[16] = f32::NAN;
        for activation in ALL {
            for number in numbers() {
                let types = ProductTypes { states: number, weights: WeightType::F32 };
                let parts = MatrixParts { weight: &weight, bias: None, shape: [20, 16] };
                let block = Product::new(device(), types, parts).unwrap();
                let found = compute_once(number, &x, 16, |pass, x| block.record(pass, x, activation));
                let is_nan: Vec<_> = found.chunks_exact(20).map(|row| row.iter().all(|x| x.is_nan())).collect();
                assert_eq!(is_nan, [false, true, false], "{activation:?} in {number:?}: {found:?}");
            }
        }
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn a_rows_bits_do_not_depend_on_other_rows() {
        for states in numbers() {
            let types = ProductTypes { states, weights: WeightType::F32 };
            let (mut random, [n, k]) = (Noise::new(7), [100, 200]);
            let (x, weight) = (random.states(states, 130 * k), random.values(n * k));
            let parts = MatrixParts { weight: &weight, bias: None, shape: [n, k] };
            let block = Product::new(device(), types, parts).unwrap();
            let all = compute(states, &[(&x, k)], |pass, inputs| block.record(pass, &inputs[0], Activation::Gelu));
            for row in [0, 1, 63, 64, 129] {
                let alone = compute(states, &[(&x[row * k..][..k], k)], |pass, inputs| {
                    block.record(pass, &inputs[0], Activation::Gelu)
                });
                assert_eq!(alone, all[row * n..][..n]);
            }
        }
    }
}
