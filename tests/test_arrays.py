"""Arrays of other libraries: by DLPack, of types that NumPy has not, and on devices."""

import ctypes
import gc
import weakref
from typing import Any

import numpy as np
import pytest
from votive import EmbeddingStore, _dlpack, quantize_embeddings, similarity
from votive._arrays import as_array

ROWS = np.random.default_rng(0).standard_normal((6, 16)).astype(np.float32)
# What bfloat16 keeps of them.
COARSE = (ROWS.view(np.uint32) & 0xFFFF0000).view(np.float32)

_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)


class Exported:
    """What speaks DLPack and nothing else."""

    def __init__(self, array: np.ndarray, device: int = 1) -> None:
        self._array, self._device = array, device

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device, 0


class BFloat16:
    """A tensor of bfloat16, made by hand of the upper halves of float32 numbers."""

    def __init__(self, halves: np.ndarray, with_strides: bool = True) -> None:
        self._halves, ndim = halves, halves.ndim
        self._shape = (ctypes.c_int64 * ndim)(*halves.shape)
        self._strides = (ctypes.c_int64 * ndim)(*(stride // 2 for stride in halves.strides))
        self.tensor = _dlpack._Tensor()
        self.tensor.data, self.tensor.byte_offset = halves.ctypes.data - 64, 64
        self.tensor.device_type, self.tensor.ndim = 1, ndim
        self.tensor.code, self.tensor.bits, self.tensor.lanes = 4, 16, 1
        self.tensor.shape = self._shape
        if with_strides:
            self.tensor.strides = self._strides

    def __dlpack__(self, **options: Any) -> Any:
        if options:
            raise BufferError("of version 0 alone")
        return _new_capsule(ctypes.addressof(self.tensor), b"dltensor", None)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


def halves(rows: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(rows).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int8, np.int64])
def test_what_speaks_dlpack_alone_is_read(kind: type) -> None:
    array = (10 * ROWS).astype(kind)
    for given in (array, array.T, array[::2, 1:]):
        np.testing.assert_array_equal(as_array(Exported(given), "vectors"), given)
    store = EmbeddingStore()
    store.add_embeddings(Exported(array), ids=Exported(np.arange(6)))
    np.testing.assert_array_equal(store.get(Exported(np.arange(6))), array.astype(np.float32))
    assert store.search(Exported(array[3]), 1)[1].tolist() == [3]
    np.testing.assert_array_equal(similarity.cos_sim(Exported(array), array), similarity.cos_sim(array, array))
    np.testing.assert_array_equal(
        quantize_embeddings(Exported(array), "ubinary"), quantize_embeddings(array, "ubinary")
    )


def test_bfloat16_is_widened() -> None:
    all_halves = halves(ROWS)
    for given, expected in (
        (all_halves, COARSE),
        (all_halves.T, COARSE.T),
        (all_halves[::-1, ::-2], COARSE[::-1, ::-2]),
        (all_halves[2], COARSE[2]),
        (all_halves[:0], COARSE[:0]),
        (all_halves[1:3, 5:], COARSE[1:3, 5:]),
    ):
        found = as_array(BFloat16(given), "vectors")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(as_array(BFloat16(all_halves, with_strides=False), "vectors"), COARSE)
    store = EmbeddingStore()
    store.add_embeddings(BFloat16(all_halves))
    store.add_embeddings([BFloat16(row) for row in all_halves])
    np.testing.assert_array_equal(store.get(range(12)), np.concatenate([COARSE, COARSE]))


def test_what_was_read_is_released() -> None:
    tensor = BFloat16(halves(ROWS))
    kept = weakref.ref(tensor)
    found = as_array(tensor, "vectors")
    del tensor
    gc.collect()
    assert kept() is None
    np.testing.assert_array_equal(found, COARSE)


@pytest.mark.parametrize("device", [2, 8, 10, 99])
def test_a_tensor_on_a_gpu_is_refused(device: int) -> None:
    name = {2: "CUDA", 8: "Metal", 10: "ROCm", 99: "device 99 of DLPack"}[device]
    tensor = Exported(ROWS, device)
    for argument, action in (
        ("vectors", lambda: EmbeddingStore().add_embeddings(tensor)),
        ("queries", lambda: EmbeddingStore().search(tensor)),
        ("a", lambda: similarity.cos_sim(tensor, ROWS)),
        ("embeddings", lambda: quantize_embeddings(tensor, "ubinary")),
        ("ids", lambda: EmbeddingStore().add_embeddings(ROWS, ids=tensor)),
    ):
        message = f"^{argument}: expected an array in the CPU's memory, found one of {name}; copy it to the CPU first$"
        with pytest.raises(TypeError, match=message):
            action()


def test_what_cannot_be_read_is_named() -> None:
    class Broken:
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("no memory to show")

        def __dlpack_device__(self) -> tuple[int, int]:
            return 1, 0

    with pytest.raises(TypeError, match=r"^vectors: expected an array that NumPy can read, found Broken; no memory"):
        EmbeddingStore().add_embeddings(Broken())
    other = BFloat16(halves(ROWS))
    other.tensor.code = 8  # a float of 8 bits, which came later
    with pytest.raises(TypeError, match=r"^vectors: expected an array that NumPy can read, found BFloat16"):
        EmbeddingStore().add_embeddings(other)


def test_nan_is_refused_whatever_the_type() -> None:
    rows = ROWS.copy()
    rows[4, 2] = np.nan
    for given in (Exported(rows), Exported(rows.astype(np.float16)), BFloat16(halves(rows))):
        with pytest.raises(ValueError, match="vectors: row 4 has NaN or infinity"):
            EmbeddingStore().add_embeddings(given)


def test_types_of_ml_dtypes() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        array = ROWS.astype(getattr(ml_dtypes, name))
        found = as_array(array, "vectors")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, array.astype(np.float32))
        np.testing.assert_array_equal(similarity.cos_sim(array, ROWS), similarity.cos_sim(found, ROWS))


def test_tensors_of_torch() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(ROWS.copy())
    for kind in (torch.float16, torch.float32, torch.float64):
        found = as_array(tensor.to(kind).clone(), "vectors")
        np.testing.assert_array_equal(found, tensor.to(kind).numpy())
        np.testing.assert_array_equal(as_array(tensor.to(kind).clone().requires_grad_(), "vectors"), found)
    coarse = tensor.to(torch.bfloat16)
    for given in (coarse, coarse.T, coarse[::2, 3:], coarse.clone().requires_grad_()):
        np.testing.assert_array_equal(as_array(given, "vectors"), given.detach().float().numpy())
    np.testing.assert_array_equal(as_array(list(coarse), "vectors"), coarse.float().numpy())
    with pytest.raises(TypeError, match=r"^vectors: "):
        as_array(torch.empty((2, 2), device="meta"), "vectors")


def test_halves_of_arrow() -> None:
    pa = pytest.importorskip("pyarrow")
    half = ROWS.astype(np.float16)
    for column in (
        pa.FixedSizeListArray.from_arrays(pa.array(half.ravel()), 16),
        pa.ListArray.from_arrays(np.arange(7, dtype=np.int32) * 16, pa.array(half.ravel())),
    ):
        store = EmbeddingStore(dtype="float16")
        store.add_embeddings(column)
        np.testing.assert_array_equal(store.vectors, half)
