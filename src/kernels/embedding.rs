//! The lookup of embeddings: rows of tables (words, positions, types) are added, and the sum is normalized in the same
//! pass.

use half::{bf16, f16};

use crate::kernels::simd::{MAX_LANES, Operation, Simd};
use crate::kernels::widen::Widen;
use crate::kernels::{HeldNumbers, Isa, RowNorm};

/// Vectors by number, `[rows, hidden]`.
pub enum EmbeddingTable {
    Float32(HeldNumbers<f32>),
    Bfloat16(HeldNumbers<bf16>),
    Float16(HeldNumbers<f16>),
    Int8(Vec<i8>),
    /// As a quantized file holds them.
    Coded(Box<dyn DecodeRow>),
}

/// Rows that become numbers as they are looked up.
pub trait DecodeRow: Send + Sync {
    /// Writes a row that is there to `out [hidden]`.
    fn decode_row(&self, row: usize, out: &mut [f32]);
}

/// `out[t] = norm(sum over tables of table[ids[t]])`, with tables `[rows, hidden]` and `out [tokens, hidden]`.
///
/// Every id must be below its table's rows.
pub fn embed(isa: Isa, tables: &[(&EmbeddingTable, &[u32])], norm: Option<&RowNorm>, hidden: usize, out: &mut [f32]) {
    isa.run(Embed { tables, norm, hidden, out });
}

struct Embed<'a> {
    tables: &'a [(&'a EmbeddingTable, &'a [u32])],
    norm: Option<&'a RowNorm>,
    hidden: usize,
    out: &'a mut [f32],
}

impl Operation for Embed<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut decoded = Vec::new();
        for (t, out) in self.out.chunks_exact_mut(self.hidden).enumerate() {
            out.fill(0.0);
            for (table, ids) in self.tables {
                let row = ids[t] as usize * self.hidden..(ids[t] as usize + 1) * self.hidden;
                match table {
                    EmbeddingTable::Float32(values) => add(s, &values[row], out),
                    EmbeddingTable::Bfloat16(values) => add(s, &values[row], out),
                    EmbeddingTable::Float16(values) => add(s, &values[row], out),
                    EmbeddingTable::Int8(values) => add(s, &values[row], out),
                    EmbeddingTable::Coded(rows) => {
                        decoded.resize(self.hidden, 0.0);
                        rows.decode_row(ids[t] as usize, &mut decoded);
                        add(s, &decoded, out);
                    }
                }
            }
            if let Some(norm) = self.norm {
                norm.normalize_row(s, out);
            }
        }
    }
}

/// Adds `row [hidden]` to `out [hidden]`.
#[inline(always)]
fn add<S: Simd, T: Widen>(s: S, row: &[T], out: &mut [f32]) {
    let (mut from, mut to) = (row.chunks_exact(S::LANES), out.chunks_exact_mut(S::LANES));
    for (from, to) in from.by_ref().zip(to.by_ref()) {
        // SAFETY: both chunks are LANES numbers.
        unsafe { s.store(to.as_mut_ptr(), s.add(s.load(to.as_ptr()), T::load(s, from.as_ptr()))) };
    }
    let (from, to) = (from.remainder(), to.into_remainder());
    let mut last = [T::zeroed(); MAX_LANES];
    last[..from.len()].copy_from_slice(from);
    // SAFETY: no set has more lanes than `last` has numbers; `to` is as long as it says.
    unsafe {
        let sum = s.add(s.load_first(to.as_ptr(), to.len(), 0.0), T::load(s, last.as_ptr()));
        s.store_first(to.as_mut_ptr(), sum, to.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{max_difference, numbers};

    /// For each type, tables of these values, and the values that they hold.
    fn tables(values: &[f32]) -> [(EmbeddingTable, Vec<f32>); 3] {
        let bfloat16: Vec<_> = values.iter().copied().map(bf16::from_f32).collect();
        let float16: Vec<_> = values.iter().copied().map(f16::from_f32).collect();
        let rounded = [bfloat16.iter().map(|x| x.to_f32()).collect(), float16.iter().map(|x| x.to_f32()).collect()];
        let [as_bfloat16, as_float16] = rounded;
        [
            (EmbeddingTable::Float32(values.to_vec().into()), values.to_vec()),
            (EmbeddingTable::Bfloat16(bfloat16.into()), as_bfloat16),
            (EmbeddingTable::Float16(float16.into()), as_float16),
        ]
    }

    #[test]
    fn sums_of_rows_are_normalized() {
        let (ids, places) = ([6, 0, 3], [0, 1, 2]);
        for (isa, hidden) in Isa::available().into_iter().flat_map(|isa| [1, 3, 16, 19, 40].map(|hidden| (isa, hidden)))
        {
            let norm = RowNorm::layer(vec![1.0; hidden], None, 1e-12);
            let words = tables(&numbers(7 * hidden, 1));
            for ((words, a), (positions, b)) in words.iter().zip(&tables(&numbers(3 * hidden, 2))) {
                let tables = [(words, &ids[..]), (positions, &places[..])];
                let mut sums = vec![f32::NAN; 3 * hidden];
                embed(isa, &tables, None, hidden, &mut sums);
                for (t, i) in (0..3).flat_map(|t| (0..hidden).map(move |i| (t, i))) {
                    let expected = a[ids[t] as usize * hidden + i] + b[places[t] as usize * hidden + i];
                    assert_eq!(sums[t * hidden + i], expected, "{} {hidden}: element {i} of row {t}", isa.name());
                }
                let mut out = vec![f32::NAN; 3 * hidden];
                embed(isa, &tables, Some(&norm), hidden, &mut out);
                let mut expected = vec![0.0; 3 * hidden];
                crate::kernels::norm(isa, &sums, &norm, &mut expected);
                assert_eq!(max_difference(&out, &expected), 0.0);
            }
        }
    }
}
