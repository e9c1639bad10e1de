//! A mixture of experts (Shazeer et al. 2017; without bounds on what an expert takes, as in MegaBlocks: Gale et al. 2023):
//! feed-forward blocks, of which each row goes through the few that a router chooses for it.
//!
//! ```text
//! chances = softmax(router(x))                     over all experts, in float32
//! for each row: choose the `top` experts with the largest chances; of equal ones the lower
//! for expert: its rows, gathered, in their order -> expert(rows) -> back to (row, rank)
//! out = Σ over ranks chance * expert's output, + bias
//! ```
//!
//! Why bits depend on nothing but the row: a product gives a row the same bits among any others, and a row's outputs
//! are summed by rank, not in the order in which experts come.

use crate::kernels::aligned::scratch;
use crate::kernels::{Activation, Matrix, PackedMlp};
use crate::profile::{Stage, stage};

/// An expert that a row goes through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    pub expert: usize,
    /// What its output is multiplied by.
    pub chance: f32,
}

/// The experts that each row goes through, `[rows, top]`, the likeliest first, of `logits [rows, experts]`.
pub fn choose(logits: &[f32], experts: usize, top: usize) -> Vec<Choice> {
    let mut choices = Vec::with_capacity(logits.len() / experts * top);
    for logits in logits.chunks_exact(experts) {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
        let sum: f32 = exponentials.iter().sum();
        let mut order: Vec<usize> = (0..experts).collect();
        // A stable sort: of equal ones the lower comes first.
        order.sort_by(|&a, &b| exponentials[b].total_cmp(&exponentials[a]));
        choices.extend(order[..top].iter().map(|&expert| Choice { expert, chance: exponentials[expert] / sum }));
    }
    choices
}

/// The places in `choices` of each expert: one list after the other, and where each ends.
pub fn places_by_expert(choices: &[Choice], experts: usize) -> Vec<Vec<usize>> {
    let mut places = vec![Vec::new(); experts];
    for (place, choice) in choices.iter().enumerate() {
        places[choice.expert].push(place);
    }
    places
}

/// The router and the experts.
pub struct PackedExperts {
    router: Matrix,
    experts: Vec<PackedMlp>,
    top: usize,
    /// `[hidden]`, added once.
    bias: Vec<f32>,
}

impl PackedExperts {
    /// `router [experts, hidden]`, `experts` from and to `hidden`, of which each row goes through `top`; `bias [hidden]`.
    pub fn new(router: Matrix, experts: Vec<PackedMlp>, top: usize, bias: Vec<f32>) -> Self {
        assert!(router.n() == experts.len() && (1..=experts.len()).contains(&top), "the router knows all experts");
        assert_eq!(router.k(), bias.len(), "bias is [hidden]");
        Self { router, experts, top, bias }
    }

    /// `x [m, hidden]` to `out` of the same shape.
    pub fn apply(&self, x: &[f32], out: &mut [f32]) {
        let Self { router, experts, top, bias } = self;
        let hidden = bias.len();
        let rows = x.len() / hidden;
        if rows == 0 {
            return;
        }
        let mut logits = vec![0.0; rows * experts.len()];
        stage(Stage::MlpUp, || router.work(rows), || router.apply(x, Activation::Identity, &mut logits));
        let choices = choose(&logits, experts.len(), *top);
        // By place, so that a row's outputs are added by rank.
        scratch(rows * top * hidden, |outputs: &mut [f32]| {
            for (expert, places) in experts.iter().zip(places_by_expert(&choices, experts.len())) {
                scratch(2 * places.len() * hidden, |both: &mut [f32]| {
                    let (gathered, of_expert) = both.split_at_mut(places.len() * hidden);
                    for (place, to) in places.iter().zip(gathered.chunks_exact_mut(hidden)) {
                        to.copy_from_slice(&x[place / top * hidden..][..hidden]);
                    }
                    expert.apply(gathered, of_expert);
                    for (place, from) in places.iter().zip(of_expert.chunks_exact(hidden)) {
                        outputs[place * hidden..][..hidden].copy_from_slice(from);
                    }
                });
            }
            let of_rows = outputs.chunks_exact(top * hidden).zip(choices.chunks_exact(*top));
            for (out, (outputs, choices)) in out.chunks_exact_mut(hidden).zip(of_rows) {
                out.fill(0.0);
                for (output, choice) in outputs.chunks_exact(hidden).zip(choices) {
                    out.iter_mut().zip(output).for_each(|(out, y)| *out += choice.chance * y);
                }
                out.iter_mut().zip(bias).for_each(|(out, bias)| *out += bias);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::numbers;
    use crate::kernels::{Dtype, Isa};

    #[test]
    fn the_likeliest_are_chosen_and_of_equal_ones_the_lower() {
        let choices = choose(&[1.0, 3.0, 3.0, 2.0, 0.0, 0.0, 0.0, 0.0], 4, 2);
        assert_eq!(choices.iter().map(|choice| choice.expert).collect::<Vec<_>>(), [1, 2, 0, 1]);
        let sum: f32 = [-2.0_f32, 0.0, 0.0, -1.0].map(f32::exp).iter().sum();
        assert_eq!(choices.iter().map(|choice| choice.chance).collect::<Vec<_>>(), [1.0 / sum, 1.0 / sum, 0.25, 0.25]);
        assert_eq!(places_by_expert(&choices, 4), [vec![2], vec![0, 3], vec![1], vec![]]);
        // Far apart, and beyond what exponentials have.
        assert_eq!(choose(&[1000.0, -1000.0], 2, 2)[1], Choice { expert: 1, chance: 0.0 });
    }

    fn experts(isa: Isa, dtype: Dtype, [hidden, wide, count, top]: [usize; 4]) -> PackedExperts {
        let matrix =
            |dtype, seed, n: usize, k: usize| Matrix::new(isa, dtype, &numbers(n * k, seed), None, n, k).unwrap();
        let mlp = |expert: u64| {
            let (up, down) = (matrix(dtype, 10 + expert, wide, hidden), matrix(dtype, 20 + expert, hidden, wide));
            PackedMlp::new(up, None, Activation::Gelu, down)
        };
        let experts = (0..count as u64).map(mlp).collect();
        PackedExperts::new(matrix(Dtype::Float32, 5, count, hidden), experts, top, numbers(hidden, 6))
    }

    #[test]
    fn rows_are_sums_of_their_experts() {
        let [hidden, wide, count, top] = [20, 33, 5, 2];
        for isa in Isa::available() {
            let block = experts(isa, Dtype::Float32, [hidden, wide, count, top]);
            let x = numbers(31 * hidden, 1);
            let mut out = vec![f32::NAN; x.len()];
            block.apply(&x, &mut out);
            let mut used = [false; 5];
            for (x, out) in x.chunks(hidden).zip(out.chunks(hidden)) {
                let mut logits = vec![0.0; count];
                block.router.apply(x, Activation::Identity, &mut logits);
                let mut expected = numbers(hidden, 6);
                for choice in choose(&logits, count, top) {
                    used[choice.expert] = true;
                    let mut y = vec![0.0; hidden];
                    block.experts[choice.expert].apply(x, &mut y);
                    expected.iter_mut().zip(&y).for_each(|(sum, y)| *sum += choice.chance * y);
                }
                for (found, expected) in out.iter().zip(&expected) {
                    assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{found} {expected}");
                }
            }
            assert_eq!(used, [true; 5]);
        }
    }

    #[test]
    fn company_changes_no_bit() {
        let hidden = 24;
        for (isa, dtype) in Isa::available().into_iter().flat_map(|isa| [(isa, Dtype::Float32), (isa, Dtype::Int8)]) {
            let block = experts(isa, dtype, [hidden, 40, 4, 2]);
            let x = numbers(37 * hidden, 2);
            let (mut all, mut alone) = (vec![f32::NAN; x.len()], vec![f32::NAN; hidden]);
            block.apply(&x, &mut all);
            for (x, all) in x.chunks(hidden).zip(all.chunks(hidden)) {
                block.apply(x, &mut alone);
                assert_eq!(alone, all, "{} {dtype:?}", isa.name());
            }
            block.apply(&[], &mut []);
        }
    }
}
