//! The module `WordWeights` of sentence-transformers: weights of tokens by their ids (tf-idf, say), before they are
//! pooled.

use crate::config::WordWeightsConfig;

pub(super) struct WordWeights {
    /// `[vocabulary]`
    weights: Vec<f32>,
    /// Weight of an id beyond the vocabulary.
    unknown: f32,
}

impl WordWeights {
    pub(super) fn new(config: &WordWeightsConfig) -> Self {
        Self { weights: config.weights.clone(), unknown: config.unknown_word_weight }
    }

    /// Multiplies each vector of `hidden [tokens, hidden]` by the weight of its token, and returns the weights' sum.
    pub(super) fn apply(&self, ids: &[u32], hidden: &mut [f32]) -> f32 {
        let width = hidden.len() / ids.len().max(1);
        let mut sum = 0.0;
        for (&id, token) in ids.iter().zip(hidden.chunks_exact_mut(width.max(1))) {
            let weight = self.weights.get(id as usize).copied().unwrap_or(self.unknown);
            token.iter_mut().for_each(|x| *x *= weight);
            sum += weight;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // sentence_transformers 6.2: WordWeights(["a", "b", "c", "d"], {"a": 2, "b": 0.5, "c": -1}, 0.25).
    #[test]
    fn tokens_are_weighted_by_their_ids() {
        let config = WordWeightsConfig { weights: vec![2.0, 0.5, -1.0, 0.25], unknown_word_weight: 0.25 };
        let word_weights = WordWeights::new(&config);
        let mut hidden = [1.0, -2.0, 0.5, 4.0, -3.0, 0.25, 2.0, 1.0];
        assert_eq!(word_weights.apply(&[0, 1, 2, 3], &mut hidden), 1.75);
        assert_eq!(hidden, [2.0, -4.0, 0.25, 2.0, 3.0, -0.25, 0.5, 0.25]);
        let mut beyond = [4.0, 8.0];
        assert_eq!(word_weights.apply(&[4], &mut beyond), 0.25);
        assert_eq!(beyond, [1.0, 2.0]);
        assert_eq!(word_weights.apply(&[], &mut []), 0.0);
    }
}
