//! A word of at most sixteen bytes as two numbers, which are compared and hashed at once.

/// The first sixteen bytes of a word, zeros behind it.
pub(super) type WordKey = [u64; 2];

pub(super) const KEY_BYTES: usize = 16;

/// Bits that all bytes of a key have a part in.
#[inline(always)]
pub(super) fn hash([low, high]: WordKey) -> u64 {
    let mixed = (low ^ high.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

/// The first `len` bytes of a key.
#[inline(always)]
pub(super) fn first([low, high]: WordKey, len: usize) -> WordKey {
    match len {
        0..8 => [low & ((1 << (8 * len)) - 1), 0],
        8 => [low, 0],
        9..16 => [low, high & ((1 << (8 * (len - 8))) - 1)],
        _ => [low, high],
    }
}

/// The key of at most sixteen bytes.
#[inline(always)]
pub(super) fn key_of(bytes: &[u8]) -> WordKey {
    let mut padded = [0; KEY_BYTES];
    padded[..bytes.len()].copy_from_slice(bytes);
    let [low, high] =
        [&padded[..8], &padded[8..]].map(|half| u64::from_le_bytes(half.try_into().expect("eight bytes")));
    [low, high]
}

/// The bytes of a key.
pub(super) fn key_bytes([low, high]: WordKey) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    bytes[..8].copy_from_slice(&low.to_le_bytes());
    bytes[8..].copy_from_slice(&high.to_le_bytes());
    bytes
}

/// The letters and digits of ASCII that `text` begins with, at most sixteen, as a key, lowercased if asked for; and their number.
#[inline(always)]
pub(super) fn plain_word(text: &[u8], lowercases: bool) -> (WordKey, usize) {
    let half = |from: usize| -> u64 {
        match text.get(from..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => {
                let rest = text.get(from..).unwrap_or_default();
                rest.iter().enumerate().fold(0, |word, (i, &byte)| word | u64::from(byte) << (8 * i))
            }
        }
    };
    let (low, len) = plain_bytes(half(0), lowercases);
    if len < 8 {
        return ([low, 0], len);
    }
    let (high, more) = plain_bytes(half(8), lowercases);
    ([low, high], 8 + more)
}

/// The letters and digits that eight bytes begin with, zeros behind them; and their number.
#[inline(always)]
fn plain_bytes(bytes: u64, lowercases: bool) -> (u64, usize) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    // Of each byte below 128 the highest bit: whether it is within, which no carry from its neighbour changes.
    let within =
        |bytes: u64, least: u64, most: u64| (bytes + (0x80 - least) * ONES) & !(bytes + (0x7f - most) * ONES) & HIGH;
    let low = bytes & !HIGH;
    let letters = within(low | (0x20 * ONES), u64::from(b'a'), u64::from(b'z'));
    let plain = (letters | within(low, u64::from(b'0'), u64::from(b'9'))) & !bytes;
    let len = ((!plain & HIGH).trailing_zeros() / 8) as usize;
    let lowered = if lowercases { bytes | ((letters & plain) >> 2) } else { bytes };
    let kept = if len < 8 { lowered & ((1 << (8 * len)) - 1) } else { lowered };
    (kept, len)
}
