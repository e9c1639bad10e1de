//! `_core.Store`.

use std::collections::BTreeMap;

use ::numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
    ndarray,
};
use half::f16;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

use crate::Error;
use crate::memory::zeroed;
use crate::python::watch::Watch;
use crate::python::{detached, numpy};
use crate::store::{
    self, AttachedCodes, AttachedRows, AttachedVectors, IdKind, RowIds, SegmentData, Utf8Column, VectorDtype, Vectors,
};

/// See `_core.pyi`.
#[pyclass(frozen, module = "votive._core", name = "Store")]
pub(super) struct PyStore(store::Store);

/// The first row, vectors, codes, bounds and coarse codes of a segment.
type SegmentArrays<'py> = (
    usize,
    Option<Bound<'py, PyAny>>,
    Option<Bound<'py, PyArray2<i8>>>,
    Option<Bound<'py, PyArray2<f32>>>,
    Option<Bound<'py, PyArray2<u8>>>,
);

/// Codes, bounds and coarse codes of rows that are attached.
type CodeArrays<'py> = (Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

/// Scores, rows, and what the search did.
type Hits<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray2<i64>>, BTreeMap<&'static str, usize>);

/// Scores and rows of one query after those of another, how many each query has, and what the search did.
type RangeHits<'py> =
    (Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, BTreeMap<&'static str, usize>);

#[pymethods]
impl PyStore {
    #[new]
    fn new(
        py: Python<'_>,
        dimension: usize,
        metric: &str,
        dtype: &str,
        device: &str,
        num_threads: Option<usize>,
    ) -> PyResult<Self> {
        Ok(Self(detached(py, || store::Store::new(dimension, metric, dtype, device, num_threads))??))
    }

    #[getter]
    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    #[getter]
    fn metric(&self) -> &'static str {
        store::metric_name(self.0.metric())
    }

    #[getter]
    fn dtype(&self) -> &'static str {
        self.0.dtype().name()
    }

    #[getter]
    fn device(&self) -> &str {
        self.0.device()
    }

    fn on(&self, py: Python<'_>, device: &str) -> PyResult<Self> {
        Ok(Self(detached(py, || self.0.with_device(device))??))
    }

    #[getter]
    fn num_threads(&self) -> usize {
        self.0.threads()
    }

    #[getter]
    fn id_kind(&self) -> Option<&'static str> {
        self.0.id_kind().map(IdKind::name)
    }

    #[getter]
    fn largest_id(&self) -> Option<i64> {
        self.0.largest_id()
    }

    fn numbered_after(&self, id: i64) -> Self {
        Self(self.0.with_largest_id(id))
    }

    #[getter]
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn __len__(&self) -> usize {
        self.0.live()
    }

    fn size_of(&self, rows: usize) -> usize {
        self.0.size_of(rows)
    }

    #[getter]
    fn memory(&self) -> BTreeMap<&'static str, usize> {
        let store::MemoryUsage { vectors, codes, ids, mapped, reserved, device } = self.0.memory();
        let memory = [("vectors", vectors), ("codes", codes), ("ids", ids), ("mapped", mapped), ("reserved", reserved)];
        memory.into_iter().chain([("device", device)]).collect()
    }

    fn add<'py>(
        &self,
        py: Python<'py>,
        vectors: Bound<'py, PyAny>,
        ids: Option<Bound<'py, PyAny>>,
        expected: usize,
        first: usize,
    ) -> PyResult<(Self, Bound<'py, PyAny>)> {
        let keys = ids.as_ref().map(keys).transpose()?;
        let store = match self.0.dtype() {
            VectorDtype::Binary => {
                let bits: PyReadonlyArray2<'py, u8> = vectors.extract()?;
                let bits = rows_of(&bits, "vectors", self.0.dimension() / 8)?;
                detached(py, || self.0.add_bits(bits, keys, expected))??
            }
            _ => {
                let vectors: PyReadonlyArray2<'py, f32> = vectors.extract()?;
                let values = rows_of(&vectors, "vectors", self.0.dimension())?;
                let watch = Watch::new(None);
                detached(py, || watch.settle(self.0.add(values, keys, expected, first, &|| watch.tell(0))))??
            }
        };
        let ids = match ids {
            Some(ids) => ids,
            None => id_array(py, store.id_slice(self.0.rows()..store.rows())?)?,
        };
        Ok((Self(store), ids))
    }

    fn find<'py>(&self, py: Python<'py>, ids: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let keys = keys(ids)?;
        let rows = detached(py, || self.0.find(&keys))??;
        Ok(numpy::vector(py, rows.into_iter().map(|row| row.map_or(-1, |row| row as i64)).collect()))
    }

    fn without(&self, py: Python<'_>, rows: PyReadonlyArray1<'_, i64>) -> PyResult<Self> {
        let rows = row_numbers(&rows)?;
        Ok(Self(detached(py, || self.0.without(&rows))??))
    }

    fn live<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let rows = detached(py, || self.0.live_ranges().flatten().map(|row| row as i64).collect())?;
        Ok(numpy::vector(py, rows))
    }

    fn deleted<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let rows = detached(py, || self.0.deleted().into_iter().map(|row| row as i64).collect())?;
        Ok(numpy::vector(py, rows))
    }

    #[pyo3(signature = (rows=None))]
    fn ids<'py>(&self, py: Python<'py>, rows: Option<PyReadonlyArray1<'py, i64>>) -> PyResult<Bound<'py, PyAny>> {
        let rows = rows.map(|rows| row_numbers(&rows)).transpose()?;
        let keys = detached(py, || match &rows {
            Some(rows) => self.0.ids_of(rows),
            None => Ok(self.0.live_ids()),
        })??;
        id_array(py, keys)
    }

    fn id_slice<'py>(&self, py: Python<'py>, start: usize, stop: usize) -> PyResult<Bound<'py, PyAny>> {
        match detached(py, || self.0.id_slice(start..stop))?? {
            RowIds::Str(strings) => {
                let (offsets, bytes) = strings.parts();
                let offsets = offsets.into_iter().map(|offset| offset as i64).collect();
                Ok((numpy::vector(py, offsets), numpy::vector(py, bytes)).into_pyobject(py)?.into_any())
            }
            numbers => id_array(py, numbers),
        }
    }

    fn vectors<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let d = self.0.dimension();
        let mut views = Vec::new();
        for segment in self.0.segments() {
            let Some(data) = segment.data() else { continue };
            for run in segment.live_ranges() {
                views.push(match &data.vectors {
                    Vectors::Float32(vectors) => numpy::view::<f32, f32>(py, vectors, run, d)?.into_any(),
                    Vectors::Float16(vectors) => numpy::view::<f16, f16>(py, vectors, run, d)?.into_any(),
                    Vectors::Binary(bits) => numpy::view::<u8, u8>(py, bits, run, d / 8)?.into_any(),
                    Vectors::Int8 => {
                        let codes = numpy::view::<i8, i8>(py, &data.codes, run, self.0.code_stride())?;
                        codes.get_item((
                            pyo3::types::PySlice::full(py),
                            pyo3::types::PySlice::new(py, 0, d as isize, 1),
                        ))?
                    }
                });
            }
        }
        Ok(views)
    }

    fn take<'py>(&self, py: Python<'py>, rows: PyReadonlyArray1<'py, i64>) -> PyResult<Bound<'py, PyAny>> {
        let rows = row_numbers(&rows)?;
        let d = self.0.dimension();
        if self.0.dtype() == VectorDtype::Binary {
            let bits = detached(py, || {
                let mut bits = zeroed(rows.len() * (d / 8), "vectors")?;
                self.0.take_bits(&rows, &mut bits).map(|()| bits)
            })??;
            return Ok(numpy::matrix(py, bits, rows.len(), d / 8)?.into_any());
        }
        let values = detached(py, || {
            let mut values = zeroed(rows.len() * d, "vectors")?;
            self.0.take(&rows, &mut values).map(|()| values)
        })??;
        Ok(numpy::matrix(py, values, rows.len(), d)?.into_any())
    }

    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'py, f32>,
        k: usize,
        mask: Option<PyReadonlyArray1<'py, u8>>,
        exact: bool,
    ) -> PyResult<Hits<'py>> {
        let n = queries.shape()[0];
        let values = rows_of(&queries, "queries", self.0.dimension())?;
        let mask = mask.as_ref().map(mask_of).transpose()?;
        let watch = Watch::new(None);
        let search = || watch.settle(self.0.search(values, k, mask, exact, &|| watch.tell(0)));
        hits(py, detached(py, search)??, n)
    }

    fn search_bits<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'py, u8>,
        k: usize,
        mask: Option<PyReadonlyArray1<'py, u8>>,
    ) -> PyResult<Hits<'py>> {
        let n = queries.shape()[0];
        let values = rows_of(&queries, "queries", self.0.dimension() / 8)?;
        let mask = mask.as_ref().map(mask_of).transpose()?;
        let watch = Watch::new(None);
        let search = || watch.settle(self.0.search_bits(values, k, mask, &|| watch.tell(0)));
        hits(py, detached(py, search)??, n)
    }

    fn rescore<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'py, f32>,
        rows: PyReadonlyArray2<'py, i64>,
        k: usize,
    ) -> PyResult<Hits<'py>> {
        let n = queries.shape()[0];
        let values = rows_of(&queries, "queries", self.0.dimension())?;
        if rows.shape()[0] != n {
            let message = format!("rows: expected rows for each of {n} queries, found {}", rows.shape()[0]);
            return Err(PyValueError::new_err(message));
        }
        let rows = row_numbers(&rows)?;
        let watch = Watch::new(None);
        let rescore = || watch.settle(self.0.rescore(values, &rows, k, &|| watch.tell(0)));
        hits(py, detached(py, rescore)??, n)
    }

    fn search_range<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'py, f32>,
        min_score: f64,
        k: Option<usize>,
        mask: Option<PyReadonlyArray1<'py, u8>>,
        exact: bool,
    ) -> PyResult<RangeHits<'py>> {
        let values = rows_of(&queries, "queries", self.0.dimension())?;
        let mask = mask.as_ref().map(mask_of).transpose()?;
        let watch = Watch::new(None);
        let search = || watch.settle(self.0.search_range(values, min_score, k, mask, exact, &|| watch.tell(0)));
        let store::SearchResults { scores, rows, counts, report, .. } = detached(py, search)??;
        let counts = counts.into_iter().map(|count| count as i64).collect();
        Ok((numpy::vector(py, scores), numpy::vector(py, rows), numpy::vector(py, counts), named(report)))
    }

    fn lacks_coarse_codes(&self, queries: usize) -> bool {
        self.0.lacks_coarse_codes(queries)
    }

    fn extend_coarse_codes(&self, py: Python<'_>, max_bytes: usize) -> PyResult<()> {
        let watch = Watch::new(None);
        detached(py, || watch.settle(self.0.extend_coarse_codes(max_bytes, &|| watch.tell(0))))?
    }

    fn drop_coarse_codes(&self) {
        self.0.drop_coarse_codes();
    }

    fn coarse_codes<'py>(&self, py: Python<'py>, vectors: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<u8>>> {
        let n = vectors.len()?;
        let vectors = self.attached_vectors(vectors, n)?;
        let watch = Watch::new(None);
        let coarse = detached(py, || watch.settle(self.0.coarse_codes(&vectors, &|| watch.tell(0))))??;
        numpy::matrix(py, coarse, n, self.0.coarse_stride())
    }

    fn compact(&self, py: Python<'_>) -> PyResult<Self> {
        let watch = Watch::new(None);
        Ok(Self(detached(py, || watch.settle(self.0.compact(&|| watch.tell(0))))??))
    }

    fn segments<'py>(&self, py: Python<'py>) -> PyResult<Vec<SegmentArrays<'py>>> {
        let d = self.0.dimension();
        let arrays = |segment: &store::Segment, data: &SegmentData| -> PyResult<SegmentArrays<'py>> {
            let rows = 0..segment.rows;
            let vectors = match &data.vectors {
                Vectors::Float32(vectors) => Some(numpy::view::<_, f32>(py, vectors, rows.clone(), d)?.into_any()),
                Vectors::Float16(vectors) => Some(numpy::view::<_, f16>(py, vectors, rows.clone(), d)?.into_any()),
                Vectors::Binary(bits) => {
                    let bits = numpy::view::<_, u8>(py, bits, rows, d / 8)?.into_any();
                    return Ok((segment.first_row, Some(bits), None, None, None));
                }
                Vectors::Int8 => None,
            };
            let codes = numpy::view(py, &data.codes, rows.clone(), self.0.code_stride())?;
            let bounds = numpy::view(py, &data.bounds, rows.clone(), 6)?;
            let view = |coarse| numpy::view(py, &coarse, rows, self.0.coarse_stride());
            let coarse = data.coarse.saved().map(view).transpose()?;
            Ok((segment.first_row, vectors, Some(codes), Some(bounds), coarse))
        };
        let segments = self.0.segments().iter();
        segments.filter_map(|segment| Some(arrays(segment, segment.data()?))).collect()
    }

    #[pyo3(signature = (vectors, codes, bounds, coarse, ids, deleted=None))]
    #[expect(clippy::too_many_arguments, reason = "they are those of the Python method")]
    fn attach(
        &self,
        py: Python<'_>,
        vectors: Option<Bound<'_, PyAny>>,
        codes: Option<Bound<'_, PyAny>>,
        bounds: Option<Bound<'_, PyAny>>,
        coarse: Option<Bound<'_, PyAny>>,
        ids: Bound<'_, PyAny>,
        deleted: Option<PyReadonlyArray1<'_, i64>>,
    ) -> PyResult<Self> {
        let (attached, deleted) = self.attached(vectors, (codes, bounds, coarse), &ids, deleted)?;
        let watch = Watch::new(None);
        Ok(Self(detached(py, || watch.settle(self.0.attach(attached, &deleted, &|| watch.tell(0))))??))
    }

    #[pyo3(signature = (vectors, codes, bounds, coarse, ids, deleted=None))]
    #[expect(clippy::too_many_arguments, reason = "they are those of the Python method")]
    fn attach_deferred(
        &self,
        py: Python<'_>,
        vectors: Option<Bound<'_, PyAny>>,
        codes: Option<Bound<'_, PyAny>>,
        bounds: Option<Bound<'_, PyAny>>,
        coarse: Option<Bound<'_, PyAny>>,
        ids: Bound<'_, PyAny>,
        deleted: Option<PyReadonlyArray1<'_, i64>>,
    ) -> PyResult<Self> {
        let (attached, deleted) = self.attached(vectors, (codes, bounds, coarse), &ids, deleted)?;
        let watch = Watch::new(None);
        Ok(Self(detached(py, || watch.settle(self.0.attach_deferred(attached, &deleted, &|| watch.tell(0))))??))
    }

    fn refuse_duplicate_ids(&self, py: Python<'_>) -> PyResult<()> {
        Ok(detached(py, || self.0.refuse_duplicate_ids())??)
    }
}

/// What a search did, by name.
fn named(report: store::SearchReport) -> BTreeMap<&'static str, usize> {
    let store::SearchReport { rows, rescored, bytes, closed_early } = report;
    [("rows", rows), ("rescored", rescored), ("bytes", bytes), ("closed_early", closed_early)].into()
}

impl PyStore {
    /// `n` rows of the store's type that are read where they lie.
    fn attached_vectors(&self, vectors: &Bound<'_, PyAny>, n: usize) -> PyResult<AttachedVectors> {
        let d = self.0.dimension();
        Ok(match self.0.dtype() {
            VectorDtype::Float16 => AttachedVectors::Float16(numpy::foreign::<f16, f16>(vectors, [n, d])?),
            VectorDtype::Binary => AttachedVectors::Binary(numpy::foreign::<u8, u8>(vectors, [n, d / 8])?),
            VectorDtype::Float32 | VectorDtype::Int8 => {
                AttachedVectors::Float32(numpy::foreign::<f32, f32>(vectors, [n, d])?)
            }
        })
    }

    fn attached(
        &self,
        vectors: Option<Bound<'_, PyAny>>,
        (codes, bounds, coarse): CodeArrays<'_>,
        ids: &Bound<'_, PyAny>,
        deleted: Option<PyReadonlyArray1<'_, i64>>,
    ) -> PyResult<(AttachedRows, Vec<usize>)> {
        let py = ids.py();
        let of = |argument| move |error: PyErr| unfit(argument, error.value(py).to_string());
        let ids = kept_keys(ids).map_err(of("ids"))?;
        let n = ids.len();
        let vectors = vectors.map(|vectors| self.attached_vectors(&vectors, n)).transpose().map_err(of("vectors"))?;
        let codes = match (codes, bounds) {
            (Some(codes), Some(bounds)) => Some(AttachedCodes {
                codes: numpy::foreign::<i8, i8>(&codes, [n, self.0.code_stride()]).map_err(of("codes"))?,
                bounds: numpy::foreign::<_, f32>(&bounds, [n, 6]).map_err(of("bounds"))?,
                coarse: coarse
                    .map(|coarse| numpy::foreign::<u8, u8>(&coarse, [n, self.0.coarse_stride()]))
                    .transpose()
                    .map_err(of("coarse"))?,
            }),
            (None, None) if coarse.is_some() => {
                return Err(unfit("coarse", "coarse codes come with codes and bounds; these are missing"));
            }
            (None, None) => None,
            (codes, _) => {
                let missing = if codes.is_none() { "codes" } else { "bounds" };
                return Err(unfit(missing, "codes and bounds come together; one of them is missing"));
            }
        };
        let deleted = deleted.map(|rows| unsigned(&rows)).transpose().map_err(|reason| unfit("deleted", reason))?;
        Ok((AttachedRows { vectors, codes, ids }, deleted.unwrap_or_default()))
    }
}

/// The numbers of a C-contiguous array `[n, width]`; the error calls it `name`.
fn rows_of<'a, T: ::numpy::Element>(rows: &'a PyReadonlyArray2<'_, T>, name: &str, width: usize) -> PyResult<&'a [T]> {
    if rows.shape()[1] != width {
        let message = format!("{name}: expected {width} columns, found {}", rows.shape()[1]);
        return Err(PyValueError::new_err(message));
    }
    let contiguous = || PyValueError::new_err(format!("{name}: expected a C-contiguous array"));
    if rows.is_c_contiguous() { rows.as_slice().map_err(|_| contiguous()) } else { Err(contiguous()) }
}

fn mask_of<'a>(mask: &'a PyReadonlyArray1<'_, u8>) -> PyResult<&'a [u8]> {
    mask.as_slice().map_err(|_| PyValueError::new_err("mask: expected a C-contiguous array"))
}

/// What a search of `n` queries found, as Python gets it.
fn hits(py: Python<'_>, results: store::SearchResults, n: usize) -> PyResult<Hits<'_>> {
    let store::SearchResults { scores, rows, columns, report, .. } = results;
    Ok((numpy::matrix(py, scores, n, columns)?, numpy::matrix(py, rows, n, columns)?, named(report)))
}

/// Ids as callers give them.
fn keys(ids: &Bound<'_, PyAny>) -> PyResult<RowIds> {
    if let Ok(numbers) = ids.cast::<PyArray1<i64>>() {
        return Ok(RowIds::Int64(numbers.try_readonly()?.as_array().to_vec()));
    }
    let Ok(list) = ids.cast::<PyList>() else {
        let message = format!("ids: expected an int64 array of one axis or a list of str, found {}", ids.get_type());
        return Err(PyTypeError::new_err(message));
    };
    let mut strings = Utf8Column::new();
    for (i, id) in list.iter().enumerate() {
        let id = id.cast_into::<PyString>().map_err(|error| {
            PyTypeError::new_err(format!("ids[{i}]: expected a str, found {}", error.into_inner().get_type()))
        })?;
        let text = id
            .to_cow()
            .map_err(|_| PyValueError::new_err(format!("ids[{i}] holds a lone surrogate, which is no text")))?;
        strings.push(&text);
    }
    Ok(RowIds::Str(strings))
}

/// Ids as `id_slice` gives them. The error leaves it to the caller to name the argument.
fn kept_keys(ids: &Bound<'_, PyAny>) -> PyResult<RowIds> {
    if let Ok(numbers) = ids.cast::<PyArray1<i64>>() {
        return Ok(RowIds::Int64(numbers.try_readonly()?.as_array().to_vec()));
    }
    let (offsets, bytes): (PyReadonlyArray1<'_, i64>, PyReadonlyArray1<'_, u8>) =
        ids.extract().map_err(|_| PyTypeError::new_err("expected an int64 array, or offsets and bytes"))?;
    let offsets = unsigned(&offsets).map_err(PyValueError::new_err)?.into_iter().map(|offset| offset as u64).collect();
    let strings = Utf8Column::from_parts(offsets, bytes.as_array().to_vec());
    strings.map(RowIds::Str).map_err(PyValueError::new_err)
}

/// An int64 array or a list of str.
fn id_array<'py>(py: Python<'py>, keys: RowIds) -> PyResult<Bound<'py, PyAny>> {
    Ok(match keys {
        RowIds::Range(numbers) => numpy::vector(py, numbers.collect::<Vec<i64>>()).into_any(),
        RowIds::Int64(numbers) => numpy::vector(py, numbers).into_any(),
        RowIds::Str(strings) => PyList::new(py, strings.iter().collect::<Vec<_>>())?.into_any(),
    })
}

/// Row numbers, none of which is negative.
fn row_numbers<D: ndarray::Dimension>(rows: &PyReadonlyArray<'_, i64, D>) -> PyResult<Vec<usize>> {
    unsigned(rows).map_err(|reason| PyValueError::new_err(format!("rows: {reason}")))
}

/// Numbers, none of which is negative; else the reason why they are refused.
fn unsigned<D: ndarray::Dimension>(numbers: &PyReadonlyArray<'_, i64, D>) -> Result<Vec<usize>, String> {
    let number = |&number: &i64| usize::try_from(number).map_err(|_| format!("{number} is negative"));
    numbers.as_array().iter().map(number).collect()
}

/// The error of an array that cannot be attached.
fn unfit(argument: &'static str, reason: impl Into<String>) -> PyErr {
    Error::Store { argument, row: None, reason: reason.into() }.into()
}

/// See `_core.pyi`.
#[pyfunction]
#[pyo3(signature = (data, crc=0))]
pub(super) fn crc32c(py: Python<'_>, data: &Bound<'_, PyAny>, crc: u32) -> PyResult<u32> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        let bytes = bytes.as_bytes();
        return detached(py, || ::crc32c::crc32c_append(crc, bytes));
    }
    let array: PyReadonlyArray1<'_, u8> =
        data.extract().map_err(|_| PyTypeError::new_err("data: expected bytes or a uint8 array of one axis"))?;
    let bytes = array.as_slice().map_err(|_| PyValueError::new_err("data: expected a contiguous array"))?;
    detached(py, || ::crc32c::crc32c_append(crc, bytes))
}
