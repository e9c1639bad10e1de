//! Layer normalization (Ba et al. 2016) and root-mean-square normalization (Zhang and Sennrich 2019), with the residual
//! added in the same pass.
//!
//! ```text
//! mean = Σ x / width, or 0;  x = x - mean;  y = x / sqrt(Σ x² / width + eps) * weight + bias
//! ```
//!
//! All in float32. The variance is that of the centred row, a second pass over it: the difference of two large sums
//! would lose the bits that matter. A sum has one part for each lane, which are added at the end in one order: the same
//! bits on every run.

use crate::kernels::Isa;
use crate::kernels::simd::{Operation, Simd};

/// `(x - mean) / sqrt(variance + eps) * weight + bias` over each row. All in float32; the variance from the centred
/// row. A root-mean-square normalization takes the mean to be zero, and the bias.
pub struct RowNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f32,
    centred: bool,
}

impl RowNorm {
    /// `weight [hidden]`, `bias [hidden]`.
    pub fn layer(weight: Vec<f32>, bias: Option<Vec<f32>>, eps: f32) -> Self {
        let bias = bias.unwrap_or_else(|| vec![0.0; weight.len()]);
        assert_eq!(weight.len(), bias.len(), "weight and bias are [hidden]");
        Self { weight, bias, eps, centred: true }
    }

    /// `weight [hidden]`
    pub fn root_mean_square(weight: Vec<f32>, eps: f32) -> Self {
        Self { bias: vec![0.0; weight.len()], weight, eps, centred: false }
    }

    /// Width of a row, in numbers.
    pub fn width(&self) -> usize {
        self.weight.len()
    }

    /// Normalizes `row [hidden]` in place.
    #[inline(always)]
    pub(super) fn normalize_row<S: Simd>(&self, s: S, row: &mut [f32]) {
        let width = row.len();
        let whole = width / S::LANES * S::LANES;
        let rest = width - whole;
        let mean = if self.centred { sum(s, row) / width as f32 } else { 0.0 };
        let centre = s.splat(mean);
        let mut squares = s.splat(0.0);
        // SAFETY (each block): offsets below `whole` start LANES numbers of the row, `whole` starts `rest` numbers, and
        // weight and bias are as long as the row.
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: see above.
            unsafe {
                let x = s.sub(s.load(row.as_ptr().add(i)), centre);
                squares = s.mul_add(x, x, squares);
                s.store(row.as_mut_ptr().add(i), x);
            }
        }
        if rest > 0 {
            // SAFETY: see above; the fill centres to zero.
            unsafe {
                let x = s.sub(s.load_first(row.as_ptr().add(whole), rest, mean), centre);
                squares = s.mul_add(x, x, squares);
                s.store_first(row.as_mut_ptr().add(whole), x, rest);
            }
        }
        let scale = s.splat(1.0 / (s.sum(squares) / width as f32 + self.eps).sqrt());
        let (weight, bias) = (&self.weight[..width], &self.bias[..width]);
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: see above.
            unsafe {
                let x = s.mul(s.load(row.as_ptr().add(i)), scale);
                let y = s.mul_add(x, s.load(weight.as_ptr().add(i)), s.load(bias.as_ptr().add(i)));
                s.store(row.as_mut_ptr().add(i), y);
            }
        }
        if rest > 0 {
            // SAFETY: see above.
            unsafe {
                let x = s.mul(s.load_first(row.as_ptr().add(whole), rest, 0.0), scale);
                let weight = s.load_first(weight.as_ptr().add(whole), rest, 0.0);
                let y = s.mul_add(x, weight, s.load_first(bias.as_ptr().add(whole), rest, 0.0));
                s.store_first(row.as_mut_ptr().add(whole), y, rest);
            }
        }
    }
}

#[inline(always)]
fn sum<S: Simd>(s: S, row: &[f32]) -> f32 {
    let mut sums = s.splat(0.0);
    let mut chunks = row.chunks_exact(S::LANES);
    for chunk in &mut chunks {
        // SAFETY: a chunk is LANES numbers.
        sums = s.add(sums, unsafe { s.load(chunk.as_ptr()) });
    }
    let rest = chunks.remainder();
    // SAFETY: reads `rest.len()` numbers of `rest`.
    s.sum(s.add(sums, unsafe { s.load_first(rest.as_ptr(), rest.len(), 0.0) }))
}

/// `out = norm(x + residual)`, all `[rows, hidden]`.
pub fn add_norm(isa: Isa, x: &[f32], residual: &[f32], norm: &RowNorm, out: &mut [f32]) {
    assert!(x.len() == residual.len() && x.len() == out.len(), "x, residual and out are of one shape");
    isa.run(AddNorm { x, residual: Some(residual), norm, out });
}

/// `out = norm(x)`, both `[rows, hidden]`.
pub fn norm(isa: Isa, x: &[f32], norm: &RowNorm, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "x and out are of one shape");
    isa.run(AddNorm { x, residual: None, norm, out });
}

struct AddNorm<'a> {
    x: &'a [f32],
    residual: Option<&'a [f32]>,
    norm: &'a RowNorm,
    out: &'a mut [f32],
}

impl Operation for AddNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.norm.width();
        for (row, (x, out)) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)).enumerate() {
            match self.residual {
                None => out.copy_from_slice(x),
                Some(residual) => {
                    let residual = &residual[row * width..][..width];
                    for ((out, x), residual) in out.iter_mut().zip(x).zip(residual) {
                        *out = x + residual;
                    }
                }
            }
            self.norm.normalize_row(s, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::numbers;

    /// Largest absolute error for rows of about unit variance and weights up to 1.
    const ERROR: f64 = 4e-6;

    /// The definition, in float64, of `norm(rows)`.
    fn reference(norm: &RowNorm, rows: &[f32]) -> Vec<f64> {
        let width = norm.width();
        let of_row = |row: &[f32]| -> Vec<f64> {
            let at = |i: usize| f64::from(row[i]);
            let mean = if norm.centred { (0..width).map(at).sum::<f64>() / width as f64 } else { 0.0 };
            let variance = (0..width).map(|i| (at(i) - mean).powi(2)).sum::<f64>() / width as f64;
            let scaled =
                |i: usize| (at(i) - mean) / (variance + f64::from(norm.eps)).sqrt() * f64::from(norm.weight[i]);
            (0..width).map(|i| scaled(i) + f64::from(norm.bias[i])).collect()
        };
        rows.chunks(width).flat_map(of_row).collect()
    }

    #[test]
    fn ragged_rows_match_the_definition_on_every_set() {
        for isa in Isa::available() {
            for width in [1, 2, 15, 16, 17, 31, 40, 64, 312, 384] {
                let (x, residual) = (numbers(3 * width, 1), numbers(3 * width, 2));
                let sums: Vec<f32> = x.iter().zip(&residual).map(|(x, residual)| x + residual).collect();
                for rule in [
                    RowNorm::layer(numbers(width, 3), Some(numbers(width, 4)), 1e-5),
                    RowNorm::layer(numbers(width, 3), None, 1e-5),
                    RowNorm::root_mean_square(numbers(width, 3), 1e-6),
                ] {
                    let mut added = vec![f32::NAN; 3 * width];
                    add_norm(isa, &x, &residual, &rule, &mut added);
                    for (y, expected) in added.iter().zip(reference(&rule, &sums)) {
                        let error = (f64::from(*y) - expected).abs();
                        assert!(error <= ERROR, "{} width {width}: off by {error}", isa.name());
                    }
                    let mut alone = vec![f32::NAN; 3 * width];
                    norm(isa, &sums, &rule, &mut alone);
                    assert_eq!(alone, added, "{} width {width}", isa.name());
                }
            }
        }
    }
}
