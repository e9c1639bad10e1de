use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::files::{ModelFolder, Origin};
use crate::weights::Weights;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(FIXTURES).join(name)).unwrap()
}

fn open(name: &str, bytes: &[u8]) -> crate::Result<(TempDir, Weights)> {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join(name), bytes).unwrap();
    let weights = Weights::open(&ModelFolder::new(root.path().to_owned(), Origin::Folder), "")?;
    Ok((root, weights))
}

/// Asserts that the weights are those of the safetensors file `expected`, bit by bit.
fn assert_equal(weights: &Weights, expected: &str) {
    let (_root, expected) = open("model.safetensors", &fixture(expected)).unwrap();
    assert!(expected.names().eq(weights.names()));
    for name in expected.names() {
        let (weight, expected) = (weights.get_any(name).unwrap(), expected.get_any(name).unwrap());
        assert_eq!(weight.shape(), expected.shape(), "{name}");
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&weight.to_f32().unwrap()), bits(&expected.to_f32().unwrap()), "{name}");
    }
}

/// A zip archive as torch.save writes it, of entries below `archive`.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let name = format!("archive/{name}");
        let sizes = [&[0; 4][..], &(data.len() as u32).to_le_bytes(), &(data.len() as u32).to_le_bytes()].concat();
        let lengths = [(name.len() as u16).to_le_bytes(), [0; 2]].concat();
        let header = (file.len() as u32).to_le_bytes();
        let fixed = [&sizes[..], &lengths].concat();
        file.extend([b"PK\x03\x04\0\0\0\0\0\0\0\0\0\0", &fixed[..], name.as_bytes(), data].concat());
        let parts = [b"PK\x01\x02\0\0\0\0\0\0\0\0\0\0\0\0", &fixed[..], &[0; 10], &header, name.as_bytes()];
        directory.extend(parts.concat());
    }
    let (count, bytes) = ((entries.len() as u16).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    let start = (file.len() as u32).to_le_bytes();
    let end = [b"PK\x05\x06\0\0\0\0", &count[..], &count, &bytes, &start, &[0; 2]].concat();
    [file, directory, end].concat()
}

/// A pickle of a dict whose entry "a" is the value that `value` makes.
fn dict(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02}U\x01a", value, b"s."].concat()
}

/// A view of a storage "0" of so many float32: its arguments as instructions that make them.
fn view(length: &[u8], offset: &[u8], shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let storage = [b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu", length, b"tQ"].concat();
    [b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage[..], offset, shape, strides, b"\x89NtR"].concat()
}

/// The message of opening an archive of this pickle, with a storage of 16 bytes.
fn refused_pickle(pickle: &[u8]) -> String {
    refused(&zip(&[("data.pkl", pickle), ("data/0", &[0; 16])]))
}

fn refused(file: &[u8]) -> String {
    let message = open("pytorch_model.bin", file).err().expect("a hostile file was accepted").to_string();
    assert!(message.starts_with("pytorch_model.bin: "), "{message}");
    message
}

#[test]
fn every_layout_type_and_format_has_the_values_that_pytorch_has() {
    for name in ["odd.bin", "odd_legacy.bin"] {
        let (_root, weights) = open("pytorch_model.bin", &fixture(&format!("pickled/{name}"))).unwrap();
        assert_equal(&weights, "pickled/odd_float32.safetensors");
    }
    let (_root, weights) = open("model.safetensors", &fixture("pickled/odd.safetensors")).unwrap();
    assert_equal(&weights, "pickled/odd_float32.safetensors");
}

#[test]
fn a_model_has_the_same_weights_in_every_format() {
    for name in ["archive.bin", "legacy.bin"] {
        let (_root, weights) = open("pytorch_model.bin", &fixture(&format!("pickled/{name}"))).unwrap();
        assert_equal(&weights, "bert_stored/model.safetensors");
    }
    let folder = ModelFolder::new(Path::new(FIXTURES).join("pickled"), Origin::Folder);
    assert_equal(&Weights::open(&folder, "").unwrap(), "bert_stored/model.safetensors");
}

#[test]
fn rows_of_a_tensor_that_does_not_lie_row_after_row() {
    let (_root, weights) = open("pytorch_model.bin", &fixture("pickled/odd.bin")).unwrap();
    let all = weights.get("transposed", &[6, 4]).unwrap().to_f32().unwrap();
    let rows = weights.get("transposed", &[6, 4]).unwrap().rows(2..5);
    assert_eq!(rows.shape(), [3, 4]);
    assert_eq!(*rows.to_f32().unwrap(), all[8..20]);
}

#[test]
fn numbers_are_found_in_archives_whose_places_take_64_bits() {
    let file = zip(&[("data.pkl", &dict(&view(b"K\x04", b"K\x00", b"K\x04\x85", b"K\x01\x85"))), ("data/0", &[0; 16])]);
    let (body, end) = file.split_at(file.len() - 22);
    let number = |at: usize| u64::from(u32::from_le_bytes(end[at..at + 4].try_into().unwrap())).to_le_bytes();
    let wide = [b"PK\x06\x06", &[0; 36][..], &number(12), &number(16)].concat();
    let locator = [b"PK\x06\x07\0\0\0\0", &(body.len() as u64).to_le_bytes()[..], &[1, 0, 0, 0]].concat();
    let end = [b"PK\x05\x06\0\0\0\0", &[0xff; 12][..], &[0; 2]].concat();
    let (_root, weights) = open("pytorch_model.bin", &[body, &wide, &locator, &end].concat()).unwrap();
    assert_eq!(*weights.get("a", &[4]).unwrap().to_f32().unwrap(), [0.0; 4]);
    for damaged in [u64::MAX, body.len() as u64 + 1, 0] {
        let locator = [b"PK\x06\x07\0\0\0\0", &damaged.to_le_bytes()[..], &[1, 0, 0, 0]].concat();
        assert!(refused(&[body, &wide, &locator, &end].concat()).contains("truncated?"));
    }
}

#[test]
fn what_is_no_state_dict_is_refused_with_the_way_to_convert_it() {
    for (name, expected) in [
        ("module.bin", "names \"torch.nn.modules.linear.Linear\", which no state dict needs; nothing of it was run"),
        ("script.bin", "as in a TorchScript program"),
        ("tensor.bin", "holds no dict of tensors"),
    ] {
        let message = refused(&fixture(&format!("pickled/{name}")));
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("torch.load(") && message.contains("/pytorch_model.bin\""), "{message}");
    }
    assert!(refused(b"").contains("is no file of torch.save's"));
    assert!(refused(b"\x80\x04\x95").contains("is no file of torch.save's"));
    assert!(refused(&dict(b"N")).contains("is no file of torch.save's"));
    assert!(refused(&zip(&[("data.txt", b"")])).contains("no data.pkl"));
    assert!(refused_pickle(&dict(b"N")).contains("holds no dict of tensors"));
    let big = zip(&[("data.pkl", &dict(b"N")), ("byteorder", b"big")]);
    assert!(refused(&big).contains("holds big-endian numbers"));
}

#[test]
fn nothing_that_a_pickle_names_is_run() {
    for call in [
        &b"cos\nsystem\nU\x04true\x85R"[..],
        b"cposix\nsystem\nU\x04true\x85R",
        b"cbuiltins\neval\nU\x011\x85R",
        b"ctorch.storage\n_load_from_bytes\nU\x011\x85R",
        b"ctorch\nload\nU\x011\x85R",
        b"ctorch._utils\n_rebuild_qtensor\n)R",
        b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n)R",
    ] {
        let message = refused_pickle(&dict(call));
        assert!(message.contains("which no state dict needs; nothing of it was run"), "{message}");
    }
    // Instructions that make objects in other ways: INST, OBJ, NEWOBJ, STACK_GLOBAL, EXT1, PERSID, REDUCE of a text.
    for call in [&b"(ios\nsystem\n"[..], b"(o", b"))\x81", b"U\x02osU\x06system\x93", b"\x82\x01", b"P0\n", b"U\x01a)R"]
    {
        refused_pickle(&dict(call));
    }
    assert!(refused_pickle(b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.").contains("says protocol 4"));
}

#[test]
fn tensors_that_reach_beyond_their_storage_are_refused() {
    let minus = b"J\xff\xff\xff\xff";
    let huge = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    let pair = |a: &[u8], b: &[u8]| [a, b, b"\x86"].concat();
    let (one, two, four) = (&b"K\x01"[..], &b"K\x02"[..], &b"K\x04"[..]);
    let none = &b"K\x00"[..];
    for (length, offset, shape, strides, expected) in [
        (four, one, pair(two, two), pair(two, one), "reaches beyond its storage"),
        (four, none, pair(two, two), pair(four, one), "reaches beyond its storage"),
        (four, huge, pair(two, two), pair(two, one), "reaches beyond its storage"),
        (four, none, pair(huge, huge), pair(two, one), "reaches beyond its storage"),
        (four, none, pair(two, two), pair(huge, huge), "reaches beyond its storage"),
        (b"K\x05", none, pair(two, two), pair(two, one), "lacks the bytes of tensor \"a\""),
        (huge, none, pair(two, two), pair(two, one), "lacks the bytes of tensor \"a\""),
        (four, minus, pair(two, two), pair(two, one), "has a size of -1"),
        (four, none, pair(two, minus), pair(two, one), "has a size of -1"),
        (four, none, pair(two, two), pair(two, minus), "has a size of -1"),
        (minus, none, pair(two, two), pair(two, one), "has a size of -1"),
        (four, none, pair(two, b"N"), pair(two, one), "does not fit"),
        (four, none, pair(two, two), b"K\x01\x85".to_vec(), "does not fit"),
    ] {
        let message = refused_pickle(&dict(&view(length, offset, &shape, &strides)));
        assert!(message.contains(expected), "{message}");
    }
    let sizes = [&b"("[..], &b"K\x01".repeat(17), b"t"].concat();
    assert!(refused_pickle(&dict(&view(four, none, &sizes, &sizes))).contains("a tensor of 17 dimensions"));
    let other = dict(&view(four, none, b"K\x04\x85", b"K\x01\x85"));
    assert!(refused(&zip(&[("data.pkl", &other)])).contains("lacks the bytes of tensor \"a\""));
}

#[test]
fn tensors_that_repeat_their_numbers_are_refused_where_they_are_used() {
    let huge = b"\x8a\x06\xff\xff\xff\xff\xff\x7f\x85";
    let pickle = dict(&view(b"K\x04", b"K\x00", huge, b"K\x00\x85"));
    let (_root, weights) = open("pytorch_model.bin", &zip(&[("data.pkl", &pickle), ("data/0", &[0; 16])])).unwrap();
    let message = weights.get_any("a").unwrap().to_f32().unwrap_err().to_string();
    assert_eq!(message, "pytorch_model.bin: tensor \"a\" repeats its numbers, which no weight does");
}

#[test]
fn pickles_that_go_on_without_end_are_refused() {
    let long = |bytes: &[u8]| [b"\x80\x02", &bytes.repeat(1_500_000)[..], b"."].concat();
    assert!(refused_pickle(&long(b"}q\x01")).contains("more than 2000000 instructions"));
    assert!(refused_pickle(&long(b"r\xff\xff\xff\xffN")).contains("does not fit"));
    assert!(refused_pickle(&long(b"(")).contains("does not fit"));
    assert!(refused_pickle(&long(b"]a")).contains("does not fit"));
    // A value in a value, a million deep.
    assert!(refused_pickle(&[b"\x80\x02N", &b"\x85".repeat(1_000_000)[..], b"."].concat()).contains("no dict"));
    assert!(
        refused_pickle(&[b"\x80\x02", &b"(".repeat(900_000)[..], b"N", &b"t".repeat(900_000), b"."].concat())
            .contains("no dict")
    );
    // Lists that hold themselves, and each the one before twice.
    assert!(refused_pickle(b"\x80\x02]q\x00h\x00a.").contains("no dict"));
    let doubled = [b"\x80\x02]q\x00", &b"](h\x00h\x00eq\x00".repeat(200_000)[..], b"."].concat();
    assert!(refused_pickle(&doubled).contains("no dict"));
    assert!(refused_pickle(b"\x80\x02X\xff\xff\xff\xffa.").contains("ends in the middle of a value"));
    assert!(refused_pickle(b"").contains("ends in the middle"));
    assert!(refused_pickle(b"\x80\x02h\x09.").contains("refers to a value that is not there"));
}

#[test]
fn archives_that_contradict_themselves_are_refused() {
    let pickle = dict(&view(b"K\x04", b"K\x00", b"K\x04\x85", b"K\x01\x85"));
    let entries: [(&str, &[u8]); 2] = [("data.pkl", &pickle), ("data/0", &[0; 16])];
    let good = zip(&entries);
    assert!(open("pytorch_model.bin", &good).is_ok());
    let directory = good.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let second = directory + 1 + good[directory + 1..].windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let damaged = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        refused(&file)
    };
    assert!(damaged(second + 10, &[8, 0]).contains("\"archive/data/0\" is compressed or encrypted"));
    assert!(damaged(second + 8, &[1, 0]).contains("\"archive/data/0\" is compressed or encrypted"));
    assert!(damaged(second + 20, &[15]).contains("\"archive/data/0\" is compressed or encrypted"));
    assert!(damaged(second + 42, &[0; 4]).contains("is not where its zip directory says"));
    assert!(damaged(second + 42, &[0xff; 4]).contains("is not where its zip directory says"));
    assert!(damaged(second + 20, &[0xff; 8]).contains("is not where its zip directory says"));
    assert!(damaged(directory + 20, &[[pickle.len() as u8 + 20, 0, 0, 0]; 2].concat()).contains("overlap"));
    assert!(damaged(directory, b"PK\x07\x07").contains("zip directory is damaged"));
    assert!(damaged(good.len() - 6, &[0xff; 3]).contains("truncated?"));
    let twice = [entries[0], entries[1], entries[1]];
    assert!(refused(&zip(&twice)).contains("two of its entries are named \"archive/data/0\""));
    for length in 2..good.len() {
        refused(&good[..length]);
    }
}

#[test]
fn two_tensors_of_one_name_are_refused() {
    let tensor = view(b"K\x04", b"K\x00", b"K\x04\x85", b"K\x01\x85");
    let pickle = [b"\x80\x02}(U\x01a", &tensor[..], b"U\x01a", &tensor, b"u."].concat();
    assert!(refused_pickle(&pickle).contains("two tensors are named \"a\""));
    let pickle = [b"\x80\x02}K\x01", &tensor[..], b"s."].concat();
    assert!(refused_pickle(&pickle).contains("a tensor without a name"));
}

#[test]
fn damaged_files_from_before_version_1_6_are_refused() {
    let good = fixture("pickled/odd_legacy.bin");
    for length in (15..good.len()).step_by(7) {
        refused(&good[..length]);
    }
    let at = good.windows(13).position(|bytes| bytes == b"little_endian").unwrap();
    let flag = at + good[at..].iter().position(|&byte| byte == 0x88).unwrap();
    let mut big = good.clone();
    big[flag] = 0x89;
    assert!(refused(&big).contains("holds big-endian numbers"));
}
