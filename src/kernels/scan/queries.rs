//! Queries as bytes, with the length of what these leave out: the query's own term in the bound of `store::search`.

use super::row_sums::rounding;
use super::{Metric, code_stride};
use crate::kernels::Isa;
use crate::kernels::simd::{Int8, Int8Operation};
use crate::memory::zeroed;
use crate::panic::raise;

/// Fewer queries are multiplied with rows as they lie in memory; for more it pays to lay the rows out as panels.
pub const MIN_PANEL_QUERIES: usize = 4;

/// Queries to be multiplied with codes.
///
/// The order of rows does not depend on a query's length but under [`Metric::L2`], so elsewhere it is taken to be 1.
pub struct QuantizedQueries {
    pub(super) dimension: usize,
    /// `[n, code_stride(dimension)]`
    pub(super) bytes: Vec<u8>,
    /// `[n]`: what the bytes of each query mean.
    pub(super) bounds: Vec<QueryBound>,
    /// What each byte is more than the integer that it stands for.
    pub(super) offset: f32,
    /// What is multiplied with coarse codes: one of each query or none.
    pub(super) coarse: Vec<CoarseQuery>,
}

/// A query as signed bytes.
pub(super) struct CoarseQuery {
    /// `[code_stride(dimension)]`
    pub(super) bytes: Vec<i8>,
    /// 15 times their sum.
    pub(super) fifteen_sums: i32,
    pub(super) bound: QueryBound,
}

/// What the bytes of a query `q` mean, and what they leave out.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueryBound {
    /// `q` is about `scale * integers`.
    pub(super) scale: f32,
    /// At least the length of `q`.
    pub(super) length: f32,
    /// At least the length of `q - scale * integers`, and what rounding adds to sums of products with it.
    pub(super) error: f32,
}

impl QuantizedQueries {
    /// Quantizes `queries [n, dimension]`, which are finite, and under [`Metric::L2`] no longer than 1e18. `coarse`: whether
    /// they are to be multiplied with coarse codes first, as fewer than [`MIN_PANEL_QUERIES`] can be.
    pub fn new(isa: Isa, metric: Metric, queries: &[f32], dimension: usize, coarse: bool) -> Self {
        let stride = code_stride(dimension);
        let format = isa.run_int8(FormatOfSet);
        let mut bytes: Vec<u8> = zeroed(queries.len() / dimension * stride, "queries").unwrap_or_else(raise);
        let rows = queries.chunks_exact(dimension).zip(bytes.chunks_exact_mut(stride));
        let bounds: Vec<_> = rows.map(|(query, bytes)| quantize(metric, query, bytes, format)).collect();
        let coarse = if coarse && bounds.len() < MIN_PANEL_QUERIES {
            queries.chunks_exact(dimension).map(|query| CoarseQuery::new(metric, query)).collect()
        } else {
            Vec::new()
        };
        Self { dimension, bytes, bounds, offset: if format.flip == 0 { format.offset.into() } else { 0.0 }, coarse }
    }

    pub fn len(&self) -> usize {
        self.bounds.len()
    }

    /// Whether they are multiplied with coarse codes first.
    pub fn read_coarse(&self) -> bool {
        !self.coarse.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.bounds.is_empty()
    }
}

impl CoarseQuery {
    fn new(metric: Metric, query: &[f32]) -> Self {
        let mut bytes: Vec<u8> = zeroed(code_stride(query.len()), "queries").unwrap_or_else(raise);
        let bound = quantize(metric, query, &mut bytes, QueryFormat::SIGNED);
        let bytes: Vec<i8> = bytes.into_iter().map(u8::cast_signed).collect();
        let fifteen_sums = 15 * bytes.iter().map(|&byte| i32::from(byte)).sum::<i32>();
        Self { bytes, fifteen_sums, bound }
    }
}

fn quantize(metric: Metric, query: &[f32], bytes: &mut [u8], format: QueryFormat) -> QueryBound {
    let most = f64::from(format.offset - 1);
    let length = query.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let inverse_length = if metric == Metric::L2 || length == 0.0 { 1.0 } else { 1.0 / length };
    let largest = query.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let scale = (f64::from(largest) * inverse_length / most) as f32;
    let inverse = if scale > 1e-30 { 1.0 / f64::from(scale) } else { 0.0 };
    let mut residual = 0.0;
    for (&x, byte) in query.iter().zip(bytes) {
        let x = f64::from(x) * inverse_length;
        let integer = (x * inverse).round().clamp(-most, most);
        residual += (x - integer * f64::from(scale)).powi(2);
        *byte = (integer as i32 + i32::from(format.offset)) as u8 ^ format.flip;
    }
    let (length, rounding) = (length * inverse_length, f64::from(rounding(query.len())));
    // A sum of products of bytes up to 255 with codes, which a row has up to 127 of, is rounded to float32 twice.
    let sums = 2.0 * f64::from(scale) * 255.0 * query.len() as f64 * f64::from(f32::EPSILON);
    let error = residual.sqrt() + length * rounding + sums;
    QueryBound { scale, length: (length * (1.0 + rounding)) as f32, error: (error * (1.0 + rounding)) as f32 }
}

/// How a query's bytes hold its integers.
#[derive(Clone, Copy)]
struct QueryFormat {
    /// What is added to them, and one more than they are at most.
    offset: u8,
    /// What the sum is held XOR.
    flip: u8,
}

impl QueryFormat {
    /// The integers themselves.
    const SIGNED: Self = Self { offset: 0x80, flip: 0x80 };
}

/// The format of a set.
struct FormatOfSet;

impl Int8Operation for FormatOfSet {
    type Output = QueryFormat;

    #[inline(always)]
    fn run<D: Int8>(self, _: D) -> QueryFormat {
        QueryFormat { offset: D::STEPS.div_ceil(2), flip: D::FLIP }
    }
}
