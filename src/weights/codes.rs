//! Numbers that a file holds as codes of few bits, with scales: what all such formats have in common.
//!
//! A format decodes a row at a time to float32, in which each number is rounded as its reference rounds it. What votive holds is
//! packed from that, in any type.

use super::affine::Affine;
use super::ggml_rows::GgmlRows;
use super::micro_scaled::MicroScaled;
use super::packed::Packed;
use super::scaled::Scaled;

/// A matrix of codes, or several of one shape behind each other.
#[derive(Debug, Clone)]
pub struct Codes<'a> {
    format: Format<'a>,
    columns: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Format<'a> {
    Affine(Affine<'a>),
    Ggml(GgmlRows<'a>),
    MicroScaled(MicroScaled<'a>),
    Packed(Packed<'a>),
    Scaled(Scaled<'a>),
}

impl<'a> Codes<'a> {
    pub(super) fn new(format: Format<'a>, columns: usize) -> Self {
        Self { format, columns }
    }

    /// The same codes in memory of their own.
    pub fn into_owned(self) -> Codes<'static> {
        let format = match self.format {
            Format::Affine(codes) => Format::Affine(codes.into_owned()),
            Format::Ggml(rows) => Format::Ggml(rows.into_owned()),
            Format::MicroScaled(codes) => Format::MicroScaled(codes.into_owned()),
            Format::Packed(codes) => Format::Packed(codes.into_owned()),
            Format::Scaled(codes) => Format::Scaled(codes.into_owned()),
        };
        Codes { format, columns: self.columns }
    }

    /// Bytes of the codes and of their scales.
    pub fn bytes(&self) -> usize {
        match &self.format {
            Format::Affine(codes) => codes.bytes(),
            Format::Ggml(rows) => rows.bytes(),
            Format::MicroScaled(codes) => codes.bytes(),
            Format::Packed(codes) => codes.bytes(),
            Format::Scaled(codes) => codes.bytes(),
        }
    }

    /// How the numbers are stored, for people.
    pub(super) fn storage(&self) -> String {
        match &self.format {
            Format::Affine(codes) => codes.storage(),
            Format::Ggml(rows) => rows.storage(),
            Format::MicroScaled(codes) => codes.storage(),
            Format::Packed(codes) => codes.storage(),
            Format::Scaled(codes) => codes.storage(self.columns),
        }
    }

    /// Writes the rows from `first` on to `out [rows, columns]`. All of them are there.
    pub fn decode(&self, first: usize, out: &mut [f32]) {
        for (row, out) in (first..).zip(out.chunks_exact_mut(self.columns.max(1))) {
            match &self.format {
                Format::Affine(codes) => codes.decode_row(row, out),
                Format::Ggml(rows) => rows.decode_row(row, out),
                Format::MicroScaled(codes) => codes.decode_row(row, out),
                Format::Packed(codes) => codes.decode_row(row, out),
                Format::Scaled(codes) => codes.decode_row(row, out),
            }
        }
    }
}
