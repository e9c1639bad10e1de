//! The feed-forward block of a transformer: two or three products with an activation between them, gated or not
//! (Shazeer 2020).
//!
//! ```text
//! for block of rows, at most BLOCK_BYTES of the intermediate:
//!     wide = activation(up(x))                     or activation(gate(x)) * up(x)
//!     out = down(wide)
//! ```
//!
//! Rows are independent, so blocks change no bits; the wide intermediate never leaves the cache.

use crate::kernels::aligned::scratch;
use crate::kernels::{Activation, Matrix};
use crate::profile::{Stage, stage};

/// Bytes of the intermediate at a time.
const BLOCK_BYTES: usize = 2 << 20;

/// `y = down(activation(up(x)))`, or `y = down(activation(gate(x)) * up(x))` (Shazeer 2020) where there is a gate.
pub struct PackedMlp {
    up: Matrix,
    gate: Option<Matrix>,
    activation: Activation,
    down: Matrix,
}

impl PackedMlp {
    /// Takes `up` and `gate [wide, hidden]` and `down [hidden, wide]`; integers take a coarser activation, whose result they
    /// round.
    pub fn new(up: Matrix, gate: Option<Matrix>, activation: Activation, down: Matrix) -> Self {
        assert_eq!(up.n(), down.k(), "down takes what up gives");
        assert!(gate.as_ref().is_none_or(|gate| gate.n() == up.n() && gate.k() == up.k()), "gate is shaped as up");
        let activation = if down.dtype().is_integer() { activation.coarse() } else { activation };
        Self { up, gate, activation, down }
    }

    /// `x [m, up.k]` to `out [m, down.n]`.
    pub fn apply(&self, x: &[f32], out: &mut [f32]) {
        let Self { up, gate, activation, down } = self;
        let block = (BLOCK_BYTES / (4 * up.n())).max(1).next_multiple_of(6);
        for (x, out) in x.chunks(block * up.k()).zip(out.chunks_mut(block * down.n())) {
            let rows = x.len() / up.k();
            scratch(rows * up.n(), |wide: &mut [f32]| {
                match gate {
                    None => stage(Stage::MlpUp, || up.work(rows), || up.apply(x, *activation, wide)),
                    Some(gate) => {
                        stage(Stage::MlpUp, || gate.work(rows), || gate.apply(x, *activation, wide));
                        stage(Stage::MlpUp, || up.work(rows), || up.multiply(x, wide));
                    }
                }
                stage(Stage::MlpDown, || down.work(rows), || down.apply(wide, Activation::Identity, out));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::numbers;
    use crate::kernels::{Dtype, Isa};

    #[test]
    fn blocks_equal_the_two_products() {
        let (m, hidden, wide) = (230, 24, 700);
        for isa in Isa::available() {
            let (x, up, down) = (numbers(m * hidden, 1), numbers(wide * hidden, 2), numbers(wide * hidden, 3));
            let matrices = || {
                (
                    Matrix::new(isa, Dtype::Float32, &up, None, wide, hidden).unwrap(),
                    Matrix::new(isa, Dtype::Float32, &down, None, hidden, wide).unwrap(),
                )
            };
            let (mut middle, mut expected, mut out) =
                (vec![0.0; m * wide], vec![0.0; m * hidden], vec![0.0; m * hidden]);
            let (up, down) = matrices();
            up.apply(&x, Activation::Relu, &mut middle);
            down.apply(&middle, Activation::Identity, &mut expected);
            let (up, down) = matrices();
            PackedMlp::new(up, None, Activation::Relu, down).apply(&x, &mut out);
            assert_eq!(out, expected, "{}", isa.name());
        }
    }

    #[test]
    fn a_gate_multiplies() {
        for (isa, (m, hidden, wide)) in Isa::available()
            .into_iter()
            .flat_map(|isa| [(1, 3, 5), (37, 24, 67), (130, 16, 700)].map(|size| (isa, size)))
        {
            let x = numbers(m * hidden, 1);
            let matrix = |seed: u64, n: usize, k: usize| {
                Matrix::new(isa, Dtype::Float32, &numbers(n * k, seed), Some(&numbers(n, seed + 10)), n, k).unwrap()
            };
            let (mut gates, mut ups) = (vec![0.0; m * wide], vec![0.0; m * wide]);
            matrix(2, wide, hidden).apply(&x, Activation::Silu, &mut gates);
            matrix(3, wide, hidden).apply(&x, Activation::Identity, &mut ups);
            let products: Vec<f32> = gates.iter().zip(&ups).map(|(gate, up)| gate * up).collect();
            let (mut expected, mut out) = (vec![0.0; m * hidden], vec![f32::NAN; m * hidden]);
            matrix(4, hidden, wide).apply(&products, Activation::Identity, &mut expected);
            let gate = Some(matrix(2, wide, hidden));
            PackedMlp::new(matrix(3, wide, hidden), gate, Activation::Silu, matrix(4, hidden, wide))
                .apply(&x, &mut out);
            assert_eq!(out, expected, "{}", isa.name());
        }
    }
}
