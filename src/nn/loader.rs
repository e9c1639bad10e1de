//! Reads the tensors of a checkpoint, by names relative to a prefix (PyTorch's module paths), in the form that a
//! block's body wants.

use std::borrow::Cow;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};

use crate::kernels::{DecodeRow, Dtype, EmbeddingTable, Isa, Matrix};
use crate::memory::{owned, room};
use crate::nn::Body;
use crate::nn::panels::{MatrixPacking, PanelPart, mapped_table, packed};
use crate::weights::{Codes, WRAPPERS, Weight, Weights};
use crate::{Error, Result};

/// The tensors of a checkpoint below a prefix. Names are joined by dots, as PyTorch joins those of modules.
#[derive(Clone)]
pub struct Loader<'a> {
    weights: &'a Weights,
    body: Body,
    prefix: String,
    rows: Option<SelectedRows>,
    threads: usize,
}

/// Rows of tensors that have `all` rows.
#[derive(Clone)]
struct SelectedRows {
    range: Range<usize>,
    all: usize,
}

impl<'a> Loader<'a> {
    /// All tensors: below the names of wrappers, where every tensor is below them.
    pub fn new(weights: &'a Weights, body: &Body) -> Self {
        let root = Self { weights, body: body.clone(), prefix: String::new(), rows: None, threads: 1 };
        let wraps_all = |at: &Self| {
            let prefix = format!("{}.", at.prefix);
            let mut names = weights.names().peekable();
            names.peek().is_some() && names.all(|name| name.starts_with(&prefix))
        };
        let inner = |at: &Self| WRAPPERS.iter().map(|name| at.at(name)).find(wraps_all);
        std::iter::successors(Some(root.clone()), inner).last().unwrap_or(root)
    }

    /// The same tensors, with so many threads for what is loaded of them.
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// What `load` gives for each number below `count`, as layers are loaded: on several threads where the CPU's kernels compute.
    ///
    /// # Errors
    /// The first one, by number.
    pub fn load_each<T: Send>(&self, count: usize, load: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
        let threads = if matches!(self.body, Body::Cpu { .. }) { self.threads.min(count) } else { 1 };
        if threads <= 1 {
            return (0..count).map(load).collect();
        }
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || {
            let mut loaded = Vec::new();
            while !failed.load(Ordering::Relaxed) {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= count {
                    break;
                }
                let result = load(i);
                failed.fetch_or(result.is_err(), Ordering::Relaxed);
                loaded.push((i, result));
            }
            loaded
        };
        let mut all = thread::scope(|scope| {
            // Where no thread can be had, those that there are do the work.
            let spawn = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
            let others: Vec<_> = (1..threads).filter_map(spawn).collect();
            let mut all = work();
            for other in others {
                all.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            all
        });
        all.sort_unstable_by_key(|&(i, _)| i);
        all.into_iter().map(|(_, result)| result).collect()
    }

    /// The tensors below `name`.
    pub fn at(&self, name: &str) -> Self {
        Self { prefix: self.full(name), ..self.clone() }
    }

    /// The tensors below `name` if `tensor` is there, else these: checkpoints with a task's head keep the network below
    /// its `base_model_prefix`, others do not.
    pub fn at_if_contains(&self, name: &str, tensor: &str) -> Self {
        let at = self.at(name);
        if at.contains(tensor) { at } else { self.clone() }
    }

    /// As if the tensors here, of `all` rows, had these `rows` alone: checkpoints may hold several layers in one
    /// tensor.
    pub fn rows(&self, range: Range<usize>, all: usize) -> Self {
        Self { rows: Some(SelectedRows { range, all }), ..self.clone() }
    }

    /// The same tensors for a body with weights in float32, whatever type it holds others in.
    pub fn in_float32(&self) -> Self {
        Self { body: self.body.in_float32(), ..self.clone() }
    }

    /// The same tensors for a body that holds them in the type of matrices whose errors weigh most.
    pub fn sensitive(&self) -> Self {
        let body = match self.body.clone() {
            Body::Cpu { isa, dtype } => Body::Cpu { isa, dtype: dtype.of_sensitive() },
            other => other,
        };
        Self { body, ..self.clone() }
    }

    pub fn body(&self) -> &Body {
        &self.body
    }

    /// As [`Weights::is_int8`].
    pub fn is_int8(&self, name: &str) -> bool {
        self.weights.is_int8(&self.full(name))
    }

    /// As [`Weights::shape`].
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weights.shape(&self.full(name))
    }

    /// As [`Weights::count_packed`].
    pub fn count_packed(&self, bytes: usize) {
        self.weights.count_packed(bytes);
    }

    /// As [`Weights::int8`].
    pub fn int8(&self, name: &str) -> Result<Vec<i8>> {
        self.weights.int8(&self.full(name))
    }

    /// As [`Weights::indices`].
    pub fn indices(&self, name: &str, rows: usize) -> Result<Vec<u32>> {
        self.weights.indices(&self.full(name), rows)
    }

    /// What is wrong with the tensor `name`; `message` goes on from its name.
    pub fn error(&self, name: &str, message: impl std::fmt::Display) -> Error {
        self.weights.error(&self.full(name), message)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.weights.contains(&self.stored(name))
    }

    /// The tensor `name` in float32, row-major.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Cow<'a, [f32]>> {
        let values = self.tensor(name, shape)?.to_f32()?;
        self.weights.count_packed(size_of_val(&*values));
        Ok(values)
    }

    /// As [`Self::values`], for a tensor that will be held in the body's type: an error where that cannot hold a number
    /// of it.
    pub fn weights(&self, name: &str, shape: &[usize]) -> Result<Cow<'a, [f32]>> {
        let values = in_range(&self.tensor(name, shape)?, self.body.dtype())?;
        self.weights.count_packed(self.body.dtype().bytes_of(values.len()));
        Ok(values)
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Weight<'a>> {
        let weight = match &self.rows {
            None => self.weights.get(&self.stored(name), shape)?,
            Some(SelectedRows { range, all }) => {
                let whole = self.weights.get(&self.stored(name), &[&[*all], &shape[1..]].concat())?;
                whole.rows(range.clone())
            }
        };
        self.weights.count_parameters(&self.stored(name), shape.iter().product());
        Ok(weight)
    }

    /// The tensor by its older name, `names[1]`, if it is there, else by `names[0]`.
    pub fn either(&self, names: [&str; 2], shape: &[usize]) -> Result<Cow<'a, [f32]>> {
        self.values(if self.contains(names[1]) { names[1] } else { names[0] }, shape)
    }

    /// The name that the checkpoint has for a tensor: its own, or that of its original, where low-rank adapters lie beside it
    /// as PyTorch's parametrizations do: see `weights/task_adapters.rs`.
    fn stored(&self, name: &str) -> String {
        let full = self.full(name);
        let Some((module, tensor)) = full.rsplit_once('.') else { return full };
        let parametrized = format!("{module}.parametrizations.{tensor}");
        match self.weights.contains(&format!("{parametrized}.0.lora_A")) {
            true => format!("{parametrized}.original"),
            false => full,
        }
    }

    fn full(&self, name: &str) -> String {
        match self.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}.{name}"),
        }
    }

    /// `weight [n, k]` and, where `bias`, `bias [n]` of each part, packed one after the other, in the type of the body; the
    /// last `sensitive` rows in that of matrices whose errors weigh most.
    pub fn matrix(
        isa: Isa,
        dtype: Dtype,
        parts: &[Self],
        [n, k]: [usize; 2],
        bias: bool,
        sensitive: usize,
    ) -> Result<Matrix> {
        let panels = MatrixPacking { isa, dtype, shape: [parts.len() * n, k], sensitive };
        let weights = parts.iter().map(|part| part.part("weight", n * k)).collect();
        let biases = parts.iter().filter(|_| bias).map(|part| part.part("bias", n)).collect();
        packed(parts[0].weights, &panels, weights, biases, || {
            // All of them before any memory is taken: sizes that only the configuration claims end here.
            let weights: Vec<_> = parts.iter().map(|part| part.tensor("weight", &[n, k])).collect::<Result<_>>()?;
            let bytes = dtype.bytes_of(n.saturating_mul(k));
            let no_memory = |weight: &Weight| Error::memory(weight.what(), bytes);
            let matrix = Matrix::zeroed(isa, dtype, panels.shape, sensitive);
            let mut matrix = matrix.map_err(|_| no_memory(&weights[0]))?;
            for (i, (part, weight)) in parts.iter().zip(&weights).enumerate() {
                let bias = if bias { Some(part.values("bias", &[n])?) } else { None };
                for start in (0..n).step_by(ROWS) {
                    let end = n.min(start + ROWS);
                    let bias = bias.as_deref().map(|bias| &bias[start..end]);
                    let set = matrix.set_rows(i * n + start, &in_range(&weight.rows(start..end), dtype)?, bias);
                    set.map_err(|_| no_memory(weight))?;
                }
            }
            parts[0].count_packed(matrix.weight_bytes());
            Ok(matrix)
        })
    }

    /// Where all of the tensors are.
    pub(super) fn checkpoint(&self) -> &'a Weights {
        self.weights
    }

    /// The tensor `name` of a matrix, of which there are so many numbers here.
    pub(super) fn part(&self, name: &str, numbers: usize) -> PanelPart {
        let rows = self.rows.as_ref().map(|rows| rows.range.clone());
        PanelPart { name: self.stored(name), rows, numbers }
    }

    /// `name [rows, hidden]`; a table is looked up and not multiplied, so it gains nothing from int8 but its error.
    pub(super) fn table(&self, name: &str, dtype: Dtype, rows: usize, hidden: usize) -> Result<EmbeddingTable> {
        let weight = self.tensor(name, &[rows, hidden])?;
        let what = || weight.what();
        if let Some(table) = mapped_table(self.weights, &self.stored(name)).filter(|_| self.rows.is_none()) {
            self.count_packed(rows * hidden * if matches!(table, EmbeddingTable::Float32(_)) { 4 } else { 2 });
            return Ok(table);
        }
        if let Some(codes) = weight.codes() {
            self.weights.count_packed(codes.bytes());
            // All of them once, so that none that is no number is found later: when a model is packed, it was done.
            let unknown = if self.weights.panels().is_some() { 0 } else { rows };
            (0..unknown)
                .step_by(ROWS)
                .try_for_each(|start| weight.rows(start..rows.min(start + ROWS)).to_f32().map(drop))?;
            return Ok(EmbeddingTable::Coded(Box::new(codes.clone().into_owned())));
        }
        let table = match dtype {
            Dtype::Bfloat16 => EmbeddingTable::Bfloat16(owned(weight.to_half()?, what)?.into()),
            Dtype::Float16 => EmbeddingTable::Float16(owned(weight.to_half()?, what)?.into()),
            // Rows are widened as they are looked up: what the file holds in two bytes needs no more here.
            _ if weight.holds::<bf16>() => EmbeddingTable::Bfloat16(owned(weight.to_half()?, what)?.into()),
            _ if weight.holds::<f16>() => EmbeddingTable::Float16(owned(weight.to_half()?, what)?.into()),
            Dtype::Float32 | Dtype::Int8 | Dtype::Int4 => {
                EmbeddingTable::Float32(owned(weight.to_f32()?, what)?.into())
            }
        };
        let bytes = if matches!(table, EmbeddingTable::Float32(_)) { 4 } else { 2 };
        self.weights.count_packed(rows * hidden * bytes);
        Ok(table)
    }
}

/// Rows of a matrix that are widened at a time: no matrix is there as a whole in float32.
const ROWS: usize = 64;

impl DecodeRow for Codes<'static> {
    fn decode_row(&self, row: usize, out: &mut [f32]) {
        self.decode(row, out);
    }
}

fn in_range<'a>(weight: &Weight<'a>, dtype: Dtype) -> Result<Cow<'a, [f32]>> {
    match dtype {
        Dtype::Bfloat16 => weight.to_f32_for::<bf16>(),
        Dtype::Float16 => weight.to_f32_for::<f16>(),
        Dtype::Float32 | Dtype::Int8 | Dtype::Int4 => weight.to_f32(),
    }
}

/// A tensor of a portable body; an error where the machine has no memory for it.
pub(super) fn tensor(values: &[f32], shape: &[usize], device: &Device, dtype: DType) -> Result<Tensor> {
    if device.is_cpu() {
        // candle takes memory for both without a way to say that there is none.
        let bytes = values.len() * (size_of::<f32>() + dtype.size_in_bytes());
        room(bytes, || format!("a tensor of shape {shape:?}"))?;
    }
    Ok(Tensor::from_slice(values, shape, device)?.to_dtype(dtype)?)
}
