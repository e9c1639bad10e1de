//! What follows the encoder: the modules of sentence-transformers after Transformer, truncation, normalization, and
//! output quantization.
//!
//! ```text
//! hidden states → WordWeights? → Pooling → (Dense | LayerNorm | Normalize | tanh codes)* → truncate → normalize_embeddings?
//!              one file each: word_weights, pooling, dense, layer_norm, normalize, tanh_codes; then, over a whole call: quantize
//! ```
//!
//! All of it works on slices in float32, with the matrices of Dense in the type of the network's on the CPU, and every text by itself: its vector has the same bits whatever other texts
//! there are. As in sentence-transformers, truncation comes after all modules, Normalize included, and what is cut is not
//! normalized again unless the caller asks for it.

mod dense;
mod layer_norm;
mod normalize;
mod pooling;
mod quantize;
mod tanh_codes;
mod word_weights;

use std::ops::Range;

use crate::config::{Module, PoolingConfig, PoolingMode, TanhCodes};
use crate::files::ModelFolder;
use crate::kernels::Dtype;
use crate::text::TokenSelection;
use crate::{Error, Result};

use dense::Dense;
use layer_norm::LayerNorm;
use normalize::normalize_l2;
use pooling::Pooling;
use tanh_codes::to_tanh_codes;
use word_weights::WordWeights;

pub use quantize::{Precision, Quantizer, Ranges};

/// The modules of a model after its Transformer.
pub struct Pipeline {
    /// Width of the hidden states.
    hidden: usize,
    word_weights: Option<WordWeights>,
    pooling: Pooling,
    /// The modules after Pooling, in order.
    sentence_modules: Vec<SentenceModule>,
    dimension: usize,
}

/// A module that takes sentence embeddings, `[texts, dimension]`, and gives such.
enum SentenceModule {
    Dense(Box<Dense>),
    LayerNorm(LayerNorm),
    Normalize { width: usize },
    TanhCodes(TanhCodes),
}

/// The last hidden states of some texts, packed: the `token_embeddings` of sentence-transformers.
#[derive(Debug, Clone, Copy)]
pub struct TokenEmbeddings<'a> {
    /// `[tokens, hidden]`
    pub hidden: &'a [f32],
    /// `[texts + 1]`: cumulative lengths, from 0.
    pub offsets: &'a [u32],
    /// `[tokens]`: token ids.
    pub ids: &'a [u32],
    /// How many tokens at the start of each text are the prompt's. Where [`Pipeline::excludes_prompt`], they are not
    /// pooled. sentence-transformers counts the tokens of the prompt alone, special ones included, save the last one if
    /// it is special.
    pub prompt_tokens: usize,
}

impl Pipeline {
    /// Loads `modules` for hidden states of width `hidden`, with matrices in `dtype`. An error says which module does not fit what it
    /// is given.
    pub fn load(folder: &ModelFolder, modules: &[Module], hidden: usize, dtype: Dtype) -> Result<Self> {
        let mut word_weights = None;
        let mut pooling: Option<Pooling> = None;
        let mut sentence_modules = Vec::new();
        let mut dimension = hidden;
        for module in modules {
            let sentence_module = match (module, &pooling) {
                (Module::Dropout, _) => continue,
                // A text is given as the rows of its tokens, or as their mean, which is that of a single row.
                (Module::StaticEmbedding, None) => {
                    pooling = Some(Pooling::new(&PoolingConfig::of_mode(PoolingMode::Mean), hidden)?);
                    continue;
                }
                (Module::WordWeights(config), None) if word_weights.is_none() => {
                    word_weights = Some(WordWeights::new(config));
                    continue;
                }
                (Module::Pooling(config), None) => {
                    let module = Pooling::new(config, hidden)?;
                    dimension = module.dimension();
                    pooling = Some(module);
                    continue;
                }
                (Module::StaticEmbedding | Module::WordWeights(_) | Module::Pooling(_), _) => {
                    return Err(misplaced("a second Pooling or WordWeights, or a WordWeights after Pooling,"));
                }
                (_, None) => return Err(misplaced("a module that takes sentence embeddings, before Pooling,")),
                (Module::Dense(config), _) => {
                    let module = Dense::load(folder, config, dimension, dtype)?;
                    dimension = module.out_features();
                    SentenceModule::Dense(Box::new(module))
                }
                (Module::LayerNorm { path, dimension: width }, _) => {
                    SentenceModule::LayerNorm(LayerNorm::load(folder, path, *width, dimension)?)
                }
                (Module::Normalize, _) => SentenceModule::Normalize { width: dimension },
                (Module::FlexibleQuantizer(codes), _) => SentenceModule::TanhCodes(*codes),
                (Module::LogitScore(_), _) => return Err(misplaced("a LogitScore after Pooling")),
            };
            sentence_modules.push(sentence_module);
        }
        let pooling =
            pooling.ok_or_else(|| Error::model("modules.json", "a model without Pooling is not supported"))?;
        Ok(Self { hidden, word_weights, pooling, sentence_modules, dimension })
    }

    /// Width of a sentence embedding, before it is truncated.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Whether the prompt's tokens must be counted, because they are not pooled.
    pub fn excludes_prompt(&self) -> bool {
        !self.pooling.include_prompt()
    }

    /// Tokens of each text whose hidden states are needed, where no prompt is left out.
    pub fn wanted(&self) -> TokenSelection {
        match (&self.word_weights, self.pooling.modes()) {
            (None, [PoolingMode::Cls]) => TokenSelection::First,
            (None, [PoolingMode::LastToken]) => TokenSelection::Last,
            _ => TokenSelection::All,
        }
    }

    /// Whether a text must have a token: of none, sentence-transformers gives zeros for the others, and for these the
    /// state of a padding token or -inf.
    pub fn needs_token(&self) -> bool {
        self.pooling.modes().iter().any(|mode| matches!(mode, PoolingMode::Cls | PoolingMode::Max))
    }

    /// Whether a text's embedding is made of the mean of its hidden states, which can then be given as those of a
    /// single token. How many tokens the prompt has: see [`TokenEmbeddings::prompt_tokens`].
    pub fn averages(&self, prompt_tokens: usize) -> bool {
        let whole = prompt_tokens == 0 || !self.excludes_prompt();
        whole && self.word_weights.is_none() && self.pooling.modes() == [PoolingMode::Mean]
    }

    /// Multiplies the hidden states `[tokens, hidden]` of tokens `ids` by the weights of a WordWeights module.
    /// [`Self::apply`] does so by itself; this is for callers that return the tokens' vectors.
    pub fn weigh_tokens(&self, ids: &[u32], hidden: &mut [f32]) {
        if let Some(word_weights) = &self.word_weights {
            word_weights.apply(ids, hidden);
        }
    }

    /// Writes each text's embedding to its row: as much of it as fits, then L2-normalized if `normalize`.
    pub fn apply(&self, texts: &TokenEmbeddings<'_>, normalize: bool, rows: &mut [&mut [f32]]) {
        let mut sentences = self.pool(texts);
        for module in &self.sentence_modules {
            match module {
                SentenceModule::Dense(dense) => sentences = dense.apply(&sentences),
                SentenceModule::LayerNorm(norm) => sentences = norm.apply(&sentences),
                SentenceModule::Normalize { width } => sentences.chunks_exact_mut(*width).for_each(normalize_l2),
                SentenceModule::TanhCodes(codes) => to_tanh_codes(*codes, &mut sentences),
            }
        }
        for (row, sentence) in rows.iter_mut().zip(sentences.chunks_exact(self.dimension)) {
            row.copy_from_slice(&sentence[..row.len()]);
            if normalize {
                normalize_l2(row);
            }
        }
    }

    /// Late chunking (Günther et al. 2024): writes to `rows [ranges, dimension]`, or the first elements of each, the embedding of
    /// each range of the tokens of one text, whose last hidden states are `hidden [tokens, hidden]`. For models that
    /// [average](Self::averages).
    pub fn apply_to_ranges(&self, hidden: &[f32], ranges: &[Range<usize>], normalize: bool, rows: &mut [f32]) {
        if ranges.is_empty() {
            return;
        }
        let width = rows.len() / ranges.len();
        for (range, row) in ranges.iter().zip(rows.chunks_exact_mut(width)) {
            let hidden = &hidden[range.start * self.hidden..range.end * self.hidden];
            let chunk = TokenEmbeddings { hidden, offsets: &[0, range.len() as u32], ids: &[], prompt_tokens: 0 };
            self.apply(&chunk, normalize, &mut [row]);
        }
    }

    /// The pooled vectors, `[texts, dimension of the pooling]`.
    fn pool(&self, texts: &TokenEmbeddings<'_>) -> Vec<f32> {
        let width = self.pooling.dimension();
        let mut sentences = vec![0.0; (texts.offsets.len() - 1) * width];
        for (bounds, sentence) in texts.offsets.windows(2).zip(sentences.chunks_exact_mut(width)) {
            let tokens = bounds[0] as usize..bounds[1] as usize;
            let hidden = &texts.hidden[tokens.start * self.hidden..tokens.end * self.hidden];
            match &self.word_weights {
                None => self.pooling.apply(hidden, None, texts.prompt_tokens, sentence),
                Some(word_weights) => {
                    let mut weighted = hidden.to_vec();
                    let sum = word_weights.apply(&texts.ids[tokens], &mut weighted);
                    self.pooling.apply(&weighted, Some(sum), texts.prompt_tokens, sentence);
                }
            }
        }
        sentences
    }
}

fn misplaced(what: &str) -> Error {
    Error::model("modules.json", format!("{what} is not supported"))
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
