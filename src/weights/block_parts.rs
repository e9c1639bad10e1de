//! What decoders of ggml's blocks share.

use half::f16;

/// The 16 levels of IQ4_NL and IQ4_XS.
pub(super) const LEVELS: [f32; 16] =
    [-127., -104., -83., -65., -49., -35., -22., -10., 1., 13., 25., 38., 53., 69., 89., 113.];

/// Decodes blocks of `BYTES` bytes one by one to `NUMBERS` numbers each.
pub(super) fn each<const BYTES: usize, const NUMBERS: usize>(
    blocks: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; NUMBERS]),
) {
    let (blocks, outs) = (blocks.as_chunks::<BYTES>().0, out.as_chunks_mut::<NUMBERS>().0);
    blocks.iter().zip(outs).for_each(|(block, out)| decode(block, out));
}

/// The float16 at byte `at`.
#[inline(always)]
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Both halves of 16 bytes, through `number` of a code and its place.
#[inline(always)]
pub(super) fn nibbles(codes: &[u8], out: &mut [f32], number: impl Fn(u8, usize) -> f32) {
    let (low, high) = out.split_at_mut(codes.len());
    for (j, ((&code, low), high)) in codes.iter().zip(low).zip(high).enumerate() {
        *low = number(code & 15, j);
        *high = number(code >> 4, j + codes.len());
    }
}
