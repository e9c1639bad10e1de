//! Numbers for tests.

/// `count` numbers in [-1, 1], the same for the same seed.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// `count` bytes, the same for the same seed.
pub(crate) fn bytes(count: usize, seed: u64) -> Vec<u8> {
    numbers(count, seed).into_iter().map(|x| (x * 1e4) as i32 as u8).collect()
}

/// The largest absolute difference.
pub(crate) fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// `count` numbers of 0 to `max`, small ones as often as large ones, the same for the same seed.
pub(crate) fn sizes(count: usize, max: usize, seed: u64) -> Vec<usize> {
    let scale = |x: f32| ((max as f32 + 1.0).powf((x + 1.0) / 2.0) - 1.0) as usize;
    numbers(count, seed).into_iter().map(scale).collect()
}
