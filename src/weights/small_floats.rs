//! Floats of one byte and less, as files have them (OCP 8-bit Floating Point and Microscaling Formats specifications).

/// A number of four bits of exponent and three of mantissa, without infinities (E4M3).
pub(super) fn e4m3_to_f32(bits: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(bits >> 3 & 15), f32::from(bits & 7));
    let size = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * 2_f32.powi(exponent - 7),
    };
    if bits < 0x80 { size } else { -size }
}

/// A number of five bits of exponent and two of mantissa (E5M2): the first half of a float16.
pub(super) fn e5m2_to_f32(bits: u8) -> f32 {
    half::f16::from_bits(u16::from(bits) << 8).to_f32()
}

/// A power of two (E8M0).
pub(super) fn e8m0_to_f32(bits: u8) -> f32 {
    match bits {
        0 => f32::from_bits(1 << 22),
        255 => f32::NAN,
        _ => f32::from_bits(u32::from(bits) << 23),
    }
}

/// A number of one bit of sign, two of exponent and one of mantissa (E2M1).
pub(super) fn e2m1_to_f32(code: u8) -> f32 {
    const SIZES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    let size = SIZES[usize::from(code & 7)];
    if code & 8 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_ranges() {
        let e4m3 = [0x00, 0x01, 0x08, 0x38, 0x7e, 0xb8, 0x7f].map(e4m3_to_f32);
        assert_eq!(e4m3[..6], [0.0, 1.0 / 512.0, 1.0 / 64.0, 1.0, 448.0, -1.0]);
        assert!(e4m3[6].is_nan() && e5m2_to_f32(0x7f).is_nan() && e8m0_to_f32(255).is_nan());
        assert_eq!([0x3c, 0xbc, 0x7b].map(e5m2_to_f32), [1.0, -1.0, 57344.0]);
        assert_eq!([0, 1, 127, 254].map(e8m0_to_f32), [2_f32.powi(-127), 2_f32.powi(-126), 1.0, 2_f32.powi(127)]);
        let e2m1: Vec<_> = (0..16).map(e2m1_to_f32).collect();
        assert_eq!(e2m1[..8], [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]);
        assert!((0..8).all(|i| e2m1[i + 8] == -e2m1[i]));
    }
}
