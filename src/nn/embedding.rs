//! The input of a transformer: rows of one or several tables, added and normalized, or multiplied by a constant.

use candle_core::Tensor;

use crate::Result;
use crate::gpu::{Number, Passes};
use crate::kernels::{Dtype, EmbeddingTable, Isa, RowNorm, embed, unset};
use crate::nn::device_states::DeviceStates;
use crate::nn::loader::tensor;
use crate::nn::rows::Rows;
use crate::nn::{Body, Loader, Norm, States};
use crate::profile::{Stage, Work, stage};

/// `norm(Σ table[ids])` over the tables, or `factor Σ table[ids]`.
pub struct Embedding {
    tables: EmbeddingBody,
    norm: Option<Norm>,
    factor: f32,
    hidden: usize,
}

enum EmbeddingBody {
    Cpu(Isa, Vec<EmbeddingTable>),
    /// Tables `[rows, hidden]`.
    Portable(Vec<Tensor>),
    /// Tables that stay on the CPU: of a vocabulary's rows a pass needs few.
    Gpu {
        passes: Passes,
        states: Number,
        isa: Isa,
        tables: Vec<EmbeddingTable>,
    },
}

impl Embedding {
    /// `tables`: each with its number of rows; each has `weight [rows, hidden]`.
    pub fn load(tables: &[(Loader, usize)], norm: Option<Norm>, hidden: usize) -> Result<Self> {
        let tables = match tables[0].0.body() {
            Body::Cpu { isa, dtype } => EmbeddingBody::Cpu(*isa, load_tables(tables, *dtype, hidden)?),
            body @ Body::Gpu { passes, types, isa } => EmbeddingBody::Gpu {
                passes: passes.clone(),
                states: types.states,
                isa: *isa,
                tables: load_tables(tables, body.dtype(), hidden)?,
            },
            Body::Portable { device, dtype } => EmbeddingBody::Portable(
                tables
                    .iter()
                    .map(|(at, rows)| {
                        let shape = [*rows, hidden];
                        tensor(&at.weights("weight", &shape)?, &shape, device, *dtype)
                    })
                    .collect::<Result<_>>()?,
            ),
        };
        Ok(Self { tables, norm, factor: 1.0, hidden })
    }

    /// The same tables, without a norm: rows are multiplied by `factor`, as Gemma does.
    pub fn scaled(self, factor: f32) -> Self {
        Self { factor, ..self }
    }

    /// `ids`: for each table, `[tokens]` rows of it, which must be below its number of rows. Gives `[tokens, hidden]`.
    pub fn forward(&self, ids: &[&[u32]]) -> Result<States> {
        // A row of each table is read, one is written.
        let work = || Work::bytes(4 * self.hidden * ids[0].len() * (ids.len() + 1));
        stage(Stage::Embed, work, || self.sum_rows(ids))
    }

    fn sum_rows(&self, ids: &[&[u32]]) -> Result<States> {
        let tokens = ids[0].len();
        Ok(match &self.tables {
            EmbeddingBody::Cpu(isa, tables) => {
                let norm = self.norm.as_ref().map(Norm::kernel);
                States::Cpu(Rows::written([tokens, self.hidden], |out| self.look_up(*isa, tables, ids, norm, out)))
            }
            EmbeddingBody::Gpu { passes, states, isa, tables } => {
                let mut sum = unset(tokens * self.hidden);
                self.look_up(*isa, tables, ids, None, &mut sum);
                let sum = States::Gpu(DeviceStates::sent(passes, *states, &sum, self.hidden)?);
                match &self.norm {
                    Some(norm) => norm.forward(&sum)?,
                    None => sum,
                }
            }
            EmbeddingBody::Portable(tables) => {
                let ids = Tensor::from_vec(ids.concat(), (ids.len(), tokens), tables[0].device())?;
                let mut rows = tables.iter().enumerate().map(|(i, table)| table.index_select(&ids.get(i)?, 0));
                let first = rows.next().expect("an embedding has a table")?;
                let sum = rows.try_fold(first, |sum, row| sum + row?)?;
                States::Portable(match &self.norm {
                    Some(norm) => norm.0.apply(&sum)?,
                    None if self.factor == 1.0 => sum,
                    None => (sum * f64::from(self.factor))?,
                })
            }
        })
    }

    /// Writes the sum of the tables' rows, by the CPU's kernels.
    fn look_up(&self, isa: Isa, tables: &[EmbeddingTable], ids: &[&[u32]], norm: Option<&RowNorm>, out: &mut [f32]) {
        let rows: Vec<_> = tables.iter().zip(ids.iter().copied()).collect();
        embed(isa, &rows, norm, self.hidden, out);
        if self.factor != 1.0 {
            out.iter_mut().for_each(|x| *x *= self.factor);
        }
    }
}

fn load_tables(tables: &[(Loader, usize)], dtype: Dtype, hidden: usize) -> Result<Vec<EmbeddingTable>> {
    tables.iter().map(|(at, rows)| at.table("weight", dtype, *rows, hidden)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::testing::{Checkpoint, assert_bodies_agree, assert_halves_agree};

    #[test]
    fn bodies_agree() {
        let checkpoint = Checkpoint::random(&[
            ("words.weight", &[11, 20]),
            ("positions.weight", &[5, 20]),
            ("norm.weight", &[20]),
            ("norm.bias", &[20]),
        ]);
        assert_bodies_agree(&checkpoint, |at, _| {
            let tables = [(at.at("words"), 11), (at.at("positions"), 5)];
            let norm = Norm::layer_norm(&at.at("norm"), 20, 1e-12)?;
            Embedding::load(&tables, Some(norm), 20)?.forward(&[&[10, 0, 3, 3], &[0, 1, 4, 0]])
        });
        assert_bodies_agree(&checkpoint, |at, _| {
            Embedding::load(&[(at.at("words"), 11)], None, 20)?.forward(&[&[10, 0]])
        });
        assert_bodies_agree(&checkpoint, |at, _| {
            Embedding::load(&[(at.at("words"), 11)], None, 20)?.scaled(4.5).forward(&[&[10, 0]])
        });
    }

    #[test]
    fn halves_agree_with_float32() {
        let checkpoint = Checkpoint::random(&[("words.weight", &[11, 20]), ("positions.weight", &[5, 20])]);
        assert_halves_agree(&checkpoint, |at, _| {
            let tables = [(at.at("words"), 11), (at.at("positions"), 5)];
            Embedding::load(&tables, None, 20)?.forward(&[&[10, 0, 3, 3], &[0, 1, 4, 0]])
        });
    }
}
