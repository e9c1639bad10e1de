//! The fast Walsh-Hadamard transform, which rotates rows before they are quantized, so that no channel is far larger
//! than the others (QuaRot, Ashkboos et al. 2024).
//!
//! A layer's weights multiply the same few channels with large numbers for every text, and one scale for a whole row
//! then leaves the others few steps. The transform spreads them over many channels; applied to rows and weights alike
//! it leaves their product as it was, and needs no data to be fitted to.
//!
//! ```text
//! units = x cut into runs of 16 channels; span = the largest power of two that divides their number, at most 64
//! for distance in 1, 8, 64, ...:                   radix 8, and 2 or 4 for what is left
//!     for units u and u + distance, ... of a block: their sums and differences
//! ```
//!
//! Why it is right: this multiplies by the Hadamard matrix of `span` rows, for each of the 16 channels of a unit; that
//! matrix times itself is `span` times the identity, so `(H x) · (H w) / span = x · w`. It takes additions alone.
//!
//! 16 channels are not mixed with each other, so that vectors of every set are added whole. A larger span would be
//! slower and mix no better.

use crate::kernels::simd::{Operation, Simd};

/// Channels that are never mixed with each other, so that vectors of every set are added whole.
const UNIT_CHANNELS: usize = 16;

/// Units that are mixed with each other, at most.
const MAX_SPAN_UNITS: usize = 64;

/// Number of units that are mixed in rows of `k`: the largest power of two that divides them all, up to
/// [`MAX_SPAN_UNITS`]; 1 leaves rows as they are.
pub(super) fn span(k: usize) -> usize {
    match k % UNIT_CHANNELS {
        0 => 1 << (k / UNIT_CHANNELS).trailing_zeros().min(MAX_SPAN_UNITS.ilog2()),
        _ => 1,
    }
}

/// The transform of `x [k]`, not scaled: twice of it is `span` times x.
#[inline(always)]
pub(super) fn transform<S: Simd>(s: S, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "x and out are [k]");
    let span = span(x.len());
    let mut from = x.as_ptr();
    let mut distance = 1;
    if span == 1 {
        out.copy_from_slice(x);
    }
    while distance < span {
        // SAFETY: both have k numbers, and radix * distance divides span, which times UNIT_CHANNELS divides k.
        let radix = unsafe {
            match span / distance {
                2 => pass::<S, 2>(s, from, out, distance),
                4 => pass::<S, 4>(s, from, out, distance),
                _ => pass::<S, 8>(s, from, out, distance),
            }
        };
        distance *= radix;
        from = out.as_ptr();
    }
}

/// All sums and differences of `RADIX` units that are `distance` units apart.
///
/// # Safety
/// `from` is valid for reads of as many numbers as `to` has, and may be the same; they are a multiple of
/// `RADIX * distance * UNIT_CHANNELS`.
#[inline(always)]
unsafe fn pass<S: Simd, const RADIX: usize>(s: S, from: *const f32, to: &mut [f32], distance: usize) -> usize {
    let apart = distance * UNIT_CHANNELS;
    for block in (0..to.len()).step_by(RADIX * apart) {
        for i in (block..block + apart).step_by(S::LANES) {
            // SAFETY: i + (RADIX - 1) * apart starts LANES numbers, since LANES divides UNIT_CHANNELS.
            unsafe {
                let mut units = [s.splat(0.0); RADIX];
                for (r, unit) in units.iter_mut().enumerate() {
                    *unit = s.load(from.add(i + r * apart));
                }
                let mut half = 1;
                while half < RADIX {
                    let mut r = 0;
                    while r < RADIX {
                        if r & half == 0 {
                            let (a, b) = (units[r], units[r + half]);
                            (units[r], units[r + half]) = (s.add(a, b), s.sub(a, b));
                        }
                        r += 1;
                    }
                    half *= 2;
                }
                for (r, &unit) in units.iter().enumerate() {
                    s.store(to.as_mut_ptr().add(i + r * apart), unit);
                }
            }
        }
    }
    RADIX
}

/// The transform of `x [k]`, to `out [k]`.
pub(super) struct HadamardTransform<'a> {
    pub(super) x: &'a [f32],
    pub(super) out: &'a mut [f32],
}

impl Operation for HadamardTransform<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        transform(s, self.x, self.out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use crate::kernels::testing::numbers;

    #[test]
    fn spans_divide_the_width() {
        assert_eq!([1, 15, 16, 32, 312, 384, 768, 1536, 3072, 4096].map(span), [1, 1, 1, 2, 1, 8, 16, 32, 64, 64]);
    }

    #[test]
    fn it_is_the_hadamard_matrix_on_every_set() {
        for isa in Isa::available() {
            for k in [16, 17, 32, 64, 96, 128, 256, 384, 512, 1024] {
                let (x, mut out, span) = (numbers(k, 1), vec![f32::NAN; k], span(k));
                isa.run(HadamardTransform { x: &x, out: &mut out });
                for (i, y) in out.iter().enumerate() {
                    let unit = i / UNIT_CHANNELS;
                    let expected: f32 = match span {
                        1 => x[i],
                        // Row r of the matrix has the sign of the parity of r & c in column c.
                        _ => (0..span)
                            .map(|c| {
                                let sign = if ((unit % span) & c).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
                                sign * x[(unit / span * span + c) * UNIT_CHANNELS + i % UNIT_CHANNELS]
                            })
                            .sum(),
                    };
                    assert!((y - expected).abs() < 1e-5, "{} k = {k}, {i}: {y} is not {expected}", isa.name());
                }
            }
        }
    }
}
