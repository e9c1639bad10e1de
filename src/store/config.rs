//! What all stores that come from one have in common, and the names of their choices: each choice is in one table, for
//! parsing and for printing.

use std::sync::Arc;

use super::device_context::DeviceContext;
use crate::device::Device;
use crate::kernels::{Isa, Metric, code_stride};
use crate::pool::Pool;
use crate::{Error, Result};

/// The largest dimension: sums of products of codes stay within 32 bits.
pub(super) const MAX_DIMENSION: usize = 1 << 16;

const METRICS: [(Option<Metric>, &str); 4] =
    [(Some(Metric::Cosine), "cosine"), (Some(Metric::Dot), "dot"), (Some(Metric::L2), "l2"), (None, "hamming")];

const DTYPES: [(VectorDtype, &str); 4] = [
    (VectorDtype::Float32, "float32"),
    (VectorDtype::Float16, "float16"),
    (VectorDtype::Int8, "int8"),
    (VectorDtype::Binary, "ubinary"),
];

/// How a store keeps vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorDtype {
    Float32,
    Float16,
    /// By their codes alone.
    Int8,
    /// A bit for each number, eight to a byte, the first in the highest bit. They have no codes and no bounds.
    Binary,
}

/// The choices that a store is made with, and what computes for it.
pub(super) struct StoreConfig {
    pub(super) dimension: usize,
    /// None where bits that differ are counted (Hamming distance), as of [`VectorDtype::Binary`] alone.
    pub(super) metric: Option<Metric>,
    pub(super) dtype: VectorDtype,
    pub(super) isa: Isa,
    pub(super) pool: Arc<Pool>,
    pub(super) device: Device,
    /// None where the CPU's kernels search.
    pub(super) device_context: Option<DeviceContext>,
}

impl StoreConfig {
    /// The same choices on another device.
    pub(super) fn with_device(&self, device: Device) -> Self {
        let Self { dimension, metric, dtype, isa, ref pool, .. } = *self;
        let device_context = metric.and_then(|metric| DeviceContext::new(device.clone(), metric, dimension));
        Self { dimension, metric, dtype, isa, pool: pool.clone(), device, device_context }
    }
}

impl VectorDtype {
    pub(super) fn named(name: &str) -> Result<Self> {
        parse(&DTYPES, name)
            .map_err(|accepted| Error::argument("dtype", format!("{name:?} is not a type; accepted: {accepted}")))
    }

    pub fn name(self) -> &'static str {
        name(&DTYPES, self)
    }

    /// Bytes of a vector, without its code.
    pub(super) fn vector_bytes(self, dimension: usize) -> usize {
        match self {
            Self::Float32 => 4 * dimension,
            Self::Float16 => 2 * dimension,
            Self::Int8 => 0,
            Self::Binary => dimension / 8,
        }
    }

    /// Bytes from one row of codes to the next; 0 where there are none, and no bounds either.
    pub(super) fn code_bytes(self, dimension: usize) -> usize {
        if self == Self::Binary { 0 } else { code_stride(dimension) }
    }
}

/// None for "hamming".
pub(super) fn metric_named(name: &str) -> Result<Option<Metric>> {
    parse(&METRICS, name)
        .map_err(|accepted| Error::argument("metric", format!("{name:?} is not a metric; accepted: {accepted}")))
}

/// The name of a metric; None is "hamming".
pub fn metric_name(metric: Option<Metric>) -> &'static str {
    name(&METRICS, metric)
}

/// Accepts what goes together: bits are compared by counting those that differ, and numbers are not.
pub(super) fn check_match(metric: Option<Metric>, dtype: VectorDtype, dimension: usize) -> Result<()> {
    match (metric, dtype) {
        (None, VectorDtype::Binary) if !dimension.is_multiple_of(8) => {
            Err(Error::argument("dimension", format!("{dimension}; bits come in bytes: accepted is a multiple of 8")))
        }
        (None, VectorDtype::Binary) => Ok(()),
        (None, dtype) => {
            let message = format!("\"hamming\" compares bits, which are \"ubinary\", and dtype is {:?}", dtype.name());
            Err(Error::argument("metric", message))
        }
        (metric, VectorDtype::Binary) => {
            let message = format!("\"ubinary\" is compared by \"hamming\", and metric is {:?}", metric_name(metric));
            Err(Error::argument("dtype", message))
        }
        (Some(_), _) => Ok(()),
    }
}

/// The choice of that name; else the names that are accepted.
fn parse<T: Copy>(choices: &[(T, &'static str)], name: &str) -> Result<T, String> {
    let found = choices.iter().find(|(_, other)| *other == name).map(|&(choice, _)| choice);
    found.ok_or_else(|| choices.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", "))
}

fn name<T: PartialEq>(choices: &[(T, &'static str)], choice: T) -> &'static str {
    choices.iter().find(|(other, _)| *other == choice).map_or("", |(_, name)| name)
}
