//! Convolution over the tokens of a text (PyTorch's `Conv1d` of an odd length, with padding that keeps the number of
//! tokens).
//!
//! ```text
//! y_t = activation(bias + Σ_s weight[s] x_{t + s - reach})        s = 0 ..= 2 reach; x is 0 outside the text
//! ```
//!
//! Each token's neighbours are laid one behind the other ("im2col": Chellapilla et al. 2006), and the sum is one product.

use candle_core::Tensor;

use crate::Result;
use crate::gpu::NO_ROW;
use crate::kernels::Activation;
use crate::memory::zeroed;
use crate::nn::device_states::DeviceStates;
use crate::nn::{Layout, Linear, Loader, States};
use crate::profile::{Stage, Work, stage};

/// A layer of the above, with its activation.
pub struct Convolution {
    /// Neighbours of a token that count, with itself.
    length: usize,
    product: Linear,
}

impl Convolution {
    /// `at` has `weight [width, width, length]`, the last dimension in the order of tokens, and `bias [width]`; `length`
    /// is odd.
    pub fn load(at: &Loader, width: usize, length: usize, activation: Activation) -> Result<Self> {
        assert!(length % 2 == 1, "a token is in the middle of its neighbours");
        let (by_channel, bias) = (at.weights("weight", &[width, width, length])?, at.values("bias", &[width])?);
        // [width, length, width]: the neighbours' order.
        let mut weight: Vec<f32> = zeroed(by_channel.len(), "the weights of a convolution")?;
        for (from, to) in by_channel.chunks_exact(width * length).zip(weight.chunks_exact_mut(width * length)) {
            for (neighbour, to) in to.chunks_exact_mut(width).enumerate() {
                to.iter_mut().zip(from[neighbour..].iter().step_by(length)).for_each(|(to, from)| *to = *from);
            }
        }
        let product = Linear::of_values(Stage::Other, at.body(), &weight, &bias, [width, length * width])?;
        Ok(Self { length, product: product.with_activation(activation) })
    }

    /// `x [tokens, width]` to the same shape.
    pub fn forward(&self, x: &States, layout: &Layout) -> Result<States> {
        // One is read, and as many as there are neighbours are written.
        let work = || Work::bytes((1 + self.length) * x.bytes());
        let width = x.width();
        let neighbours = || -> Result<States> {
            Ok(match x {
                States::Cpu(x) => States::Cpu(x.map(self.length * width, |x, out| self.copy(x, width, layout, out))),
                States::Portable(x) => States::Portable(self.gather(x, layout)?),
                States::Gpu(x) => States::Gpu(self.gather_on_gpu(x, layout)?),
            })
        };
        self.product.forward(&stage(Stage::Other, work, neighbours)?)
    }

    /// For each token the rows of its neighbours, None outside its text.
    fn rows<'a>(&'a self, layout: &Layout<'a>) -> impl Iterator<Item = Option<usize>> + 'a {
        let (offsets, reach) = (layout.offsets(), self.length / 2);
        offsets.windows(2).flat_map(move |text| {
            let (start, end) = (text[0] as usize, text[1] as usize);
            (start..end).flat_map(move |token| {
                let row = move |step: usize| (token + step).checked_sub(reach);
                (0..self.length).map(move |step| row(step).filter(|row| (start..end).contains(row)))
            })
        })
    }

    /// Writes the neighbours of `x [tokens, width]` to `out [tokens, length * width]`.
    fn copy(&self, x: &[f32], width: usize, layout: &Layout, out: &mut [f32]) {
        for (row, out) in self.rows(layout).zip(out.chunks_exact_mut(width)) {
            match row {
                Some(row) => out.copy_from_slice(&x[row * width..][..width]),
                None => out.fill(0.0),
            }
        }
    }

    /// As `copy`, of rows that a GPU has: the neighbours of each place one after the other.
    fn gather_on_gpu(&self, x: &DeviceStates, layout: &Layout) -> Result<DeviceStates> {
        let rows: Vec<u32> = self.rows(layout).map(|row| row.map_or(NO_ROW, |row| row as u32)).collect();
        let place = |place: usize| -> Vec<u32> { rows.iter().skip(place).step_by(self.length).copied().collect() };
        let parts = (0..self.length).map(|i| x.select(&place(i))).collect::<Result<Vec<_>>>()?;
        DeviceStates::side_by_side(&parts.iter().collect::<Vec<_>>())
    }

    /// As `copy`, on any device that candle knows.
    fn gather(&self, x: &Tensor, layout: &Layout) -> candle_core::Result<Tensor> {
        let (tokens, width) = x.dims2()?;
        let rows: Vec<u32> = self.rows(layout).map(|row| row.unwrap_or(tokens) as u32).collect();
        let rows = Tensor::from_vec(rows, tokens * self.length, x.device())?;
        let outside = Tensor::zeros((1, width), x.dtype(), x.device())?;
        Tensor::cat(&[x, &outside], 0)?.index_select(&rows, 0)?.reshape((tokens, self.length * width))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree, assert_halves_agree};

    const OFFSETS: [u32; 6] = [0, 1, 3, 3, 9, 20];

    #[test]
    fn bodies_agree() {
        for length in [1, 3, 7] {
            let checkpoint = Checkpoint::random(&[("weight", &[12, 12, length]), ("bias", &[12])]);
            assert_bodies_agree(&checkpoint, |at, x| {
                let convolution = Convolution::load(at, 12, length, Activation::Tanh)?;
                convolution.forward(&x.states([20, 12])?, &Layout::new(&OFFSETS, &[]))
            });
        }
    }

    #[test]
    fn halves_agree_with_float32() {
        let checkpoint = Checkpoint::random(&[("weight", &[12, 12, 3]), ("bias", &[12])]);
        assert_halves_agree(&checkpoint, |at, x| {
            let convolution = Convolution::load(at, 12, 3, Activation::Identity)?;
            convolution.forward(&x.states([20, 12])?, &Layout::new(&OFFSETS, &[]))
        });
    }

    /// Each text's output is candle's own convolution of it alone.
    #[test]
    fn texts_are_convolved_apart() {
        let checkpoint = Checkpoint::random(&[("weight", &[12, 12, 5]), ("bias", &[12])]);
        assert_bodies_agree(&checkpoint, |at, x| {
            let x = x.states([20, 12])?;
            let found = Convolution::load(at, 12, 5, Activation::Identity)?.forward(&x, &Layout::new(&OFFSETS, &[]))?;
            let weight = Tensor::from_slice(&at.values("weight", &[12, 12, 5])?, (12, 12, 5), &Device::Cpu)?;
            let bias = Tensor::from_slice(&at.values("bias", &[12])?, 12, &Device::Cpu)?;
            let tensor = |states: &States| states.read(|x| Tensor::from_slice(x, (20, 12), &Device::Cpu));
            let (x, convolved) = (tensor(&x)??, tensor(&found)??);
            for text in OFFSETS.windows(2).filter(|text| text[0] < text[1]) {
                let (start, len) = (text[0] as usize, (text[1] - text[0]) as usize);
                let alone = x.narrow(0, start, len)?.t()?.unsqueeze(0)?.contiguous()?;
                let expected = alone.conv1d(&weight, 2, 1, 1, 1)?.squeeze(0)?.t()?.broadcast_add(&bias)?;
                let difference = (convolved.narrow(0, start, len)? - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(difference < 1e-5, "{difference}");
            }
            Ok(found)
        });
    }
}
