//! Scaled dot-product attention (Vaswani et al. 2017) over packed sequences.
//!
//! ```text
//! for (sequence, head), each on one thread:
//!     keys -> panels [head_dim, width]; values -> [keys, head_dim]
//!     for a few query rows:
//!         scores = rows · keysᵀ                    as tiles: [rows, keys]
//!         scores = scores * scale + bias           minus infinity where the mask hides a key
//!         weights = exp(scores - max(scores))      a row's maximum first, then its exponentials and their sum
//!         out = (weights · values) / Σ weights
//! ```
//!
//! The softmax takes two passes over whole rows of scores; it is not the online softmax (Milakov and Gimelshein 2018)
//! of FlashAttention (Dao et al. 2022). Like the latter it never holds `[len, len]` scores and divides the outputs,
//! which are fewer than the weights; but it cuts queries alone into blocks and not keys: six rows of scores stay in the
//! cache at any length that a model takes, so that no sum has to be scaled again.
//!
//! Why it is right: subtracting the maximum changes no quotient, all exponentials are at most 1, and one of them is 1,
//! so that nothing overflows and the sum is not zero. A row depends on nothing but its own sequence: its bits are the
//! same in every batch.
//!
//! `shape.rs` says what attends and where it lies, `task.rs` what one thread takes, `bias.rs` what may be added to
//! scores, `panels.rs` how keys are cut; `float.rs` and `int8.rs` are the two arithmetics, `disentangled.rs` is
//! DeBERTa's bias.

mod bias;
mod disentangled;
mod float;
mod int8;
mod panels;
mod shape;
mod task;

use crate::kernels::aligned::scratch;
use crate::kernels::{Dtype, Isa, parallel_for};

pub use bias::{Bias, BiasHead, BiasRows};
pub use disentangled::{Buckets, DisentangledBias};
pub use shape::{AttentionShape, Mask};
pub use task::AttentionInputs;
use task::{HeadsOutput, Tasks};

/// Writes `out [tokens, heads * head_dim]`, or `[sequences, heads * head_dim]` for one token of each; with
/// a dtype [of integers](Dtype::is_integer) in integers unless tokens see only what is before them, else in float32. (Integers have a scale that
/// all values of a text agree on: a token's output would depend on what comes after it.)
pub fn attention(isa: Isa, dtype: Dtype, shape: &AttentionShape, inputs: AttentionInputs, out: &mut [f32]) {
    let AttentionInputs { qkv, offsets, past, bias, rows } = inputs;
    let AttentionShape { heads, kv_heads, head_dim, mask, .. } = *shape;
    let tokens = *offsets.last().expect("offsets start with 0") as usize;
    assert!(offsets.is_sorted(), "offsets are cumulative");
    assert!(heads.is_multiple_of(kv_heads), "heads share keys evenly");
    assert_eq!(qkv.len(), tokens * shape.width(), "qkv holds all tokens");
    assert_eq!(out.len(), rows.map_or(tokens, <[u32]>::len) * heads * head_dim, "out holds all rows");
    let within = |(text, row): (&[u32], &u32)| (text[0]..text[1]).contains(row);
    assert!(
        rows.is_none_or(|rows| rows.len() + 1 == offsets.len() && offsets.windows(2).zip(rows).all(within)),
        "each sequence has one of the rows"
    );
    let past_tokens = past.len() / (2 * kv_heads * head_dim);
    assert!(past.is_empty() || mask.is_causal() && bias.is_none(), "only what looks back has a past");
    let sequences = offsets.len() - 1;
    let longest = offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0);
    let out = HeadsOutput(out.as_mut_ptr());
    let pairs = |pair: &[u32]| {
        let len = (pair[1] - pair[0]) as usize;
        len * (len + past_tokens)
    };
    let pairs: usize = offsets.windows(2).map(pairs).sum();
    let work = 2 * pairs * head_dim / sequences.max(1);
    parallel_for(sequences * heads, work, |tasks| {
        let tasks = Tasks { shape, inputs, past_tokens, out: &out, tasks };
        let keys = past_tokens + longest;
        let bias_memory = bias.map_or(0, |bias| bias.memory_for(longest));
        // Around `run` and not inside it: a closure in there would be compiled without the instruction set.
        match dtype {
            _ if dtype.is_integer() && !mask.is_causal() => scratch(int8::memory_for(longest, head_dim), |memory| {
                scratch(bias_memory, |bias_memory| isa.run_int8(int8::Int8Attention { tasks, memory, bias_memory }));
            }),
            _ => scratch(float::memory_for(keys, head_dim), |memory| {
                scratch(bias_memory, |bias_memory| isa.run(float::FloatAttention { tasks, memory, bias_memory }));
            }),
        }
    });
}

#[cfg(test)]
mod tests;
