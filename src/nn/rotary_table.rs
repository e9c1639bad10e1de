//! Cosines and sines of rotary position embedding (`Rope` turns by them), as transformers computes them.
//!
//! ```text
//! angle(p, i) = p * frequency(i)                     i < head_dim / 2; rounded to float32
//! table[p]    = cos(angle(p, ·)), sin(angle(p, ·))
//! ```
//!
//! Frequencies ([`RotaryAngles`]) and angles are float32 step by step: at a position in the thousands the last bit of an
//! angle shows. In half precision positions above some hundreds would be whole turns off.

use std::sync::Arc;

use arc_swap::ArcSwap;
use candle_core::Tensor;

use crate::Result;
use crate::kernels::Isa;
use crate::nn::{Body, RotaryAngles};

/// The cosines and sines of all positions that were asked for so far, shared by the layers of one kind of angles.
pub struct RotaryTable {
    angles: RotaryAngles,
    head_dim: usize,
    /// `[head_dim / 2]`: see [`RotaryAngles::frequencies`].
    frequencies: Vec<f32>,
    /// Replaced by a longer one when a position beyond its end is asked for.
    current: ArcSwap<CosSinTable>,
    body: Body,
}

/// Cosines and sines of the positions below `positions`, or of so many tokens.
pub(super) struct CosSinTable {
    positions: usize,
    pub(super) values: CosSinValues,
}

pub(super) enum CosSinValues {
    /// `[positions, head_dim]`: a position's cosines, then its sines.
    Cpu(Isa, Vec<f32>),
    /// `[positions, head_dim / 2]` each.
    Portable { cos: Tensor, sin: Tensor },
    /// As [`Self::Cpu`]: a pass sends the rows that it needs.
    Gpu(Vec<f32>),
}

impl RotaryTable {
    /// A table for heads of `head_dim` numbers, which is even.
    pub fn new(body: &Body, head_dim: usize, angles: RotaryAngles) -> Result<Arc<Self>> {
        let frequencies = angles.frequencies(head_dim, 1);
        let current = ArcSwap::from_pointee(CosSinTable::new(body, &angles, &frequencies, 1)?);
        Ok(Arc::new(Self { angles, head_dim, frequencies, current, body: body.clone() }))
    }

    /// Whether the angles of a token depend on how long its text is.
    pub fn depends_on_length(&self) -> bool {
        self.angles.depend_on_length()
    }

    /// Cosines and sines of at least all the `positions`.
    pub(super) fn up_to(&self, positions: &[u32]) -> candle_core::Result<Arc<CosSinTable>> {
        let count = positions.iter().max().map_or(0, |&last| last as usize + 1);
        let table = self.current.load_full();
        if count <= table.positions {
            return Ok(table);
        }
        // Several threads may come here at once, and a shorter table be the one that stays: the next call makes up for
        // it.
        let longer =
            Arc::new(CosSinTable::new(&self.body, &self.angles, &self.frequencies, count.next_power_of_two())?);
        self.current.store(longer.clone());
        Ok(longer)
    }

    /// Cosines and sines of each token of texts with these cumulative lengths and `positions [tokens]`, where one of the
    /// texts has angles of its own; None where none has.
    pub(super) fn of_tokens(&self, offsets: &[u32], positions: &[u32]) -> candle_core::Result<Option<CosSinTable>> {
        let lengths = || offsets.windows(2).map(|text| (text[1] - text[0]) as usize);
        if !lengths().any(|len| self.angles.has_own_angles(len)) {
            return Ok(None);
        }
        let frequencies: Vec<_> = lengths().map(|len| self.angles.frequencies(self.head_dim, len)).collect();
        let mut texts = Vec::with_capacity(positions.len());
        lengths().enumerate().for_each(|(text, len)| texts.extend(std::iter::repeat_n(text, len)));
        let of_token = |token: usize| (positions[token], frequencies[texts[token]].as_slice());
        CosSinTable::of(&self.body, &self.angles, self.head_dim / 2, positions.len(), of_token).map(Some)
    }
}

impl CosSinTable {
    fn new(body: &Body, angles: &RotaryAngles, frequencies: &[f32], positions: usize) -> candle_core::Result<Self> {
        Self::of(body, angles, frequencies.len(), positions, |position| (position as u32, frequencies))
    }

    /// Those of `rows` positions, each with its frequencies of so many `pairs`.
    fn of<'a>(
        body: &Body,
        angles: &RotaryAngles,
        pairs: usize,
        rows: usize,
        row: impl Fn(usize) -> (u32, &'a [f32]),
    ) -> candle_core::Result<Self> {
        let magnitude = angles.magnitude();
        // The product is rounded to float32, as in transformers; cosine and sine are taken in float64.
        let angle =
            |(position, frequencies): (u32, &[f32]), pair: usize| f64::from(position as f32 * frequencies[pair]);
        let by_row = || {
            let mut values = vec![0.0; rows * 2 * pairs];
            for (i, values) in values.chunks_exact_mut(2 * pairs).enumerate() {
                let (cos, sin) = values.split_at_mut(pairs);
                let row = row(i);
                for (pair, (cos, sin)) in cos.iter_mut().zip(sin).enumerate() {
                    let (sine, cosine) = angle(row, pair).sin_cos();
                    (*sin, *cos) = (sine as f32 * magnitude, cosine as f32 * magnitude);
                }
            }
            values
        };
        let values = match body {
            Body::Cpu { isa, .. } => CosSinValues::Cpu(*isa, by_row()),
            Body::Gpu { .. } => CosSinValues::Gpu(by_row()),
            Body::Portable { device, .. } => {
                let tensor = |function: fn(f64) -> f64| {
                    let value = |i: usize| function(angle(row(i / pairs), i % pairs)) as f32 * magnitude;
                    Tensor::from_iter((0..rows * pairs).map(value), device)?.reshape((rows, pairs))
                };
                CosSinValues::Portable { cos: tensor(f64::cos)?, sin: tensor(f64::sin)? }
            }
        };
        Ok(Self { positions: rows, values })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    /// Theta, size of a head, and of some pairs the cosine and the sine at position 8191, as transformers computes
    /// them.
    type Reference = (f64, usize, [(usize, [f32; 2]); 4]);

    const REFERENCE: [Reference; 3] = [
        // ModernBERT's layers that see all, and those that see a window.
        (
            160_000.0,
            64,
            [
                (0, [-0.646_390_5, -0.763_006_8]),
                (5, [-0.957_329_6, 0.288_998_43]),
                (16, [-0.057_115_66, 0.998_367_55]),
                (31, [0.997_230_1, 0.074_378]),
            ],
        ),
        (
            10_000.0,
            64,
            [
                (0, [-0.646_390_5, -0.763_006_8]),
                (5, [0.631_096_84, 0.775_704]),
                (16, [0.973_987_6, 0.226_601_54]),
                (31, [0.460_456_07, 0.887_682_5]),
            ],
        ),
        // Qwen3's.
        (
            1_000_000.0,
            128,
            [
                (1, [-0.985_980_75, -0.166_859_25]),
                (5, [0.999_772_7, 0.021_319_414]),
                (32, [-0.330_674_65, 0.943_744_84]),
                (63, [0.999_948_3, 0.010_164_347]),
            ],
        ),
    ];

    /// Half precision would be off by whole turns here.
    #[test]
    fn angles_far_from_the_start_are_the_references() {
        let body = Body::Portable { device: Device::Cpu, dtype: DType::BF16 };
        for (theta, head_dim, expected) in REFERENCE {
            let table = RotaryTable::new(&body, head_dim, RotaryAngles::new(theta)).unwrap();
            let CosSinValues::Portable { cos, sin } = &table.up_to(&[8191]).unwrap().values else { panic!("portable") };
            for (pair, expected) in expected {
                for (values, expected) in [cos, sin].into_iter().zip(expected) {
                    let value: f32 = values.get(8191).unwrap().get(pair).unwrap().to_scalar().unwrap();
                    assert!((value - expected).abs() <= 1e-7, "theta {theta}, pair {pair}: {value} is not {expected}");
                }
            }
        }
    }
}
