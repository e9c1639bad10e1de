//! A weight matrix, packed once for products with many rows.

use std::ops::Range;

use crate::kernels::aligned::Aligned;
use crate::kernels::simd::{Operation, Simd};
use crate::kernels::tile::{ROWS, tile, vectors, with_tile};
use crate::kernels::{Activation, Isa, split};

/// Bytes of `x` that are multiplied with all panels before the next rows: they stay in the second-level cache.
const BLOCK_BYTES: usize = 256 << 10;

/// `y = activation(x · weightᵀ + bias)` with `weight [n, k]`, as `torch.nn.Linear` stores it.
///
/// Packed as panels of as many columns of `weightᵀ` as a register tile is wide, each `[k, width]`; the last one is only as
/// wide as its columns need, in whole vectors.
pub struct Matrix {
    isa: Isa,
    n: usize,
    k: usize,
    /// Columns in a full panel.
    width: usize,
    panels: Aligned,
    /// `[n]`, padded with zeros to whole vectors.
    bias: Aligned,
}

impl Matrix {
    /// Packs `weight [n, k]`, row-major, and `bias [n]`.
    pub fn new(isa: Isa, weight: &[f32], bias: Option<&[f32]>, n: usize, k: usize) -> Self {
        let mut matrix = Self::zeroed(isa, n, k);
        matrix.set_rows(0, weight, bias);
        matrix
    }

    /// A matrix whose rows are still to be set.
    pub fn zeroed(isa: Isa, n: usize, k: usize) -> Self {
        assert!(n > 0 && k > 0, "a matrix has rows and columns");
        let (lanes, width) = isa.run(Widths);
        let padded = n.next_multiple_of(lanes);
        Self { isa, n, k, width, panels: Aligned::zeroed(padded * k), bias: Aligned::zeroed(padded) }
    }

    /// Packs `weight [rows, k]` and `bias [rows]` as the output channels from `first` on.
    pub fn set_rows(&mut self, first: usize, weight: &[f32], bias: Option<&[f32]>) {
        let rows = weight.len() / self.k;
        assert_eq!(weight.len(), rows * self.k, "weight is [rows, k]");
        assert!(first + rows <= self.n, "rows are within n");
        let padded = self.bias.as_slice().len();
        let panels = self.panels.as_mut_slice();
        for (row, values) in (first..).zip(weight.chunks_exact(self.k)) {
            let start = row / self.width * self.width;
            let stride = self.width.min(padded - start);
            let panel = &mut panels[start * self.k..][..stride * self.k];
            panel[row - start..].iter_mut().step_by(stride).zip(values).for_each(|(to, &from)| *to = from);
        }
        if let Some(bias) = bias {
            self.bias.as_mut_slice()[first..first + rows].copy_from_slice(bias);
        }
    }

    /// Output channels.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Input channels.
    pub fn k(&self) -> usize {
        self.k
    }

    /// `x [m, k]` to `out [m, n]`. A row's result has the same bits for every `m`.
    pub fn apply(&self, x: &[f32], activation: Activation, out: &mut [f32]) {
        let m = out.len() / self.n;
        assert_eq!(out.len(), m * self.n, "out is [m, n]");
        assert_eq!(x.len(), m * self.k, "x is [m, k]");
        let out = Columns { start: out.as_mut_ptr(), len: out.len() };
        split(self.n.div_ceil(self.width), m * self.k * self.width, |panels| {
            self.isa.run(Product { matrix: self, x, m, activation, out: &out, panels });
        });
    }
}

struct Widths;

impl Operation for Widths {
    type Output = (usize, usize);

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (usize, usize) {
        (S::LANES, vectors::<S>() * S::LANES)
    }
}

/// An output that several threads write, each its own columns.
struct Columns {
    start: *mut f32,
    len: usize,
}

// SAFETY: `Matrix::apply` borrows the output mutably for as long as this lives and gives every thread other columns.
unsafe impl Sync for Columns {}

/// The product for some panels.
struct Product<'a> {
    matrix: &'a Matrix,
    x: &'a [f32],
    m: usize,
    activation: Activation,
    out: &'a Columns,
    panels: Range<usize>,
}

impl Operation for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Matrix { n, k, width, .. } = *self.matrix;
        let block = (BLOCK_BYTES / (4 * k) / ROWS).max(1) * ROWS;
        for block_start in (0..self.m).step_by(block) {
            let block_end = (block_start + block).min(self.m);
            for panel in self.panels.clone() {
                let column = panel * width;
                let columns = width.min(n - column);
                for row in (block_start..block_end).step_by(ROWS) {
                    let rows = ROWS.min(block_end - row);
                    // SAFETY: the rows are within m, the columns within n, and these columns are this call's alone.
                    unsafe { self.tile(s, row..row + rows, column..column + columns) };
                }
            }
        }
    }
}

impl Product<'_> {
    /// # Safety
    /// `rows` are within `0..m` and at most `ROWS`; `columns` are one panel; nobody else has these elements of the output.
    #[inline(always)]
    unsafe fn tile<S: Simd>(&self, s: S, rows: Range<usize>, columns: Range<usize>) {
        let Matrix { n, k, panels, bias, .. } = self.matrix;
        let count = columns.len();
        let vectors = count.div_ceil(S::LANES);
        let bias = &bias.as_slice()[columns.start..columns.start + vectors * S::LANES];
        let panel = &panels.as_slice()[columns.start * k..][..vectors * S::LANES * k];
        let a = &self.x[rows.start * k..rows.end * k];
        debug_assert!((rows.end - 1) * n + columns.end <= self.out.len);
        // SAFETY: a has `rows` rows of k numbers, the panel k rows of `vectors` vectors, the output is the caller's.
        unsafe {
            let out = self.out.start.add(rows.start * n + columns.start);
            with_tile!(S, rows.len(), vectors, MR, NV => {
                let sums = tile::<S, MR, NV>(s, *k, (a.as_ptr(), *k), (panel.as_ptr(), NV * S::LANES));
                for (i, row) in sums.iter().enumerate() {
                    for (j, &sum) in row.iter().enumerate() {
                        let y = s.add(sum, s.load(bias.as_ptr().add(j * S::LANES)));
                        let to = out.add(i * n + j * S::LANES);
                        match count - j * S::LANES {
                            left if left >= S::LANES => s.store(to, y),
                            left => s.store_first(to, y, left),
                        }
                    }
                }
            });
            // Not inside the tile: its 24 sizes times all activations would be 300 copies of the same loop.
            if self.activation != Activation::Identity {
                for i in 0..rows.len() {
                    self.activation.of_slice(s, std::slice::from_raw_parts_mut(out.add(i * n), count));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, worst};

    /// Largest error of a sum of k products, relative to the sum of their absolute values.
    fn bound(k: usize) -> f64 {
        (k as f64 + 2.0) * f64::from(f32::EPSILON) / 2.0
    }

    /// `x · weightᵀ + bias` and the sum of absolute products, in float64.
    fn reference(x: &[f32], weight: &[f32], bias: &[f32], k: usize) -> Vec<(f64, f64)> {
        let rows = |x: &[f32]| x.chunks(k).map(|row| row.iter().map(|&v| f64::from(v)).collect::<Vec<_>>()).collect();
        let (x, weight): (Vec<_>, Vec<_>) = (rows(x), rows(weight));
        let dot =
            |a: &[f64], b: &[f64]| a.iter().zip(b).fold((0.0, 0.0), |(s, t), (a, b)| (s + a * b, t + (a * b).abs()));
        x.iter()
            .flat_map(|x| {
                weight.iter().zip(bias).map(|(w, &b)| {
                    let (sum, size) = dot(x, w);
                    (sum + f64::from(b), size + f64::from(b.abs()))
                })
            })
            .collect()
    }

    #[test]
    fn ragged_sizes_match_the_reference_on_every_set() {
        for isa in Isa::available() {
            for (m, n, k) in
                [(1, 1, 1), (5, 15, 3), (6, 16, 16), (7, 17, 31), (13, 63, 40), (12, 64, 8), (29, 131, 312)]
            {
                let (x, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
                let mut out = vec![f32::NAN; m * n];
                Matrix::new(isa, &weight, Some(&bias), n, k).apply(&x, Activation::Identity, &mut out);
                for (y, (expected, size)) in out.iter().zip(reference(&x, &weight, &bias, k)) {
                    let error = (f64::from(*y) - expected).abs();
                    assert!(error <= bound(k) * size, "{} {m}x{n}x{k}: {y} is not {expected}", isa.name());
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company_and_any_split() {
        let (m, n, k) = (211, 390, 77);
        let crew = crate::kernels::Crew::new(3).unwrap();
        for isa in Isa::available() {
            let (x, weight) = (numbers(m * k, 4), numbers(n * k, 5));
            let matrix = Matrix::new(isa, &weight, None, n, k);
            let mut all = vec![0.0; m * n];
            matrix.apply(&x, Activation::Gelu, &mut all);
            for row in [0, 1, 5, 6, 100, 210] {
                let mut alone = vec![0.0; n];
                matrix.apply(&x[row * k..][..k], Activation::Gelu, &mut alone);
                assert_eq!(alone, all[row * n..][..n], "{} row {row}", isa.name());
            }
            let mut together = vec![0.0; m * n];
            crew.lead(|| matrix.apply(&x, Activation::Gelu, &mut together));
            assert_eq!(together, all);
        }
    }

    #[test]
    fn an_empty_input_is_an_empty_output() {
        for isa in Isa::available() {
            Matrix::new(isa, &numbers(12, 1), None, 3, 4).apply(&[], Activation::Relu, &mut []);
        }
    }

    #[test]
    fn stacked_rows_equal_separate_matrices() {
        let isa = Isa::active().unwrap();
        let (x, weight, bias) = (numbers(4 * 10, 1), numbers(30 * 10, 2), numbers(30, 3));
        let (mut whole, mut stacked) = (vec![0.0; 120], vec![0.0; 120]);
        Matrix::new(isa, &weight, Some(&bias), 30, 10).apply(&x, Activation::Identity, &mut whole);
        let mut matrix = Matrix::zeroed(isa, 30, 10);
        matrix.set_rows(20, &weight[200..], Some(&bias[20..]));
        matrix.set_rows(0, &weight[..200], Some(&bias[..20]));
        matrix.apply(&x, Activation::Identity, &mut stacked);
        assert_eq!(worst(&whole, &stacked), 0.0);
    }
}
