//! Rows as an Arrow stream: arrow.apache.org/docs/format/Columnar.html, "Serialization and Interprocess Communication".
//!
//! One column `embedding` of lists of one length, float32, no nulls; one batch. The messages before the numbers are FlatBuffers, which
//! are alike for all streams but for five numbers: they are kept as pyarrow writes them for one list of one number, and the five
//! numbers are put in their places. `tests/test_serve_arrow.py` compares whole streams with pyarrow's. The crate `arrow-ipc` writes the
//! same with ten more crates.

/// The media type of such a stream.
pub(super) const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

const SCHEMA: &[u8; 184] = include_bytes!("arrow_messages/schema.bin");
const BATCH: &[u8; 176] = include_bytes!("arrow_messages/batch.bin");
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Place of a list's length in the schema.
const WIDTH: usize = 112;
/// Places in the head of a batch: bytes of its body, bytes of the numbers, lists, and again lists and numbers.
const BODY_BYTES: usize = 40;
const VALUE_BYTES: usize = 128;
const ROWS: [usize; 2] = [72, 144];
const VALUES: usize = 160;

/// Bodies end at a multiple of so many bytes.
const ALIGNMENT: usize = 8;

/// The stream of `values` `[rows, width]`.
pub(super) fn arrow_stream(values: &[f32], width: usize) -> Vec<u8> {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    let padded = bytes.len().next_multiple_of(ALIGNMENT);
    let rows = values.len() / width.max(1);
    let mut stream = Vec::with_capacity(SCHEMA.len() + BATCH.len() + padded + END.len());
    stream.extend_from_slice(SCHEMA);
    // No model's vectors are that wide.
    stream[WIDTH..WIDTH + 4].copy_from_slice(&(width as i32).to_le_bytes());
    let mut head = *BATCH;
    let mut put = |place: usize, number: usize| head[place..place + 8].copy_from_slice(&(number as i64).to_le_bytes());
    put(BODY_BYTES, padded);
    put(VALUE_BYTES, bytes.len());
    ROWS.into_iter().for_each(|place| put(place, rows));
    put(VALUES, values.len());
    stream.extend_from_slice(&head);
    stream.extend_from_slice(bytes);
    stream.resize(SCHEMA.len() + BATCH.len() + padded, 0);
    stream.extend_from_slice(&END);
    stream
}
