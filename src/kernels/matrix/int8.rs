//! Products in int8 (W8A8 without calibration): weights with a scale for each output channel, packed once; rows
//! quantized as they come, each with a scale of its own (vector-wise as in LLM.int8, Dettmers et al. 2022; affine as in
//! Jacob et al. 2018). Both are rotated before (`hadamard.rs`; QuaRot, Ashkboos et al. 2024), so that no channel is far
//! larger than the others.
//!
//! ```text
//! weights, once:  w = H w / span;  v = round(w / weight_scale);  weight_scale = max |w| / 127
//! a row:          x = H x;  q = round((x - low) / scale);  scale = (max x - low) / steps;  low = min x
//! product:        y = weight_scale * (scale * Σ q v + low * Σ v) + bias
//! ```
//!
//! Why it is right: H Hᵀ is `span` times the identity, so rotating both sides leaves `x · w` as it was. Where x is about
//! `scale * q + low` and w about `weight_scale * v`, the product is the formula above: nothing is clipped, both ends of
//! a row are met, and `Σ v` does not depend on the row. `Σ q v` is exact in 32 bits on every set, for k up to 66,311.
//! q is unsigned and v signed, as VNNI's `vpdpbusd` takes them; where the instruction takes signed bytes alone (NEON,
//! dotprod), q is held 128 lower (`Int8::FLIP`), and `low` is moved by as much.
//!
//! There are 255 steps where the set adds up products in 32 bits. AVX2 and AVX-512 without VNNI add up four in 16 bits
//! (`Int8::WEIGHTS`), and have 180. There, four weights of one sign come to at most 182, so that four products are within
//! 180 * 182 = 32,760. `weight_scale` sees to it: it is at least (the largest such sum of w) / 180, and rounding adds a
//! half to each of the four.
//!
//! ```text
//! all-MiniLM-L6-v2, 1 - mean cosine to float32 on texts of all lengths, in 1e-4
//! 255 steps, without mixing the channels of a unit      4.5      what it was
//! 255 steps, any weights                                3.1
//! fours of products in 16 bits: 160, 180, 200, 220      6.8, 6.7, 7.0, 7.6    predicted; 180 moves neighbours least
//! twos of products, 220 steps; eights, 160              5.2; 9.6              predicted
//! ```
//!
//! Where neighbours are lost, with 180 steps: of 2,500 short descriptions that are much alike, the share of the nearest 10
//! that float32 names, as simulated (products alone; one set differs from another by .002):
//!
//! ```text
//! all in int8                                         .973
//! weights exact; rows exact                           .978; .982
//! exact: queries, keys; values; attention's output    .973, .974; .977; .974
//! exact: up; down; the last layer                     .976; .977; .975
//! exact values of the last layer; of the last two     + .001, + .002
//! random signs before the transform                   + .0004
//! 160, 200, 220, 255 steps                            - .002, 0, - .001, - .002
//! 255 steps, any weights (other sets)                 .980
//! ```
//!
//! Values in float32 in all layers take 8 % more time on such CPUs, for a third of a percent: not taken.
//!
//! Tried and given up: smoothing, subtracting means, bias correction and clipping brought no fidelity beyond the
//! rotation's (a mean cosine of .9991 became .9995, for 2 % of the time), even with true statistics; quantizing on
//! several threads gained nothing.

use super::byte_product::{ByteProduct, ByteWeights};
use super::layout::PanelLayout;
use super::product::ProductOutput;
use super::quantized_rows::QuantizedRows;
use crate::Result;
use crate::kernels::Isa;
use crate::kernels::aligned::{Aligned, BufferSource, bytes_of};
use crate::kernels::hadamard::{HadamardTransform, span};
use crate::kernels::simd::{Int8, Int8Operation, MAX_LANES, Operation, Simd, WeightProducts};
use crate::kernels::tile::WeightBytes;

/// Panels of `[k / 4, width, 4]`.
pub(super) struct Int8Panels {
    layout: PanelLayout,
    k: usize,
    panels: Aligned<i8>,
    /// `[n]`, padded to whole vectors, as the sums.
    scales: Aligned<f32>,
    /// The scale times the sum of the channel's integers.
    sums: Aligned<f32>,
}

impl Int8Panels {
    pub(super) fn new(isa: Isa, n: usize, k: usize, buffers: &mut BufferSource) -> Result<Self> {
        let layout = isa.run_int8(Int8Layout { n, k });
        let padded = n.next_multiple_of(MAX_LANES);
        Ok(Self {
            layout,
            k,
            panels: buffers.next(layout.len())?,
            scales: buffers.next(padded)?,
            sums: buffers.next(padded)?,
        })
    }

    /// The buffers, in the order in which [`Self::new`] takes them.
    pub(super) fn buffers(&self) -> [&[u8]; 3] {
        [bytes_of(&self.panels), bytes_of(&self.scales), bytes_of(&self.sums)]
    }

    /// `rotated [k]` is memory to work in.
    pub(super) fn set_row(&mut self, isa: Isa, row: usize, values: &[f32], rotated: &mut [f32]) {
        rotate(isa, values, rotated);
        self.set_channel(row, isa.run(QuantizeChannel { values: rotated, limit: limit(isa) }));
    }

    pub(super) fn set_channel(&mut self, row: usize, channel: Channel) {
        let sum: i32 = channel.weights.iter().copied().map(i32::from).sum();
        self.layout.set_bytes(self.panels.as_mut_slice(), row, &channel.weights);
        self.scales.as_mut_slice()[row] = channel.scale;
        self.sums.as_mut_slice()[row] = channel.scale * sum as f32;
    }

    /// Multiplies `rows` with the weights.
    pub(super) fn apply(&self, isa: Isa, rows: QuantizedRows, bias: &[f32], out: &ProductOutput) {
        let Self { layout, k, panels, scales, sums } = self;
        let weights = ByteWeights {
            layout: *layout,
            first: 0,
            panels: panels.as_slice(),
            scales: scales.as_slice(),
            sums: sums.as_slice(),
            bias,
        };
        out.split(layout.width, k.div_ceil(4), |columns| {
            isa.run_int8(ByteProduct { weights, rows, out, columns, after: None });
        });
    }
}

/// The weights of an output channel: about `scale * weights`.
pub(super) struct Channel {
    pub(super) scale: f32,
    /// `[k]`, -127 to 127.
    pub(super) weights: Vec<i8>,
}

impl Channel {
    /// Quantizes the `values [k]` of a channel, rotated. With a `limit`, the scale is such that of four weights that are
    /// added up in 16 bits those of one sign come to at most that.
    #[inline(always)]
    pub(super) fn new(values: &[f32], limit: Option<i32>) -> Self {
        let largest = largest(values);
        // Rounding adds at most a half to each of the four.
        let bounded = limit.map_or(0.0, |limit| largest_sum_of_four(values) / (limit - 2) as f32);
        let scale = (largest / 127.0).max(bounded);
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        Self { scale, weights: values.iter().map(|x| nearest(x * inverse)).collect() }
    }
}

/// [`Channel::new`] with the set's own instructions.
struct QuantizeChannel<'a> {
    values: &'a [f32],
    limit: Option<i32>,
}

impl Operation for QuantizeChannel<'_> {
    type Output = Channel;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Channel {
        Channel::new(self.values, self.limit)
    }
}

/// The largest magnitude, of many numbers at a time.
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let (many, rest) = values.as_chunks::<MAX_LANES>();
    let mut lanes = [0.0_f32; MAX_LANES];
    for values in many {
        lanes.iter_mut().zip(values).for_each(|(largest, x)| *largest = largest.max(x.abs()));
    }
    lanes.iter().chain(rest).fold(0.0, |largest, x| largest.max(x.abs()))
}

/// `x.round()`, which is a call for each number, by instructions that take many: a half is rounded away from zero. The largest
/// number below a half has the same effect as a half, but for the number below a half itself, which a half would take to 1.
#[inline(always)]
pub(super) fn nearest(x: f32) -> i8 {
    (x + 0.499_999_97_f32.copysign(x)) as i32 as i8
}

/// The rotated `values [k]` of a channel.
pub(super) fn rotate(isa: Isa, values: &[f32], rotated: &mut [f32]) {
    isa.run(HadamardTransform { x: values, out: rotated });
    let share = 1.0 / span(values.len()) as f32;
    rotated.iter_mut().for_each(|x| *x *= share);
}

/// The set's limit for a channel's weights: see [`WeightProducts::limit`].
pub(super) fn limit(isa: Isa) -> Option<i32> {
    isa.run_int8(WeightProductsOfSet).limit()
}

/// The largest absolute sum of values of one sign among four that are added up in 16 bits.
pub(super) fn largest_sum_of_four(values: &[f32]) -> f32 {
    let mut largest = 0.0_f32;
    for eight in values.chunks(8) {
        let mut padded = [0.0; 8];
        padded[..eight.len()].copy_from_slice(eight);
        for four in [[0, 1, 4, 5], [2, 3, 6, 7]].map(|four| four.map(|i| padded[i])) {
            let positive = four.map(|x| x.max(0.0)).iter().sum::<f32>();
            let negative = four.map(|x| (-x).max(0.0)).iter().sum::<f32>();
            largest = largest.max(positive).max(negative);
        }
    }
    largest
}

/// How a set adds up products with weights.
pub(super) struct WeightProductsOfSet;

impl Int8Operation for WeightProductsOfSet {
    type Output = WeightProducts;

    #[inline(always)]
    fn run<D: Int8>(self, _: D) -> WeightProducts {
        D::WEIGHTS
    }
}

/// Where a matrix `[n, k]` has its bytes.
pub(super) struct Int8Layout {
    pub(super) n: usize,
    pub(super) k: usize,
}

impl Int8Operation for Int8Layout {
    type Output = PanelLayout;

    #[inline(always)]
    fn run<D: Int8>(self, _: D) -> PanelLayout {
        PanelLayout::new::<WeightBytes<D>>(self.n, self.k)
    }
}
