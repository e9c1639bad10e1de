//! Looking rows up in tables, adding them, and normalizing the sum in one pass.

use crate::kernels::simd::{Operation, Simd};
use crate::kernels::{Isa, LayerNorm};

/// `out[t] = norm(sum over tables of table[ids[t]])`, with tables `[rows, hidden]` and `out [tokens, hidden]`.
///
/// Every id must be below its table's rows.
pub fn embed(isa: Isa, tables: &[(&[f32], &[u32])], norm: Option<&LayerNorm>, hidden: usize, out: &mut [f32]) {
    isa.run(Embed { tables, norm, hidden, out });
}

struct Embed<'a> {
    tables: &'a [(&'a [f32], &'a [u32])],
    norm: Option<&'a LayerNorm>,
    hidden: usize,
    out: &'a mut [f32],
}

impl Operation for Embed<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let row = |table: &'_ (&'_ [f32], &'_ [u32]), t: usize| table.1[t] as usize * self.hidden;
        for (t, out) in self.out.chunks_exact_mut(self.hidden).enumerate() {
            let Some((first, others)) = self.tables.split_first() else { continue };
            out.copy_from_slice(&first.0[row(first, t)..][..self.hidden]);
            for table in others {
                let from = &table.0[row(table, t)..][..self.hidden];
                for (out, from) in out.iter_mut().zip(from) {
                    *out += from;
                }
            }
            if let Some(norm) = self.norm {
                norm.of_row(s, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, worst};

    #[test]
    fn sums_of_rows_are_normalized() {
        let hidden = 19;
        let (words, positions) = (numbers(7 * hidden, 1), numbers(3 * hidden, 2));
        let (ids, places) = ([6, 0, 3], [0, 1, 2]);
        let norm = LayerNorm::new(vec![1.0; hidden], vec![0.0; hidden], 1e-12);
        for isa in Isa::available() {
            let tables = [(&words[..], &ids[..]), (&positions[..], &places[..])];
            let mut sums = vec![0.0; 3 * hidden];
            embed(isa, &tables, None, hidden, &mut sums);
            assert_eq!(sums[hidden], words[0] + positions[hidden]);
            let mut out = vec![0.0; 3 * hidden];
            embed(isa, &tables, Some(&norm), hidden, &mut out);
            let mut expected = vec![0.0; 3 * hidden];
            crate::kernels::add_layer_norm(isa, &sums, &vec![0.0; 3 * hidden], &norm, &mut expected);
            assert_eq!(worst(&out, &expected), 0.0);
        }
    }
}
