//! Hidden states in a GPU's memory, with the pass that makes them.

use std::ops::Range;

use crate::Result;
use crate::gpu::{
    DeviceRows, ElementOperation, Normalization, Number, PackedInputs, Passes, Product, ScoreBias, SentQueries,
    SharedPass, attend, element, gather, keep, read, reshape, row_upload, scatter_add, side_by_side,
};
use crate::kernels::{Activation, AttentionShape};

/// `[rows, width]` numbers of a pass. Operations record into it; clones share the numbers.
#[derive(Clone)]
pub struct DeviceStates {
    pub(super) rows: DeviceRows,
    pub(super) pass: SharedPass,
}

impl DeviceStates {
    /// `values [rows, width]`, sent with the pass that goes on, or with a new one.
    pub(super) fn sent(passes: &Passes, number: Number, values: &[f32], width: usize) -> Result<Self> {
        let pass = passes.pass(values.len() / width)?;
        let rows = pass.record(|recording| row_upload(recording, number, values, width))?;
        Ok(Self { rows, pass })
    }

    /// Other rows of the same pass.
    pub(super) fn with(&self, rows: DeviceRows) -> Self {
        Self { rows, pass: self.pass.clone() }
    }

    pub(super) fn count(&self) -> usize {
        self.rows.shape()[0]
    }

    pub(super) fn width(&self) -> usize {
        self.rows.shape()[1]
    }

    pub(super) fn bytes(&self) -> usize {
        self.count() * self.width() * self.number().bytes()
    }

    pub(super) fn number(&self) -> Number {
        self.rows.number()
    }

    /// The numbers in float32. All that was recorded is computed.
    pub(super) fn read(&self) -> Result<Vec<f32>> {
        self.pass.record(|recording| read(recording, &self.rows))
    }

    pub(super) fn in_float32(&self) -> Result<Self> {
        match self.rows.number() {
            Number::F32 => Ok(self.clone()),
            Number::F16 => self.reshaped(self.width(), Number::F32),
        }
    }

    pub(super) fn with_width(&self, width: usize) -> Result<Self> {
        self.reshaped(width, self.rows.number())
    }

    fn reshaped(&self, width: usize, number: Number) -> Result<Self> {
        Ok(self.with(self.pass.record(|recording| reshape(recording, &self.rows, width, number))?))
    }

    pub(super) fn zeros(&self, width: usize) -> Result<Self> {
        let zeros = vec![0.0; self.count() * width];
        let number = self.rows.number();
        Ok(self.with(self.pass.record(|recording| row_upload(recording, number, &zeros, width))?))
    }

    pub(super) fn select(&self, rows: &[u32]) -> Result<Self> {
        Ok(self.with(self.pass.record(|recording| gather(recording, &self.rows, rows))?))
    }

    pub(super) fn columns(&self, columns: Range<usize>) -> Result<Self> {
        Ok(self.with(self.pass.record(|recording| side_by_side(recording, &[(&self.rows, columns)]))?))
    }

    pub(super) fn side_by_side(parts: &[&Self]) -> Result<Self> {
        let all: Vec<_> = parts.iter().map(|part| (&part.rows, 0..part.width())).collect();
        Ok(parts[0].with(parts[0].pass.record(|recording| side_by_side(recording, &all))?))
    }

    /// `activation(self · weightᵀ + bias)`, or with a gate.
    pub(super) fn product(&self, product: &Product, activation: Activation) -> Result<Self> {
        Ok(self.with(self.pass.record(|recording| product.record(recording, &self.rows, activation))?))
    }

    /// `norm(self)`, or `norm(self + residual)`.
    pub(super) fn normalized(&self, norm: &Normalization, residual: Option<&Self>) -> Result<Self> {
        let residual = residual.map(|residual| &residual.rows);
        Ok(self.with(self.pass.record(|recording| norm.record(recording, &self.rows, residual))?))
    }

    /// Attention of queries, keys and values; `past` comes from a pass before.
    pub(super) fn attended(
        &self,
        shape: &AttentionShape,
        queries: &SentQueries,
        past: Option<&Self>,
        bias: Option<&ScoreBias>,
    ) -> Result<Self> {
        let inputs = PackedInputs { qkv: &self.rows, queries, past: past.map(|past| &past.rows), bias };
        Ok(self.with(self.pass.record(|recording| attend(recording, shape, &inputs))?))
    }

    /// `self[targets[i]] += factors[i] * x[i]`, where they stand; no two targets are the same.
    pub(super) fn add_rows(&self, x: &Self, targets: &[u32], factors: &[f32]) -> Result<()> {
        self.pass.record(|recording| scatter_add(recording, &x.rows, targets, factors, &self.rows))
    }

    /// `other` has the same shape; None where the operation takes no second operand.
    pub(super) fn element(&self, operation: ElementOperation, other: Option<&Self>) -> Result<Self> {
        let other = other.map(|other| &other.rows);
        Ok(self.with(self.pass.record(|recording| element(recording, operation, &self.rows, other))?))
    }

    /// A copy that other passes may read.
    pub(super) fn kept(&self) -> Result<Self> {
        let rows = self.pass.record(|recording| keep(recording, &self.rows))?;
        Ok(Self { rows, pass: self.pass.apart()? })
    }
}
