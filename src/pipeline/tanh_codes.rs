//! The module `FlexibleQuantizer` that pplx-embed brings as code of its own: numbers that a byte or a bit can hold.
//!
//! ```text
//! int8:   y = round(127 tanh(x))       halves to even, as PyTorch rounds
//! binary: y = 1 where x >= 0, else -1
//! ```

use crate::config::TanhCodes;

/// Replaces each number by its code, which float32 holds.
pub(super) fn to_tanh_codes(codes: TanhCodes, values: &mut [f32]) {
    let code = |x: f32| match codes {
        TanhCodes::Int8 => (127.0 * x.tanh()).round_ties_even(),
        TanhCodes::Binary => {
            if x >= 0.0 {
                1.0
            } else {
                -1.0
            }
        }
    };
    values.iter_mut().for_each(|x| *x = code(*x));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_whole_numbers_or_signs() {
        let values = [-9.0, -0.5, -0.0, 0.0, 0.003, 0.5, 9.0];
        let coded = |codes| {
            let mut values = values;
            to_tanh_codes(codes, &mut values);
            values
        };
        // torch.round(torch.tanh(x) * 127)
        assert_eq!(coded(TanhCodes::Int8), [-127.0, -59.0, 0.0, 0.0, 0.0, 59.0, 127.0]);
        assert_eq!(coded(TanhCodes::Binary), [-1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    }
}
