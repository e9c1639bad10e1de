//! The buckets of distances between tokens that T5 learns a bias for (Raffel et al. 2020; reference: transformers'
//! `T5Attention._relative_position_bucket`), and MPNet after it.
//!
//! ```text
//! bias(query i, key j)[head] = table[bucket(j - i)][head]
//! bucket(d) = (half if d > 0) + (|d| if |d| < exact else exact + floor((half - exact) ln(|d| / exact) / ln(max / exact)))
//!             half of the buckets for each side, exact = half / 2; the last one of a side holds all that is farther
//! ```

use crate::Result;
use crate::nn::{Loader, PositionBias};

/// How distances are put into buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DistanceBuckets {
    /// Of both sides, at least 4.
    pub(super) count: usize,
    /// Distances from here on are in the last bucket of their side; above a quarter of the buckets.
    pub(super) max_distance: usize,
}

impl DistanceBuckets {
    /// The bucket of a key's distance from its query; a key after its query has a positive one.
    fn of(self, distance: isize) -> usize {
        let half = self.count / 2;
        let exact = half / 2;
        let far = distance.unsigned_abs().min(self.max_distance);
        let bucket = if far < exact {
            far
        } else {
            // Rounded to float32 at each step, as the networks were trained: whole powers are at the border of a bucket.
            let log = |ratio: f64| ratio.ln() as f32;
            let part = log(f64::from(far as f32 / exact as f32)) / log(self.max_distance as f64 / exact as f64);
            half.min(exact + (part * (half - exact) as f32) as usize + 1) - 1
        };
        if distance > 0 { half + bucket } else { bucket }
    }

    /// The bias of all layers with `heads` heads; `at` has `weight [rows, heads]`, with a row for each bucket or more.
    pub(super) fn bias(self, at: &Loader, rows: usize, heads: usize) -> Result<PositionBias> {
        let table = at.values("weight", &[rows, heads])?;
        PositionBias::new(at.body(), heads, self.max_distance, |head, distance| table[self.of(distance) * heads + head])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // `T5Attention._relative_position_bucket` of transformers 5.24: the first distance of each bucket of a side, and the
    // last bucket.
    #[test]
    fn buckets_are_the_references() {
        let each = |most: usize| (0..=most).map(|distance| (distance, distance));
        let ends = |most: usize, rest: &[(usize, usize)]| each(most).chain(rest.iter().copied()).collect::<Vec<_>>();
        let cases = [
            (32, 128, ends(8, &[(12, 9), (16, 10), (23, 11), (32, 12), (46, 13), (64, 14), (91, 15)])),
            (16, 64, ends(4, &[(8, 5), (16, 6), (32, 7)])),
            (8, 20, ends(2, &[(7, 3)])),
            (7, 40, ends(1, &[(7, 2)])),
            (4, 2, ends(1, &[])),
            (40, 11, ends(10, &[(11, 19)])),
            (16, 1000, ends(4, &[(16, 5), (64, 6), (252, 7)])),
        ];
        for (count, max_distance, first) in cases {
            let buckets = DistanceBuckets { count, max_distance };
            for distance in 0..1000 {
                let expected = first.iter().rposition(|&(first, _)| first <= distance).unwrap();
                let expected = first[expected].1;
                assert_eq!(buckets.of(-(distance as isize)), expected, "{distance} before, {buckets:?}");
                let after = if distance == 0 { 0 } else { count / 2 + expected };
                assert_eq!(buckets.of(distance as isize), after, "{distance} after, {buckets:?}");
            }
            assert_eq!(buckets.of(isize::MIN), first.last().unwrap().1);
        }
    }
}
