use std::borrow::Cow;
use std::fs;

use half::{bf16, f16};
use tempfile::TempDir;

use super::index::SINGLE;
use super::*;
use crate::files::Origin;

const INDEX: &str = "model.safetensors.index.json";

/// A file of `header` (any JSON) followed by `data`.
fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn folder(files: &[(&str, &[u8])]) -> (TempDir, ModelFolder) {
    let root = TempDir::new().unwrap();
    for (name, bytes) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let folder = ModelFolder::new(root.path().to_owned(), Origin::Folder);
    (root, folder)
}

fn open(files: &[(&str, &[u8])]) -> Result<(TempDir, Weights)> {
    let (root, folder) = folder(files);
    Weights::open(&folder, "").map(|weights| (root, weights))
}

/// The message of opening `file` as the only weights.
fn refused(file: &[u8]) -> String {
    let message = open(&[(SINGLE, file)]).err().expect("a hostile file was accepted").to_string();
    assert!(message.starts_with("model.safetensors: "), "{message}");
    message
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

const A: &str = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
const B: &str = r#"{"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;

#[test]
fn reads_every_accepted_dtype_aligned_or_not() {
    let values = [1.5f32, -2.0, 0.0, 65504.0];
    let half = values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes());
    let brain = values[..3].iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes());
    let data: Vec<u8> = f32_bytes(&values).into_iter().chain(half).chain(brain).collect();
    let header = r#"{"__metadata__":{"format":"pt"},
        "single":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},
        "half":{"dtype":"F16","shape":[4],"data_offsets":[16,24]},
        "brain":{"dtype":"BF16","shape":[3,1],"data_offsets":[24,30]}}"#;
    for padding in 0..8 {
        let file = safetensors(&format!("{header}{}", " ".repeat(padding)), &data);
        let (_root, weights) = open(&[(SINGLE, &file)]).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["brain", "half", "single"]);
        assert_eq!(*weights.get("single", &[2, 2]).unwrap().to_f32().unwrap(), values);
        assert_eq!(*weights.get("half", &[4]).unwrap().to_f32().unwrap(), values);
        assert_eq!(*weights.get_any("brain").unwrap().to_f32().unwrap(), values[..3]);
        let borrowed = matches!(weights.get_any("single").unwrap().to_f32().unwrap(), Cow::Borrowed(_));
        assert_eq!(borrowed, (8 + header.len() + padding).is_multiple_of(4));
    }
}

#[test]
fn released_pages_come_back() {
    let data = f32_bytes(&[3.0, 4.0]);
    let (_root, weights) = open(&[(SINGLE, &safetensors(A, &data))]).unwrap();
    let before = weights.get("a", &[2]).unwrap().to_f32().unwrap();
    weights.release();
    assert_eq!(*before, [3.0, 4.0]);
    assert_eq!(*weights.get("a", &[2]).unwrap().to_f32().unwrap(), [3.0, 4.0]);
}

#[cfg(target_os = "linux")]
#[test]
fn released_pages_are_not_resident() {
    let data = f32_bytes(&vec![1.0; 100_000]);
    let header = r#"{"a":{"dtype":"F32","shape":[100000],"data_offsets":[0,400000]}}"#;
    let (root, weights) = open(&[(SINGLE, &safetensors(header, &data))]).unwrap();
    let path = root.path().join(SINGLE);
    let resident = || -> u64 {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let ours = maps.lines().skip_while(|line| !line.ends_with(path.to_str().unwrap()));
        let rss = ours.skip(1).find_map(|line| line.strip_prefix("Rss:")).unwrap();
        rss.trim().trim_end_matches(" kB").parse().unwrap()
    };
    assert_eq!(weights.get("a", &[100_000]).unwrap().to_f32().unwrap().iter().sum::<f32>(), 100_000.0);
    assert!(resident() >= 390);
    weights.release();
    assert_eq!(resident(), 0);
}

#[test]
fn joins_shards() {
    let index = br#"{"metadata":{"total_size":16},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#;
    let (one, two) = (safetensors(A, &f32_bytes(&[1.0, 2.0])), safetensors(B, &f32_bytes(&[3.0, 4.0])));
    let files: [(&str, &[u8]); 3] =
        [("sub/one.safetensors", &one), ("sub/two.safetensors", &two), ("sub/model.safetensors.index.json", index)];
    let (_root, folder) = folder(&files);
    let weights = Weights::open(&folder, "sub").unwrap();
    assert!(weights.contains("a") && weights.contains("b") && !weights.contains("c"));
    assert_eq!(*weights.get("b", &[2]).unwrap().to_f32().unwrap(), [3.0, 4.0]);
    let message = weights.get("b", &[3]).unwrap_err().to_string();
    assert_eq!(message, "sub/two.safetensors: tensor \"b\" has shape [2]; the model's config needs [3]");
}

#[test]
fn refuses_a_bad_index() {
    let (one, two) = (safetensors(A, &[0; 8]), safetensors(B, &[0; 8]));
    let cases = [
        (r#"{"weight_map":{"a":"../one.safetensors"}}"#, "\"../one.safetensors\", which is outside the model's folder"),
        (r#"{"weight_map":{"a":"/etc/passwd"}}"#, "\"/etc/passwd\", which is outside the model's folder"),
        (r#"{"weight_map":{"a":"three.safetensors"}}"#, "\"three.safetensors\", and there is no such file"),
        (r#"{"weight_map":{"a":"one.safetensors","c":"one.safetensors"}}"#, "tensor \"c\" is in \"one.safetensors\""),
        (r#"{"weight_map":{"a":"one.safetensors","b":"one.safetensors","x":"two.safetensors"}}"#, "tensor \"b\" is in"),
        (r#"{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}"#, "two tensors are named \"a\""),
        (r#"{"weight_map":{"a":1}}"#, "unreadable"),
        (r#"{"weight_map":["#, "unreadable"),
        ("", "unreadable"),
    ];
    for (index, expected) in cases {
        let files: [(&str, &[u8]); 3] =
            [("one.safetensors", &one), ("two.safetensors", &two), (INDEX, index.as_bytes())];
        let message = open(&files).err().unwrap().to_string();
        assert!(message.starts_with("model.safetensors.index.json: "), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn refuses_a_tensor_in_two_shards() {
    let one = safetensors(A, &[0; 8]);
    let index = br#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#;
    let message = open(&[("one.safetensors", &one), ("two.safetensors", &one), (INDEX, index)]).err().unwrap();
    assert_eq!(message.to_string(), "two.safetensors: tensor \"a\" is also in one.safetensors");
}

#[test]
fn refuses_headers_that_do_not_fit_the_file() {
    assert!(refused(b"").contains("0 bytes"));
    assert!(refused(b"1234567").contains("7 bytes"));
    assert!(refused(&u64::MAX.to_le_bytes()).contains("claims a header of 18446744073709551615 bytes"));
    assert!(refused(&99_000_000u64.to_le_bytes()).contains("99000000 bytes and has 0 left"));
    assert!(refused(&safetensors(A, &[0; 8])[..20]).contains("has 12 left: truncated?"));
    assert!(refused(&safetensors("not json", &[])).contains("unreadable header"));
    assert!(refused(&safetensors("{\"\u{0}\":1}", &[])).contains("unreadable header"));
    let mut not_utf8 = safetensors(A, &[0; 8]);
    not_utf8[10] = 0xff;
    assert!(refused(&not_utf8).contains("unreadable header"));
}

#[test]
fn refuses_deeply_nested_headers_without_running_out_of_stack() {
    let open_brackets = "[".repeat(5_000_000);
    let brackets = format!("{open_brackets}{}", "]".repeat(5_000_000));
    assert!(refused(&safetensors(&brackets, &[])).contains("unreadable header"));
    let shape = format!(r#"{{"a":{{"dtype":"F32","shape":{brackets},"data_offsets":[0,0]}}}}"#);
    assert!(refused(&safetensors(&shape, &[])).contains("unreadable header"));
    let metadata = format!(r#"{{"__metadata__":{brackets},"a":1}}"#);
    assert!(refused(&safetensors(&metadata, &[])).contains("unreadable header"));
}

#[test]
fn refuses_tensors_that_do_not_fill_the_file() {
    let cases: [(&str, usize, &str); 11] = [
        (A, 7, "tensor \"a\" ends at byte 8 of the data and the file has 7"),
        (A, 9, "has 9 bytes of data and tensors for 8"),
        (A, 0, "tensor \"a\" ends at byte 8"),
        (r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8, "tensor \"a\" of F32 [3] needs 12 bytes"),
        (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, 12, "no tensor covers bytes 0 to 4"),
        (
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
            12,
            "tensor \"b\" overlaps the one before it, at byte 4",
        ),
        (r#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[8,0]}}"#, 8, "no tensor covers bytes 0 to 8"),
        (
            r#"{"a":{"dtype":"F32","shape":[9223372036854775808,4],"data_offsets":[0,0]}}"#,
            0,
            "tensor \"a\" of F32 [9223372036854775808, 4] has an impossible size",
        ),
        (r#"{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,0]}}"#, 0, "impossible size"),
        (r#"{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}"#, 4, "unreadable header"),
        (r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "unreadable header"),
    ];
    for (header, bytes, expected) in cases {
        let message = refused(&safetensors(header, &vec![0; bytes]));
        assert!(message.contains(expected), "{message}");
    }
    let entry = A.trim_start_matches('{').strip_suffix('}').unwrap();
    let twice = format!("{{{entry},{entry}}}");
    assert!(refused(&safetensors(&twice, &[0; 8])).contains("two tensors are named \"a\""));
}

#[test]
fn refuses_other_dtypes_only_when_asked_for_them() {
    let header = r#"{"position_ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},
        "a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#;
    let (_root, weights) = open(&[(SINGLE, &safetensors(header, &[0; 16]))]).unwrap();
    assert!(weights.get("a", &[2]).is_ok());
    let message = weights.get_any("position_ids").unwrap_err().to_string();
    assert_eq!(
        message,
        "model.safetensors: tensor \"position_ids\" has dtype I64; accepted are F32, F16, BF16, F64, F8_E4M3 and F8_E5M2"
    );
    let message = weights.get_any("c").unwrap_err().to_string();
    assert_eq!(message, "model.safetensors: has no tensor \"c\" among its 2 such as \"a\"");
}

#[test]
fn refuses_nan_and_infinity() {
    for (dtype, bytes, found) in [
        ("F32", f32_bytes(&[1.0, f32::NAN]), "NaN"),
        ("F32", f32_bytes(&[1.0, f32::NEG_INFINITY]), "-inf"),
        ("F16", [f16::ONE, f16::INFINITY].iter().flat_map(|value| value.to_le_bytes()).collect(), "inf"),
        ("BF16", [bf16::ONE, bf16::NAN].iter().flat_map(|value| value.to_le_bytes()).collect(), "NaN"),
    ] {
        let header = format!(r#"{{"a":{{"dtype":"{dtype}","shape":[2],"data_offsets":[0,{}]}}}}"#, bytes.len());
        let (_root, weights) = open(&[(SINGLE, &safetensors(&header, &bytes))]).unwrap();
        let message = weights.get("a", &[2]).unwrap().to_f32().unwrap_err().to_string();
        assert_eq!(message, format!("model.safetensors: tensor \"a\" holds {found} at element 1"));
    }
}

#[test]
fn gives_two_bytes_as_they_are_or_rounded() {
    let values = [1.5f32, -2.0, 0.1, 60000.0];
    let halves: Vec<f16> = values.map(f16::from_f32).into();
    let brains: Vec<bf16> = values.map(bf16::from_f32).into();
    let data = [&f32_bytes(&values), bytemuck::cast_slice::<f16, u8>(&halves), bytemuck::cast_slice(&brains)].concat();
    let header = r#"{"single":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},
        "half":{"dtype":"F16","shape":[4],"data_offsets":[16,24]},
        "brain":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}"#;
    for padding in 0..2 {
        let file = safetensors(&format!("{header}{}", " ".repeat(padding)), &data);
        let (_root, weights) = open(&[(SINGLE, &file)]).unwrap();
        let weight = |name: &str| weights.get(name, &[4]).unwrap();
        assert_eq!(*weight("single").to_half::<f16>().unwrap(), halves);
        assert_eq!(*weight("single").to_half::<bf16>().unwrap(), brains);
        let again: Vec<_> = brains.iter().map(|&value| f16::from_f32(value.to_f32())).collect();
        assert_eq!(*weight("brain").to_half::<f16>().unwrap(), again);
        let stored = weight("half").to_half::<f16>().unwrap();
        assert_eq!(*stored, halves);
        assert_eq!(matches!(stored, Cow::Borrowed(_)), (8 + header.len() + padding).is_multiple_of(2));
    }
}

#[test]
fn refuses_what_two_bytes_cannot_hold() {
    for (dtype, bytes, message) in [
        (
            "F32",
            f32_bytes(&[65504.0, -65505.0]),
            "holds -65505 at element 1; the largest number in dtype \"float16\" is 65504",
        ),
        ("F32", f32_bytes(&[1.0, f32::NAN]), "holds NaN at element 1"),
        (
            "F16",
            [f16::ONE, f16::INFINITY].iter().flat_map(|value| value.to_le_bytes()).collect(),
            "holds inf at element 1",
        ),
        ("BF16", [bf16::ONE, bf16::MAX].iter().flat_map(|value| value.to_le_bytes()).collect(), "holds 338"),
    ] {
        let header = format!(r#"{{"a":{{"dtype":"{dtype}","shape":[2],"data_offsets":[0,{}]}}}}"#, bytes.len());
        let (_root, weights) = open(&[(SINGLE, &safetensors(&header, &bytes))]).unwrap();
        let weight = weights.get("a", &[2]).unwrap();
        let expected = format!("model.safetensors: tensor \"a\" {message}");
        for error in [weight.to_half::<f16>().unwrap_err(), weight.to_f32_for::<f16>().unwrap_err()] {
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }
    let (_root, weights) = open(&[(SINGLE, &safetensors(A, &f32_bytes(&[1.0, f32::MAX])))]).unwrap();
    let message = weights.get("a", &[2]).unwrap().to_half::<bf16>().unwrap_err().to_string();
    assert!(message.contains("the largest number in dtype \"bfloat16\" is 338"), "{message}");
}

#[test]
fn accepts_tensors_without_elements() {
    let header = r#"{"a":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]}}"#;
    let (_root, weights) = open(&[(SINGLE, &safetensors(header, &[]))]).unwrap();
    assert!(weights.get("a", &[0, 3]).unwrap().to_f32().unwrap().is_empty());
}

#[test]
fn says_how_to_convert_pickled_weights_that_are_not_read() {
    let message = open(&[("weights.pt", b"pickle"), ("config.json", b"{}")]).err().unwrap().to_string();
    assert!(message.starts_with("model.safetensors: not there, nor pytorch_model.bin, only weights.pt."), "{message}");
    let lines: Vec<&str> = message.lines().skip(1).collect();
    assert_eq!(lines.len(), 2, "{message}");
    assert_eq!(lines[0], "import torch, safetensors.torch");
    assert!(lines[1].contains("weights_only=True") && lines[1].contains("/weights.pt\""), "{message}");
    let message = open(&[("pytorch_model.bin", b"pickle")]).err().unwrap().to_string();
    assert!(message.starts_with("pytorch_model.bin: is no file of torch.save's."), "{message}");
}

#[test]
fn safetensors_win_over_pickled_weights() {
    let one = safetensors(A, &f32_bytes(&[1.0, 2.0]));
    let index = br#"{"weight_map":{"a":"one.safetensors"}}"#;
    for files in [vec![(SINGLE, &one[..])], vec![(INDEX, &index[..]), ("one.safetensors", &one)]] {
        let (_root, weights) = open(&[&files[..], &[("pytorch_model.bin", b"pickle")]].concat()).unwrap();
        assert_eq!(*weights.get("a", &[2]).unwrap().to_f32().unwrap(), [1.0, 2.0]);
    }
}

#[test]
fn refuses_a_tensor_that_is_to_be_multiplied_by_another() {
    let header = r#"{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]},
        "a_scale_inv":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#;
    let (_root, weights) = open(&[(SINGLE, &safetensors(header, &[0; 6]))]).unwrap();
    let message = weights.get("a", &[2]).unwrap_err().to_string();
    assert!(
        message.contains("tensor \"a\" is quantized: its numbers are to be multiplied by \"a_scale_inv\""),
        "{message}"
    );
}

#[test]
fn widens_and_narrows_to_float32_as_pytorch_does() {
    let values = [1.0 / 3.0, -0.0, 1e-310, 3.4e38].iter().flat_map(|value: &f64| value.to_le_bytes());
    let header = r#"{"double":{"dtype":"F64","shape":[4],"data_offsets":[0,32]},
        "e4m3":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[32,36]},
        "e5m2":{"dtype":"F8_E5M2","shape":[4],"data_offsets":[36,40]},
        "nan":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[40,41]}}"#;
    let data: Vec<u8> = values.chain([0x7e, 0x81, 0x38, 0x0f, 0x7b, 0x81, 0x3c, 0x07, 0x7f]).collect();
    let (_root, weights) = open(&[(SINGLE, &safetensors(header, &data))]).unwrap();
    let of = |name: &str| weights.get(name, &[4]).unwrap().to_f32().unwrap();
    assert_eq!(*of("double"), [0.333_333_34, 0.0, 0.0, 3.4e38]);
    assert_eq!(*of("e4m3"), [448.0, -0.001_953_125, 1.0, 0.029_296_875]);
    assert_eq!(*of("e5m2"), [57344.0, -1.525_878_9e-5, 1.0, 1.068_115_2e-4]);
    assert!(weights.get_any("nan").unwrap().to_f32().unwrap_err().to_string().contains("holds NaN at element 0"));
}

#[test]
fn says_which_other_weights_there_are() {
    let message = open(&[("model.onnx", b"")]).err().unwrap().to_string();
    assert!(message.contains("only model.onnx; votive reads safetensors and pytorch_model.bin"), "{message}");
    let message = open(&[("config.json", b"{}")]).err().unwrap().to_string();
    assert!(message.contains("holds no weights at all"), "{message}");
}
