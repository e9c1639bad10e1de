//! How rotary positions are scaled to reach further than a model was trained for, as transformers'
//! `modeling_rope_utils` does it. All of it changes the frequencies alone, or the length of what is turned.
//!
//! ```text
//! f(i)    = theta^(-2 i / head_dim)                                          i < head_dim / 2
//! linear  : f(i) / factor
//! dynamic : theta' = theta ((factor len / trained) - (factor - 1))^(head_dim / (head_dim - 2))   for a text of len > trained
//! llama3  : w = trained f(i) / 2 pi, the turns in `trained` tokens: f(i) where w > high, f(i) / factor where w < low, and
//!           between them (1 - s) f(i) / factor + s f(i), s = (w - low) / (high - low)
//! yarn    : (1 - r) f(i) + r f(i) / factor, r rising from 0 to 1 between the pairs that turn `fast` and `slow` times in
//!           `trained` tokens; cosines and sines times a magnitude
//! ```
//!
//! Linear: kaiokendev 2023. Dynamic: "dynamic NTK", emozilla 2023; the length is that of the text, where the reference
//! takes that of the padded batch: a vector must not depend on its neighbours. llama3: Llama 3.1 (Grattafiori et al.
//! 2024). YaRN: Peng et al. 2023. Every step is rounded to float32, as in the reference.

use std::f64::consts::PI;

/// The angles of rotary positions: their base, and how they are scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RotaryAngles {
    pub theta: f64,
    pub scaling: RopeScaling,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    None,
    Linear {
        factor: f64,
    },
    /// `trained`: the longest text that is turned without scaling.
    Dynamic {
        factor: f64,
        trained: usize,
    },
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        trained: usize,
    },
    /// `range`: the pairs of a head at which scaling begins and is complete.
    Yarn {
        factor: f64,
        range: [f64; 2],
        magnitude: f64,
    },
}

impl RopeScaling {
    /// YaRN's for heads of `head_dim`, between the pairs that turn `fast` and `slow` times in `trained` tokens, which are
    /// whole numbers where `truncate`.
    pub fn yarn(
        (theta, head_dim): (f64, usize),
        [factor, fast, slow, magnitude]: [f64; 4],
        trained: usize,
        truncate: bool,
    ) -> Self {
        let pair = |turns: f64| head_dim as f64 * (trained as f64 / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
        let [first, last] = match truncate {
            true => [pair(fast).floor(), pair(slow).ceil()],
            false => [pair(fast), pair(slow)],
        };
        Self::Yarn { factor, range: [first.max(0.0), last.min(head_dim as f64 - 1.0)], magnitude }
    }
}

impl RotaryAngles {
    /// Angles of the base `theta`, not scaled.
    pub fn new(theta: f64) -> Self {
        Self { theta, scaling: RopeScaling::None }
    }

    /// `[head_dim / 2]`: by how much, in radians, each pair of a head turns from one position to the next, in a text of
    /// `len` tokens.
    pub(super) fn frequencies(&self, head_dim: usize, len: usize) -> Vec<f32> {
        let theta = match self.scaling {
            RopeScaling::Dynamic { factor, trained } if len > trained => {
                let stretch = (factor * len as f64) as f32 / trained as f32 - (factor - 1.0) as f32;
                let power = f64::from(stretch).powf(head_dim as f64 / (head_dim as f64 - 2.0)) as f32;
                f64::from(self.theta as f32 * power)
            }
            _ => self.theta,
        };
        let power = |i: usize| theta.powf(f64::from(2.0 * i as f32 / head_dim as f32)) as f32;
        (0..head_dim / 2).map(|i| self.scaled(i, power(i))).collect()
    }

    /// The frequency of pair `i` of a head, from `theta^(2 i / head_dim)`.
    fn scaled(&self, i: usize, power: f32) -> f32 {
        let frequency = 1.0 / power;
        match self.scaling {
            RopeScaling::None | RopeScaling::Dynamic { .. } => frequency,
            RopeScaling::Linear { factor } => frequency / factor as f32,
            RopeScaling::Llama3 { factor, low, high, trained } => {
                let (factor, low, high) = (factor as f32, low as f32, high as f32);
                let wavelength = (2.0 * PI) as f32 / frequency;
                let trained = trained as f32;
                if wavelength < trained / high {
                    frequency
                } else if wavelength > trained / low {
                    frequency / factor
                } else {
                    let share = (trained / wavelength - low) / (high - low);
                    (1.0 - share) * frequency / factor + share * frequency
                }
            }
            RopeScaling::Yarn { factor, range: [first, last], .. } => {
                // The reference's own way around a division by zero.
                let last = if first == last { last + 0.001 } else { last };
                let kept = 1.0 - ((i as f32 - first as f32) / (last - first) as f32).clamp(0.0, 1.0);
                (1.0 / (factor as f32 * power)) * (1.0 - kept) + frequency * kept
            }
        }
    }

    /// What cosines and sines are multiplied by.
    pub(super) fn magnitude(&self) -> f32 {
        match self.scaling {
            RopeScaling::Yarn { magnitude, .. } => magnitude as f32,
            _ => 1.0,
        }
    }

    /// Whether a text of so many tokens has angles of its own, which no other length has.
    pub fn has_own_angles(&self, len: usize) -> bool {
        matches!(self.scaling, RopeScaling::Dynamic { trained, .. } if len > trained)
    }

    /// Whether the angles of a token depend on how long its text is.
    pub fn depend_on_length(&self) -> bool {
        matches!(self.scaling, RopeScaling::Dynamic { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Angles, size of a head, length of the text, and the frequencies of some pairs, as transformers computes them.
    type Reference = (RotaryAngles, usize, usize, [(usize, f32); 6]);

    fn references() -> [Reference; 4] {
        let angles = |theta, scaling| RotaryAngles { theta, scaling };
        let yarn = RopeScaling::yarn((1e6, 128), [4.0, 32.0, 1.0, 1.138_629_4], 32_768, true);
        [
            (
                angles(1e4, RopeScaling::Linear { factor: 3.0 }),
                64,
                9,
                [
                    (0, 0.333_333_34),
                    (1, 0.249_964_73),
                    (8, 0.033_333_335),
                    (16, 0.003_333_333_2),
                    (24, 0.000_333_333_36),
                    (31, 4.445_071_7e-5),
                ],
            ),
            (
                angles(5e5, RopeScaling::Llama3 { factor: 32.0, low: 1.0, high: 4.0, trained: 8192 }),
                128,
                9,
                [
                    (0, 1.0),
                    (1, 0.814_617_2),
                    (16, 0.037_606_03),
                    (32, 0.000_429_556_7),
                    (48, 1.661_967_4e-6),
                    (63, 7.672_315e-8),
                ],
            ),
            (
                angles(1e6, yarn),
                128,
                9,
                [
                    (0, 1.0),
                    (1, 0.805_842_2),
                    (16, 0.031_622_78),
                    (32, 0.000_602_941_15),
                    (48, 7.905_694e-6),
                    (63, 3.102_344_4e-7),
                ],
            ),
            (
                angles(1e3, RopeScaling::Dynamic { factor: 2.0, trained: 2048 }),
                64,
                3000,
                [
                    (0, 1.0),
                    (1, 0.788_934_1),
                    (8, 0.150_081_08),
                    (16, 0.022_524_33),
                    (24, 0.003_380_475_8),
                    (31, 0.000_643_077_1),
                ],
            ),
        ]
    }

    #[test]
    fn frequencies_are_the_references() {
        for (angles, head_dim, len, expected) in references() {
            let frequencies = angles.frequencies(head_dim, len);
            for (pair, expected) in expected {
                let error = (frequencies[pair] / expected - 1.0).abs();
                assert!(error <= 2e-7, "{angles:?}, pair {pair}: {} is not {expected}", frequencies[pair]);
            }
        }
    }

    #[test]
    fn a_text_up_to_the_trained_length_is_not_scaled() {
        let angles = RotaryAngles { theta: 1e3, scaling: RopeScaling::Dynamic { factor: 2.0, trained: 2048 } };
        assert_eq!(angles.frequencies(64, 2048), RotaryAngles::new(1e3).frequencies(64, 2048));
        assert_eq!((angles.has_own_angles(2048), angles.has_own_angles(2049)), (false, true));
    }
}
