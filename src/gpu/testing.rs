//! What the tests of kernels share: a device, random numbers, and comparing.

use half::f16;

use crate::Result;
use crate::gpu::arena::Arena;
use crate::gpu::context::{Context, open};
use crate::gpu::device_rows::{DeviceRows, Number};
use crate::gpu::pipelines::read_back::read;
use crate::gpu::pipelines::row_upload::row_upload;
use crate::gpu::recording::PassRecording;

/// The device that tests run on. In CI that is Mesa's software device.
pub(crate) const DEVICE: &str = if cfg!(target_os = "macos") { "wgpu" } else { "vulkan" };

/// Counts of rows around those of tiles.
pub(crate) const RAGGED: [usize; 10] = [0, 1, 15, 16, 17, 31, 33, 63, 65, 129];

pub(crate) fn device() -> &'static Context {
    open(DEVICE).expect("a driver, at least lavapipe's: apt-get install mesa-vulkan-drivers")
}

/// The types of states that the device has.
pub(crate) fn numbers() -> Vec<Number> {
    let half = device().info().float16.then_some(Number::F16);
    [Some(Number::F32), half].into_iter().flatten().collect()
}

/// xorshift64*: Vigna 2016.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    /// Numbers in [-1, 1].
    pub(crate) fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.below(20_001) as f32 / 10_000.0 - 1.0).collect()
    }

    /// As [`Self::values`], of numbers that the type has.
    pub(crate) fn states(&mut self, number: Number, count: usize) -> Vec<f32> {
        let round = |x| if number == Number::F16 { f16::from_f32(x).to_f32() } else { x };
        self.values(count).into_iter().map(round).collect()
    }
}

/// What `record` makes of the inputs, each with its width. Checks that rows end in zeros.
pub(crate) fn compute(
    number: Number,
    inputs: &[(&[f32], usize)],
    record: impl Fn(&mut PassRecording, &[DeviceRows]) -> Result<DeviceRows>,
) -> Vec<f32> {
    let run = |whole: bool| {
        let arena = Arena::new(device()).unwrap();
        let mut pass = PassRecording::new(&arena, 0).unwrap();
        let rows = inputs.iter().map(|(values, width)| row_upload(&mut pass, number, values, *width).unwrap());
        let rows: Vec<DeviceRows> = rows.collect();
        let out = record(&mut pass, &rows).unwrap();
        let seen = if whole { DeviceRows { width: out.stride(), ..out.clone() } } else { out.clone() };
        (read(&mut pass, &seen).unwrap(), out.width, out.stride())
    };
    let (values, width, stride) = run(true);
    for row in values.chunks_exact(stride) {
        assert!(row[width..].iter().all(|&x| x == 0.0), "rows end in zeros");
    }
    let (found, ..) = run(false);
    let within: Vec<f32> = values.chunks_exact(stride).flat_map(|row| row[..width].to_vec()).collect();
    assert_eq!(found, within, "the same bits again");
    found
}

/// What `record` makes of `values`, where numbers may be none.
pub(crate) fn compute_once(
    number: Number,
    values: &[f32],
    width: usize,
    record: impl Fn(&mut PassRecording, &DeviceRows) -> Result<DeviceRows>,
) -> Vec<f32> {
    let mut pass = PassRecording::new(&Arena::new(device()).unwrap(), 0).unwrap();
    let rows = row_upload(&mut pass, number, values, width).unwrap();
    let out = record(&mut pass, &rows).unwrap();
    read(&mut pass, &out).unwrap()
}

/// That `found` is within `bound` of what is expected, relative to the larger of that and 1; or within a rounding of it
/// in float16.
pub(crate) fn assert_near(number: Number, found: &[f32], expected: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let bound = if number == Number::F16 { bound + 6e-4 } else { bound };
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(*found) - expected).abs();
        assert!(difference <= bound * expected.abs().max(1.0), "{what}: number {i} is {found}, not {expected}");
    }
}
