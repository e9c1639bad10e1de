use std::collections::BTreeMap;
use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::Weights;
use super::index::SINGLE;
use crate::Result;
use crate::files::{ModelFolder, Origin};

/// Name, shape and values of a float32 tensor.
type Named<'a> = (&'a str, &'a [usize], &'a [f32]);

const BASE: [Named; 4] = [
    ("bert.layer.q.weight", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    ("bert.layer.q.bias", &[2], &[0.5, 0.25]),
    ("bert.LayerNorm.gamma", &[2], &[1.0, 1.0]),
    ("bert.words.weight", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
];
const A: Named = ("base_model.model.layer.q.lora_A.weight", &[2, 3], &[1.0, 0.0, 2.0, 0.0, 1.0, -1.0]);
const B: Named = ("base_model.model.layer.q.lora_B.weight", &[2, 2], &[1.0, 2.0, -1.0, 0.5]);

fn safetensors(tensors: &[Named]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut header = serde_json::Map::new();
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        header.insert((*name).to_owned(), json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes(), &header[..], &data[..]].concat()
}

/// The base's weights with an adapter of these tensors, whose configuration has these keys beside its kind.
fn open(base: &[Named], config: &str, adapter: &[Named]) -> Result<(TempDir, Weights)> {
    let root = TempDir::new().unwrap();
    let mut keys = json!({"peft_type": "LORA", "lora_alpha": 4});
    let more: BTreeMap<String, serde_json::Value> = serde_json::from_str(config).unwrap();
    keys.as_object_mut().unwrap().extend(more);
    fs::write(root.path().join(SINGLE), safetensors(base)).unwrap();
    fs::write(root.path().join("adapter_config.json"), keys.to_string()).unwrap();
    if !adapter.is_empty() {
        fs::write(root.path().join("adapter_model.safetensors"), safetensors(adapter)).unwrap();
    }
    let folder = ModelFolder::new(root.path().to_owned(), Origin::Folder);
    Weights::open(&folder, "").map(|weights| (root, weights))
}

fn values(config: &str, adapter: &[Named], name: &str) -> Vec<f32> {
    let (_root, weights) = open(&BASE, config, adapter).unwrap();
    weights.get_any(name).unwrap().to_f32().unwrap().into_owned()
}

fn refusal(config: &str, adapter: &[Named]) -> String {
    open(&BASE, config, adapter).err().unwrap().to_string()
}

// W + 4/2 · B · A by hand: B · A is [[1, 2, 0], [-1, 0.5, -2.5]].
#[test]
fn a_product_is_added() {
    assert_eq!(values("{}", &[A, B], "bert.layer.q.weight"), [3.0, 6.0, 3.0, 2.0, 6.0, 1.0]);
    assert_eq!(values("{}", &[A, B], "bert.layer.q.bias"), [0.5, 0.25]);
    let (_root, weights) = open(&BASE, "{}", &[A, B]).unwrap();
    let rows = weights.get("bert.layer.q.weight", &[2, 3]).unwrap().rows(1..2);
    assert_eq!(*rows.to_f32().unwrap(), [2.0, 6.0, 1.0]);
    assert_eq!(rows.to_half::<half::bf16>().unwrap()[2].to_f32(), 1.0);
}

#[test]
fn alpha_is_that_of_the_module_and_may_be_divided_by_the_root_of_the_rank() {
    for (config, scale) in [
        ("{}", 2.0),
        (r#"{"lora_alpha": 1}"#, 0.5),
        (r#"{"use_rslora": true}"#, 4.0 / 2.0_f32.sqrt()),
        (r#"{"alpha_pattern": {"q": 8}}"#, 4.0),
        (r#"{"alpha_pattern": {"layer.q": 8, "ayer.q": 3, "k": 2}}"#, 4.0),
        (r#"{"alpha_pattern": {"q": 8, "layer.q": 3}}"#, 4.0),
        (r#"{"alpha_pattern": {"^layer.q": 8, "^q": 2}}"#, 4.0),
    ] {
        let found = values(config, &[A, B], "bert.layer.q.weight");
        assert!((found[1] - (2.0 + 2.0 * scale)).abs() < 1e-6, "{config}: {found:?}");
    }
    let message = refusal(r#"{"alpha_pattern": {"layer.[0-3].q": 8}}"#, &[A, B]);
    assert!(message.starts_with("adapter_config.json: alpha_pattern: \"layer.[0-3].q\" is a regular"), "{message}");
}

// embedding_A [rank, rows], embedding_B [dimension, rank]: B · A is [[2, 0, 4], [1, 0, 2]], added transposed, times 4/1.
#[test]
fn a_table_has_its_matrices_the_other_way_round() {
    let a = ("base_model.model.words.lora_embedding_A", &[1, 3][..], &[1.0, 0.0, 2.0][..]);
    let b = ("base_model.model.words.lora_embedding_B", &[2, 1][..], &[2.0, 1.0][..]);
    assert_eq!(values("{}", &[a, b], "bert.words.weight"), [9.0, 6.0, 3.0, 4.0, 21.0, 14.0]);
    // The table itself may be the adapter's.
    let table = ("base_model.model.words.base_layer.weight", &[3, 2][..], &[0.0; 6][..]);
    assert_eq!(values("{}", &[a, b, table], "bert.words.weight"), [8.0, 4.0, 0.0, 0.0, 16.0, 8.0]);
}

#[test]
fn whole_tensors_take_the_place_of_the_base_models() {
    let bias = ("base_model.model.bert.layer.q.base_layer.bias", &[2][..], &[7.0, 8.0][..]);
    assert_eq!(values("{}", &[bias], "bert.layer.q.bias"), [7.0, 8.0]);
    let norm = ("base_model.model.model.LayerNorm.weight", &[2][..], &[3.0, 4.0][..]);
    let original = ("base_model.model.LayerNorm.original_module.weight", &[2][..], &[9.0, 9.0][..]);
    assert_eq!(values("{}", &[norm, original], "bert.LayerNorm.gamma"), [3.0, 4.0]);
    let head = ("base_model.model.score.modules_to_save.weight", &[1, 2][..], &[3.0, 4.0][..]);
    assert_eq!(values(r#"{"modules_to_save": ["score"]}"#, &[head], "score.weight"), [3.0, 4.0]);
}

#[test]
fn names_of_wrappers_and_of_base_models_do_not_count() {
    for prefix in
        ["", "base_model.model.0.auto_model.", "base_model.model.bert.", "roberta.", "base_model.model.model."]
    {
        let [a, b] = [A.0, B.0].map(|name| name.replace("base_model.model.", prefix));
        let adapter = [(&a[..], A.1, A.2), (&b[..], B.1, B.2)];
        assert_eq!(values("{}", &adapter, "bert.layer.q.weight")[0], 3.0, "{prefix}");
    }
}

#[test]
fn what_fits_no_weight_is_an_error() {
    let other = |name| (name, A.1, A.2);
    for (adapter, expected) in [
        (
            vec![other("layer.k.lora_A.weight"), B],
            "lora_A.weight\" fits no weight of the base model, which has no \"layer.k.weight\"",
        ),
        (vec![other("layer.k.weight")], "\"layer.k.weight\" fits no weight of the base model"),
        (vec![A], "has not both matrices of \"layer.q\""),
        (
            vec![A, (B.0, &[3, 2], &[0.0; 6])],
            "has shape [2, 3], and its other half [3, 2]; \"bert.layer.q.weight\" has [2, 3]",
        ),
        (vec![A, (B.0, &[4], &[0.0; 4])], "and its other half [4]"),
        (vec![(A.0, &[0, 3], &[]), (B.0, &[2, 0], &[])], "has shape [0, 3]"),
        (
            vec![A, B, ("layer.q.lora_magnitude_vector", &[2], &[1.0, 1.0])],
            "is of a kind of adapter that is not supported",
        ),
        (vec![("layer.q.bias", &[1, 2], &[1.0, 1.0])], "takes the place of \"bert.layer.q.bias\", which has others"),
        (vec![(A.0, A.1, &[f32::NAN; 6]), B], "holds NaN at element 0"),
    ] {
        let message = refusal("{}", &adapter);
        assert!(message.starts_with("adapter_model.safetensors: ") && message.contains(expected), "{message}");
    }
    let twice = [BASE[0], ("roberta.layer.q.weight", &[2, 3], &[0.0; 6])];
    let message = open(&twice, "{}", &[A, B]).err().unwrap().to_string();
    assert!(
        message.contains("may be meant for \"bert.layer.q.weight\" and for \"roberta.layer.q.weight\""),
        "{message}"
    );
    let message = refusal("{}", &[]);
    assert!(message.starts_with("adapter_config.json: has no weights beside it"), "{message}");
}

#[test]
fn other_kinds_are_refused_by_their_key() {
    for (config, key) in [
        (r#"{"peft_type": "IA3"}"#, "peft_type: \"IA3\" is not supported; \"LORA\" is. Merge"),
        (r#"{"peft_type": null}"#, "peft_type: missing"),
        (r#"{"use_dora": true}"#, "use_dora: is not supported. Merge the adapter"),
        (r#"{"fan_in_fan_out": true}"#, "fan_in_fan_out"),
        (r#"{"layer_replication": [[0, 2]]}"#, "layer_replication"),
        (r#"{"trainable_token_indices": [3]}"#, "trainable_token_indices"),
        (r#"{"init_lora_weights": "pissa_niter_4"}"#, "init_lora_weights: \"pissa_niter_4\" changes the base model"),
        (r#"{"lora_alpha": "4"}"#, "lora_alpha: expected a number, found \"4\""),
        (r#"{"use_rslora": 1}"#, "use_rslora: expected true or false"),
        (r#"{"modules_to_save": [1]}"#, "modules_to_save: expected strings"),
        (r#"{"alpha_pattern": {"q": "8"}}"#, "alpha_pattern: expected numbers by names of modules"),
    ] {
        let message = refusal(config, &[A, B]);
        assert!(message.starts_with(&format!("adapter_config.json: {key}")), "{message}");
    }
    let harmless = r#"{"use_dora": false, "init_lora_weights": "gaussian", "layer_replication": null, "target_parameters": [],
        "loftq_config": {}, "bias": "all"}"#;
    assert_eq!(values(harmless, &[A, B], "bert.layer.q.weight")[0], 3.0);
}
