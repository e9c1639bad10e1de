"""The types that a column of metadata may have, and what becomes of a column to which values of another type come."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIXED = re.compile(
    r"bool|u?int(8|16|32|64)|float(16|32|64)"
    r"|datetime64(\[([1-9][0-9]{0,8})?(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?",
    re.ASCII,
)
_VARIABLE = ("str", "bytes", "json")

_INT64_MAX = np.uint64(2**63 - 1)


@dataclass(frozen=True)
class ColumnType:
    """Type of a column.

    Attributes:
        name: "bool", "int8" to "int64", "uint8" to "uint64", "float16" to "float64" and "datetime64[unit]", as NumPy
            calls them; "str"; "bytes"; "json", which is lists and dicts; or "null" while no row has a value.
    """

    name: str

    @classmethod
    def named(cls, name: str) -> ColumnType | None:
        """The type of that name; None where there is none."""
        return cls(name) if name == "null" or name in _VARIABLE or _FIXED.fullmatch(name) else None

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> ColumnType | None:
        """The type of the values of an array of numbers, booleans or points in time; None where there is none."""
        found = cls.named(dtype.name)
        return None if found is None or found.is_variable else found

    @classmethod
    def of_npy(cls, dtype: str) -> ColumnType:
        """The type of the values of an array in a file, of a type as NumPy writes it."""
        return cls(np.dtype(dtype).name)

    @property
    def is_variable(self) -> bool:
        """Whether values are bytes of any number: of UTF-8 (of "str" and "json"), or as they are."""
        return self.name in _VARIABLE

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array that holds the values: of the bytes of variable ones; of none, of "null"."""
        if self.name == "null":
            return np.dtype(np.bool_)
        return np.dtype(np.uint8) if self.is_variable else np.dtype(self.name)

    @property
    def public_dtype(self) -> np.dtype[Any]:
        """Type of the arrays that users get."""
        return np.dtype(object) if self.is_variable or self.name == "null" else self.dtype

    def __str__(self) -> str:
        return "lists and dicts" if self.name == "json" else self.name


NULL, STR, BYTES, JSON = (ColumnType(name) for name in ("null", *_VARIABLE))


def promote(left: ColumnType, right: ColumnType) -> tuple[ColumnType, ...]:
    """The types that can hold the values of both, the first choice first; none where no column holds both.

    As NumPy promotes them; integers and unsigned ones of 64 bits become whichever type holds all that there are.
    """
    if left == right or right == NULL:
        return (left,)
    if left == NULL:
        return (right,)
    if left.is_variable or right.is_variable:
        return ()
    kinds = {left.dtype.kind, right.dtype.kind}
    if kinds == {"i", "u"} and ColumnType("uint64") in (left, right):
        return ColumnType("int64"), ColumnType("uint64")
    if len(kinds) > 1 and not kinds <= set("iuf"):
        return ()
    try:
        found = ColumnType.of(np.promote_types(left.dtype, right.dtype))
    except (TypeError, OverflowError):  # points in time of units that are too far apart
        found = None
    return () if found is None else (found,)


def first_inexact(values: NDArray[Any], target: ColumnType) -> int | None:
    """The place of the first value that `target` cannot hold as it is; None where it holds all."""
    source, dtype = values.dtype, target.dtype
    if source == dtype or not len(values):
        return None
    if source.kind in "iu" and dtype.kind in "iu":
        if dtype.kind == "u":
            wrong = values < 0
        elif source == np.uint64:
            wrong = values > _INT64_MAX
        else:
            return None
    elif source.kind in "iu":
        # Whole numbers up to there have a float each.
        limit = 1 << (np.finfo(dtype).nmant + 1)
        wrong = (values > limit) if source.kind == "u" else (values > limit) | (values < -limit)
        # Beyond, those that end in zeros have one.
        beyond = values[wrong]
        wrong[wrong] = [int(float(dtype.type(value))) != int(value) for value in beyond]
    elif source.kind == "M":
        wrong = values.astype(dtype).astype(source) != values
        wrong &= ~np.isnat(values)
    else:
        return None
    return int(np.argmax(wrong)) if wrong.any() else None
