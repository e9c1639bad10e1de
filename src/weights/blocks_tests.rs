use std::collections::BTreeMap;
use std::{fs, path};

use serde::Deserialize;

use super::blocks::BlockType;

/// Blocks as a file has them, and their numbers by the reference, in hexadecimal digits.
#[derive(Deserialize)]
struct Golden {
    id: u32,
    blocks: String,
    numbers: String,
}

fn bytes(digits: &str) -> Vec<u8> {
    let digit = |digit: u8| (digit as char).to_digit(16).unwrap() as u8;
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Bits of the numbers that whole blocks decode to.
fn decode(block: &BlockType, blocks: &[u8]) -> Vec<u32> {
    let mut out = vec![f32::NAN; blocks.len() / block.bytes * block.numbers];
    block.decode.expect("a type that is read")(blocks, &mut out);
    out.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn decodes_to_the_bits_of_the_reference() {
    let file = path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf_blocks.json");
    let golden: BTreeMap<String, Golden> = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let decoded = BlockType::decoded();
    assert!(decoded.split(", ").all(|name| golden.contains_key(name)), "{decoded}");
    for (name, Golden { id, blocks, numbers }) in golden {
        let block = BlockType::numbered(id).unwrap();
        let (blocks, numbers) = (bytes(&blocks), bytes(&numbers));
        let expected: Vec<_> = numbers.as_chunks::<4>().0.iter().map(|&number| u32::from_le_bytes(number)).collect();
        assert_eq!(decode(block, &blocks), expected, "{name}");
        // At an odd address, and each block by itself.
        let odd = [&[0], &blocks[..]].concat();
        let each: Vec<_> = odd[1..].chunks(block.bytes).flat_map(|one| decode(block, one)).collect();
        assert_eq!(each, expected, "{name}");
    }
}

#[test]
fn types_are_told_by_their_numbers() {
    assert_eq!(BlockType::numbered(12).unwrap().name, "Q4_K");
    assert_eq!(BlockType::numbered(16).map(|block| (block.name, block.decode.is_none())), Some(("IQ2_XXS", true)));
    assert!([4, 5, 31, 33, 99, u32::MAX].into_iter().all(|id| BlockType::numbered(id).is_none()));
}
