//! A second reference beside the fixtures' numbers: candle-transformers' BERT on the same weights.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use votive::engine::{Embedder, LoadOptions, OutputRows, Request};
use votive::files::{ModelFolder, Origin};

/// Largest difference of a hidden state, for states of about 1.
const DIFFERENCE: f32 = 2e-5;

const TEXTS: [&str; 5] =
    ["", "a", "A quick brown fox", "naïve café, 3.14!", "the same word the same word the same word"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn candle_bert(folder: &Path) -> BertModel {
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    // What only training needs, candle's reader needs too.
    config["hidden_dropout_prob"] = 0.0.into();
    config["initializer_range"] = 0.02.into();
    let config: Config = serde_json::from_value(config).unwrap();
    let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
    let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu).unwrap();
    BertModel::load(weights, &config).unwrap()
}

#[test]
fn hidden_states_are_candles() {
    for name in ["bert_312", "bert_40"] {
        let folder = fixture(name);
        let candle = candle_bert(&folder);
        let options = LoadOptions { device: "cpu".into(), dtype: "auto".into(), ..LoadOptions::default() };
        let votive = Embedder::load(ModelFolder::new(folder, Origin::Folder), &options).unwrap();
        let width = votive.dimension();
        let texts = Box::new(TEXTS.map(str::to_owned).to_vec());
        let rows = OutputRows::Owned(vec![0.0; TEXTS.len() * width]);
        let found = votive.routes().main().run(texts, Request::default(), rows, true, &|_| Ok(())).unwrap();
        let hidden = found.output.hidden.unwrap();
        let mut rest = hidden.as_slice();
        for (text, tokens) in TEXTS.iter().zip(&found.tokens) {
            let ids = Tensor::new(&tokens.ids[..], &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let expected = candle.forward(&ids, &ids.zeros_like().unwrap(), None).unwrap();
            let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
            let (hidden, later) = rest.split_at(expected.len());
            rest = later;
            let worst = hidden.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= DIFFERENCE, "{name}, {text:?}: off by {worst}");
        }
        assert!(rest.is_empty());
    }
}
