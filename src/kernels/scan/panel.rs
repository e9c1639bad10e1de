//! Products of queries with codes, and the rows that they leave in question.

use std::ops::Range;

use super::encode::rounding;
use super::queries::Queries;
use super::{Bound, code_stride};
use crate::kernels::Isa;
use crate::kernels::aligned::scratch;
use crate::kernels::prefetch::Ahead;
use crate::kernels::simd::{Int8, Int8Operation, Simd};
use crate::kernels::tile::{Bytes, Terms, tile, with_tile};

/// Rows of a panel on any instruction set: 4 vectors of 16 at most.
const MOST_ROWS: usize = 64;

/// Some rows of a block.
#[derive(Debug, Clone)]
pub enum Rows<'a> {
    Range(Range<usize>),
    /// Ascending.
    List(&'a [u32]),
}

impl Rows<'_> {
    fn len(&self) -> usize {
        match self {
            Rows::Range(range) => range.len(),
            Rows::List(list) => list.len(),
        }
    }

    #[inline(always)]
    fn get(&self, i: usize) -> usize {
        match self {
            Rows::Range(range) => range.start + i,
            Rows::List(list) => list[i] as usize,
        }
    }
}

/// Who is told of rows.
pub trait Collect {
    /// Rows whose score cannot be as much are of no interest for the query.
    fn threshold(&self, query: usize) -> f32;

    /// The score of a row is from `lower` to `upper`. Scores are here ⟨q, x⟩, with `q` as [`Queries`] and `x` as
    /// [`Bound`] see them, less half the square of the length of `x` under [`super::Metric::L2`].
    fn add(&mut self, query: usize, row: usize, lower: f32, upper: f32);
}

/// Tells `collect` of all `rows` of `codes [n, code_stride(dimension)]`, `bounds [n]`, that may reach a query's threshold.
pub fn scan(isa: Isa, queries: &Queries, codes: &[i8], bounds: &[Bound], rows: &Rows<'_>, collect: &mut impl Collect) {
    let stride = code_stride(queries.dimension);
    assert_eq!(codes.len(), bounds.len() * stride, "a bound for each row of codes");
    if rows.len() == 0 || queries.is_empty() {
        return;
    }
    assert!(rows.get(rows.len() - 1) < bounds.len(), "rows of the block");
    // Around `run_int8` and not inside it: a closure in there would be compiled without the instruction set.
    scratch(MOST_ROWS * stride, |panel: &mut [i8]| {
        isa.run_int8(Scan { queries, codes, bounds, stride, rows, panel, collect });
    });
}

struct Scan<'a, C> {
    queries: &'a Queries,
    codes: &'a [i8],
    bounds: &'a [Bound],
    stride: usize,
    rows: &'a Rows<'a>,
    panel: &'a mut [i8],
    collect: &'a mut C,
}

/// The bounds of a panel's rows, column by column.
struct PanelBounds {
    scale: [f32; MOST_ROWS],
    error: [f32; MOST_ROWS],
    norm: [f32; MOST_ROWS],
    half_square: [f32; MOST_ROWS],
    /// What the offset of a query's bytes adds to the sums.
    excess: [f32; MOST_ROWS],
    row: [usize; MOST_ROWS],
}

impl<C: Collect> Int8Operation for Scan<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<D: Int8>(mut self, d: D) {
        let width = Bytes::<D>::WIDTH;
        let mut panel_bounds = PanelBounds {
            scale: [0.0; MOST_ROWS],
            error: [0.0; MOST_ROWS],
            norm: [0.0; MOST_ROWS],
            half_square: [0.0; MOST_ROWS],
            excess: [0.0; MOST_ROWS],
            row: [0; MOST_ROWS],
        };
        for start in (0..self.rows.len()).step_by(width) {
            let count = width.min(self.rows.len() - start);
            self.pack(d, start, count, &mut panel_bounds);
            self.multiply(d, start, count, &panel_bounds);
        }
    }
}

impl<C: Collect> Scan<'_, C> {
    /// Lays the codes of `count` rows out as a panel `[stride / 4, width, 4]`. Beyond `count` it repeats the last row.
    #[inline(always)]
    fn pack<D: Int8>(&mut self, d: D, start: usize, count: usize, bounds: &mut PanelBounds) {
        let lanes = <D::Simd as Simd>::LANES;
        let width = Bytes::<D>::WIDTH;
        let mut from = [self.codes.as_ptr(); MOST_ROWS];
        for (i, from) in from[..width].iter_mut().enumerate() {
            let row = self.rows.get(start + i.min(count - 1));
            let Bound { scale, error, norm, half_square, sum, .. } = self.bounds[row];
            bounds.scale[i] = scale;
            bounds.error[i] = error;
            bounds.norm[i] = norm;
            bounds.half_square[i] = half_square;
            bounds.excess[i] = sum * self.queries.offset;
            bounds.row[i] = row;
            *from = self.codes[row * self.stride..][..self.stride].as_ptr();
        }
        assert!(self.panel.len() >= width * self.stride);
        let bytes = 4 * lanes;
        for vector in 0..width / lanes {
            for at in (0..self.stride).step_by(bytes) {
                // SAFETY: each row has `stride` bytes, a multiple of 64 and so of `bytes`; the panel holds `width` rows.
                unsafe {
                    let rows = std::array::from_fn(|i| from[(vector * lanes + i) % MOST_ROWS].wrapping_add(at));
                    d.simd().interleave(&rows, self.panel.as_mut_ptr().add(at * width + vector * bytes), 4 * width);
                }
            }
        }
    }

    #[inline(always)]
    fn multiply<D: Int8>(&mut self, d: D, start: usize, count: usize, bounds: &PanelBounds) {
        let width = Bytes::<D>::WIDTH;
        let groups = self.stride / 4;
        let queries = self.queries.len();
        let tiles = queries.div_ceil(Bytes::<D>::ROWS);
        // The codes of the next panel, where they lie one after the other.
        let next = match self.rows {
            Rows::Range(range) if range.start + start + width < self.bounds.len() => {
                Some(self.codes.as_ptr().wrapping_add((range.start + start + width) * self.stride))
            }
            _ => None,
        };
        for i in 0..tiles {
            // Of about the same size, since a tile of one row computes no faster than one of two.
            let tile_queries = queries * i / tiles..queries * (i + 1) / tiles;
            let ahead = next.map_or(Ahead::NOTHING, |from| {
                Ahead::part(from.cast(), (groups, (4 * width).div_ceil(64)), (i, tiles))
            });
            let a = self.queries.bytes.as_slice()[tile_queries.start * self.stride..].as_ptr();
            // SAFETY: the queries have `stride` bytes each, the panel `width` for each of them, and `numbers` has room for the
            // lanes of as many vectors as a panel has.
            unsafe {
                with_tile!(Bytes<D>, tile_queries.len(), Bytes::<D>::VECTORS, MR, NV => {
                    let (a, b) = ((a, self.stride), (self.panel.as_ptr(), 4 * width));
                    let sums = tile::<Bytes<D>, MR, NV>(Bytes(d), groups, a, b, ahead);
                    for (i, sums) in sums.iter().enumerate() {
                        let query = tile_queries.start + i;
                        let uppers = self.uppers::<D, NV>(d, query, sums, bounds);
                        let most = uppers.iter().fold(uppers[0], |most, &upper| d.simd().max(most, upper));
                        if d.simd().largest(most) >= self.collect.threshold(query) {
                            let mut numbers = [0.0; MOST_ROWS];
                            for (j, &upper) in uppers.iter().enumerate() {
                                d.simd().store(numbers.as_mut_ptr().add(j * <D::Simd as Simd>::LANES), upper);
                            }
                            self.tell(query, &numbers[..count], bounds);
                        }
                    }
                });
            }
        }
    }

    /// The most that the scores of a panel's rows can be.
    #[inline(always)]
    fn uppers<D: Int8, const NV: usize>(
        &self,
        d: D,
        query: usize,
        sums: &[D::Sum; NV],
        bounds: &PanelBounds,
    ) -> [<D::Simd as Simd>::F; NV] {
        let s = d.simd();
        let range = self.queries.ranges[query];
        let (scale, length, error) = (s.splat(range.scale), s.splat(range.length), s.splat(range.error));
        let mut uppers = [s.splat(0.0); NV];
        for (j, upper) in uppers.iter_mut().enumerate() {
            let at = j * <D::Simd as Simd>::LANES;
            // SAFETY: a panel has NV vectors of rows, and `PanelBounds` as many numbers at least.
            *upper = unsafe {
                let sum = s.sub(d.floats(sums[j]), s.load(bounds.excess.as_ptr().add(at)));
                let product = s.mul(sum, s.mul(scale, s.load(bounds.scale.as_ptr().add(at))));
                let product = s.sub(product, s.load(bounds.half_square.as_ptr().add(at)));
                let product = s.mul_add(error, s.load(bounds.norm.as_ptr().add(at)), product);
                s.mul_add(length, s.load(bounds.error.as_ptr().add(at)), product)
            };
        }
        uppers
    }

    /// Without vectors, so that it need not be compiled for each set and size of a tile.
    #[inline(never)]
    fn tell(&mut self, query: usize, uppers: &[f32], bounds: &PanelBounds) {
        let range = self.queries.ranges[query];
        let loose = 16.0 * rounding(self.queries.dimension);
        for (i, &upper) in uppers.iter().enumerate() {
            if upper >= self.collect.threshold(query) {
                let slack = range.length * bounds.error[i] + range.error * bounds.norm[i];
                let lower = upper - 2.0 * slack - loose * bounds.half_square[i];
                self.collect.add(query, bounds.row[i], lower, upper);
            }
        }
    }
}
