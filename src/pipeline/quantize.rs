//! Embeddings as bytes and bits, exactly as sentence-transformers' `quantize_embeddings` makes them of float32 arrays.
//!
//! ```text
//! step(d)   = (max(d) - min(d)) / 255, or 1 where that is 0          for each dimension d
//! uint8     = clamp(floor((x - min(d)) / step(d)), 0, 255)
//! int8      = uint8 - 128
//! ubinary   = bit x > 0, eight dimensions to a byte, the first in the highest bit, zeros behind the last
//! binary    = ubinary - 128
//! ```
//!
//! `min` and `max` are given, or those of other embeddings (calibration), or those of the batch itself: vectors of two
//! such calls cannot be compared, so that such ranges give a warning. All of it is float32, as NumPy computes there:
//! the largest value may fall into bucket 254.

use std::str::FromStr;

use crate::{Error, Result};

/// Fewer rows than these give ranges that say little about other texts.
const MIN_CALIBRATION_ROWS: usize = 100;

/// How an element of an embedding is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    Float32,
    /// A bucket's number less 128: an `i8`.
    Int8,
    /// The number of one of 256 buckets between the smallest and the largest value of the dimension.
    Uint8,
    /// As `Ubinary`, each byte less 128: an `i8`.
    Binary,
    /// Whether the element is above zero: one bit, eight to a byte, the first in the highest bit, the rest of the last
    /// byte 0.
    Ubinary,
}

impl Precision {
    const NAMES: [(Self, &'static str); 5] = [
        (Self::Float32, "float32"),
        (Self::Int8, "int8"),
        (Self::Uint8, "uint8"),
        (Self::Binary, "binary"),
        (Self::Ubinary, "ubinary"),
    ];

    /// Elements of the array that an embedding of `dimension` takes.
    pub fn columns(self, dimension: usize) -> usize {
        match self {
            Self::Float32 | Self::Int8 | Self::Uint8 => dimension,
            Self::Binary | Self::Ubinary => dimension.div_ceil(8),
        }
    }

    fn has_ranges(self) -> bool {
        matches!(self, Self::Int8 | Self::Uint8)
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::NAMES.iter().find(|known| known.1 == name).map(|known| known.0).ok_or_else(|| {
            let names = Self::NAMES.map(|(_, name)| name).join(", ");
            Error::argument("precision", format!("expected one of {names}, found {name:?}"))
        })
    }
}

/// The smallest and the largest value of each dimension.
#[derive(Debug, Clone, Copy)]
pub enum Ranges<'a> {
    /// `[2, dimension]`: all smallest values, then all largest.
    Given(&'a [f32]),
    /// Those of other embeddings, `[n, dimension]`.
    Calibration(&'a [f32]),
    /// Those of the embeddings themselves: never the same for another batch.
    Batch,
}

/// Quantizes embeddings of one dimension, all by the same ranges.
#[derive(Debug)]
pub struct Quantizer {
    precision: Precision,
    dimension: usize,
    /// `[dimension]`; empty where the precision has no ranges.
    starts: Vec<f32>,
    /// `[dimension]`: widths of a bucket.
    steps: Vec<f32>,
    /// How many rows of the batch itself the ranges come from.
    batch_rows: Option<usize>,
}

impl Quantizer {
    /// A quantizer for `embeddings [n, dimension]`. Only `Int8` and `Uint8` look at the ranges.
    pub fn new(precision: Precision, ranges: Ranges<'_>, embeddings: &[f32], dimension: usize) -> Result<Self> {
        let mut quantizer = Self { precision, dimension, starts: Vec::new(), steps: Vec::new(), batch_rows: None };
        if !precision.has_ranges() || embeddings.is_empty() {
            return Ok(quantizer);
        }
        let (smallest, largest) = match ranges {
            Ranges::Given(ranges) if ranges.len() == 2 * dimension => {
                (ranges[..dimension].to_vec(), ranges[dimension..].to_vec())
            }
            Ranges::Given(ranges) => {
                let message = format!("expected shape (2, {dimension}), found {} numbers", ranges.len());
                return Err(Error::argument("ranges", message));
            }
            Ranges::Calibration(rows) if !rows.is_empty() && rows.len().is_multiple_of(dimension) => {
                extremes(rows, dimension)
            }
            Ranges::Calibration(rows) => {
                let message = format!("expected at least one row of {dimension} numbers, found {}", rows.len());
                return Err(Error::argument("calibration_embeddings", message));
            }
            Ranges::Batch if embeddings.len() == dimension => {
                let message = "ranges cannot come from a single embedding; give ranges or calibration_embeddings";
                return Err(Error::argument("precision", message));
            }
            Ranges::Batch => {
                quantizer.batch_rows = Some(embeddings.len() / dimension);
                extremes(embeddings, dimension)
            }
        };
        quantizer.steps = largest.iter().zip(&smallest).map(|(largest, smallest)| step(largest - smallest)).collect();
        quantizer.starts = smallest;
        Ok(quantizer)
    }

    /// What a user should know of ranges that come from the batch itself; `None` where they do not.
    pub fn warning(&self) -> Option<String> {
        let rows = self.batch_rows?;
        let few = if rows < MIN_CALIBRATION_ROWS { format!(", and from only {rows} of them") } else { String::new() };
        Some(format!(
            "the quantization ranges come from the embeddings of this call{few}: vectors of other calls are not \
             comparable with these; give ranges or calibration_embeddings"
        ))
    }

    /// Quantizes `embeddings [n, dimension]` into `out [n, columns]`, an `i8` as the byte of the same bits.
    ///
    /// # Panics
    /// If the lengths do not match, or the precision is `Float32`, which has nothing to quantize.
    pub fn apply(&self, embeddings: &[f32], out: &mut [u8]) {
        let columns = self.precision.columns(self.dimension);
        assert_eq!(embeddings.len() / self.dimension * columns, out.len(), "out is [n, columns]");
        for (row, out) in embeddings.chunks_exact(self.dimension).zip(out.chunks_exact_mut(columns)) {
            match self.precision {
                Precision::Float32 => panic!("float32 embeddings are not quantized"),
                Precision::Int8 | Precision::Uint8 => self.bucket(row, out),
                Precision::Binary | Precision::Ubinary => pack(row, out),
            }
            // 128 less, in eight bits, is the highest bit turned over.
            if matches!(self.precision, Precision::Int8 | Precision::Binary) {
                out.iter_mut().for_each(|byte| *byte ^= 0x80);
            }
        }
    }

    fn bucket(&self, row: &[f32], out: &mut [u8]) {
        for ((out, x), (start, step)) in out.iter_mut().zip(row).zip(self.starts.iter().zip(&self.steps)) {
            *out = ((x - start) / step).floor().clamp(0.0, 255.0) as u8;
        }
    }
}

/// The width of one of 256 buckets; a dimension that is constant has one bucket only.
fn step(range: f32) -> f32 {
    match range / 255.0 {
        0.0 => 1.0,
        step => step,
    }
}

/// The smallest and the largest value in each column of `rows [n, dimension]`.
fn extremes(rows: &[f32], dimension: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut smallest, mut largest) = (rows[..dimension].to_vec(), rows[..dimension].to_vec());
    for row in rows.chunks_exact(dimension) {
        for ((x, smallest), largest) in row.iter().zip(&mut smallest).zip(&mut largest) {
            *smallest = smallest.min(*x);
            *largest = largest.max(*x);
        }
    }
    (smallest, largest)
}

fn pack(row: &[f32], out: &mut [u8]) {
    for (byte, eight) in out.iter_mut().zip(row.chunks(8)) {
        *byte = eight.iter().enumerate().fold(0, |bits, (i, &x)| bits | u8::from(x > 0.0) << (7 - i));
    }
}

#[cfg(test)]
mod tests {
    use super::Precision::*;
    use super::*;

    const ROWS: [f32; 12] = [0.1, -0.2, 0.3, 0.5, 0.4, 0.0, 0.3, -0.5, -0.35, 0.2, 0.3, 0.25];

    fn quantized(precision: Precision, ranges: Ranges<'_>) -> Vec<u8> {
        let quantizer = Quantizer::new(precision, ranges, &ROWS, 4).unwrap();
        let mut out = vec![0; 3 * precision.columns(4)];
        quantizer.apply(&ROWS, &mut out);
        out
    }

    fn signed(bytes: &[u8]) -> &[i8] {
        bytemuck::cast_slice(bytes)
    }

    // sentence_transformers 6.2's quantize_embeddings(ROWS, ...) on float32. The third dimension is constant, and 1.0
    // over a step of 1 / 255 falls into bucket 254, because float32 cannot hold that step.
    #[test]
    fn buckets_between_ranges() {
        let batch = [25, -128, -128, 126, 127, -1, -128, -128, -128, 127, -128, 63];
        assert_eq!(signed(&quantized(Int8, Ranges::Batch)), batch);
        assert_eq!(quantized(Uint8, Ranges::Batch), [153, 0, 0, 254, 255, 127, 0, 0, 0, 255, 0, 191]);
        let ranges = [-0.3, -0.1, 0.0, -1.0, 0.3, 0.1, 0.0, 1.0];
        let given = [42, -128, -128, 63, 127, -1, -128, -65, -128, 127, -128, 31];
        assert_eq!(signed(&quantized(Int8, Ranges::Given(&ranges))), given);
        assert_eq!(quantized(Uint8, Ranges::Given(&ranges)), [170, 0, 0, 191, 255, 127, 0, 63, 0, 255, 0, 159]);
        let calibration = [0.0, 0.0, 0.0, 0.0, 0.25, 0.25, 0.25, 0.25];
        let calibrated = [101, 0, 255, 255, 255, 0, 255, 0, 0, 203, 255, 254];
        assert_eq!(quantized(Uint8, Ranges::Calibration(&calibration)), calibrated);
    }

    #[test]
    fn bits_above_zero() {
        assert_eq!(quantized(Ubinary, Ranges::Batch), [176, 160, 112]);
        assert_eq!(signed(&quantized(Binary, Ranges::Batch)), [48, 32, -16]);
        // Nine dimensions: the tail of the second byte is padded with zeros. Zero is not above zero, 1e-30 is.
        let row = [1.0, -1.0, 0.0, 2.0, -0.0, 3.0, 1e-30, -5.0, 7.0];
        for (precision, expected) in [(Ubinary, [150, 128]), (Binary, [22, 0])] {
            let mut out = [0; 2];
            Quantizer::new(precision, Ranges::Batch, &row, 9).unwrap().apply(&row, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn ranges_of_the_batch_are_reported() {
        let warning = |precision, ranges, rows: &[f32]| Quantizer::new(precision, ranges, rows, 2).unwrap().warning();
        let few = warning(Int8, Ranges::Batch, &[0.5; 20]).unwrap();
        assert!(few.contains("from only 10 of them"), "{few}");
        let many = warning(Uint8, Ranges::Batch, &[0.5; 200]).unwrap();
        assert!(many.contains("the embeddings of this call:"), "{many}");
        assert_eq!(warning(Int8, Ranges::Given(&[0.0, 0.0, 1.0, 1.0]), &[0.5; 20]), None);
        assert_eq!(warning(Int8, Ranges::Calibration(&[0.5; 2]), &[0.5; 20]), None);
        assert_eq!(warning(Binary, Ranges::Batch, &[0.5; 20]), None);
    }

    #[test]
    fn ranges_that_cannot_be_are_refused_by_argument() {
        let refusal = |ranges| Quantizer::new(Int8, ranges, &ROWS[..4], 4).unwrap_err().to_string();
        assert_eq!(refusal(Ranges::Given(&[0.0; 4])), "ranges: expected shape (2, 4), found 4 numbers");
        assert_eq!(
            refusal(Ranges::Calibration(&[])),
            "calibration_embeddings: expected at least one row of 4 numbers, found 0"
        );
        assert!(refusal(Ranges::Batch).starts_with("precision: ranges cannot come from a single embedding"));
        assert_eq!(
            "int4".parse::<Precision>().unwrap_err().to_string(),
            "precision: expected one of float32, int8, uint8, binary, ubinary, found \"int4\""
        );
        for (precision, name) in Precision::NAMES {
            assert_eq!(name.parse::<Precision>().unwrap(), precision);
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        for precision in [Int8, Uint8, Binary, Ubinary] {
            let quantizer = Quantizer::new(precision, Ranges::Batch, &[], 4).unwrap();
            assert_eq!(quantizer.warning(), None);
            quantizer.apply(&[], &mut []);
        }
    }
}
