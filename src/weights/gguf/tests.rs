use super::*;

/// A string as files have it.
fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// A key with its type and value.
fn key(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(name), &kind.to_le_bytes()[..], value].concat()
}

/// A key with an array of so many items of a type.
fn list(name: &str, kind: u32, items: u64, value: &[u8]) -> Vec<u8> {
    key(name, 9, &[&kind.to_le_bytes(), &items.to_le_bytes()[..], value].concat())
}

/// A tensor's entry; the innermost dimension first.
fn info(name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let lengths = dimensions.iter().flat_map(|length| length.to_le_bytes());
    let mut entry = [text(name), (dimensions.len() as u32).to_le_bytes().to_vec()].concat();
    entry.extend(lengths.chain(kind.to_le_bytes()).chain(offset.to_le_bytes()));
    entry
}

/// A file whose data are `bytes` of zeros.
fn file(keys: &[Vec<u8>], infos: &[Vec<u8>], bytes: usize) -> Vec<u8> {
    let counts = [infos.len() as u64, keys.len() as u64].map(u64::to_le_bytes).concat();
    let mut file = [MAGIC, &3_u32.to_le_bytes(), &counts, &keys.concat(), &infos.concat()].concat();
    file.resize(file.len().next_multiple_of(32) + bytes, 0);
    file
}

fn refused(file: &[u8]) -> String {
    let message = GgufHeader::read("m.gguf", file).err().expect("a hostile file was accepted").to_string();
    assert!(message.starts_with("m.gguf: "), "{message}");
    message
}

fn places(file: &[u8]) -> Vec<(String, Range<usize>)> {
    let header = GgufHeader::read("m.gguf", file).unwrap();
    header.tensors.into_iter().map(|(name, tensor)| (name, tensor.bytes)).collect()
}

/// Values of every type.
fn keys() -> Vec<Vec<u8>> {
    vec![
        key("u8", 0, &[200]),
        key("i8", 1, &[200]),
        key("u16", 2, &[1, 2]),
        key("i16", 3, &[0xff, 0xff]),
        key("u32", 4, &7_u32.to_le_bytes()),
        key("i32", 5, &(-7_i32).to_le_bytes()),
        key("f32", 6, &0.5_f32.to_le_bytes()),
        key("true", 7, &[1]),
        key("text", 8, &text("ä\0\0")),
        key("u64", 10, &u64::MAX.to_le_bytes()),
        key("i64", 11, &i64::MIN.to_le_bytes()),
        key("f64", 12, &1e-300_f64.to_le_bytes()),
        key("odd", 7, &[2]),
        list("texts", 8, 3, &[text("a\0"), text(""), text("日本")].concat()),
        list("numbers", 6, 2, &[0.25_f32.to_le_bytes(), (-1_f32).to_le_bytes()].concat()),
        list("integers", 5, 2, &[3_i32.to_le_bytes(), (-3_i32).to_le_bytes()].concat()),
        list("flags", 7, 3, &[1, 0, 1]),
        list("none", 8, 0, &[]),
    ]
}

#[test]
fn values_are_read_whatever_their_width() {
    let file = file(&keys(), &[], 0);
    let GgufHeader { metadata, tensors, .. } = GgufHeader::read("m.gguf", &file).unwrap();
    assert!(tensors.is_empty() && metadata.contains("none") && !metadata.contains("other"));
    assert!(metadata.is_list("none") && !metadata.is_list("u8"));
    for (name, expected) in [("u8", 200), ("u16", 513), ("u32", 7), ("u64", u64::MAX)] {
        assert_eq!(metadata.integer(name).unwrap(), Some(expected));
    }
    assert_eq!(metadata.integer("other").unwrap(), None);
    for (name, expected) in [("i8", -56.0), ("i16", -1.0), ("i32", -7.0), ("f32", 0.5), ("f64", 1e-300), ("u8", 200.0)]
    {
        assert_eq!(metadata.number(name).unwrap(), Some(expected));
    }
    assert_eq!(metadata.number("i64").unwrap(), Some(i64::MIN as f64));
    assert_eq!((metadata.boolean("true").unwrap(), metadata.text("text").unwrap()), (Some(true), Some("ä")));
    assert_eq!(metadata.texts("texts").unwrap(), Some(vec!["a\0", "", "日本"]));
    assert_eq!(metadata.numbers("numbers").unwrap(), Some(vec![0.25, -1.0]));
    assert_eq!(metadata.integers("integers").unwrap(), Some(vec![3, -3]));
    assert_eq!(metadata.booleans("flags").unwrap(), Some(vec![true, false, true]));
    assert_eq!(metadata.texts("none").unwrap(), Some(Vec::new()));
}

#[test]
fn values_of_other_types_are_refused_by_their_key() {
    let file = file(&keys(), &[], 0);
    let metadata = GgufHeader::read("m.gguf", &file).unwrap().metadata;
    let message = |error: Error| error.to_string();
    for (found, expected) in [
        (metadata.integer("i8").map_err(message).unwrap_err(), "i8: expected an integer from 0, found an integer"),
        (metadata.integer("f32").map_err(message).unwrap_err(), "f32: expected an integer from 0, found a number"),
        (
            metadata.integer("texts").map_err(message).unwrap_err(),
            "texts: expected an integer from 0, found a list of 3",
        ),
        (metadata.boolean("odd").map_err(message).unwrap_err(), "odd: expected true or false, found true or false"),
        (metadata.text("u8").map_err(message).unwrap_err(), "u8: expected a string, found an integer"),
        (metadata.texts("text").map_err(message).unwrap_err(), "text: expected a list of strings, found a string"),
        (
            metadata.texts("flags").map_err(message).unwrap_err(),
            "flags: expected a list of strings, found another at 0",
        ),
    ] {
        assert_eq!(found, format!("m.gguf: {expected}"));
    }
}

#[test]
fn tensors_lie_one_after_the_other() {
    let infos =
        [info("a", &[3, 2], 0, 0), info("b", &[32, 2], 8, 32), info("c", &[], 1, 128), info("d", &[0, 7], 0, 160)];
    let file = file(&[], &infos, 160);
    let start = file.len() - 160;
    let expected = [("a", 0..24), ("b", 32..100), ("c", 128..130), ("d", 160..160)];
    let expected = expected.map(|(name, bytes)| (name.to_owned(), start + bytes.start..start + bytes.end));
    assert_eq!(places(&file), expected);
    assert_eq!(GgufHeader::read("m.gguf", &file).unwrap().tensors["b"].shape, [2, 32]);
}

#[test]
fn an_alignment_of_its_own_counts() {
    let aligned = |bytes: &[u8]| {
        let file = file(&[key(ALIGNMENT, 4, bytes)], &[info("a", &[1], 0, 0), info("b", &[1], 0, 8)], 64);
        GgufHeader::read("m.gguf", &file).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(aligned(&8_u32.to_le_bytes()), Ok(()));
    for (alignment, expected) in [
        (0_u32, "general.alignment: expected a power of two, found 0"),
        (3, "general.alignment: expected a power of two, found 3"),
        (1 << 31, "general.alignment: expected a power of two, found 2147483648"),
        (64, "tensor \"b\" begins at byte 8 of the data, no multiple of 64"),
    ] {
        assert_eq!(aligned(&alignment.to_le_bytes()), Err(format!("m.gguf: {expected}")));
    }
}

#[test]
fn a_header_that_is_cut_anywhere_is_refused() {
    let infos = [info("a", &[3, 2], 0, 0), info("b", &[32, 2], 8, 32)];
    let whole = file(&keys(), &infos, 100);
    let header = whole.len() - 100;
    assert!(GgufHeader::read("m.gguf", &whole).is_ok());
    for end in (0..header).chain([header + 1, header + 24, header + 99]) {
        refused(&whole[..end]);
    }
}

#[test]
fn counts_that_the_file_has_no_room_for_are_refused() {
    let begin = |version: u32, tensors: u64, keys: u64| {
        [MAGIC, &version.to_le_bytes(), &tensors.to_le_bytes(), &keys.to_le_bytes()].concat()
    };
    for (file, expected) in [
        (b"GGML".to_vec(), "is no GGUF file"),
        (Vec::new(), "is no GGUF file"),
        (begin(1, 0, 0), "is of version 1 of the format; versions 2 and 3 are read"),
        (begin(0, 0, 0), "is of version 0"),
        (begin(4, 0, 0), "is of version 4"),
        (begin(3 << 24, 0, 0), "is big-endian"),
        (begin(3, 1 << 63, 0), "claims 9223372036854775808 tensors; at most 65536 are read"),
        (begin(3, 0, u64::MAX), "claims 18446744073709551615 keys"),
        (begin(3, 1 << 16, 0), "tensor 0 of 65536: 8 bytes are expected at byte 24 and 0 are left"),
        (begin(3, 0, 1 << 16), "key 0 of 65536: 8 bytes are expected"),
        (
            file(&[[&u64::MAX.to_le_bytes()[..], b"key"].concat()], &[], 0),
            "key 0 of 1: 18446744073709551615 bytes are exp",
        ),
        (file(&[key("a", 8, &(1_u64 << 40).to_le_bytes())], &[], 0), "a: 1099511627776 bytes are expected"),
        (file(&[list("a", 8, 1 << 63, &[])], &[], 0), "a: claims 9223372036854775808 items; at most 2097152"),
        (file(&[list("a", 0, 1 << 63, &[])], &[], 0), "a: 9223372036854775808 bytes are expected"),
        (file(&[list("a", 8, 1 << 21, &[])], &[], 0), "a: "),
        (file(&[list("a", 9, 1, &[])], &[], 0), "a: is an array of arrays"),
        (file(&[list("a", 13, 1, &[])], &[], 0), "a: is of type 13"),
        (file(&[key("a", 77, &[])], &[], 0), "a: is of type 77"),
        (file(&[key("a", 0, &[1]), key("a", 0, &[1])], &[], 0), "a: is there twice"),
        (file(&[key("\u{1b}[31m", 77, &[])], &[], 0), "\u{1b}[31m: is of type 77"),
        (file(&[[&1_u64.to_le_bytes()[..], &[0xff]].concat()], &[], 0), "key 0 of 1: the name at byte 24 is no UTF-8"),
        (file(&[text(&"k".repeat(5000))], &[], 0), "key 0 of 1: the name at byte 24 has 5000 bytes"),
        (file(&[], &[info(&"n".repeat(300), &[], 0, 0)], 32), "tensor 0 of 1: the name at byte 24 has 300 bytes"),
    ] {
        let message = refused(&file);
        assert!(message.starts_with(&format!("m.gguf: {expected}")), "{message}");
    }
}

#[test]
fn tensors_that_do_not_lie_in_the_file_are_refused() {
    let two = |second: Vec<u8>| vec![info("a", &[8], 0, 0), second];
    for (infos, expected) in [
        (vec![info("a", &[1, 1, 1, 1, 1], 0, 0)], "tensor 0 of 1: \"a\" has 5 dimensions"),
        (vec![info("a", &[1 << 63, 4], 0, 0)], "tensor \"a\" of F32 [4, 9223372036854775808] has an impossible size"),
        (
            vec![info("a", &[1 << 40, 1 << 24], 8, 0)],
            "tensor \"a\" of Q8_0 [16777216, 1099511627776] has an impossible",
        ),
        (vec![info("a", &[31, 32], 2, 0)], "tensor \"a\" of Q4_0 [32, 31] has rows that are no multiple of 32"),
        (vec![info("a", &[], 12, 0)], "tensor \"a\" of Q4_K [] has rows that are no multiple of 256"),
        (vec![info("a", &[9], 0, 0)], "tensor \"a\" has 36 bytes from byte 64 on, and the file has 96: truncated?"),
        (vec![info("a", &[8], 0, 64)], "tensor \"a\" begins at byte 64 of the data and not at 0"),
        (vec![info("a", &[8], 0, 33)], "tensor \"a\" begins at byte 33 of the data, no multiple of 32"),
        (vec![info("a", &[8], 0, u64::MAX)], "tensor \"a\" begins at byte 18446744073709551615"),
        (two(info("b", &[8], 0, 0)), "tensor \"b\" begins at byte 0 of the data and not at 32"),
        (two(info("b", &[8], 0, 32)), "tensor \"b\" has 32 bytes from byte"),
        (two(info("a", &[0], 0, 32)), "tensor \"a\" is there twice"),
        (vec![info("a", &[8], 99, 0), info("b", &[8], 0, 32)], "tensor \"b\" has 32 bytes from byte"),
    ] {
        let message = refused(&file(&[], &infos, 32));
        assert!(message.starts_with(&format!("m.gguf: {expected}")), "{message}");
    }
}

#[test]
fn parts_must_be_those_of_one_model() {
    let number = |name: &str, number: u16| key(name, 2, &number.to_le_bytes());
    let part = |place: u16, count: u16, tensor: &str| {
        file(&[number(SPLIT, count), number(SPLIT_PART, place)], &[info(tensor, &[2], 0, 0)], 32)
    };
    fn joined<'a>(files: &[&'a [u8]]) -> Result<GgufHeader<'a>, String> {
        let headers = files.iter().map(|file| GgufHeader::read("m.gguf", file).unwrap()).collect();
        join(headers).map_err(|error| error.to_string())
    }
    let refused = |files: &[&[u8]]| joined(files).err().expect("parts that do not fit were accepted");
    let (first, second) = (part(0, 2, "a"), part(1, 2, "b"));
    let whole = joined(&[&first, &second]).unwrap();
    assert_eq!((whole.tensors["a"].part, whole.tensors["b"].part), (0, 1));
    assert!(joined(&[&part(0, 1, "a")]).is_ok());
    let alone = refused(&[&part(0, 3, "a")]);
    assert!(
        alone.starts_with("m.gguf: split.count: the model is split into 3 files, and by its name into 1"),
        "{alone}"
    );
    assert!(refused(&[&first, &first]).ends_with("split.no: is 0, and by its name the file is 1"));
    assert!(refused(&[&first, &part(1, 2, "a")]).contains("\"a\" is also in a part before"));
    let counted = file(&[number(SPLIT, 2), number(SPLIT_TENSORS, 3)], &[info("a", &[2], 0, 0)], 32);
    assert!(refused(&[&counted, &second]).ends_with("split.tensors.count: is 3, and the files have 2"));
}

#[test]
fn a_type_that_is_not_known_is_no_error_yet() {
    let infos = [info("a", &[8], 99, 0), info("b", &[8], 0, 64), info("c", &[256], 16, 96)];
    let tensors = GgufHeader::read("m.gguf", &file(&[], &infos, 192)).unwrap().tensors;
    assert_eq!(tensors["a"].type_id, 99);
    assert_eq!((tensors["b"].bytes.len(), tensors["c"].bytes.len()), (32, 66));
}
