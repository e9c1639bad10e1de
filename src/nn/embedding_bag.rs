//! The whole of a static embedding: a table with one row for each token, and the mean of a text's rows.

use candle_core::Tensor;

use crate::gpu::{Number, Passes};
use crate::kernels::{Dtype, EmbeddingTable, Isa, WeightedTable, mean_row, unset};
use crate::memory::zeroed;
use crate::nn::device_states::DeviceStates;
use crate::nn::loader::tensor;
use crate::nn::rows::Rows;
use crate::nn::{Body, Loader, States};
use crate::profile::{Stage, Work, stage};
use crate::weights::HalfPrecision;
use crate::{Error, Result};

/// `table[mapping[id]] * weights[id]` of each token, and the mean of some.
pub struct EmbeddingBag {
    body: BagBody,
    /// Ids that have a row.
    ids: usize,
    width: usize,
}

enum BagBody {
    Cpu(Isa, WeightedTable),
    /// `[ids, width]`, with mapping and weights done.
    Portable(Tensor),
    /// The CPU's table: what is looked up and not multiplied gains nothing from being elsewhere.
    Gpu {
        passes: Passes,
        states: Number,
        isa: Isa,
        table: WeightedTable,
    },
}

/// The tensors of a bag.
pub struct BagTensors<'a> {
    /// `[rows, width]`, of floats or int8.
    pub table: &'a str,
    /// `[ids]`: the row of each id; None where an id is its row.
    pub mapping: Option<&'a str>,
    /// `[ids]`: what the row of each id is multiplied by; None where that is 1.
    pub weights: Option<&'a str>,
}

impl EmbeddingBag {
    pub fn load(at: &Loader, tensors: &BagTensors) -> Result<Self> {
        let &[rows, width] = at.shape(tensors.table).unwrap_or_default() else {
            let found =
                at.shape(tensors.table).map_or("is not there".to_owned(), |shape| format!("has shape {shape:?}"));
            return Err(at.error(tensors.table, format!("{found}; expected a table, [tokens, width]")));
        };
        if rows == 0 || width == 0 {
            return Err(at.error(tensors.table, format!("has shape [{rows}, {width}], and no numbers")));
        }
        let row_of = tensors.mapping.map(|name| at.indices(name, rows)).transpose()?;
        let ids = row_of.as_ref().map_or(rows, Vec::len);
        let weight_of = tensors.weights.map(|name| weights_of(at, name, ids)).transpose()?;
        let body = match at.body() {
            Body::Cpu { isa, dtype } => {
                let table = table(at, tensors.table, *dtype, [rows, width])?;
                BagBody::Cpu(*isa, WeightedTable { table, width, row_of, weight_of })
            }
            Body::Gpu { passes, types, isa } => {
                let table = table(at, tensors.table, Dtype::Float32, [rows, width])?;
                let table = WeightedTable { table, width, row_of, weight_of };
                BagBody::Gpu { passes: passes.clone(), states: types.states, isa: *isa, table }
            }
            Body::Portable { device, dtype } => {
                let table = table(at, tensors.table, Dtype::Float32, [rows, width])?;
                let folded = folded(&WeightedTable { table, width, row_of, weight_of }, ids)?;
                BagBody::Portable(tensor(&folded, &[ids, width], device, *dtype)?)
            }
        };
        Ok(Self { body, ids, width })
    }

    /// Ids that have a row: all below this.
    pub fn ids(&self) -> usize {
        self.ids
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether the CPU's kernels compute: [`Self::mean`] does so without tensors.
    pub fn is_on_kernels(&self) -> bool {
        matches!(self.body, BagBody::Cpu(..))
    }

    /// Writes the mean of the rows of `ids` to `out [width]`, by the CPU's kernels.
    pub fn mean(&self, ids: &[u32], out: &mut [f32]) {
        match &self.body {
            BagBody::Cpu(isa, table) => mean_row(*isa, table, ids, out),
            BagBody::Portable(_) | BagBody::Gpu { .. } => unreachable!("the caller asks whether kernels compute"),
        }
    }

    /// The rows of `ids`: `[ids, width]`.
    pub fn rows(&self, ids: &[u32]) -> Result<States> {
        stage(
            Stage::Embed,
            || Work::bytes(8 * self.width * ids.len()),
            || {
                Ok(match &self.body {
                    BagBody::Cpu(isa, table) => {
                        States::Cpu(Rows::written([ids.len(), self.width], |out| look_up(*isa, table, ids, out)))
                    }
                    BagBody::Gpu { passes, states, isa, table } => {
                        let mut rows = unset(ids.len() * self.width);
                        look_up(*isa, table, ids, &mut rows);
                        States::Gpu(DeviceStates::sent(passes, *states, &rows, self.width)?)
                    }
                    BagBody::Portable(table) => {
                        let ids = Tensor::from_slice(ids, ids.len(), table.device())?;
                        States::Portable(table.index_select(&ids, 0)?)
                    }
                })
            },
        )
    }
}

/// Writes the row of each of `ids` to `out [ids, width]`.
fn look_up(isa: Isa, table: &WeightedTable, ids: &[u32], out: &mut [f32]) {
    for (id, row) in ids.iter().zip(out.chunks_exact_mut(table.width)) {
        mean_row(isa, table, std::slice::from_ref(id), row);
    }
}

/// The table `name [rows, width]`. It is looked up and not multiplied: int8 of a file stays as it is where float32 is asked for, as
/// two bytes do, and int8 of another table would only lose digits.
fn table(at: &Loader, name: &str, dtype: Dtype, [rows, width]: [usize; 2]) -> Result<EmbeddingTable> {
    if at.is_int8(name) {
        let values = at.int8(name)?;
        let table = match dtype {
            Dtype::Float32 | Dtype::Int8 | Dtype::Int4 => EmbeddingTable::Int8(values),
            Dtype::Bfloat16 => EmbeddingTable::Bfloat16(halves(&values)?.into()),
            Dtype::Float16 => EmbeddingTable::Float16(halves(&values)?.into()),
        };
        at.count_packed(rows * width * if matches!(table, EmbeddingTable::Int8(_)) { 1 } else { 2 });
        return Ok(table);
    }
    if dtype.is_integer() {
        let message = format!(
            "a static embedding multiplies nothing, so that {} would only lose digits of its table; leave dtype out, or save \
             the table in int8 with model2vec",
            dtype.name()
        );
        return Err(Error::argument("dtype", message));
    }
    at.table(name, dtype, rows, width)
}

fn halves<H: HalfPrecision>(values: &[i8]) -> Result<Vec<H>> {
    let mut halves = zeroed(values.len(), "a table in two bytes")?;
    let values: Vec<f32> = values.iter().map(|&value| value.into()).collect();
    H::round(&values, &mut halves);
    Ok(halves)
}

/// The tensor `name [ids]`.
fn weights_of(at: &Loader, name: &str, ids: usize) -> Result<Vec<f32>> {
    match at.shape(name) {
        Some(&[n]) if n == ids => Ok(at.values(name, &[ids])?.into_owned()),
        found => {
            let found = found.unwrap_or_default();
            Err(at.error(name, format!("has shape {found:?}; expected one weight for each of {ids} tokens")))
        }
    }
}

/// The row of every id, `[ids, width]`.
fn folded(table: &WeightedTable, ids: usize) -> Result<Vec<f32>> {
    let mut rows = zeroed(ids.saturating_mul(table.width), "rows of all tokens")?;
    for (id, row) in rows.chunks_exact_mut(table.width).enumerate() {
        mean_row(Isa::available()[0], table, &[id as u32], row);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree, assert_halves_agree};

    const TENSORS: BagTensors = BagTensors { table: "embeddings", mapping: None, weights: Some("weights") };

    #[test]
    fn bodies_agree() {
        let checkpoint = Checkpoint::random(&[("embeddings", &[11, 20]), ("weights", &[11])]);
        assert_bodies_agree(&checkpoint, |at, _| EmbeddingBag::load(at, &TENSORS)?.rows(&[10, 0, 3, 3]));
    }

    #[test]
    fn halves_agree_with_float32() {
        let checkpoint = Checkpoint::random(&[("embeddings", &[11, 20]), ("weights", &[11])]);
        assert_halves_agree(&checkpoint, |at, _| EmbeddingBag::load(at, &TENSORS)?.rows(&[10, 0, 3, 3]));
    }
}
