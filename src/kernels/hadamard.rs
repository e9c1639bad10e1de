//! The fast Walsh-Hadamard transform, which rotates rows before they are quantized, so that no channel is far larger
//! than the others (QuaRot, Ashkboos et al. 2024).
//!
//! A layer's weights multiply the same few channels with large numbers for every text, and one scale for a whole row
//! then leaves the others few steps. The transform spreads them over many channels; applied to rows and weights alike
//! it leaves their product as it was, and needs no data to be fitted to.
//!
//! ```text
//! units = x cut into runs of 16 channels; as many of them are mixed as the largest power of two that divides their number,
//!         at most 64
//! for distance in 1, 8, 64, ... units:             radix 8, and 2 or 4 for what is left
//!     for units u and u + distance, ... of a block: their sums and differences
//! for distance in 1, 2, 4, 8 channels of a unit:   sums and differences within registers and between them
//! ```
//!
//! Why it is right: this multiplies by the Hadamard matrix of `span` rows; that matrix times itself is `span` times the
//! identity, so `(H x) · (H w) / span = x · w`. It takes additions alone.
//!
//! Tried: without mixing the channels of a unit, rows of all-MiniLM-L6-v2 had 1.3 to 2.3 times the squared error. More
//! units would mix no better.

use crate::kernels::simd::{MAX_LANES, Operation, Simd};

/// Channels of a unit: as many as a vector of any set has at most.
const UNIT_CHANNELS: usize = MAX_LANES;

/// Units that are mixed with each other, at most.
const MAX_SPAN_UNITS: usize = 64;

/// Registers that a unit takes on the set with the fewest lanes.
const MAX_UNIT_VECTORS: usize = 4;

/// Number of channels that are mixed in rows of `k`: those of a unit times the largest power of two that divides the
/// number of units, up to [`MAX_SPAN_UNITS`]; 1 leaves rows as they are.
pub(super) fn span(k: usize) -> usize {
    match k % UNIT_CHANNELS {
        0 => UNIT_CHANNELS << (k / UNIT_CHANNELS).trailing_zeros().min(MAX_SPAN_UNITS.ilog2()),
        _ => 1,
    }
}

/// The transform of `x [k]`, not scaled: twice of it is `span` times x.
#[inline(always)]
pub(super) fn transform<S: Simd>(s: S, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "x and out are [k]");
    let units = span(x.len()) / UNIT_CHANNELS;
    if units <= 1 {
        out.copy_from_slice(x);
    }
    let mut from = x.as_ptr();
    let mut distance = 1;
    while distance < units {
        // SAFETY: both have k numbers, and radix * distance divides the units, which times UNIT_CHANNELS divide k.
        let radix = unsafe {
            match units / distance {
                2 => pass::<S, 2>(s, from, out, distance),
                4 => pass::<S, 4>(s, from, out, distance),
                _ => pass::<S, 8>(s, from, out, distance),
            }
        };
        distance *= radix;
        from = out.as_ptr();
    }
    if units > 0 {
        mix_units(s, out);
    }
}

/// All sums and differences of the channels of each unit of `x`, which is whole units.
#[inline(always)]
fn mix_units<S: Simd>(s: S, x: &mut [f32]) {
    for unit in x.as_chunks_mut::<UNIT_CHANNELS>().0 {
        let vectors = UNIT_CHANNELS / S::LANES;
        let mut parts = [s.splat(0.0); MAX_UNIT_VECTORS];
        for (part, from) in parts.iter_mut().zip(unit.chunks_exact(S::LANES)) {
            // SAFETY: a chunk is LANES numbers.
            *part = s.mix_lanes(unsafe { s.load(from.as_ptr()) });
        }
        let mut half = 1;
        while half < vectors {
            for i in (0..vectors).filter(|i| i & half == 0) {
                let (a, b) = (parts[i], parts[i + half]);
                (parts[i], parts[i + half]) = (s.add(a, b), s.sub(a, b));
            }
            half *= 2;
        }
        for (to, &part) in unit.chunks_exact_mut(S::LANES).zip(&parts) {
            // SAFETY: a chunk is LANES numbers.
            unsafe { s.store(to.as_mut_ptr(), part) };
        }
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
        let spans = [1, 1, 16, 32, 1, 128, 256, 512, 1024, 1024];
        assert_eq!([1, 15, 16, 32, 312, 384, 768, 1536, 3072, 4096].map(span), spans);
    }

    #[test]
    fn it_is_the_hadamard_matrix_on_every_set() {
        for isa in Isa::available() {
            for k in [16, 17, 32, 64, 96, 128, 256, 384, 512, 1024] {
                let (x, mut out, span) = (numbers(k, 1), vec![f32::NAN; k], span(k));
                isa.run(HadamardTransform { x: &x, out: &mut out });
                for (i, y) in out.iter().enumerate() {
                    // Row r of the matrix has the sign of the parity of r & c in column c.
                    let sign = |c: usize| if ((i % span) & c).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
                    let expected: f32 = (0..span).map(|c| sign(c) * x[i / span * span + c]).sum();
                    assert!((y - expected).abs() < 1e-4, "{} k = {k}, {i}: {y} is not {expected}", isa.name());
                }
            }
        }
    }
}
