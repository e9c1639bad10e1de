//! The mean of each text's hidden states, where they are: on a device only the means leave it.

use candle_core::{DType, Tensor};

use crate::Result;
use crate::gpu;
use crate::nn::States;
use crate::nn::padded_batch::padded_len;
use crate::nn::rows::Rows;
use crate::nn::upload_buffer::UploadBuffer;

/// `[texts, hidden]` in float32: the mean of each text's rows of `x [tokens, hidden]`; zeros for a text without tokens.
pub fn mean(x: &States, offsets: &[u32]) -> Result<States> {
    Ok(match x {
        States::Cpu(x) => States::Cpu(mean_of_rows(x, offsets)),
        States::Portable(x) => States::Portable(mean_by_size(x, offsets)?),
        States::Gpu(x) => States::Gpu(x.with(x.pass.record(|recording| gpu::mean(recording, &x.rows, offsets))?)),
    })
}

fn mean_of_rows(x: &Rows, offsets: &[u32]) -> Rows {
    let width = x.width();
    Rows::written([offsets.len() - 1, width], |out| {
        for (text, out) in offsets.windows(2).zip(out.chunks_exact_mut(width)) {
            out.fill(0.0);
            let rows = x.values()[text[0] as usize * width..text[1] as usize * width].chunks_exact(width);
            let count = rows.len().max(1) as f32;
            rows.for_each(|row| out.iter_mut().zip(row).for_each(|(out, x)| *out += x));
            out.iter_mut().for_each(|out| *out /= count);
        }
    })
}

/// As [`mean`], in few operations of few shapes: texts of about one length are padded to it, and their means are one
/// product, with weights `1 / len` for tokens and 0 for padding.
fn mean_by_size(x: &Tensor, offsets: &[u32]) -> candle_core::Result<Tensor> {
    let (texts, hidden) = (offsets.len() - 1, x.dims()[1]);
    let len = |text: usize| (offsets[text + 1] - offsets[text]) as usize;
    // Texts in the order of their padded lengths; `ranks` is the inverse of that order.
    let size = |text: usize| if len(text) == 0 { 0 } else { padded_len(len(text)) };
    let mut order: Vec<usize> = (0..texts).collect();
    order.sort_by_key(|&text| size(text));
    let mut ranks = vec![0; texts];
    order.iter().enumerate().for_each(|(rank, &text)| ranks[text] = rank as u32);

    let (mut rows, mut weights) = (UploadBuffer::new(), UploadBuffer::new());
    let mut groups = Vec::new();
    for group in order.chunk_by(|&a, &b| size(a) == size(b)) {
        let size = size(group[0]);
        let row = |text: usize, i: usize| offsets[text] + if i < len(text) { i as u32 } else { 0 };
        let weight = |text: usize, i: usize| if i < len(text) { 1.0 / len(text) as f32 } else { 0.0 };
        let each = || group.iter().flat_map(|&text| (0..size).map(move |i| (text, i)));
        let rows = rows.push(each().map(|(text, i)| row(text, i)));
        groups.push((group.len(), size, rows, weights.push(each().map(|(text, i)| weight(text, i)))));
    }
    let ranks = rows.push(ranks.into_iter());
    let (rows, weights) = (rows.upload(x.device())?, weights.upload(x.device())?);
    let mut means = Vec::new();
    for (texts, size, tokens_of, weights_of) in groups {
        means.push(match size {
            0 => Tensor::zeros((texts, hidden), DType::F32, x.device())?,
            _ => {
                let states = x.index_select(&rows(tokens_of)?, 0)?.to_dtype(DType::F32)?;
                let weights = weights(weights_of)?.reshape((texts, 1, size))?;
                weights.matmul(&states.reshape((texts, size, hidden))?)?.reshape((texts, hidden))?
            }
        });
    }
    match texts {
        0 => Tensor::zeros((0, hidden), DType::F32, x.device()),
        _ => Tensor::cat(&means, 0)?.index_select(&rows(ranks)?, 0),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::testing::{Random, rows_of};

    #[test]
    fn means_are_those_of_each_text() {
        let offsets = [0, 3, 3, 40, 41, 60, 60, 100];
        let assert_means = |x: &States| {
            let means = mean(x, &offsets).unwrap();
            assert_eq!([means.count(), means.width()], [7, 8]);
            let [x, means] = [x, &means].map(|states| states.read(<[f32]>::to_vec).unwrap());
            for (text, found) in offsets.windows(2).zip(means.chunks_exact(8)) {
                let rows: Vec<_> = x[text[0] as usize * 8..text[1] as usize * 8].chunks_exact(8).collect();
                for (column, found) in found.iter().enumerate() {
                    let sum: f64 = rows.iter().map(|row| f64::from(row[column])).sum();
                    let expected = sum / rows.len().max(1) as f64;
                    assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} is not {expected}");
                }
            }
        };
        let values = Random::new(3).values(800);
        assert_means(&States::Cpu(rows_of(&values, 8)));
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let x = Tensor::from_slice(&values, (100, 8), &Device::Cpu).unwrap();
            assert_means(&States::Portable(x.to_dtype(dtype).unwrap()));
        }
    }

    #[test]
    fn no_texts_have_no_means() {
        let none = Tensor::zeros((0, 8), DType::F16, &Device::Cpu).unwrap();
        for x in [States::Portable(none), States::Cpu(rows_of(&[], 8))] {
            assert_eq!(mean(&x, &[0]).unwrap().count(), 0);
            assert_eq!(mean(&x, &[0, 0]).unwrap().read(<[f32]>::to_vec).unwrap(), [0.0; 8]);
        }
    }
}
