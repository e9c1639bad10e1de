//! What attention layers may add to their scores: the trait of such a bias, and the relative shift, by which the
//! portable bodies of biases go from distances to pairs of positions.
//!
//! Relative shift ("rel_shift" of Transformer-XL, Dai et al. 2019; "skewing" of the Music Transformer, Huang et al.
//! 2019). A table by distance has for each query `i` a row of `rows + columns` numbers, one for each distance; the
//! number for key `j` is in column `rows - 1 - i + j`. Read from the flat memory as rows of one number fewer, each row
//! begins one number earlier than the one before it, and so the number for key `j` is in the same column of every row:
//! no gather is needed.

use candle_core::Tensor;

use crate::gpu::ScoreBias;
use crate::kernels;

/// What a layer adds to its scores, after they are multiplied by the scale.
pub trait AttentionBias: Send + Sync {
    fn kernel(&self) -> &dyn kernels::Bias;

    /// The same, where the body is a GPU's.
    fn on_gpu(&self) -> &ScoreBias;

    /// Column of the portable body's table for this distance of a key from its query, positive where the key comes
    /// after it.
    fn column(&self, distance: isize) -> u32;

    /// The bias, `[texts or 1, heads, queries, keys]` in float32, for `q [texts, heads, queries, head_dim]` and
    /// `k [texts, heads, keys, head_dim]`. `columns [2, queries + keys]`: those of distances, in the order that
    /// [`relative_shift`] takes from rows of queries, and from rows of keys.
    fn portable(&self, q: &Tensor, k: &Tensor, columns: &Tensor) -> candle_core::Result<Tensor>;
}

/// `x [texts, rows, rows + columns]`, by distance, as `[texts, rows, columns]`, by position: row `i` begins at its
/// element `rows - 1 - i`.
pub(super) fn relative_shift(x: &Tensor) -> candle_core::Result<Tensor> {
    let (texts, rows, both) = x.dims3()?;
    let columns = both - rows;
    x.reshape((texts, rows * both))?
        .narrow(1, rows - 1, rows * (both - 1))?
        .reshape((texts, rows, both - 1))?
        .narrow(2, 0, columns)
}

/// `x [heads, queries + keys]`, by distance, as `[1, heads, queries, keys]`, by position: the bias of a layer that depends on
/// nothing but the distance.
pub(super) fn by_position(x: &Tensor, queries: usize) -> candle_core::Result<Tensor> {
    relative_shift(&x.unsqueeze(1)?.repeat((1, queries, 1))?)?.unsqueeze(0)
}
