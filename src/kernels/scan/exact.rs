//! Scores that decide.

use super::{Bound, Metric, SIDE_BY_SIDE, code_stride};
use crate::kernels::Isa;
use crate::kernels::simd::{Operation, Simd};

/// Rows of vectors as a store keeps them.
#[derive(Debug, Clone, Copy)]
pub enum Stored<'a> {
    /// `[rows, dimension]`
    Float32(&'a [f32]),
    /// `[rows, dimension]`
    Float16(&'a [half::f16]),
    /// `[rows, code_stride(dimension)]`, `[rows]`
    Int8(&'a [i8], &'a [Bound]),
}

/// How alike `query [dimension]`, which are float32 numbers, and a stored row are, before the cosine's division by the query's length and the root of the
/// distance: ⟨q, x⟩ / |x|, ⟨q, x⟩ or -|q - x|².
///
/// Summed in float64, where the product of two float32 numbers is exact: number i is added to partial sum i mod 16, and the
/// partial sums in order. So the bits are the same on every CPU, and the sum is within dimension * 2^-53 of the real one, relative to
/// the sum of the absolute values.
pub fn exact(isa: Isa, metric: Metric, query: &[f64], stored: Stored<'_>, row: usize) -> f64 {
    isa.run(Exact { metric, query, stored, row })
}

struct Exact<'a> {
    metric: Metric,
    query: &'a [f64],
    stored: Stored<'a>,
    row: usize,
}

impl Operation for Exact<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        let d = self.query.len();
        match self.stored {
            Stored::Float32(vectors) => score(self.metric, self.query, &vectors[self.row * d..][..d], 1.0, f64::from),
            Stored::Float16(vectors) => {
                score(self.metric, self.query, &vectors[self.row * d..][..d], 1.0, |x| f64::from(x.to_f32()))
            }
            Stored::Int8(codes, bounds) => {
                let step = f64::from(bounds[self.row].step);
                score(self.metric, self.query, &codes[self.row * code_stride(d)..][..d], step, f64::from)
            }
        }
    }
}

/// `widen`: a stored number as float64, which times `step` is one of x.
#[inline(always)]
fn score<T: Copy>(metric: Metric, query: &[f64], x: &[T], step: f64, widen: impl Fn(T) -> f64 + Copy) -> f64 {
    match metric {
        Metric::Dot => sums(query, x, |q, x| [q * widen(x)])[0] * step,
        Metric::Cosine => {
            let [dot, square] = sums(query, x, |q, x| [q * widen(x), widen(x) * widen(x)]);
            if square == 0.0 { 0.0 } else { dot / square.sqrt() }
        }
        Metric::L2 => -sums(query, x, |q, x| [(q - widen(x) * step) * (q - widen(x) * step)])[0],
    }
}

/// Sums of `terms` over pairs of numbers.
#[inline(always)]
fn sums<T: Copy, const N: usize>(query: &[f64], x: &[T], terms: impl Fn(f64, T) -> [f64; N]) -> [f64; N] {
    let mut sums = [[0.0_f64; SIDE_BY_SIDE]; N];
    let (whole, rest) = query.as_chunks::<SIDE_BY_SIDE>();
    let (whole_x, rest_x) = x.as_chunks::<SIDE_BY_SIDE>();
    for (q, x) in whole.iter().zip(whole_x) {
        for i in 0..SIDE_BY_SIDE {
            let terms = terms(q[i], x[i]);
            for n in 0..N {
                sums[n][i] += terms[n];
            }
        }
    }
    for (i, (&q, &x)) in rest.iter().zip(rest_x).enumerate() {
        let terms = terms(q, x);
        for n in 0..N {
            sums[n][i] += terms[n];
        }
    }
    sums.map(|sums| sums.iter().sum())
}
