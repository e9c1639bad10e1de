"""What a store is told when it is made, and the one table of its metrics, its dtypes and the modes of its folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from votive._arguments import check_choice, check_count, check_flag
from votive.backend import device_name

if TYPE_CHECKING:
    from votive.backend import Backend

Metric = Literal["cosine", "dot", "l2", "hamming"]
# What callers may say: "euclidean" is "l2".
MetricName = Metric | Literal["euclidean"]
StoreDtype = Literal["float32", "float16", "int8", "ubinary"]
OpenMode = Literal["r", "a"]

METRICS: tuple[Metric, ...] = get_args(Metric)
_METRIC_NAMES: Mapping[MetricName, Metric] = MappingProxyType({**{name: name for name in METRICS}, "euclidean": "l2"})
# Of a core that stands in while no row said it: what every dtype accepts.
STAND_IN_DIMENSION = 8

OPEN_MODES: tuple[OpenMode, ...] = get_args(OpenMode)


@dataclass(frozen=True)
class VectorLayout:
    """How the vectors of a dtype are kept.

    Attributes:
        npy_dtype: type of their file, as NumPy writes it; None where there are no vectors but the codes.
        element_bits: bits of an element of a vector, without its code.
        has_codes: whether there are codes and bounds beside them.
        has_coarse: whether there are coarse codes, too.
    """

    npy_dtype: str | None
    element_bits: int
    has_codes: bool = True
    has_coarse: bool = False

    def row_bytes(self, dimension: int) -> int:
        """Bytes of a vector, without its code."""
        return dimension * self.element_bits // 8

    def row_elements(self, dimension: int) -> int:
        """Elements of the array of a vector: eight to a byte where they are bits."""
        return dimension // 8 if self.element_bits == 1 else dimension


# By the names of `StoreDtype`.
DTYPES: Mapping[str, VectorLayout] = MappingProxyType(
    {
        "float32": VectorLayout("<f4", 32, has_coarse=True),
        "float16": VectorLayout("<f2", 16, has_coarse=True),
        "int8": VectorLayout(None, 0),
        "ubinary": VectorLayout("|u1", 1, has_codes=False),
    }
)


@dataclass(frozen=True)
class StoreOptions:
    """The arguments of `EmbeddingStore`, checked: see there."""

    backend: str | None
    device: str | None
    max_memory_gb: float | None
    metric: Metric
    dimension: int | None
    dtype: StoreDtype
    num_threads: int | None
    spill_to: str | None
    fallback: bool

    @classmethod
    def read(
        cls,
        backend: str | Backend | None,
        device: str | Backend | None,
        max_memory_gb: float | None,
        metric: MetricName,
        dimension: int | None,
        dtype: StoreDtype | None,
        num_threads: int | None,
        spill_to: str | PathLike[str] | None,
        fallback: bool,
    ) -> StoreOptions:
        """Checks arguments.

        Raises:
            NotADirectoryError: `spill_to` is no folder.
            ValueError, TypeError: an argument has a value that is not accepted.
        """
        _check_backend(backend)
        check_count("dimension", dimension)
        check_count("num_threads", num_threads)
        check_choice("metric", metric, tuple(_METRIC_NAMES))
        metric = _METRIC_NAMES[metric]
        if dtype is None:
            dtype = "ubinary" if metric == "hamming" else "float32"
        check_choice("dtype", dtype, get_args(StoreDtype))
        _check_bits(metric, dtype, dimension)
        if spill_to is not None and not os.path.isdir(spill_to):
            raise NotADirectoryError(errno.ENOTDIR, "spill_to: expected a folder", fspath(spill_to))
        return cls(
            device_name(backend),
            device_name(device),
            max_memory_gb,
            metric,
            dimension,
            dtype,
            num_threads,
            None if spill_to is None else fspath(spill_to),
            check_flag("fallback", fallback),
        )

    def arguments(self) -> dict[str, Any]:
        """All of them by name, for another store of the same kind."""
        return asdict(self)

    def machine_arguments(self) -> dict[str, Any]:
        """Those by name that a folder does not decide: where to compute, and in how much memory."""
        return {name: getattr(self, name) for name in _MACHINE_OPTIONS}


def _check_backend(backend: Any) -> None:
    """Accepts what is not one of the first arguments of other libraries' stores: a dimension, or a folder."""
    if isinstance(backend, int) and not isinstance(backend, bool):
        raise TypeError(f"backend: expected str, Backend or None, found int; a dimension is dimension={backend}")
    if isinstance(backend, PathLike) or (isinstance(backend, str) and ("/" in backend or os.path.isdir(backend))):
        folder = fspath(backend)
        raise ValueError(f"backend: {folder!r} is not a device; EmbeddingStore.open({folder!r}) opens a folder")


def _check_bits(metric: Metric, dtype: StoreDtype, dimension: int | None) -> None:
    """Accepts bits that are compared by counting those that differ, and numbers that are not."""
    if (metric == "hamming") != (dtype == "ubinary"):
        hint = "leave dtype out" if metric == "hamming" else "give metric='hamming'"
        raise ValueError(
            f"metric, dtype: 'hamming' compares the bits of 'ubinary', and nothing else does; found {metric!r} and "
            f"{dtype!r}; {hint}"
        )
    if dtype == "ubinary" and dimension is not None and dimension % 8:
        raise ValueError(f"dimension: expected a multiple of 8, as bits come in bytes, found {dimension}")


_MACHINE_OPTIONS = ("backend", "device", "fallback", "max_memory_gb", "num_threads", "spill_to")
