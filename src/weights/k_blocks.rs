//! ggml's blocks of 256 numbers, whose parts of 16 or 32 have scales of few bits under one of the block.
//!
//! ```text
//! Q2_K    s[16], q[64], d, dmin               d (s & 15) q - dmin (s >> 4)                              parts of 16
//! Q3_K    mask[32], q[64], s[12], d           d (s - 32) (q, less 4 where the mask has no bit)          parts of 16
//! Q4_K    d, dmin, s[12], q[128]              d s q - dmin m                                            parts of 32
//! Q5_K    d, dmin, s[12], bits[32], q[128]    as Q4_K, bit p of bits[l]: the fifth of number l of part p
//! Q6_K    q[128], bits[64], s[16], d          d s (q - 32)                                              parts of 16
//! IQ4_XS  d, s_high[2], s_low[4], q[128]      d (s - 32) LEVELS[q]                                      parts of 32
//! ```
//!
//! Products are rounded from the left, as the reference has them.

use super::block_parts::{LEVELS, each, half_at, nibbles};

/// What two bits at `shift` of the bytes of a half block are for its quarter.
fn quarter(bytes: &[u8], shift: usize) -> impl Iterator<Item = u8> {
    bytes.iter().map(move |byte| byte >> shift & 3)
}

pub(super) fn q2_k(blocks: &[u8], out: &mut [f32]) {
    each::<84, 256>(blocks, out, |block, out| {
        let (scales, codes) = (&block[..16], &block[16..80]);
        let (d, dmin) = (half_at(block, 80), half_at(block, 82));
        for (part, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (scale, min) = (d * f32::from(scales[part] & 15), dmin * f32::from(scales[part] >> 4));
            let (first, shift) = (part / 8 * 32 + part % 2 * 16, part % 8 / 2 * 2);
            let codes = quarter(&codes[first..first + 16], shift);
            out.iter_mut().zip(codes).for_each(|(out, q)| *out = scale * f32::from(q) - min);
        }
    });
}

pub(super) fn q3_k(blocks: &[u8], out: &mut [f32]) {
    each::<110, 256>(blocks, out, |block, out| {
        let (mask, codes, scales) = (&block[..32], &block[32..96], &block[96..108]);
        let d = half_at(block, 108);
        for (part, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let low = scales[part % 8] >> (part / 8 * 4) & 15;
            let high = scales[8 + part % 4] >> (part / 4 * 2) & 3;
            let scale = d * (f32::from(low | high << 4) - 32.0);
            let (first, shift) = (part / 8 * 32 + part % 2 * 16, part % 8 / 2 * 2);
            let masks = mask[part % 2 * 16..].iter().map(|mask| mask >> (part / 2) & 1);
            for ((out, q), mask) in out.iter_mut().zip(quarter(&codes[first..first + 16], shift)).zip(masks) {
                *out = scale * (f32::from(q) - if mask == 0 { 4.0 } else { 0.0 });
            }
        }
    });
}

/// The scale and the minimum of a part of 32, of six bits each.
fn scale_and_min(scales: &[u8], part: usize) -> [f32; 2] {
    match part {
        0..4 => [f32::from(scales[part] & 63), f32::from(scales[part + 4] & 63)],
        _ => [
            f32::from(scales[part + 4] & 15 | scales[part - 4] >> 6 << 4),
            f32::from(scales[part + 4] >> 4 | scales[part] >> 6 << 4),
        ],
    }
}

pub(super) fn q4_k(blocks: &[u8], out: &mut [f32]) {
    each::<144, 256>(blocks, out, |block, out| {
        parts_with_minimum(&block[..16], &block[16..], out, |q, _, _| q);
    });
}

pub(super) fn q5_k(blocks: &[u8], out: &mut [f32]) {
    each::<176, 256>(blocks, out, |block, out| {
        let bits = &block[16..48];
        parts_with_minimum(&block[..16], &block[48..], out, |q, part, l| q | (bits[l] >> part & 1) << 4);
    });
}

/// `d s q - dmin m`, of which `head` has all but the codes; `whole` makes a code of its lower bits, part and place there.
#[inline(always)]
fn parts_with_minimum(head: &[u8], codes: &[u8], out: &mut [f32; 256], whole: impl Fn(u8, usize, usize) -> u8) {
    let (d, dmin, scales) = (half_at(head, 0), half_at(head, 2), &head[4..16]);
    for (part, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let [scale, min] = scale_and_min(scales, part);
        let (scale, min) = (d * scale, dmin * min);
        let codes = &codes[part / 2 * 32..][..32];
        for (l, (out, code)) in out.iter_mut().zip(codes).enumerate() {
            let q = whole(code >> (part % 2 * 4) & 15, part, l);
            *out = scale * f32::from(q) - min;
        }
    }
}

pub(super) fn q6_k(blocks: &[u8], out: &mut [f32]) {
    each::<210, 256>(blocks, out, |block, out| {
        let (codes, bits, scales) = (&block[..128], &block[128..192], &block[192..208]);
        let d = half_at(block, 208);
        for (part, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let scale = d * f32::from(scales[part].cast_signed());
            // The half of the block, the quarter of that, and where in the quarter the part begins.
            let (half, r, first) = (part / 8, part % 8 / 2, part % 2 * 16);
            let low = codes[64 * half + 32 * (r & 1) + first..].iter().map(|code| code >> (r / 2 * 4) & 15);
            let high = quarter(&bits[32 * half + first..], 2 * r);
            for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
                *out = scale * (f32::from(low | high << 4) - 32.0);
            }
        }
    });
}

pub(super) fn iq4_xs(blocks: &[u8], out: &mut [f32]) {
    each::<136, 256>(blocks, out, |block, out| {
        let (d, high) = (half_at(block, 0), u16::from_le_bytes([block[2], block[3]]));
        let (low, codes) = (&block[4..8], &block[8..]);
        for (part, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = low[part / 2] >> (part % 2 * 4) & 15;
            let scale = d * (f32::from(low | ((high >> (2 * part)) as u8 & 3) << 4) - 32.0);
            nibbles(&codes[16 * part..][..16], out, |q, _| scale * LEVELS[usize::from(q)]);
        }
    });
}
