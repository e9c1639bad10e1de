//! Weights in half a byte, of any checkpoint and without calibration: a ladder, whose numbers are bytes. So a product is that
//! of `int8.rs` with weights that are unpacked on the way.
//!
//! ```text
//! a channel, once:    w = H w / span;  scale = max |w| / 127                           (as in int8)
//!     each sixteen:   rung = of first, first + 1, first + 2, up to 15, the one with the least squared error; of equal ones the
//!                     lower;  first = ⌊ln(127 scale / max |w| of the sixteen) / ln 1.08⌋
//!     each weight:    code = the one whose LADDER[rung][code] is nearest to w / scale;  v = LADDER[rung][code]
//! a product:          for slice of a panel: bytes = unpack(slice); product of all rows with bytes     (see int8.rs)
//! panel:              for each 32 of k: [width] rungs, the first sixteen's in the lower bits; [4, width, 4] codes, of
//!                     weights 0-3 and 4-7 of eight in the lower and upper bits
//! ```
//!
//! Why it is right: a rotated channel is about normally distributed, and the codes are the levels that have the least squared
//! error for that (Lloyd 1957, Max 1960; the grids of HIGGS, Malinovskii et al. 2024). A rung scales them to the sixteen's own
//! size, as block formats do, but in steps that leave bytes. So sums are integers, the same on every set, with one scale a
//! channel and nothing to be done for a block within the sum. No level is zero: weights beyond k are set to zero after
//! unpacking, and a channel of zeros has the scale zero.
//!
//! A weight takes 4.25 bits. Where four products are added up in 16 bits (`Int8::WEIGHTS`), rounding to levels may add more
//! than int8's half to each. The scale grows there until the four fit; on other sets it is the largest weight's share alone.
//!
//! Squared error of normally distributed weights, relative to theirs, of all weights in the same number of bits or about it:
//!
//! ```text
//! this; in groups of 32 (4.125 bits)                   .0050, .0062
//! one scale a channel, the best levels (4 bits)        .0091
//! Q4_0, MLX's affine in groups of 64 (4.5 bits)        .0081, .0090
//! rungs 1.06 or 1.12 apart                             2 % less; 3 to 5 % more
//! all sixteen rungs tried instead of three             2 % less
//! ```
//!
//! all-MiniLM-L6-v2's mean cosine to float32 is .9890 with values and the products out of MLPs in int8, as `nn` has them
//! (960 mixed texts; the worst has .978).
//!
//! Of gemma-3-270m (its Q4_K_M file; 120 texts, the mean taken off vectors), cosines are in the mean .9994 in int8, .9812 here,
//! and .9725 with the products out of MLPs in four bits as well, which have the same 10 neighbours .981, .898 and .876. Those would
//! make one short text faster by a sixth at most: not taken.
//!
//! A slice is a panel, or a half of it where rows are few and a panel would not stay in the first-level cache. Tried, with
//! 400 MB of weights and 1, 5, 12 and 24 rows (Emerald Rapids, one thread; int8 of the same weights takes so many times as
//! long):
//!
//! ```text
//! slices of two vectors, half of the next fetched while unpacking    1.42  1.53  1.57  1.14
//! all of the next fetched while multiplying                          1.2 with 5 rows
//! slices of four vectors                                             0.93  1.32  1.32  1.06; in batches 4 % faster
//! slices of one vector                                               1.43  1.52  1.38  1.00
//! unpacking within the tile, for each six rows anew                  1.58  1.56  1.23  0.81
//! fetching two, three, four slices ahead                             as the first
//! multiplications instead of VBMI's lookup                           unpacking takes 1.9 ns instead of 1.2 for 64 weights
//! ```

use std::ops::Range;

use super::byte_product::{ByteProduct, ByteWeights};
use super::int8::{Channel, Int8Layout, largest_sum_of_four, limit, rotate};
use super::layout::PanelLayout;
use super::product::ProductOutput;
use super::quantized_rows::QuantizedRows;
use crate::Result;
use crate::kernels::Isa;
use crate::kernels::aligned::{Aligned, BufferSource, bytes_of, scratch};
use crate::kernels::prefetch::Prefetch;
use crate::kernels::simd::{LADDER, Ladder, LadderOperation, MAGNITUDES, MAX_LANES, Operation, Simd};

/// Weights of a channel that share a rung.
const GROUP: usize = 16;

/// Weights of a channel that lie together in a panel.
const BLOCK: usize = 2 * GROUP;

/// Bytes that they take: codes, and a byte of rungs.
const BLOCK_BYTES: usize = BLOCK / 2 + 1;

/// Weights of a column whose codes lie in the same four bytes.
const EIGHT: usize = 8;

/// Rows that are too few to pay for reading what was unpacked out of the second-level cache.
const FEW_ROWS: usize = 12;

/// Bytes that are unpacked at a time for few rows, unless that is less than two vectors of columns: as many as stay in the
/// first-level cache.
const UNPACKED_BYTES: usize = 32 << 10;

/// Panels of `[k / 32, 17 * width]` bytes.
pub(super) struct Int4Panels {
    /// Of the unpacked weights.
    layout: PanelLayout,
    n: usize,
    k: usize,
    /// Columns that are unpacked at a time for few rows.
    slice: usize,
    panels: Aligned<u8>,
    /// `[n]`, padded to whole vectors, as the sums.
    scales: Aligned<f32>,
    /// The scale times the sum of the channel's integers.
    sums: Aligned<f32>,
}

impl Int4Panels {
    pub(super) fn new(isa: Isa, n: usize, k: usize, buffers: &mut BufferSource) -> Result<Self> {
        let layout = isa.run_int8(Int8Layout { n, k });
        let lanes = isa.run_ladder(Lanes);
        let vectors = UNPACKED_BYTES / (lanes * k);
        let padded = n.next_multiple_of(MAX_LANES);
        Ok(Self {
            layout,
            n,
            k,
            slice: layout.width.min(lanes * vectors.max(2)),
            panels: buffers.next(layout.padded.saturating_mul(column_bytes(k)))?,
            scales: buffers.next(padded)?,
            sums: buffers.next(padded)?,
        })
    }

    /// The buffers, in the order in which [`Self::new`] takes them.
    pub(super) fn buffers(&self) -> [&[u8]; 3] {
        [self.panels.as_slice(), bytes_of(&self.scales), bytes_of(&self.sums)]
    }

    /// Output channels.
    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// `rotated [k]` is memory to work in.
    pub(super) fn set_row(&mut self, isa: Isa, row: usize, values: &[f32], rotated: &mut [f32]) {
        rotate(isa, values, rotated);
        let channel = LadderChannel::new(isa, rotated);
        let Channel { scale, weights } = channel.unpacked();
        let sum: i32 = weights.into_iter().map(i32::from).sum();
        self.scales.as_mut_slice()[row] = scale;
        self.sums.as_mut_slice()[row] = scale * sum as f32;

        let PanelLayout { width, padded, .. } = self.layout;
        let start = row / width * width;
        let (width, column) = (width.min(padded - start), row - start);
        let panel = &mut self.panels.as_mut_slice()[start * column_bytes(self.k)..];
        for (i, group) in channel.groups.iter().enumerate() {
            let block = &mut panel[i / 2 * BLOCK_BYTES * width..];
            set_half(&mut block[column], i % 2, group.rung);
            for (p, code) in (i % 2 * GROUP..).zip(group.codes) {
                let at = width + (p / EIGHT * width + column) * 4 + p % 4;
                set_half(&mut block[at], p % EIGHT / 4, code);
            }
        }
    }

    /// Multiplies `rows` with the weights.
    pub(super) fn apply(&self, isa: Isa, rows: QuantizedRows, bias: &[f32], out: &ProductOutput) {
        let &Self { layout, k, slice, ref panels, ref scales, ref sums, .. } = self;
        let (panels, scales, sums) = (panels.as_slice(), scales.as_slice(), sums.as_slice());
        let (width, column_bytes) = (layout.width, column_bytes(k));
        let slice = if out.m() <= FEW_ROWS { slice } else { width };
        out.split(width, k.div_ceil(4), |columns| {
            scratch(slice * k.next_multiple_of(BLOCK), |unpacked: &mut [i8]| {
                for panel in columns.clone().step_by(width) {
                    let end = layout.padded.min(panel + width);
                    let from = &panels[panel * column_bytes..end * column_bytes];
                    // A part of the next panel is fetched while each slice is unpacked, and one while it is multiplied.
                    let parts = 2 * (end - panel).div_ceil(slice);
                    let part = |i: usize| {
                        let [start, stop] = [i, i + 1].map(|i| from.len() * i / parts);
                        (end < columns.end).then(|| (from.as_ptr_range().end.wrapping_add(start), stop - start))
                    };
                    for (i, first) in (panel..end.min(columns.end)).step_by(slice).enumerate() {
                        let last = end.min(first + slice);
                        let steps = Prefetch::STEPS * k.div_ceil(BLOCK);
                        let ahead = part(2 * i).map_or(Prefetch::NONE, |part| Prefetch::part(part, steps, (0, 1)));
                        let within = first - panel..last - panel;
                        isa.run_ladder(Unpack { from, width: end - panel, columns: within, to: unpacked, ahead });
                        clear_beyond(k, last - first, unpacked);
                        let weights = ByteWeights { layout, first, panels: unpacked, scales, sums, bias };
                        let (columns, after) = (first..last.min(columns.end), part(2 * i + 1));
                        isa.run_int8(ByteProduct { weights, rows, out, columns, after });
                    }
                }
            });
        });
    }
}

/// Bytes of the `k` weights of a column.
fn column_bytes(k: usize) -> usize {
    k.div_ceil(BLOCK) * BLOCK_BYTES
}

/// Sets the lower bits of a byte, half 0, or the upper ones.
fn set_half(byte: &mut u8, half: usize, bits: u8) {
    *byte = *byte & (0xF0 >> (4 * half)) | bits << (4 * half);
}

/// Sets the weights from `k` on to zero that are multiplied with a row's last bytes, which mean nothing.
fn clear_beyond(k: usize, width: usize, unpacked: &mut [i8]) {
    for p in k..k.next_multiple_of(EIGHT) {
        for column in 0..width {
            unpacked[(p / 4 * width + column) * 4 + p % 4] = 0;
        }
    }
}

struct Lanes;

impl LadderOperation for Lanes {
    type Output = usize;

    #[inline(always)]
    fn run<L: Ladder>(self, _: L) -> usize {
        L::LANES
    }
}

/// Some columns of a panel of `width`, to bytes `[k / 4, columns, 4]` in whole blocks.
struct Unpack<'a> {
    from: &'a [u8],
    width: usize,
    columns: Range<usize>,
    to: &'a mut [i8],
    /// What is fetched meanwhile, some with each block.
    ahead: Prefetch,
}

impl LadderOperation for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Ladder>(self, l: L) {
        let Self { from, width, columns, to, ahead } = self;
        let (blocks, count) = (from.len() / (BLOCK_BYTES * width), columns.len());
        assert!(columns.end <= width && count.is_multiple_of(L::LANES), "slices are whole vectors of a panel");
        assert!(blocks * BLOCK * count <= to.len(), "there is room for the slice");
        for (block, from) in from.chunks_exact(BLOCK_BYTES * width).enumerate() {
            ahead.fetch(block);
            for column in (0..count).step_by(L::LANES) {
                // SAFETY: a block has a byte of rungs and four times four bytes of codes for each column, and `to` twice as
                // many as codes of each of the slice's.
                unsafe {
                    let rungs = l.rungs(from.as_ptr().add(columns.start + column));
                    for i in 0..BLOCK / EIGHT {
                        let codes = from.as_ptr().add(width + (i * width + columns.start + column) * 4);
                        let to = to.as_mut_ptr().add(((block * BLOCK / EIGHT + i) * 2 * count + column) * 4);
                        l.unpack(codes, rungs[i * EIGHT / GROUP], [to, to.add(4 * count)]);
                    }
                }
            }
        }
    }
}

/// Sixteen weights: `LADDER[rung]` at each code.
#[derive(Clone, Copy, Default)]
struct LadderGroup {
    rung: u8,
    codes: [u8; GROUP],
}

/// The weights of an output channel: about `scale` times what the groups stand for.
pub(super) struct LadderChannel {
    scale: f32,
    k: usize,
    groups: Vec<LadderGroup>,
}

impl LadderChannel {
    /// Of the rotated `values [k]`.
    pub(super) fn new(isa: Isa, values: &[f32]) -> Self {
        let (limit, k) = (limit(isa), values.len());
        let mut channel = Self {
            scale: Channel::new(values, limit).scale,
            k,
            groups: vec![LadderGroup::default(); k.div_ceil(GROUP)],
        };
        loop {
            isa.run(RoundToLadder { values, scale: channel.scale, groups: &mut channel.groups });
            let Some(limit) = limit else { return channel };
            let weights: Vec<f32> = channel.unpacked().weights.into_iter().map(f32::from).collect();
            let excess = largest_sum_of_four(&weights) / limit as f32;
            if excess <= 1.0 {
                return channel;
            }
            channel.scale *= excess.max(1.01);
        }
    }

    /// The same weights in int8.
    pub(super) fn unpacked(&self) -> Channel {
        let weights = self.groups.iter().flat_map(|group| {
            let weights = &LADDER[usize::from(group.rung)];
            group.codes.iter().map(|&code| weights[usize::from(code)])
        });
        Channel { scale: self.scale, weights: weights.take(self.k).collect() }
    }
}

/// `values [k] / scale` to the nearest of the ladder.
struct RoundToLadder<'a> {
    values: &'a [f32],
    scale: f32,
    groups: &'a mut [LadderGroup],
}

impl Operation for RoundToLadder<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let inverse = if self.scale > 0.0 { 1.0 / self.scale } else { 0.0 };
        for (values, group) in self.values.chunks(GROUP).zip(self.groups) {
            let (mut sizes, mut largest) = ([0.0; GROUP], 0.0_f32);
            for (size, value) in sizes.iter_mut().zip(values) {
                *size = (value * inverse).abs();
                largest = largest.max(*size);
            }
            // The last rung whose largest number is not below.
            let mut first = 0;
            while first < 15 && RUNGS[first + 1] * 127.0 >= largest {
                first += 1;
            }
            let (mut rung, mut least) = (first, nearest(&sizes, values.len(), first));
            for next in first + 1..16.min(first + 3) {
                let found = nearest(&sizes, values.len(), next);
                if found.error < least.error {
                    (rung, least) = (next, found);
                }
            }
            group.rung = rung as u8;
            for (i, code) in group.codes.iter_mut().enumerate() {
                let is_negative = values.get(i).is_some_and(|value| value.is_sign_negative());
                *code = least.codes[i] as u8 + if is_negative { MAGNITUDES as u8 } else { 0 };
            }
        }
    }
}

/// `1.08^-rung`.
const RUNGS: [f32; 16] = {
    let (mut rungs, mut rung) = ([1.0; 16], 1);
    while rung < 16 {
        rungs[rung] = rungs[rung - 1] / 1.08;
        rung += 1;
    }
    rungs
};

struct Nearest {
    codes: [u32; GROUP],
    /// Sum of the squares of the first `count` differences.
    error: f32,
}

/// The codes of a rung that are nearest to `sizes`; of two that are as near the lower. Loops over all sixteen, which the
/// compiler makes vectors of.
#[inline(always)]
fn nearest(sizes: &[f32; GROUP], count: usize, rung: usize) -> Nearest {
    let weights = &LADDER[rung];
    let (mut codes, mut found) = ([0; GROUP], [f32::from(weights[0]); GROUP]);
    for level in 1..MAGNITUDES {
        let (lower, upper) = (f32::from(weights[level - 1]), f32::from(weights[level]));
        let middle = (lower + upper) / 2.0;
        for i in 0..GROUP {
            let is_above = sizes[i] > middle;
            codes[i] += u32::from(is_above);
            found[i] = if is_above { upper } else { found[i] };
        }
    }
    let mut squares = [0.0; GROUP];
    for i in 0..GROUP {
        let difference = sizes[i] - found[i];
        squares[i] = if i < count { difference * difference } else { 0.0 };
    }
    let mut half = GROUP / 2;
    while half > 0 {
        for i in 0..half {
            squares[i] += squares[i + half];
        }
        half /= 2;
    }
    Nearest { codes, error: squares[0] }
}
