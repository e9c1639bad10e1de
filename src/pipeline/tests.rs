use super::testing::{assert_close, folder};
use super::*;
use crate::config::{DenseConfig, PoolingConfig, PoolingMode, WordWeightsConfig};

/// Texts of four, two and no tokens.
const HIDDEN: [f32; 12] = [1.0, -2.0, 0.5, 4.0, -3.0, 0.25, 2.0, 1.0, -1.0, 0.5, 3.0, -0.75];
const OFFSETS: [u32; 4] = [0, 4, 6, 6];
const IDS: [u32; 6] = [0, 1, 2, 3, 3, 1];
const TEXTS: TokenEmbeddings<'_> = TokenEmbeddings { hidden: &HIDDEN, offsets: &OFFSETS, ids: &IDS, prompt_tokens: 0 };

fn pooling_config(modes: &[PoolingMode], include_prompt: bool) -> PoolingConfig {
    PoolingConfig { path: "1_Pooling".into(), embedding_dimension: Some(2), modes: modes.to_vec(), include_prompt }
}

fn pooling(modes: &[PoolingMode]) -> Module {
    Module::Pooling(pooling_config(modes, true))
}

fn word_weights() -> Module {
    Module::WordWeights(WordWeightsConfig { weights: vec![2.0, 0.5, -1.0, 0.25], unknown_word_weight: 0.25 })
}

fn dense(in_features: usize) -> Module {
    let (path, activation) = ("2_Dense".to_owned(), "Tanh".to_owned());
    Module::Dense(DenseConfig {
        path,
        in_features,
        out_features: 3,
        bias: true,
        activation,
        residual: false,
        scores: false,
    })
}

fn layer_norm() -> Module {
    Module::LayerNorm { path: "3_LayerNorm".into(), dimension: 3 }
}

/// Weights of a Dense from four features to three, and of a LayerNorm of three.
fn load(modules: &[Module]) -> Result<Pipeline> {
    let weight = [0.5, -1.0, 0.25, 1.0, 2.0, 0.25, -0.5, 0.0, -0.75, 1.5, 1.0, -2.0];
    let (_root, folder) = folder(&[
        ("2_Dense", &[("linear.weight", &[3, 4], &weight), ("linear.bias", &[3], &[0.125, -0.5, 1.0])]),
        ("3_LayerNorm", &[("norm.weight", &[3], &[2.0, -0.5, 1.0]), ("norm.bias", &[3], &[0.25, 1.0, 0.0])]),
    ]);
    Pipeline::load(&folder, modules, 2, Dtype::Float32)
}

/// The first `width` elements of each text's embedding.
fn apply(pipeline: &Pipeline, texts: &TokenEmbeddings<'_>, normalize: bool, width: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; (texts.offsets.len() - 1) * width];
    pipeline.apply(texts, normalize, &mut out.chunks_exact_mut(width).collect::<Vec<_>>());
    out
}

fn all_modules() -> Vec<Module> {
    use PoolingMode::{Cls, Mean};
    vec![Module::Dropout, pooling(&[Cls, Mean]), dense(4), Module::Dropout, layer_norm(), Module::Normalize]
}

// sentence_transformers 6.2: Pooling(2, ("cls", "mean")), Dense(4, 3), LayerNorm(3), Normalize() with the weights
// above, in float32; then embeddings[:, :2], and torch.nn.functional.normalize of that.
#[test]
fn modules_in_a_row() {
    let pipeline = load(&all_modules()).unwrap();
    assert_eq!(pipeline.dimension(), 3);
    let [a, b, c] =
        [[0.7773778, 0.2882078, -0.5591243], [-0.3411884, 0.6780617, 0.6510167], [0.08951586, 0.7876173, 0.60962766]];
    assert_close(&apply(&pipeline, &TEXTS, false, 3), &[a, b, c].concat());
    assert_close(&apply(&pipeline, &TEXTS, true, 3), &[a, b, c].concat());
    assert_close(&apply(&pipeline, &TEXTS, false, 2), &[&a[..2], &b[..2], &c[..2]].concat());
    let unit = [0.93763477, 0.34762204, -0.44948602, 0.8932873, 0.11292699, 0.99360335];
    assert_close(&apply(&pipeline, &TEXTS, true, 2), &unit);
}

#[test]
fn a_text_has_the_same_bits_alone_and_beside_others() {
    let mut modules = all_modules();
    modules.insert(0, word_weights());
    let pipeline = load(&modules).unwrap();
    let together = apply(&pipeline, &TEXTS, true, 3);
    for (text, expected) in together.chunks_exact(3).enumerate() {
        let tokens = OFFSETS[text] as usize..OFFSETS[text + 1] as usize;
        let alone = TokenEmbeddings {
            hidden: &HIDDEN[2 * tokens.start..2 * tokens.end],
            offsets: &[0, tokens.len() as u32],
            ids: &IDS[tokens],
            prompt_tokens: 0,
        };
        assert_eq!(apply(&pipeline, &alone, true, 3), expected);
    }
}

// WordWeights as in word_weights.rs, then Pooling(2, "mean"), and with include_prompt=False and a prompt_length of 1:
// the weight of the prompt is left in the divisor.
#[test]
fn word_weights_divide_the_mean() {
    let pipeline = load(&[word_weights(), pooling(&[PoolingMode::Mean])]).unwrap();
    let expected = [3.2857144, -1.1428572, 1.6666666, -0.33333334, 0.0, 0.0];
    assert_close(&apply(&pipeline, &TEXTS, false, 2), &expected);
    assert!(!pipeline.excludes_prompt());

    let without_prompt = Module::Pooling(pooling_config(&[PoolingMode::Mean], false));
    let pipeline = load(&[word_weights(), without_prompt]).unwrap();
    assert!(pipeline.excludes_prompt());
    let expected = [2.142857, 1.1428572, 2.0, -0.5, 0.0, 0.0];
    assert_close(&apply(&pipeline, &TokenEmbeddings { prompt_tokens: 1, ..TEXTS }, false, 2), &expected);

    let mut tokens = HIDDEN;
    pipeline.weigh_tokens(&IDS, &mut tokens);
    assert_eq!(tokens, [2.0, -4.0, 0.25, 2.0, 3.0, -0.25, 0.5, 0.25, -0.25, 0.125, 1.5, -0.375]);
}

#[test]
fn empty_texts_are_never_nan() {
    use PoolingMode::{Cls, LastToken, Max, Mean, MeanSqrtLen, WeightedMean};
    let pipeline =
        load(&[pooling(&[Cls, Max, Mean, MeanSqrtLen, WeightedMean, LastToken]), Module::Normalize]).unwrap();
    let empty = TokenEmbeddings { hidden: &[], offsets: &[0, 0], ids: &[], prompt_tokens: 0 };
    assert_eq!(apply(&pipeline, &empty, true, 12), [0.0; 12]);
}

#[test]
fn modules_that_do_not_follow_one_another_are_refused() {
    let mean = || pooling(&[PoolingMode::Mean]);
    for (modules, expected) in [
        (vec![], "modules.json: a model without Pooling is not supported"),
        (vec![Module::Dropout], "modules.json: a model without Pooling is not supported"),
        (
            vec![Module::Normalize, mean()],
            "modules.json: a module that takes sentence embeddings, before Pooling, is not supported",
        ),
        (
            vec![mean(), word_weights()],
            "modules.json: a second Pooling or WordWeights, or a WordWeights after Pooling, is not supported",
        ),
        (
            vec![mean(), mean()],
            "modules.json: a second Pooling or WordWeights, or a WordWeights after Pooling, is not supported",
        ),
        (vec![mean(), dense(4)], "2_Dense/config.json: in_features: 4, but the module before it gives 2"),
        (vec![mean(), layer_norm()], "3_LayerNorm/config.json: dimension: 3, but the module before it gives 2"),
    ] {
        assert_eq!(load(&modules).err().unwrap().to_string(), expected);
    }
}
