//! Adapters of tasks that lie beside the weights, as PyTorch's parametrizations do: LoRA, added to the weights as they are read.
//!
//! ```text
//! PATH.parametrizations.weight.original [n, k]                                     what counts without a task
//! ….0.lora_A [tasks, r, k], ….0.lora_B [tasks, n, r]                               + alpha / r · B_t · A_t
//! of a table: ….0.lora_A [tasks, n, r], ….0.lora_B [tasks, r, k]                   + alpha / r · A_t · B_t
//! ```
//!
//! Source: jina-embeddings-v3's `modeling_lora.py`.

use std::collections::BTreeMap;

use super::Weights;
use super::low_rank::LowRank;
use super::weight::Weight;
use crate::Result;
use crate::memory::owned;

const A: &str = ".0.lora_A";
const B: &str = ".0.lora_B";
const ORIGINAL: &str = ".original";

impl Weights {
    /// Whether the checkpoint holds adapters of tasks.
    pub fn has_task_adapters(&self) -> bool {
        self.adapted().next().is_some()
    }

    /// The weights with the adapter at `place` of so many `tasks`.
    ///
    /// # Errors
    /// [`crate::Error::Model`] where a weight has no adapter for each task, or one that does not fit.
    pub fn with_task(mut self, place: usize, tasks: usize, alpha: f64) -> Result<Self> {
        let mut sums = BTreeMap::new();
        for original in self.adapted() {
            let module = original.strip_suffix(ORIGINAL).unwrap_or(original);
            sums.insert(original.to_owned(), self.low_rank(original, module, [place, tasks], alpha)?);
        }
        self.sums.append(&mut sums);
        Ok(self)
    }

    /// The names of weights that adapters lie beside.
    fn adapted(&self) -> impl Iterator<Item = &str> {
        let module = |name: &str| name.strip_suffix(ORIGINAL).map(|module| format!("{module}{A}"));
        self.names().filter(move |name| module(name).is_some_and(|adapter| self.contains(&adapter)))
    }

    fn low_rank(&self, original: &str, module: &str, [place, tasks]: [usize; 2], alpha: f64) -> Result<LowRank> {
        let shape = self.get_any(original)?.shape().to_vec();
        let (a, b) = (self.get_any(&format!("{module}{A}"))?, self.get_any(&format!("{module}{B}"))?);
        let (is_table, rank) = match (a.shape(), b.shape(), &shape[..]) {
            (&[t, r, inputs], &[u, outputs, s], &[n, k])
                if r == s && [inputs, outputs] == [k, n] && [t, u] == [tasks; 2] =>
            {
                (false, r)
            }
            (&[t, rows, r], &[u, s, columns], &[n, k])
                if r == s && [rows, columns] == [n, k] && [t, u] == [tasks; 2] =>
            {
                (true, r)
            }
            _ => (false, 0),
        };
        if rank == 0 || shape.contains(&0) {
            let message = format!(
                "has shape {:?}, and its other half {:?}; {original:?} has {shape:?}, and config.json names {tasks} tasks",
                a.shape(),
                b.shape()
            );
            return Err(a.error(message));
        }
        let of_task = |weight: Weight| owned(weight.rows(place..place + 1).to_f32()?, || module.to_owned());
        let (a, b) = (of_task(a)?, of_task(b)?);
        let (left, right) = if is_table { (a, b) } else { (b, a) };
        Ok(LowRank::new(left, right, rank, (alpha / rank as f64) as f32))
    }
}
