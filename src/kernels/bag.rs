//! The mean of some rows of a table: what a static embedding makes of a text.
//!
//! ```text
//! for each block of columns that fits in registers:
//!     sum = 0;  for each id, in the order of the text: sum += table[row(id)] * weight(id)
//!     out = sum / number of ids
//! ```
//!
//! Every element is the sum of rounded products in the order of the text, by any instruction set: neither the width of a vector nor
//! what else is computed changes a bit.
//!
//! Tried, with 256 columns and the texts of `benches`, and left out: a row for each distinct token of a text, times how often it is
//! there (43 % of the rows, 1.2 times as long: rows that come again are in a cache); asking for rows six tokens ahead (as long, with
//! 10 % less at best where the table was in no cache); sixteen vectors at a time (1.1 times as long).

use half::{bf16, f16};

use crate::kernels::simd::{Operation, Simd};
use crate::kernels::widen::Widen;
use crate::kernels::{DecodeRow, EmbeddingTable, Isa};

/// A table with a row for each token: `table[row_of[id]] * weight_of[id]`, or less of that.
pub struct WeightedTable {
    /// `[rows, width]`
    pub table: EmbeddingTable,
    pub width: usize,
    /// `[ids]`, each below the number of rows; None where an id is its row.
    pub row_of: Option<Vec<u32>>,
    /// `[ids]`; None where all are 1.
    pub weight_of: Option<Vec<f32>>,
}

/// Writes the mean of the rows of `ids` to `out [width]`: zeros where there are none. Every id must have a row.
pub fn mean_row(isa: Isa, table: &WeightedTable, ids: &[u32], out: &mut [f32]) {
    isa.run(MeanRow { table, ids, out });
}

struct MeanRow<'a> {
    table: &'a WeightedTable,
    ids: &'a [u32],
    out: &'a mut [f32],
}

impl Operation for MeanRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { table, ids, out } = self;
        match &table.table {
            EmbeddingTable::Float32(values) => mean::<S, f32>(s, values, table, ids, out),
            EmbeddingTable::Bfloat16(values) => mean::<S, bf16>(s, values, table, ids, out),
            EmbeddingTable::Float16(values) => mean::<S, f16>(s, values, table, ids, out),
            EmbeddingTable::Int8(values) => mean::<S, i8>(s, values, table, ids, out),
            EmbeddingTable::Coded(rows) => mean_of_codes(&**rows, table, ids, out),
        }
    }
}

/// Vectors of sums that are kept in registers at a time.
const BLOCK: usize = 8;

#[inline(always)]
fn mean<S: Simd, T: Widen>(s: S, values: &[T], table: &WeightedTable, ids: &[u32], out: &mut [f32]) {
    let count = ids.len().max(1) as f32;
    let mut blocks = out.chunks_exact_mut(BLOCK * S::LANES);
    let mut column = 0;
    for block in blocks.by_ref() {
        mean_block::<S, T, BLOCK>(s, values, table, ids, count, column, block);
        column += block.len();
    }
    let mut vectors = blocks.into_remainder().chunks_exact_mut(S::LANES);
    for vector in vectors.by_ref() {
        mean_block::<S, T, 1>(s, values, table, ids, count, column, vector);
        column += vector.len();
    }
    let rest = vectors.into_remainder();
    rest.fill(0.0);
    for &id in ids {
        let (start, weight) = place(table, id);
        for (sum, &value) in rest.iter_mut().zip(&values[start + column..]) {
            *sum += value.widen() * weight;
        }
    }
    rest.iter_mut().for_each(|sum| *sum /= count);
}

/// The means of `N` vectors of columns from `column` on.
#[inline(always)]
fn mean_block<S: Simd, T: Widen, const N: usize>(
    s: S,
    values: &[T],
    table: &WeightedTable,
    ids: &[u32],
    count: f32,
    column: usize,
    out: &mut [f32],
) {
    assert_eq!(out.len(), N * S::LANES);
    let is_weighted = table.weight_of.is_some();
    let mut sums = [s.splat(0.0); N];
    for &id in ids {
        let (start, weight) = place(table, id);
        let row = &values[start + column..][..N * S::LANES];
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the row has N * LANES numbers.
            let value = unsafe { T::load(s, row.as_ptr().add(i * S::LANES)) };
            *sum = s.add(*sum, if is_weighted { s.mul(value, s.splat(weight)) } else { value });
        }
    }
    for (i, sum) in sums.into_iter().enumerate() {
        // SAFETY: so has `out`.
        unsafe { s.store(out.as_mut_ptr().add(i * S::LANES), s.div(sum, s.splat(count))) };
    }
}

fn mean_of_codes(rows: &dyn DecodeRow, table: &WeightedTable, ids: &[u32], out: &mut [f32]) {
    let mut row = vec![0.0; table.width];
    out.fill(0.0);
    for &id in ids {
        let (start, weight) = place(table, id);
        rows.decode_row(start / table.width, &mut row);
        out.iter_mut().zip(&row).for_each(|(sum, value)| *sum += value * weight);
    }
    out.iter_mut().for_each(|sum| *sum /= ids.len().max(1) as f32);
}

/// Where the row of a token begins, and its weight.
#[inline(always)]
fn place(table: &WeightedTable, id: u32) -> (usize, f32) {
    let row = table.row_of.as_ref().map_or(id, |rows| rows[id as usize]);
    let weight = table.weight_of.as_ref().map_or(1.0, |weights| weights[id as usize]);
    (row as usize * table.width, weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::numbers;

    fn tables(width: usize) -> Vec<EmbeddingTable> {
        let values = numbers(7 * width, 1);
        vec![
            EmbeddingTable::Bfloat16(values.iter().copied().map(bf16::from_f32).collect::<Vec<_>>().into()),
            EmbeddingTable::Float16(values.iter().copied().map(f16::from_f32).collect::<Vec<_>>().into()),
            EmbeddingTable::Int8(values.iter().map(|x| (x * 20.0) as i8).collect()),
            EmbeddingTable::Float32(values.into()),
        ]
    }

    fn value(table: &EmbeddingTable, i: usize) -> f32 {
        match table {
            EmbeddingTable::Float32(values) => values[i],
            EmbeddingTable::Bfloat16(values) => values[i].to_f32(),
            EmbeddingTable::Float16(values) => values[i].to_f32(),
            EmbeddingTable::Int8(values) => f32::from(values[i]),
            EmbeddingTable::Coded(_) => unreachable!("none is made here"),
        }
    }

    #[test]
    fn means_have_the_same_bits_on_every_set() {
        let (row_of, weight_of) = (vec![6, 0, 3, 3, 1], vec![0.5, -2.0, 1.0, 0.25, 3.0]);
        for width in [1, 7, 16, 24, 60, 128, 131, 256, 300] {
            for table in tables(width) {
                for (row_of, weight_of) in [(None, None), (Some(row_of.clone()), None), (None, Some(weight_of.clone()))]
                {
                    let table = WeightedTable { table: copy(&table), width, row_of, weight_of };
                    for ids in [&[][..], &[4], &[0, 1, 2, 3, 4, 4, 0]] {
                        let mut expected = vec![0.0; width];
                        for &id in ids {
                            let (start, weight) = place(&table, id);
                            for (i, sum) in expected.iter_mut().enumerate() {
                                *sum += value(&table.table, start + i) * weight;
                            }
                        }
                        expected.iter_mut().for_each(|sum| *sum /= ids.len().max(1) as f32);
                        for isa in Isa::available() {
                            let mut out = vec![f32::NAN; width];
                            mean_row(isa, &table, ids, &mut out);
                            assert_eq!(out, expected, "{} {width} {ids:?}", isa.name());
                        }
                    }
                }
            }
        }
    }

    fn copy(table: &EmbeddingTable) -> EmbeddingTable {
        match table {
            EmbeddingTable::Float32(values) => EmbeddingTable::Float32(values.to_vec().into()),
            EmbeddingTable::Bfloat16(values) => EmbeddingTable::Bfloat16(values.to_vec().into()),
            EmbeddingTable::Float16(values) => EmbeddingTable::Float16(values.to_vec().into()),
            EmbeddingTable::Int8(values) => EmbeddingTable::Int8(values.clone()),
            EmbeddingTable::Coded(_) => unreachable!("none is made here"),
        }
    }
}
