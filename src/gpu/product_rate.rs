//! How fast a device multiplies matrices.

use std::time::{Duration, Instant};

use crate::gpu::arena::Arena;
use crate::gpu::context::Context;
use crate::gpu::device_rows::Number;
use crate::gpu::pipelines::gather::gather;
use crate::gpu::pipelines::product::{Product, ProductTypes};
use crate::gpu::pipelines::read_back::read;
use crate::gpu::pipelines::row_upload::row_upload;
use crate::gpu::pipelines::weights::{MatrixParts, WeightType};
use crate::gpu::recording::PassRecording;
use crate::kernels::Activation;
use crate::{Error, Result};

/// Rows that are multiplied, and the side of the matrix: as a middle-sized model has them.
const ROWS: usize = 2048;
const SIDE: usize = 1024;
/// How long it is measured.
const TRIAL: Duration = Duration::from_millis(100);

/// Multiplications and additions of a second, two for each pair of numbers, of products in float16 or, where the device does
/// not compute in it, in float32.
///
/// # Errors
/// If the device fails, or a row of ones does not stay one when means are taken of it.
pub fn product_rate(context: &'static Context) -> Result<f64> {
    let (states, weights) = match context.info().float16 {
        true => (Number::F16, WeightType::F16),
        false => (Number::F32, WeightType::F32),
    };
    let weight = vec![1.0 / SIDE as f32; SIDE * SIDE];
    let parts = MatrixParts { weight: &weight, bias: None, shape: [SIDE; 2] };
    let product = Product::new(context, ProductTypes { states, weights }, parts)?;
    let arena = Arena::new(context)?;
    let ones = vec![1.0; SIDE];
    let run = |products: usize| -> Result<Duration> {
        let mut pass = PassRecording::new(&arena, ROWS)?;
        let row = row_upload(&mut pass, states, &ones, SIDE)?;
        let mut x = gather(&mut pass, &row, &[0; ROWS])?;
        for _ in 0..products {
            x = product.record(&mut pass, &x, Activation::Identity)?;
        }
        let last = gather(&mut pass, &x, &[0])?;
        let started = Instant::now();
        let products = read(&mut pass, &last)?;
        let elapsed = started.elapsed();
        match products.iter().all(|product| (product - 1.0).abs() < 1e-2) {
            true => Ok(elapsed),
            false => Err(Error::device(format!("{}: computes wrong products", context.info().id))),
        }
    };
    // The first time compiles, and takes memory.
    run(1)?;
    let alone = run(1)?;
    let products = (TRIAL.as_secs_f64() / alone.as_secs_f64().max(1e-6)).ceil().clamp(1.0, 1e4) as usize;
    let elapsed = run(1 + products)?.saturating_sub(run(1)?).max(Duration::from_micros(1));
    Ok((2 * ROWS * SIDE * SIDE * products) as f64 / elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::device;

    #[test]
    #[ignore = "needs a GPU"]
    fn a_rate_is_one_of_this_world() {
        assert!((1e8..1e17).contains(&product_rate(device()).unwrap()));
    }
}
