//! The module `Pooling` of sentence-transformers (Reimers and Gurevych 2019): from the hidden states `x_1 … x_n` of a
//! text's tokens to one vector.
//!
//! ```text
//! cls             x_1
//! lasttoken       x_n
//! max             max over i, for each dimension
//! mean            Σ x_i / n
//! mean_sqrt_len   Σ x_i / sqrt(n)
//! weightedmean    Σ i x_i / Σ i                      by position (SGPT: Muennighoff 2022)
//! ```
//!
//! Several modes give their vectors one after the other. Behind WordWeights, the sum of the tokens' weights takes the
//! place of `n` and of `Σ i`. A prompt may be left out: its tokens are not pooled, but positions count from the text's
//! start.

use crate::config::{PoolingConfig, PoolingMode};
use crate::files::inside;
use crate::{Error, Result};

/// One or more modes, whose results are concatenated.
pub(super) struct Pooling {
    modes: Vec<PoolingMode>,
    include_prompt: bool,
    /// Width of a hidden state.
    hidden: usize,
}

impl Pooling {
    pub(super) fn new(config: &PoolingConfig, hidden: usize) -> Result<Self> {
        if let Some(dimension) = config.embedding_dimension.filter(|&dimension| dimension != hidden) {
            let message = format!("{dimension}, but the model's hidden states have {hidden}");
            return Err(Error::model_key(inside(&config.path, "config.json"), "embedding_dimension", message));
        }
        Ok(Self { modes: config.modes.clone(), include_prompt: config.include_prompt, hidden })
    }

    pub(super) fn dimension(&self) -> usize {
        self.modes.len() * self.hidden
    }

    pub(super) fn modes(&self) -> &[PoolingMode] {
        &self.modes
    }

    pub(super) fn include_prompt(&self) -> bool {
        self.include_prompt
    }

    /// Pools the hidden states `tokens [n, hidden]` of one text into `out [dimension]`. `weight_sum`: the sum of the
    /// weights that the states have been multiplied by, if they have; it counts the prompt, whether or not that is
    /// pooled.
    ///
    /// A text without tokens, or one that is all prompt where the prompt does not count, gives zeros. (With the mode
    /// `cls` the latter gives its first token; with `max` sentence-transformers gives -inf.)
    pub(super) fn apply(&self, tokens: &[f32], weight_sum: Option<f32>, prompt_tokens: usize, out: &mut [f32]) {
        let length = tokens.len() / self.hidden;
        let skipped = if self.include_prompt { 0 } else { prompt_tokens.min(length) };
        let pooled = &tokens[skipped * self.hidden..];
        let count = (length - skipped) as f32;
        for (mode, out) in self.modes.iter().zip(out.chunks_exact_mut(self.hidden)) {
            match mode {
                PoolingMode::Cls => {
                    let first = pooled.chunks_exact(self.hidden).next();
                    copy_or_zero(first.or_else(|| tokens.chunks_exact(self.hidden).next()), out);
                }
                PoolingMode::LastToken => copy_or_zero(pooled.chunks_exact(self.hidden).next_back(), out),
                PoolingMode::Max => {
                    copy_or_zero(pooled.chunks_exact(self.hidden).next(), out);
                    for token in pooled.chunks_exact(self.hidden) {
                        // `f32::max` would skip what is no number.
                        out.iter_mut()
                            .zip(token)
                            .filter(|(out, x)| **x > **out || x.is_nan())
                            .for_each(|(out, &x)| *out = x);
                    }
                }
                PoolingMode::Mean => {
                    sum(pooled, |_| 1.0, out);
                    divide(out, positive_divisor(weight_sum.unwrap_or(count)));
                }
                PoolingMode::MeanSqrtLen => {
                    sum(pooled, |_| 1.0, out);
                    divide(out, positive_divisor(weight_sum.unwrap_or(count)).sqrt());
                }
                PoolingMode::WeightedMean => {
                    // A token keeps the weight of its position in the whole text.
                    let weight = |i: usize| (skipped + i + 1) as f32;
                    sum(pooled, weight, out);
                    let weights = (skipped + 1..=length).sum::<usize>() as f32;
                    divide(out, positive_divisor(weight_sum.unwrap_or(weights)));
                }
            }
        }
    }
}

fn copy_or_zero(token: Option<&[f32]>, out: &mut [f32]) {
    match token {
        Some(token) => out.copy_from_slice(token),
        None => out.fill(0.0),
    }
}

/// The sum of the `tokens`, each multiplied by the `weight` of its position, added up in their order.
fn sum(tokens: &[f32], weight: impl Fn(usize) -> f32, out: &mut [f32]) {
    out.fill(0.0);
    for (i, token) in tokens.chunks_exact(out.len()).enumerate() {
        let weight = weight(i);
        out.iter_mut().zip(token).for_each(|(out, x)| *out += x * weight);
    }
}

/// At least 1e-9, as in sentence-transformers: a text without tokens, or weights that add up to 0 or less, give no NaN.
fn positive_divisor(divisor: f32) -> f32 {
    divisor.max(1e-9)
}

fn divide(out: &mut [f32], divisor: f32) {
    out.iter_mut().for_each(|x| *x /= divisor);
}

#[cfg(test)]
mod tests {
    use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

    use super::PoolingMode::*;
    use super::*;
    use crate::pipeline::testing::assert_close;

    const FOUR: [f32; 8] = [1.0, -2.0, 0.5, 4.0, -3.0, 0.25, 2.0, 1.0];
    const TWO: [f32; 4] = [-1.0, 0.5, 3.0, -0.75];

    fn pooling(modes: &[PoolingMode], include_prompt: bool) -> Pooling {
        let config =
            PoolingConfig { path: String::new(), embedding_dimension: Some(2), modes: modes.to_vec(), include_prompt };
        Pooling::new(&config, 2).unwrap()
    }

    fn pool(pooling: &Pooling, tokens: &[f32], weight_sum: Option<f32>, prompt_tokens: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; pooling.dimension()];
        pooling.apply(tokens, weight_sum, prompt_tokens, &mut out);
        out
    }

    // Expected values: sentence_transformers 6.2's Pooling(2, mode) on FOUR, and on TWO with two positions of padding,
    // in one float32 batch.
    #[test]
    fn every_mode() {
        for (mode, four, two) in [
            (Cls, [1.0, -2.0], [-1.0, 0.5]),
            (Max, [2.0, 4.0], [3.0, 0.5]),
            (Mean, [0.125, 0.8125], [1.0, -0.125]),
            (MeanSqrtLen, [0.25, 1.625], [SQRT_2, -0.17677669]),
            (WeightedMean, [0.1, 1.075], [1.6666666, -0.33333334]),
            (LastToken, [2.0, 1.0], [3.0, -0.75]),
        ] {
            let pooling = pooling(&[mode], true);
            // A prompt that is included is a part of the text like any other.
            assert_close(&pool(&pooling, &FOUR, None, 2), &four);
            assert_close(&pool(&pooling, &TWO, None, 0), &two);
            assert_eq!(pool(&pooling, &[], None, 0), [0.0, 0.0], "{mode:?} of no tokens");
        }
    }

    // As above, with include_prompt=False and a prompt_length of 2: TWO is all prompt.
    #[test]
    fn the_prompt_may_be_left_out() {
        for (mode, four, two) in [
            (Cls, [-3.0, 0.25], [-1.0, 0.5]),
            (Max, [2.0, 1.0], [0.0, 0.0]), // -inf in sentence-transformers
            (Mean, [-0.5, 0.625], [0.0, 0.0]),
            (MeanSqrtLen, [-FRAC_1_SQRT_2, 0.8838835], [0.0, 0.0]),
            (WeightedMean, [-0.14285715, 0.6785714], [0.0, 0.0]),
            (LastToken, [2.0, 1.0], [0.0, 0.0]),
        ] {
            let pooling = pooling(&[mode], false);
            assert_close(&pool(&pooling, &FOUR, None, 2), &four);
            assert_close(&pool(&pooling, &TWO, None, 2), &two);
            assert_close(&pool(&pooling, &TWO, None, 9), &two);
            assert_eq!(pool(&pooling, &[], None, 2), [0.0, 0.0], "{mode:?} of no tokens");
        }
    }

    #[test]
    fn several_modes_are_concatenated() {
        let pooling = pooling(&[Mean, Cls, Max], true);
        assert_eq!(pooling.dimension(), 6);
        assert_eq!(pool(&pooling, &FOUR, None, 0), [0.125, 0.8125, 1.0, -2.0, 2.0, 4.0]);
    }

    #[test]
    fn a_weight_sum_takes_the_place_of_the_count() {
        for (mode, expected) in
            [(Mean, [0.25, 1.625]), (MeanSqrtLen, [0.35355338, 2.298097]), (WeightedMean, [0.5, 5.375])]
        {
            assert_close(&pool(&pooling(&[mode], true), &FOUR, Some(2.0), 0), &expected);
        }
        // Weights may add up to nothing, or less; the quotient is finite.
        assert_close(&pool(&pooling(&[Mean], true), &[0.0, 1e-9], Some(-1.0), 0), &[0.0, 1.0]);
    }

    #[test]
    fn not_a_number_stays_none_in_every_mode() {
        for mode in [Max, Mean, MeanSqrtLen, WeightedMean] {
            for token in 0..FOUR.len() / 2 {
                let mut tokens = FOUR;
                tokens[2 * token] = f32::NAN;
                let out = pool(&pooling(&[mode], true), &tokens, None, 0);
                assert!(out[0].is_nan() && !out[1].is_nan(), "{mode:?} of token {token}: {out:?}");
            }
        }
    }

    #[test]
    fn a_dimension_that_the_model_has_not_is_refused() {
        let path = "1_Pooling".to_owned();
        let config = PoolingConfig { path, embedding_dimension: Some(3), modes: vec![Mean], include_prompt: true };
        let message = Pooling::new(&config, 2).err().unwrap().to_string();
        assert_eq!(message, "1_Pooling/config.json: embedding_dimension: 3, but the model's hidden states have 2");
    }
}
