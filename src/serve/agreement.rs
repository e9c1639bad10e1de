//! How near a model's vectors are to those of the CPU in float32.

/// How the vectors of a model's device are to those of the CPU in float32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Agreement {
    pub(super) cosine_min: f64,
    pub(super) cosine_mean: f64,
    pub(super) max_difference: f64,
}

impl Agreement {
    /// Of two computations of the same texts `[texts, width]`.
    pub(super) fn of(expected: &[f32], found: &[f32], width: usize) -> Self {
        let cosines: Vec<f64> = expected.chunks(width).zip(found.chunks(width)).map(|(a, b)| cosine(a, b)).collect();
        let differences = expected.iter().zip(found).map(|(a, b)| f64::from((a - b).abs()));
        Self {
            cosine_min: cosines.iter().copied().fold(1.0, f64::min),
            cosine_mean: cosines.iter().sum::<f64>() / cosines.len().max(1) as f64,
            max_difference: differences.fold(0.0, f64::max),
        }
    }
}

/// 0 for a vector without length.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_compared_row_by_row() {
        let found = Agreement::of(&[1.0, 0.0, 0.0, 2.0], &[2.0, 0.0, 1.5, 1.5], 2);
        assert!((found.cosine_min - 0.5f64.sqrt()).abs() < 1e-12, "{found:?}");
        assert!((found.cosine_mean - (1.0 + 0.5f64.sqrt()) / 2.0).abs() < 1e-12);
        assert_eq!(found.max_difference, 1.5);
        assert_eq!(Agreement::of(&[0.0], &[1.0], 1).cosine_min, 0.0);
    }
}
