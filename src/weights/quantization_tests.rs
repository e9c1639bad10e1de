use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::Weights;
use super::index::SINGLE;
use super::micro_scaled::MicroKind;
use super::quantization::{MlxScheme, Quantization, QuantizationMethod};
use crate::Result;
use crate::files::{ModelFolder, Origin};

/// Name, type, shape and bytes of a tensor.
type Named<'a> = (&'a str, &'a str, &'a [usize], &'a [u8]);

fn open(tensors: &[Named], method: QuantizationMethod) -> (TempDir, Weights) {
    let (mut data, mut header) = (Vec::new(), serde_json::Map::new());
    for (name, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend_from_slice(bytes);
        header.insert((*name).to_owned(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    let root = TempDir::new().unwrap();
    fs::write(root.path().join(SINGLE), [&(header.len() as u64).to_le_bytes(), &header[..], &data[..]].concat())
        .unwrap();
    let folder = ModelFolder::new(root.path().to_owned(), Origin::Folder);
    let quantization = Quantization { source: "config.json".to_owned(), method };
    let weights = Weights::open(&folder, "").unwrap().quantized_by(Some(quantization));
    (root, weights)
}

fn values(tensors: &[Named], method: QuantizationMethod) -> Result<Vec<f32>> {
    let (_root, weights) = open(tensors, method);
    Ok(weights.get_any("a.weight")?.to_f32()?.into_owned())
}

fn refusal(tensors: &[Named], method: QuantizationMethod) -> String {
    values(tensors, method).unwrap_err().to_string()
}

fn mlx(bits: usize, group: usize) -> QuantizationMethod {
    QuantizationMethod::Mlx { usual: MlxScheme { kind: None, bits, group }, others: Vec::new() }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

const GPTQ: QuantizationMethod = QuantizationMethod::Gptq { bits: 4, zero_offset: 1 };

// Scales may be negative, zero or huge; biases are added behind.
#[test]
fn affine_codes_by_hand() {
    let codes: Vec<u8> = (0..32).map(|i| i * 7).collect();
    let (scales, biases) = (floats(&[-0.5, 1e30]), floats(&[3.0, 0.25]));
    let tensors = [
        ("a.weight", "U32", &[2, 4][..], &codes[..]),
        ("a.scales", "F32", &[2, 1], &scales),
        ("a.biases", "F32", &[2, 1], &biases),
    ];
    let found = values(&tensors, mlx(8, 16)).unwrap();
    let expected: Vec<f32> = (0..32)
        .map(|i: u16| {
            let code = f32::from((i * 7) as u8);
            if i < 16 { code * -0.5 + 3.0 } else { code * 1e30 + 0.25 }
        })
        .collect();
    assert_eq!(found, expected);
    let (_root, weights) = open(&tensors, mlx(8, 16));
    assert_eq!(*weights.get("a.weight", &[2, 16]).unwrap().rows(1..2).to_f32().unwrap(), expected[16..]);
    let message = weights.get("a.weight", &[2, 8]).unwrap_err().to_string();
    assert!(message.contains("\"a.weight\" has shape [2, 16]; the model's config needs [2, 8]"), "{message}");
    let infinite = floats(&[f32::NAN, 1e38]);
    let tensors = [tensors[0], ("a.scales", "F32", &[2, 1], &infinite), tensors[2]];
    assert!(refusal(&tensors, mlx(8, 16)).contains("\"a.weight\" holds NaN at element 0"));
    let (_root, weights) = open(&tensors, mlx(8, 16));
    let message = weights.get_any("a.weight").unwrap().rows(1..2).to_f32().unwrap_err().to_string();
    assert!(message.contains("holds inf at element 16"), "{message}");
}

#[test]
fn what_does_not_fit_together_is_refused_by_its_tensor() {
    let (zeros, bytes) = (vec![0; 256], |n: usize| vec![0; n]);
    let codes = ("a.weight", "U32", &[2, 4][..], &zeros[..32]);
    let scales = ("a.scales", "F32", &[2, 1][..], &zeros[..8]);
    let biases = ("a.biases", "F32", &[2, 1][..], &zeros[..8]);
    let halves = bytes(4);
    let of_module = |scheme| QuantizationMethod::Mlx {
        usual: MlxScheme { kind: None, bits: 8, group: 16 },
        others: vec![("a".to_owned(), scheme)],
    };
    let micro = MlxScheme { kind: Some(MicroKind::Mxfp8), bits: 8, group: 32 };
    for (tensors, method, expected) in [
        (vec![codes, scales], mlx(8, 16), "\"a.scales\" has no biases beside it"),
        (vec![scales, biases], mlx(8, 16), "\"a.scales\" has no codes beside it"),
        (
            vec![codes, scales, biases],
            mlx(4, 16),
            "\"a.weight\" has shape [2, 4] and scales [2, 1], which codes of 4 bits in groups of 16, as config.json says",
        ),
        (vec![codes, scales, biases], mlx(3, 32), "codes of 3 bits in groups of 32"),
        (
            vec![codes, scales, ("a.biases", "F16", &[2, 1], &halves)],
            mlx(8, 16),
            "\"a.biases\" is F16 [2, 1]; what it is a part of needs F32 [2, 1]",
        ),
        (vec![codes, scales, biases], of_module(None), "config.json says that \"a\" is not quantized"),
        (
            vec![("a.weight", "U32", &[2, 8], &zeros[..64]), scales, biases],
            of_module(Some(micro)),
            "\"a.scales\" is F32 [2, 1]; what it is a part of needs U8 [2, 1]",
        ),
        (
            vec![("a.weight", "F32", &[2, 4], &zeros[..32]), scales, biases],
            mlx(8, 16),
            "\"a.weight\" is F32 [2, 4]; expected a matrix of codes in U32",
        ),
    ] {
        let message = refusal(&tensors, method);
        assert!(message.starts_with("model.safetensors: tensor ") && message.contains(expected), "{message}");
    }

    let codes = ("a.qweight", "I32", &[2, 8][..], &zeros[..64]);
    let scales = ("a.scales", "F32", &[1, 8][..], &zeros[..32]);
    let qzeros = ("a.qzeros", "I32", &[1, 1][..], &zeros[..4]);
    let group_of: Vec<u8> = (0..16).flat_map(|i| i32::from(i == 3).to_le_bytes()).collect();
    for (tensors, method, expected) in [
        (vec![codes, scales], GPTQ, "\"a.qweight\" has no qzeros beside it"),
        (vec![codes, qzeros], QuantizationMethod::Awq, "\"a.qweight\" has no scales beside it"),
        (
            vec![codes, scales, ("a.qzeros", "I32", &[1, 2], &zeros[..8])],
            GPTQ,
            "\"a.qzeros\" is I32 [1, 2]; what it is a part of needs I32 [1, 1]",
        ),
        (
            vec![codes, scales, qzeros, ("a.g_idx", "I32", &[16], &group_of)],
            GPTQ,
            "\"a.g_idx\" names a group that is not among the 1",
        ),
        (
            vec![codes, ("a.scales", "F32", &[3, 8], &zeros[..96]), ("a.qzeros", "I32", &[3, 1], &zeros[..12])],
            GPTQ,
            "\"a.scales\" has 3 groups for 16 columns",
        ),
    ] {
        let message = refusal(&tensors, method);
        assert!(message.starts_with("model.safetensors: tensor ") && message.contains(expected), "{message}");
    }

    let codes = ("a.weight_packed", "I32", &[2, 4][..], &zeros[..32]);
    let scales = ("a.weight_scale", "F32", &[2, 1][..], &zeros[..8]);
    let shape: Vec<u8> = [2_i64, 30].into_iter().flat_map(i64::to_le_bytes).collect();
    let four = QuantizationMethod::CompressedTensors { bits: vec![4] };
    for (tensors, expected) in [
        (vec![codes, scales], "\"a.weight_packed\" has no weight_shape beside it"),
        (
            vec![codes, scales, ("a.weight_shape", "I64", &[2], &zeros[..16])],
            "\"a.weight_shape\" does not say the shape of 2 rows",
        ),
        (
            vec![("a.weight_packed", "I32", &[2, 8], &zeros[..64]), scales, ("a.weight_shape", "I64", &[2], &shape)],
            "has 8 words for 30 columns, which codes of 4 bits",
        ),
        (
            vec![("a.weight_packed", "U8", &[2, 8], &zeros[..16]), ("a.weight_scale", "F8_E4M3", &[2, 1], &zeros[..2])],
            "\"a.weight_packed\" has no weight_global_scale beside it",
        ),
        (
            vec![
                ("a.weight", "I8", &[2, 8], &zeros[..16]),
                scales,
                ("a.weight_zero_point", "I8", &[2, 1], &zeros[..2]),
            ],
            "\"a.weight_zero_point\" is there: numbers of one byte with a zero are not read",
        ),
        (
            vec![("a.weight", "I8", &[2, 8], &zeros[..16]), ("a.weight_scale", "F32", &[3], &zeros[..12])],
            "\"a.weight_scale\" has shape [3], which does not fit 2 x 8 numbers",
        ),
    ] {
        let message = refusal(&tensors, four.clone());
        assert!(message.starts_with("model.safetensors: tensor ") && message.contains(expected), "{message}");
    }
}

#[test]
fn what_is_stored_plainly_is_plain() {
    let plain = floats(&[1.0, 2.0]);
    let tensors = [("a.weight", "F32", &[1, 2][..], &plain[..])];
    for method in [mlx(4, 32), GPTQ, QuantizationMethod::Awq, QuantizationMethod::CompressedTensors { bits: vec![] }] {
        assert_eq!(values(&tensors, method).unwrap(), [1.0, 2.0]);
    }
}
