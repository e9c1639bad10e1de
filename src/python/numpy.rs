//! Arrays in and out.

use std::any::Any;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::ops::Range;
#[cfg(unix)]
use std::os::fd::FromRawFd;
#[cfg(windows)]
use std::os::windows::io::{FromRawHandle, RawHandle};
use std::sync::Arc;

use ::numpy::ndarray::{ArrayView1, ArrayView2};
use ::numpy::{Element, IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadwriteArray2, PyUntypedArrayMethods};
use bytemuck::Pod;
use memmap2::MmapOptions;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::python::error::os_error;
use crate::python::forks::Returned;
use crate::store::{ForeignArray, SegmentArray};

/// `values` as an array `[rows, width]` that owns their memory: nothing is copied.
pub(super) fn matrix<'py, T: ::numpy::Element>(
    py: Python<'py>,
    values: Vec<T>,
    rows: usize,
    width: usize,
) -> PyResult<Bound<'py, PyArray2<T>>> {
    values.into_pyarray(py).reshape([rows, width])
}

/// `values` as an array that owns their memory.
pub(super) fn vector<T: ::numpy::Element>(py: Python<'_>, values: Vec<T>) -> Bound<'_, PyArray1<T>> {
    values.into_pyarray(py)
}

/// Keeps memory for as long as an array shows it.
#[pyclass(frozen)]
struct Keeper(#[expect(dead_code, reason = "held, not used")] Box<dyn Any + Send + Sync>);

/// Rows of `memory`, `width` numbers of `E` each, as a read-only array that keeps the memory: nothing is copied.
pub(super) fn view<'py, T: Pod + Send + Sync, E: Element + Pod>(
    py: Python<'py>,
    memory: &SegmentArray<T>,
    rows: Range<usize>,
    width: usize,
) -> PyResult<Bound<'py, PyArray2<E>>> {
    let numbers = &bytemuck::cast_slice::<T, E>(memory)[rows.start * width..rows.end * width];
    let numbers = ArrayView2::from_shape((rows.len(), width), numbers)
        .map_err(|error| PyValueError::new_err(format!("no array of {} rows: {error}", rows.len())))?;
    let keeper = Bound::new(py, Keeper(Box::new(memory.clone())))?.into_any();
    // SAFETY: the keeper has the memory until the array, whose base it is, is gone. Numbers of a `SegmentArray` never
    // change, so the array must not be written to either: the next statement forbids it, before Python sees the array.
    let array = unsafe { PyArray2::borrow_from_array(&numbers, keeper) };
    array.call_method1("setflags", (false,))?;
    Ok(array)
}

/// See `_core.pyi`.
#[pyfunction]
pub(super) fn map_file<'py>(
    py: Python<'py>,
    descriptor: i32,
    length: &Bound<'py, PyInt>,
) -> PyResult<Bound<'py, PyArray1<u8>>> {
    if descriptor < 0 {
        return Err(PyValueError::new_err(format!("descriptor: expected that of an open file, found {descriptor}")));
    }
    let file = borrowed_file(py, descriptor)?;
    let size = file.metadata().map_err(|error| os_error(&error, None))?.len();
    if size == 0 {
        return Err(PyValueError::new_err("descriptor: the file is empty, so that there is nothing to map"));
    }
    let in_file = |bytes: &usize| (1..=size).contains(&(*bytes as u64));
    let bytes = length.extract::<usize>().ok().filter(in_file).ok_or_else(|| {
        PyValueError::new_err(format!("length: expected 1 to {size}, the bytes of the file, found {length}"))
    })?;
    // SAFETY: the map is read-only, and no longer than the file. A program that cuts the file while it is mapped has the
    // system end the process, as with every reader of mapped files; `_core.pyi` says so.
    let map = unsafe { MmapOptions::new().len(bytes).map(&*file) }.map_err(|error| os_error(&error, None))?;
    let map = Arc::new(map);
    let keeper = Bound::new(py, Keeper(Box::new(map.clone())))?.into_any();
    // SAFETY: the keeper has the map until the array, whose base it is, is gone. The next statement forbids to write to
    // it, before Python sees the array.
    let array = unsafe { PyArray1::borrow_from_array(&ArrayView1::from(&map[..]), keeper) };
    array.call_method1("setflags", (false,))?;
    Ok(array)
}

/// The file of a descriptor of Python's, which stays open when this is dropped.
#[cfg(unix)]
fn borrowed_file(_py: Python<'_>, descriptor: i32) -> PyResult<ManuallyDrop<File>> {
    // SAFETY: the file is never closed here. Where the descriptor is not open, what is asked of the file is an error.
    Ok(ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) }))
}

/// The file of a descriptor of Python's, which stays open when this is dropped.
#[cfg(windows)]
fn borrowed_file(py: Python<'_>, descriptor: i32) -> PyResult<ManuallyDrop<File>> {
    // Python's own function refuses what is no descriptor, where the one of C ends the process.
    let handle: isize = py.import("msvcrt")?.call_method1("get_osfhandle", (descriptor,))?.extract()?;
    // SAFETY: the file is never closed here.
    Ok(ManuallyDrop::new(unsafe { File::from_raw_handle(handle as RawHandle) }))
}

/// Memory of an array of Python's that a call writes to.
pub(super) struct ArrayMemory {
    _array: Returned<Py<PyArray2<f32>>>,
    numbers: *mut f32,
    len: usize,
}

// SAFETY: the array is held, and released under the interpreter's lock; its numbers are one owner's at a time.
unsafe impl Send for ArrayMemory {}

impl ArrayMemory {
    /// All of a C-contiguous array, whose `guard` is kept until this is gone.
    pub(super) fn new(array: &Bound<'_, PyArray2<f32>>, guard: &mut PyReadwriteArray2<'_, f32>) -> PyResult<Self> {
        let contiguous = |_| PyValueError::new_err("out: expected a C-contiguous array");
        let numbers = guard.as_slice_mut().map_err(contiguous)?;
        Ok(Self { _array: Returned::new(array.clone().unbind()), numbers: numbers.as_mut_ptr(), len: numbers.len() })
    }
}

impl AsMut<[f32]> for ArrayMemory {
    fn as_mut(&mut self) -> &mut [f32] {
        // SAFETY: address and length are those of a slice of the array, which is held. It was borrowed exclusively when this
        // was made, and the borrower keeps it so until the call, which owns this, is over.
        unsafe { std::slice::from_raw_parts_mut(self.numbers, self.len) }
    }
}

/// Numbers of an array of Python's.
struct BorrowedArray<T> {
    _array: Returned<Py<PyAny>>,
    numbers: *const T,
    len: usize,
}

// SAFETY: numbers are only read, and the array that has them is held, and released under the interpreter's lock.
unsafe impl<T: Pod> Send for BorrowedArray<T> {}
// SAFETY: as above.
unsafe impl<T: Pod> Sync for BorrowedArray<T> {}

impl<T: Pod> AsRef<[T]> for BorrowedArray<T> {
    fn as_ref(&self) -> &[T] {
        // SAFETY: `foreign` took address and length from a slice of the array, which is held and read-only.
        unsafe { std::slice::from_raw_parts(self.numbers, self.len) }
    }
}

/// The memory of a read-only, contiguous array `[rows, width]` of `E`, as numbers `T`: nothing is copied. The error says
/// what was expected and found, and leaves it to the caller to name the array.
pub(super) fn foreign<T: Pod + Send + Sync, E: Element + Pod>(
    array: &Bound<'_, PyAny>,
    [rows, width]: [usize; 2],
) -> PyResult<ForeignArray<T>> {
    let refuse = |found: String| {
        let expected = format!("a read-only C-contiguous array ({rows}, {width}) of {}", E::get_dtype(array.py()));
        PyValueError::new_err(format!("expected {expected}, found {found}"))
    };
    let array = array.cast::<PyArray2<E>>().map_err(|_| match array.cast::<::numpy::PyUntypedArray>() {
        Ok(array) => refuse(format!("{:?} of {}", array.shape(), array.dtype())),
        Err(_) => refuse(array.get_type().to_string()),
    })?;
    if array.shape() != [rows, width] {
        return Err(refuse(format!("shape {:?}", array.shape())));
    }
    let guard = array.try_readonly()?;
    if array.getattr("flags")?.getattr("writeable")?.is_truthy()? {
        return Err(refuse("one that can be written".to_owned()));
    }
    if !array.is_c_contiguous() {
        return Err(refuse("one that is not contiguous".to_owned()));
    }
    let numbers = guard.as_slice()?;
    let numbers = bytemuck::try_cast_slice::<E, T>(numbers).map_err(|error| refuse(error.to_string()))?;
    Ok(Arc::new(BorrowedArray {
        _array: Returned::new(array.clone().into_any().unbind()),
        numbers: numbers.as_ptr(),
        len: numbers.len(),
    }))
}
