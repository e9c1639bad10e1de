//! Means for tests that compare the two bodies of a block.

use candle_core::{DType, Device, Tensor};
use half::bf16;

use crate::Result;
use crate::files::{ModelFolder, Origin};
use crate::gpu::testing::device;
use crate::gpu::{Number, Passes, ProductTypes, WeightType};
use crate::kernels::{Dtype, Isa};
use crate::nn::device_states::DeviceStates;
use crate::nn::rows::Rows;
use crate::nn::{Body, Loader, States};
use crate::weights::Weights;

/// Largest difference between bodies, relative to numbers above 1: rounding of sums of some 70 products of about 1.
const MAX_DIFFERENCE: f32 = 1e-5;

/// A checkpoint of random weights in a temporary folder.
pub(super) struct Checkpoint {
    _folder: tempfile::TempDir,
    weights: Weights,
}

impl Checkpoint {
    pub(super) fn random(tensors: &[(&str, &[usize])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random(7);
        let named: std::collections::HashMap<_, _> =
            tensors.iter().map(|(name, shape)| (name.to_string(), random.tensor(shape).unwrap())).collect();
        let named = if named.is_empty() { [("unused".to_owned(), random.tensor(&[1]).unwrap())].into() } else { named };
        candle_core::safetensors::save(&named, folder.path().join("model.safetensors")).unwrap();
        let weights = Weights::open(&ModelFolder::new(folder.path().to_owned(), Origin::Folder), "").unwrap();
        Self { _folder: folder, weights }
    }
}

/// Numbers in [-1, 1].
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn values(&mut self, count: usize) -> Vec<f32> {
        let mut value = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| value()).collect()
    }

    fn tensor(&mut self, shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.values(shape.iter().product()), shape, &Device::Cpu)?)
    }
}

/// Hidden states for a block of some body: the same numbers for every one.
pub(super) struct BlockInputs {
    random: Random,
    body: Body,
    /// Whether numbers are such that every type holds them.
    rounded: bool,
}

impl BlockInputs {
    pub(super) fn new(body: &Body) -> Self {
        Self { random: Random(1), body: body.clone(), rounded: false }
    }

    pub(super) fn states(&mut self, [rows, width]: [usize; 2]) -> Result<States> {
        let mut values = self.random.values(rows * width);
        if self.rounded {
            values.iter_mut().for_each(|x| *x = bf16::from_f32(*x).to_f32());
        }
        Ok(match &self.body {
            Body::Cpu { .. } => States::Cpu(rows_of(&values, width)),
            Body::Portable { device, dtype } => {
                States::Portable(Tensor::from_vec(values, (rows, width), device)?.to_dtype(*dtype)?)
            }
            Body::Gpu { passes, types, .. } => States::Gpu(DeviceStates::sent(passes, types.states, &values, width)?),
        })
    }
}

pub(super) fn rows_of(values: &[f32], width: usize) -> Rows {
    Rows::written([values.len() / width, width], |out| out.copy_from_slice(values))
}

/// The rows of all parts, one after the other, in float32.
pub(super) fn stacked(parts: &[States]) -> Result<States> {
    let mut values = Vec::new();
    parts.iter().try_for_each(|part| part.read(|rows| values.extend_from_slice(rows)))?;
    Ok(States::Cpu(rows_of(&values, parts[0].width())))
}

/// The body of the GPU that tests run on, with states and weights of that type; None unless `VOTIVE_SOFTWARE_GPU` is 1, or
/// where it has no numbers of the type.
fn gpu_body(states: Number) -> Option<Body> {
    std::env::var("VOTIVE_SOFTWARE_GPU").ok().filter(|value| value == "1")?;
    let context = device();
    let weights = if states == Number::F16 { WeightType::F16 } else { WeightType::F32 };
    let has_it = states == Number::F32 || context.info().float16;
    let passes = Passes::new(context).unwrap();
    has_it.then(|| Body::Gpu { passes, types: ProductTypes { states, weights }, isa: Isa::available()[0] })
}

/// Runs `block` with the portable body, with the CPU body of every instruction set and with that of a GPU, and compares what
/// comes out.
pub(super) fn assert_bodies_agree(
    checkpoint: &Checkpoint,
    block: impl Fn(&Loader, &mut BlockInputs) -> Result<States>,
) {
    let run = |body: &Body| -> ([usize; 2], Vec<f32>) {
        let y = block(&Loader::new(&checkpoint.weights, body), &mut BlockInputs::new(body)).unwrap();
        ([y.count(), y.width()], y.read(<[f32]>::to_vec).unwrap())
    };
    let (shape, expected) = run(&Body::Portable { device: Device::Cpu, dtype: DType::F32 });
    assert!(expected.iter().any(|&x| x != 0.0));
    let kernels = Isa::available().into_iter().map(|isa| Body::Cpu { isa, dtype: Dtype::Float32 });
    for body in kernels.chain(gpu_body(Number::F32)) {
        let (found, values) = run(&body);
        assert_eq!(found, shape);
        for (a, b) in values.iter().zip(&expected) {
            assert!((a - b).abs() <= MAX_DIFFERENCE * b.abs().max(1.0), "{body:?}: {a} is not {b}");
        }
    }
}

/// Runs `block` with the portable body in float16 and in bfloat16, and compares what comes out with float32, of inputs
/// that all of them hold: they have 11 and 8 significant bits, of which rounding on the way leaves two fewer.
pub(super) fn assert_halves_agree(
    checkpoint: &Checkpoint,
    block: impl Fn(&Loader, &mut BlockInputs) -> Result<States>,
) {
    let run = |body: &Body| -> Vec<f32> {
        let mut inputs = BlockInputs { rounded: true, ..BlockInputs::new(body) };
        let y = block(&Loader::new(&checkpoint.weights, body), &mut inputs).unwrap();
        if let (Body::Portable { dtype, .. }, States::Portable(y)) = (body, &y) {
            assert_eq!(y.dtype(), *dtype);
        }
        y.read(<[f32]>::to_vec).unwrap()
    };
    let portable = |dtype| Body::Portable { device: Device::Cpu, dtype };
    let expected = run(&portable(DType::F32));
    let size = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let bodies = [(portable(DType::F16), 11), (portable(DType::BF16), 8)];
    for (body, bits) in bodies.into_iter().chain(gpu_body(Number::F16).map(|body| (body, 11))) {
        let bound = size * 2.0_f32.powi(2 - bits);
        for (a, b) in run(&body).iter().zip(&expected) {
            assert!((a - b).abs() <= bound, "{body:?}: {a} is not {b} within {bound}");
        }
    }
}
