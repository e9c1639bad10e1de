//! Two products with an activation between them, without the wide intermediate ever leaving the cache.

use crate::kernels::aligned::scratch;
use crate::kernels::{Activation, Dtype, Matrix};

/// Bytes of the intermediate at a time.
const BLOCK_BYTES: usize = 512 << 10;

/// `y = down(activation(up(x)))`.
pub struct Mlp {
    up: Matrix,
    activation: Activation,
    down: Matrix,
}

impl Mlp {
    pub fn new(up: Matrix, activation: Activation, down: Matrix) -> Self {
        assert_eq!(up.n(), down.k(), "down takes what up gives");
        let activation = if down.dtype() == Dtype::Int8 { activation.coarse() } else { activation };
        Self { up, activation, down }
    }

    /// `x [m, up.k]` to `out [m, down.n]`.
    pub fn apply(&self, x: &[f32], out: &mut [f32]) {
        let Self { up, down, .. } = self;
        let block = (BLOCK_BYTES / (4 * up.n())).max(1).next_multiple_of(6);
        for (x, out) in x.chunks(block * up.k()).zip(out.chunks_mut(block * down.n())) {
            scratch(x.len() / up.k() * up.n(), |wide: &mut [f32]| {
                up.apply(x, self.activation, wide);
                down.apply(wide, Activation::Identity, out);
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
                    Matrix::new(isa, Dtype::Float32, &up, None, wide, hidden),
                    Matrix::new(isa, Dtype::Float32, &down, None, hidden, wide),
                )
            };
            let (mut middle, mut expected, mut out) =
                (vec![0.0; m * wide], vec![0.0; m * hidden], vec![0.0; m * hidden]);
            let (up, down) = matrices();
            up.apply(&x, Activation::Relu, &mut middle);
            down.apply(&middle, Activation::Identity, &mut expected);
            let (up, down) = matrices();
            Mlp::new(up, Activation::Relu, down).apply(&x, &mut out);
            assert_eq!(out, expected, "{}", isa.name());
        }
    }
}
