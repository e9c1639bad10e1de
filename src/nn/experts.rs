//! A mixture of experts in the place of a feed-forward block (Shazeer et al. 2017), as `kernels/experts.rs` has it.
//!
//! The portable body chooses experts on the host, too: which rows an expert gets decides the shapes of its products. So a
//! device waits once in each such block.

use candle_core::{DType, Tensor};

use crate::gpu::{MatrixParts, Passes, Product};
use crate::kernels::{self, Activation, Dtype, Matrix, PackedMlp, choose, places_by_expert};
use crate::memory::{owned, zeroed};
use crate::nn::activation::activate;
use crate::nn::device_states::DeviceStates;
use crate::nn::loader::tensor;
use crate::nn::matmul::matmul;
use crate::nn::panels::{MatrixPacking, packed};
use crate::nn::{Body, Linear, Loader, States};
use crate::profile::Stage;
use crate::{Error, Result};

/// `Σ chance * down(activation(up(x)))` over the experts that a router chooses for a token, and a bias.
pub struct Experts(ExpertsBody);

enum ExpertsBody {
    Cpu(kernels::PackedExperts),
    Portable(PortableExperts),
    Gpu(DeviceExperts),
}

struct PortableExperts {
    router: Linear,
    experts: Vec<PortableExpert>,
    top: usize,
    activation: Activation,
    /// `[hidden]`
    bias: Tensor,
}

struct DeviceExperts {
    router: Linear,
    /// `up` and `down` of each expert.
    experts: Vec<[Product; 2]>,
    top: usize,
    activation: Activation,
    passes: Passes,
    /// `[hidden]`
    bias: Vec<f32>,
}

/// Both `[wide, hidden]`.
struct PortableExpert {
    up: Tensor,
    down: Tensor,
}

/// The tensors of [`Experts`], and their sizes.
pub struct ExpertsParts<'a> {
    /// `weight [count, hidden]`
    pub router: Loader<'a>,
    /// `w1` and `w2 [count * wide, hidden]`: of each expert one after the other, the product into the block, and the
    /// transposed one out of it. In the place of `w2` there may be `w2_transposed [count * hidden, wide]`.
    pub experts: Loader<'a>,
    /// `bias [hidden]`
    pub bias: Loader<'a>,
    pub count: usize,
    /// Experts that a token goes through.
    pub top: usize,
    pub hidden: usize,
    pub wide: usize,
    pub activation: Activation,
}

/// `w2` as GGUF files have it.
const TRANSPOSED: &str = "w2_transposed";

impl Experts {
    pub fn load<'a>(parts: &ExpertsParts<'a>) -> Result<Self> {
        let &ExpertsParts { ref router, ref experts, ref bias, count, top, hidden, wide, activation } = parts;
        let bias = bias.values("bias", &[hidden])?;
        let rows =
            |at: &Loader<'a>, expert: usize, rows: usize| at.rows(expert * rows..(expert + 1) * rows, count * rows);
        let up_of = |expert| rows(experts, expert, wide).weights("w1", &[wide, hidden]);
        let is_transposed = experts.contains(TRANSPOSED);
        let (down_name, [down_rows, down_columns]) =
            if is_transposed { (TRANSPOSED, [hidden, wide]) } else { ("w2", [wide, hidden]) };
        // `[hidden, wide]` if `turned`, else `[wide, hidden]`.
        let down_of = |at: &Loader<'a>, expert, turned: bool| {
            let weights = rows(at, expert, down_rows).weights(down_name, &[down_rows, down_columns])?;
            Ok::<_, Error>(match turned == is_transposed {
                true => weights,
                false => transposed(&weights, down_columns)?.into(),
            })
        };
        let out_of = experts.sensitive();
        // A router has few numbers, and decides much: it is in float32 whatever the type of others is.
        let router = router.in_float32();
        Ok(Self(match experts.body().clone() {
            Body::Cpu { isa, dtype } => {
                let mlp = |expert| {
                    let panels = MatrixPacking { isa, dtype, shape: [wide, hidden], sensitive: 0 };
                    let part = rows(experts, expert, wide).part("w1", wide * hidden);
                    let up = packed(experts.checkpoint(), &panels, vec![part], Vec::new(), || {
                        Matrix::new(isa, dtype, &up_of(expert)?, None, wide, hidden)
                    })?;
                    let panels =
                        MatrixPacking { isa, dtype: out_of.body().dtype(), shape: [hidden, wide], sensitive: 0 };
                    let part = rows(experts, expert, down_rows).part(down_name, wide * hidden);
                    let down = packed(experts.checkpoint(), &panels, vec![part], Vec::new(), || {
                        Matrix::new(isa, panels.dtype, &down_of(&out_of, expert, true)?, None, hidden, wide)
                    })?;
                    Ok(PackedMlp::new(up, None, activation, down))
                };
                let router = Loader::matrix(isa, Dtype::Float32, &[router], [count, hidden], false, 0)?;
                let mlps = (0..count).map(mlp).collect::<Result<_>>()?;
                let bias = owned(bias, || "the bias of experts".to_owned())?;
                ExpertsBody::Cpu(kernels::PackedExperts::new(router, mlps, top, bias))
            }
            Body::Gpu { passes, types, .. } => {
                let product = |weight: &[f32], shape| {
                    Product::new(passes.context(), types, MatrixParts { weight, bias: None, shape })
                };
                let expert = |expert| {
                    let (up, down) = (up_of(expert)?, down_of(&out_of, expert, true)?);
                    Ok::<_, Error>([product(&up, [wide, hidden])?, product(&down, [hidden, wide])?])
                };
                ExpertsBody::Gpu(DeviceExperts {
                    router: Linear::load(Stage::MlpUp, &[router], count, hidden, false)?,
                    experts: (0..count).map(expert).collect::<Result<_>>()?,
                    top,
                    activation,
                    passes: passes.clone(),
                    bias: bias.into_owned(),
                })
            }
            Body::Portable { device, dtype } => {
                let weight = |weights: &[f32]| tensor(weights, &[wide, hidden], &device, dtype);
                let expert = |expert| {
                    Ok(PortableExpert {
                        up: weight(&up_of(expert)?)?,
                        down: weight(&down_of(experts, expert, false)?)?,
                    })
                };
                ExpertsBody::Portable(PortableExperts {
                    router: Linear::load(Stage::MlpUp, &[router], count, hidden, false)?,
                    experts: (0..count).map(expert).collect::<Result<_>>()?,
                    top,
                    activation,
                    bias: tensor(&bias, &[hidden], &device, DType::F32)?,
                })
            }
        }))
    }

    /// `x [tokens, hidden]` to the same shape.
    pub fn forward(&self, x: &States) -> Result<States> {
        Ok(match &self.0 {
            ExpertsBody::Cpu(experts) => States::Cpu(x.cpu()?.map(x.width(), |x, out| experts.apply(x, out))),
            ExpertsBody::Portable(experts) => States::Portable(experts.forward(x.portable()?)?),
            ExpertsBody::Gpu(experts) => States::Gpu(experts.forward(x.gpu()?)?),
        })
    }
}

impl PortableExperts {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (tokens, hidden) = x.dims2()?;
        if tokens == 0 {
            return Ok(x.clone());
        }
        let device = x.device();
        let logits = self.router.forward(&States::Portable(x.to_dtype(DType::F32)?))?;
        let choices = logits.read(|logits| choose(logits, self.experts.len(), self.top))?;
        let indices = |indices: Vec<u32>| Tensor::new(indices, device);
        let mut outputs = Vec::new();
        // For each place among the choices, its row among the outputs of all experts.
        let mut rows = vec![0; choices.len()];
        let mut before = 0;
        for (expert, places) in self.experts.iter().zip(places_by_expert(&choices, self.experts.len())) {
            if places.is_empty() {
                continue;
            }
            for (row, &place) in (before..).zip(&places) {
                rows[place] = row;
            }
            before += places.len() as u32;
            let of_expert = places.iter().map(|place| (place / self.top) as u32).collect();
            let gathered = x.index_select(&indices(of_expert)?, 0)?;
            let wide = activate(&matmul(&gathered, &expert.up.t()?)?, self.activation)?;
            outputs.push(matmul(&wide, &expert.down)?);
        }
        let by_place = Tensor::cat(&outputs, 0)?.index_select(&indices(rows)?, 0)?.to_dtype(DType::F32)?;
        let chances: Vec<f32> = choices.iter().map(|choice| choice.chance).collect();
        let chances = Tensor::from_vec(chances, (tokens, self.top, 1), device)?;
        let sum = by_place.reshape((tokens, self.top, hidden))?.broadcast_mul(&chances)?.sum(1)?;
        Ok(sum.broadcast_add(&self.bias)?.to_dtype(x.dtype())?)
    }
}

impl DeviceExperts {
    /// A pass is computed up to the router's output, by which experts are chosen on the host.
    fn forward(&self, x: &DeviceStates) -> Result<DeviceStates> {
        let tokens = x.count();
        let logits = self.router.forward(&States::Gpu(x.in_float32()?))?;
        let choices = logits.read(|logits| choose(logits, self.experts.len(), self.top))?;
        let bias = DeviceStates::sent(&self.passes, x.number(), &self.bias, self.bias.len())?;
        let sum = bias.select(&vec![0; tokens])?;
        for ([up, down], places) in self.experts.iter().zip(places_by_expert(&choices, self.experts.len())) {
            if places.is_empty() {
                continue;
            }
            let of_tokens: Vec<u32> = places.iter().map(|place| (place / self.top) as u32).collect();
            let chances: Vec<f32> = places.iter().map(|&place| choices[place].chance).collect();
            let wide = x.select(&of_tokens)?.product(up, self.activation)?;
            sum.add_rows(&wide.product(down, Activation::Identity)?, &of_tokens, &chances)?;
        }
        Ok(sum)
    }
}

/// `x [rows, columns]` as `[columns, rows]`.
fn transposed(x: &[f32], columns: usize) -> Result<Vec<f32>> {
    let rows = x.len() / columns;
    let mut turned = zeroed(x.len(), "an expert's weights")?;
    for (i, row) in x.chunks_exact(columns).enumerate() {
        row.iter().enumerate().for_each(|(j, &value)| turned[j * rows + i] = value);
    }
    Ok(turned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree, assert_halves_agree};

    fn checkpoint(down: &str, shape: [usize; 2]) -> Checkpoint {
        Checkpoint::random(&[
            ("router.weight", &[5, 24]),
            ("experts.w1", &[5 * 37, 24]),
            (down, &shape),
            ("bias", &[24]),
        ])
    }

    fn checkpoints() -> [Checkpoint; 2] {
        [checkpoint("experts.w2", [5 * 37, 24]), checkpoint("experts.w2_transposed", [5 * 24, 37])]
    }

    fn load(at: &Loader, top: usize) -> Result<Experts> {
        Experts::load(&ExpertsParts {
            router: at.at("router"),
            experts: at.at("experts"),
            bias: at.clone(),
            count: 5,
            top,
            hidden: 24,
            wide: 37,
            activation: Activation::Gelu,
        })
    }

    #[test]
    fn bodies_agree() {
        for top in [1, 2, 5] {
            for tokens in [1, 43] {
                for checkpoint in checkpoints() {
                    assert_bodies_agree(&checkpoint, |at, x| load(at, top)?.forward(&x.states([tokens, 24])?));
                }
            }
        }
    }

    #[test]
    fn halves_agree_with_float32() {
        for checkpoint in checkpoints() {
            assert_halves_agree(&checkpoint, |at, x| load(at, 2)?.forward(&x.states([9, 24])?));
        }
    }
}
