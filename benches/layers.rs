//! One benchmark per layer, at the sizes of all-MiniLM-L6-v2: `cargo bench --no-default-features`.
//!
//! `VOTIVE_ISA` picks the instruction set, `VOTIVE_DTYPE` the type of the weights. Throughput is in multiply-adds (an element is one), or in bytes where memory is
//! the limit, so that it can be set against what the machine can do. `encoder` counts tokens, and sets candle-transformers'
//! BERT (all its threads) beside votive's (one).

use std::hint::black_box;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use candle_transformers::models::bert;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use votive::config::SentenceTransformersConfig;
use votive::files::{ModelFolder, Origin};
use votive::kernels::{
    Activation, AttentionInputs, AttentionShape, Dtype, Isa, Mask, Matrix, PackedMlp, RowNorm, add_norm, attention,
};
use votive::models::{self, Source};
use votive::nn::Body;
use votive::text::{PackedBatch, TokenSelection, Tokens};
use votive::weights::Weights;

const HIDDEN: usize = 384;
const WIDE: usize = 1536;
const TOKENS: usize = 512;

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919) % 2003) as f32 / 1001.5 - 1.0).collect()
}

fn dtype() -> Dtype {
    std::env::var("VOTIVE_DTYPE").map_or(Dtype::Float32, |name| Dtype::named(&name).unwrap())
}

fn products(c: &mut Criterion) {
    let isa = Isa::active().unwrap();
    let mut group = c.benchmark_group("product");
    for (n, k) in [(3 * HIDDEN, HIDDEN), (HIDDEN, HIDDEN), (WIDE, HIDDEN), (HIDDEN, WIDE)] {
        let matrix = Matrix::new(isa, dtype(), &numbers(n * k), Some(&numbers(n)), n, k).unwrap();
        for m in [1, 16, TOKENS] {
            let (x, mut out) = (numbers(m * k), vec![0.0; m * n]);
            group.throughput(Throughput::Elements((m * n * k) as u64));
            group.bench_function(BenchmarkId::new(format!("{n}x{k}"), m), |b| {
                b.iter(|| matrix.apply(black_box(&x), Activation::Identity, &mut out));
            });
        }
    }
}

fn mlp(c: &mut Criterion) {
    let isa = Isa::active().unwrap();
    let (x, mut out) = (numbers(TOKENS * HIDDEN), vec![0.0; TOKENS * HIDDEN]);
    let mut group = c.benchmark_group("mlp");
    group.throughput(Throughput::Elements((2 * TOKENS * HIDDEN * WIDE) as u64));
    for (name, activation) in [("gelu", Activation::Gelu), ("relu", Activation::Relu)] {
        let matrix = |n: usize, k: usize| Matrix::new(isa, dtype(), &numbers(n * k), Some(&numbers(n)), n, k).unwrap();
        let mlp = PackedMlp::new(matrix(WIDE, HIDDEN), None, activation, matrix(HIDDEN, WIDE));
        group.bench_function(name, |b| b.iter(|| mlp.apply(black_box(&x), &mut out)));
    }
}

fn attentions(c: &mut Criterion) {
    let isa = Isa::active().unwrap();
    let mut group = c.benchmark_group("attention");
    let shape = AttentionShape { heads: 12, kv_heads: 12, head_dim: 32, scale: 0.176_776_7, mask: Mask::Full };
    let (qkv, mut out) = (numbers(TOKENS * 3 * HIDDEN), vec![0.0; TOKENS * HIDDEN]);
    for len in [16, 64, 256, 512] {
        let offsets: Vec<u32> = (0..=TOKENS / len).map(|i| (i * len) as u32).collect();
        group.throughput(Throughput::Elements((2 * TOKENS * len * HIDDEN) as u64));
        group.bench_function(BenchmarkId::from_parameter(len), |b| {
            b.iter(|| {
                attention(
                    isa,
                    dtype(),
                    &shape,
                    AttentionInputs { qkv: black_box(&qkv), offsets: &offsets, past: &[], bias: None, rows: None },
                    &mut out,
                )
            });
        });
    }
}

fn norms(c: &mut Criterion) {
    let isa = Isa::active().unwrap();
    let norm = RowNorm::layer(numbers(HIDDEN), Some(numbers(HIDDEN)), 1e-12);
    let (x, residual, mut out) = (numbers(TOKENS * HIDDEN), numbers(TOKENS * HIDDEN), vec![0.0; TOKENS * HIDDEN]);
    let mut group = c.benchmark_group("add_norm");
    group.throughput(Throughput::Bytes((3 * 4 * TOKENS * HIDDEN) as u64));
    group.bench_function("float32", |b| {
        b.iter(|| add_norm(isa, black_box(&x), &residual, &norm, &mut out));
    });
}

/// A whole encoder of random weights beside candle-transformers' on the same ones.
fn encoders(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let config = bert::Config {
        hidden_size: HIDDEN,
        num_hidden_layers: 6,
        intermediate_size: WIDE,
        vocab_size: 1000,
        ..bert::Config::default()
    };
    let variables = VarMap::new();
    let candle = bert::BertModel::load(VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu), &config).unwrap();
    variables.save(folder.path().join("model.safetensors")).unwrap();
    let json = format!(
        r#"{{"model_type": "bert", "hidden_size": {HIDDEN}, "num_hidden_layers": 6, "num_attention_heads": 12,
        "intermediate_size": {WIDE}, "hidden_act": "gelu", "vocab_size": 1000, "max_position_embeddings": 512,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12}}"#
    );
    std::fs::write(folder.path().join("config.json"), json).unwrap();
    let folder_of = ModelFolder::new(folder.path().to_owned(), Origin::Folder);
    let transformer = SentenceTransformersConfig::read(&folder_of).unwrap().routes.remove(0).transformer;
    let weights = Weights::open(&folder_of, "").unwrap();
    let body = Body::Cpu { isa: Isa::active().unwrap(), dtype: dtype() };
    let votive = models::load(&Source::new(&transformer, &weights, &body, 1)).unwrap();

    let mut group = c.benchmark_group("encoder");
    for len in [16, 128] {
        let count = TOKENS / len;
        let ids: Vec<u32> = (0..TOKENS as u32).map(|i| i * 7 % 1000).collect();
        let texts: Vec<Tokens> =
            ids.chunks(len).map(|ids| Tokens { ids: ids.to_vec(), type_ids: None, truncated: false }).collect();
        let batch = PackedBatch::new(texts.iter());
        let ids = Tensor::from_vec(ids, (count, len), &Device::Cpu).unwrap();
        let types = ids.zeros_like().unwrap();
        group.throughput(Throughput::Elements(TOKENS as u64));
        group.bench_function(BenchmarkId::new("votive", len), |b| {
            b.iter(|| votive.forward(&batch, TokenSelection::All, &|| Ok(())).unwrap())
        });
        group.bench_function(BenchmarkId::new("candle", len), |b| {
            b.iter(|| candle.forward(&ids, &types, None).unwrap())
        });
    }
}

criterion_group!(layers, products, mlp, attentions, norms, encoders);
criterion_main!(layers);
