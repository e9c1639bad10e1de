//! Numbers as ggml stores them: plain ones, and blocks of codes that share a scale (llama.cpp's `ggml-quants.c`; reference:
//! `dequantize` of the package `gguf`, whose bits these are).
//!
//! ```text
//! 32 numbers, of 16 bytes number j is the low half of byte j, and number j + 16 its high half
//! Q4_0    d, q[16]                   d (q - 8)             Q4_1   d, m, q[16]             d q + m
//! Q5_0    d, bits[4], q[16]          d (q - 16)            Q5_1   d, m, bits[4], q[16]    d q + m         bit j: the fifth of number j
//! Q8_0    d, q[32], signed           d q                   IQ4_NL d, q[16]                d LEVELS[q]
//! MXFP4   e, q[16]                   2^(e - 128) FP4[q]
//! ```
//!
//! `d` and `m` are float16. Blocks of 256 are in `k_blocks`. A row is whole blocks, so that rows are decoded by themselves.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::block_parts::{LEVELS, each, half_at, nibbles};
use super::k_blocks;

/// A type of ggml's tensors.
#[derive(Debug)]
pub(super) struct BlockType {
    /// As files number it.
    id: u32,
    pub(super) name: &'static str,
    /// Numbers of a block.
    pub(super) numbers: usize,
    /// Bytes of a block.
    pub(super) bytes: usize,
    /// Decodes whole blocks; None where votive does not.
    pub(super) decode: Option<Decode>,
}

/// Decodes blocks to as many numbers as they hold.
pub(super) type Decode = fn(&[u8], &mut [f32]);

impl BlockType {
    /// The type with this number, if ggml has one.
    pub(super) fn numbered(id: u32) -> Option<&'static Self> {
        TYPES.iter().find(|known| known.id == id)
    }

    /// Names of the types that are decoded.
    pub(super) fn decoded() -> String {
        TYPES.iter().filter(|known| known.decode.is_some()).map(|known| known.name).collect::<Vec<_>>().join(", ")
    }
}

const fn known(id: u32, name: &'static str, numbers: usize, bytes: usize, decode: Option<Decode>) -> BlockType {
    BlockType { id, name, numbers, bytes, decode }
}

/// ggml's types. Sizes of those that are not decoded serve to check where the others lie.
const TYPES: [BlockType; 34] = [
    known(0, "F32", 1, 4, Some(f32_numbers)),
    known(1, "F16", 1, 2, Some(f16_numbers)),
    known(2, "Q4_0", 32, 18, Some(q4_0)),
    known(3, "Q4_1", 32, 20, Some(q4_1)),
    known(6, "Q5_0", 32, 22, Some(q5_0)),
    known(7, "Q5_1", 32, 24, Some(q5_1)),
    known(8, "Q8_0", 32, 34, Some(q8_0)),
    known(9, "Q8_1", 32, 36, None),
    known(10, "Q2_K", 256, 84, Some(k_blocks::q2_k)),
    known(11, "Q3_K", 256, 110, Some(k_blocks::q3_k)),
    known(12, "Q4_K", 256, 144, Some(k_blocks::q4_k)),
    known(13, "Q5_K", 256, 176, Some(k_blocks::q5_k)),
    known(14, "Q6_K", 256, 210, Some(k_blocks::q6_k)),
    known(15, "Q8_K", 256, 292, None),
    known(16, "IQ2_XXS", 256, 66, None),
    known(17, "IQ2_XS", 256, 74, None),
    known(18, "IQ3_XXS", 256, 98, None),
    known(19, "IQ1_S", 256, 50, None),
    known(20, "IQ4_NL", 32, 18, Some(iq4_nl)),
    known(21, "IQ3_S", 256, 110, None),
    known(22, "IQ2_S", 256, 82, None),
    known(23, "IQ4_XS", 256, 136, Some(k_blocks::iq4_xs)),
    known(24, "I8", 1, 1, None),
    known(25, "I16", 1, 2, None),
    known(26, "I32", 1, 4, None),
    known(27, "I64", 1, 8, None),
    known(28, "F64", 1, 8, Some(f64_numbers)),
    known(29, "IQ1_M", 256, 56, None),
    known(30, "BF16", 1, 2, Some(bf16_numbers)),
    known(34, "TQ1_0", 256, 54, None),
    known(35, "TQ2_0", 256, 66, None),
    known(39, "MXFP4", 32, 17, Some(mxfp4)),
    known(40, "NVFP4", 64, 36, None),
    known(41, "Q1_0", 128, 18, None),
];

/// The numbers of four bits, twice as large, so that they are integers.
const FP4: [f32; 16] = [0., 1., 2., 3., 4., 6., 8., 12., 0., -1., -2., -3., -4., -6., -8., -12.];

fn f32_numbers(bytes: &[u8], out: &mut [f32]) {
    each::<4, 1>(bytes, out, |bytes, out| out[0] = f32::from_le_bytes(*bytes));
}

fn f64_numbers(bytes: &[u8], out: &mut [f32]) {
    each::<8, 1>(bytes, out, |bytes, out| out[0] = f64::from_le_bytes(*bytes) as f32);
}

fn f16_numbers(bytes: &[u8], out: &mut [f32]) {
    match bytemuck::try_cast_slice::<u8, f16>(bytes) {
        Ok(halves) => halves.convert_to_f32_slice(out),
        Err(_) => each::<2, 1>(bytes, out, |bytes, out| out[0] = f16::from_le_bytes(*bytes).to_f32()),
    }
}

fn bf16_numbers(bytes: &[u8], out: &mut [f32]) {
    each::<2, 1>(bytes, out, |bytes, out| out[0] = bf16::from_le_bytes(*bytes).to_f32());
}

fn q4_0(blocks: &[u8], out: &mut [f32]) {
    each::<18, 32>(blocks, out, |block, out| {
        let d = half_at(block, 0);
        nibbles(&block[2..], out, |q, _| d * (f32::from(q) - 8.0));
    });
}

fn q4_1(blocks: &[u8], out: &mut [f32]) {
    each::<20, 32>(blocks, out, |block, out| {
        let (d, m) = (half_at(block, 0), half_at(block, 2));
        nibbles(&block[4..], out, |q, _| d * f32::from(q) + m);
    });
}

/// The fifth bits of 32 numbers.
fn fifth_bits(bits: &[u8]) -> impl Fn(u8, usize) -> f32 {
    let bits = u32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
    move |q, j| f32::from(q | ((bits >> j & 1) as u8) << 4)
}

fn q5_0(blocks: &[u8], out: &mut [f32]) {
    each::<22, 32>(blocks, out, |block, out| {
        let (d, code) = (half_at(block, 0), fifth_bits(&block[2..6]));
        nibbles(&block[6..], out, |q, j| d * (code(q, j) - 16.0));
    });
}

fn q5_1(blocks: &[u8], out: &mut [f32]) {
    each::<24, 32>(blocks, out, |block, out| {
        let (d, m, code) = (half_at(block, 0), half_at(block, 2), fifth_bits(&block[4..8]));
        nibbles(&block[8..], out, |q, j| d * code(q, j) + m);
    });
}

fn q8_0(blocks: &[u8], out: &mut [f32]) {
    each::<34, 32>(blocks, out, |block, out| {
        let d = half_at(block, 0);
        out.iter_mut().zip(&block[2..]).for_each(|(out, &q)| *out = d * f32::from(q.cast_signed()));
    });
}

fn iq4_nl(blocks: &[u8], out: &mut [f32]) {
    each::<18, 32>(blocks, out, |block, out| {
        let d = half_at(block, 0);
        nibbles(&block[2..], out, |q, _| d * LEVELS[usize::from(q)]);
    });
}

fn mxfp4(blocks: &[u8], out: &mut [f32]) {
    each::<17, 32>(blocks, out, |block, out| {
        // Half of 2^(e - 127), which for the first two is below the smallest normal number.
        let d = match u32::from(block[0]) {
            e @ 0..2 => f32::from_bits(0x0020_0000 << e),
            e => f32::from_bits((e - 1) << 23),
        };
        nibbles(&block[1..], out, |q, _| d * FP4[usize::from(q)]);
    });
}
