"""What callers may give the methods of a store, for type checkers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from typing import TypeAlias
    from uuid import UUID

    import numpy as np
    from numpy.typing import ArrayLike, NDArray


class ArrowStream(Protocol):
    """A table or a column that speaks Arrow in several chunks: of pyarrow, polars, DuckDB and others."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """See <https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>."""


class ArrowArray(Protocol):
    """A record batch or a column that speaks Arrow in one chunk."""

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        """See <https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>."""


class SupportsArray(Protocol):
    """An array, or what NumPy makes one of."""

    def __array__(self, *args: Any, **kwargs: Any) -> NDArray[Any]:
        """The array."""
        ...


class DataFrame(Protocol):
    """Columns by name, as pandas has them."""

    def keys(self) -> Iterable[Any]:
        """Names of the columns."""

    def __getitem__(self, name: Any, /) -> Any:
        """One of them."""


class TextEncoder(Protocol):
    """What embeds texts: a `votive.Embedder`, or another object with such a method."""

    def encode(self, texts: list[str], /, *args: Any, **kwargs: Any) -> Any:
        """Vectors of texts `[texts, dimension]`; of one text `[dimension]`."""


if TYPE_CHECKING:
    Id: TypeAlias = int | str | UUID | np.integer[Any]
    IdColumn: TypeAlias = Iterable[int] | Iterable[str] | Iterable[UUID] | Iterable[np.integer[Any]]
    ManyIds: TypeAlias = IdColumn | NDArray[Any] | ArrowStream | ArrowArray
    Ids: TypeAlias = Id | ManyIds
    NestedIds: TypeAlias = Sequence[NDArray[Any]] | Sequence[list[int]] | Sequence[list[str]]
    # Not NumPy's ArrayLike, which a str is, too.
    Vector: TypeAlias = SupportsArray | Sequence[float | np.number[Any]]
    Matrix: TypeAlias = Vector | Sequence[Vector]
    Vectors: TypeAlias = Matrix | Iterator[Matrix] | ArrowStream | ArrowArray
    TextColumn: TypeAlias = str | Iterable[str | None] | NDArray[Any] | ArrowStream | ArrowArray
    MetadataColumn: TypeAlias = Iterable[Any] | SupportsArray | ArrowStream | ArrowArray
    Metadata: TypeAlias = (
        Mapping[str, MetadataColumn] | Iterable[Mapping[str, Any] | None] | DataFrame | ArrowStream | ArrowArray
    )
    Filter: TypeAlias = Mapping[str, Any] | Ids | Iterable[bool] | Callable[[Mapping[str, NDArray[Any]]], ArrayLike]
