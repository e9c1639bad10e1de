"""The method of stores that belongs to the class as well as to each store."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from types import MethodType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from votive._tracebacks import short_traceback

if TYPE_CHECKING:
    from votive.store import EmbeddingStore

_S = TypeVar("_S", bound="EmbeddingStore")
_S_co = TypeVar("_S_co", bound="EmbeddingStore", covariant=True)


class LoadNew(Protocol[_S_co]):
    """`load_from_disk` of the class."""

    def __call__(self, folder: str | PathLike[str], mmap: bool = True) -> _S_co:
        """A new store: see `EmbeddingStore.load_from_disk`."""
        ...


class LoadInto(Protocol):
    """`load_from_disk` of a store."""

    def __call__(self, folder: str | PathLike[str], mmap: bool = True) -> None:
        """Replaces what the store holds: see `EmbeddingStore.load_from_disk`."""


class LoadMethod:
    """Binds a function to the class or to the store that it is called on, whichever that is."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__doc__ = function.__doc__
        self._function = short_traceback(function)

    @overload
    def __get__(self, store: None, kind: type[_S]) -> LoadNew[_S]: ...
    @overload
    def __get__(self, store: EmbeddingStore, kind: type[EmbeddingStore]) -> LoadInto: ...
    def __get__(self, store: EmbeddingStore | None, kind: type[EmbeddingStore]) -> Any:
        """The function, bound."""
        return MethodType(self._function, kind if store is None else store)
