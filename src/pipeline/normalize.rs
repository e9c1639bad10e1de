//! The module `Normalize` of sentence-transformers: L2 normalization, as `torch.nn.functional.normalize` has it.

/// Sums of squares that are added up side by side, in the same order on every CPU.
const SUMS: usize = 16;

/// Divides `row` by its Euclidean norm, or by 1e-12 where that is larger: zeros stay zeros.
pub(super) fn normalize_l2(row: &mut [f32]) {
    let mut sums = [0.0; SUMS];
    let (blocks, rest) = row.as_chunks::<SUMS>();
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, x)| *sum += x * x);
    }
    sums.iter_mut().zip(rest).for_each(|(sum, x)| *sum += x * x);
    let norm = sums.iter().sum::<f32>().sqrt().max(1e-12);
    row.iter_mut().for_each(|x| *x /= norm);
}

#[cfg(test)]
mod tests {
    use super::normalize_l2;

    #[test]
    fn rows_get_unit_length_and_zeros_stay() {
        let mut row = [3.0, 0.0, -4.0];
        normalize_l2(&mut row);
        assert_eq!(row, [0.6, 0.0, -0.8]);
        let mut zeros = [0.0, -0.0];
        normalize_l2(&mut zeros);
        assert_eq!(zeros, [0.0, 0.0]);
        // Shorter than the smallest divisor: torch.nn.functional.normalize gives 0.1 too.
        let mut tiny = [1e-13];
        normalize_l2(&mut tiny);
        assert!((tiny[0] - 0.1).abs() < 1e-7);
    }
}
