//! Matrices that are kept in files.

use std::sync::Arc;

use memmap2::{Mmap, MmapMut};

use super::*;
use crate::kernels::testing::numbers;

/// The buffers of a matrix as a file has them.
fn file(matrix: &Matrix) -> Vec<u8> {
    let mut bytes = Vec::new();
    for buffer in matrix.buffers() {
        bytes.extend(buffer);
        bytes.resize(bytes.len().next_multiple_of(64), 0);
    }
    bytes
}

fn mapped(bytes: &[u8]) -> FileBytes {
    let mut map = MmapMut::map_anon(64 + bytes.len()).unwrap();
    map[64..].copy_from_slice(bytes);
    let map: Mmap = map.make_read_only().unwrap();
    let len = map.len();
    FileBytes::new(Arc::new(map), 64..len)
}

const TYPES: [Dtype; 2] = [Dtype::Int8, Dtype::Int4];

#[test]
fn a_file_gives_the_bits_that_were_packed() {
    for (isa, dtype) in Isa::available().into_iter().flat_map(|isa| TYPES.map(|dtype| (isa, dtype))) {
        for (n, k, sensitive) in [(1, 1, 0), (15, 3, 2), (17, 31, 16), (64, 40, 0), (131, 312, 44), (30, 16, 15)] {
            let (x, weight, bias) = (numbers(5 * k, 1), numbers(n * k, 2), numbers(n, 3));
            let mut packed = Matrix::zeroed(isa, dtype, [n, k], sensitive).unwrap();
            packed.set_rows(0, &weight, Some(&bias)).unwrap();
            let bytes = file(&packed);
            let read = Matrix::of_file(isa, dtype, [n, k], sensitive, mapped(&bytes)).unwrap();
            let [mut expected, mut out] = [(); 2].map(|()| vec![f32::NAN; 5 * n]);
            packed.apply(&x, Activation::Gelu, &mut expected);
            read.apply(&x, Activation::Gelu, &mut out);
            assert_eq!(out, expected, "{} {dtype:?} {n}x{k}", isa.name());
            assert_eq!(read.weight_bytes(), packed.weight_bytes());

            let longer = [&bytes[..], &[0; 64]].concat();
            for wrong in [&bytes[..bytes.len() - 64], &longer, &bytes[64..], &[]] {
                assert!(Matrix::of_file(isa, dtype, [n, k], sensitive, mapped(wrong)).is_none());
            }
        }
    }
}

#[test]
#[should_panic(expected = "a file's weights are not written to")]
fn what_a_file_holds_is_not_written_to() {
    let isa = Isa::named("scalar").unwrap();
    let packed = Matrix::new(isa, Dtype::Int8, &numbers(12, 1), None, 3, 4).unwrap();
    let mut read = Matrix::of_file(isa, Dtype::Int8, [3, 4], 0, mapped(&file(&packed))).unwrap();
    let _ = read.set_rows(0, &numbers(4, 2), None);
}

/// FNV-1a (Fowler, Noll, Vo).
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn a_change_of_the_bytes_is_a_new_version_of_the_layout() {
    let isa = Isa::named("scalar").unwrap();
    let hashes = TYPES.map(|dtype| {
        let mut matrix = Matrix::zeroed(isa, dtype, [23, 37], 5).unwrap();
        matrix.set_rows(0, &numbers(23 * 37, 1), Some(&numbers(23, 2))).unwrap();
        format!("{:x}", hash(&file(&matrix)))
    });
    // Where this fails, raise the version in `panel_layout`, and put the new values here.
    assert_eq!(panel_layout(isa), "version 1, panels of 8 columns, vectors of 4, sums in 32 bits");
    assert_eq!(hashes, ["204cdbe0231e90cb", "5cdf152a881f31bd"]);
}
