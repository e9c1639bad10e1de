"""Objects of JSON that may hold anything, read with errors that say where they are not what they should be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from votive._core import CorruptStoreError
from votive._store.array_file import corrupt_error

_C = TypeVar("_C", bound=str)

# No array has more bytes, nor anything else a larger number: sums of sizes stay within 64 bits.
MAX_ARRAY_BYTES = 1 << 60


@dataclass(frozen=True)
class JsonObject:
    """An object of JSON.

    Attributes:
        path: the file that it is in.
        where: where it stands there.
        value: what it holds.
    """

    path: Path
    where: str
    value: Any

    def __post_init__(self) -> None:
        """Accepts an object.

        Raises:
            CorruptStoreError: it is none.
        """
        if not isinstance(self.value, dict):
            raise corrupt_error(
                self.path, f"{self.where.rstrip('.') or 'all of it'}: expected an object, found {shown(self.value)}"
            )

    def unexpected(self, key: str, expected: str) -> CorruptStoreError:
        """An error about a value."""
        return corrupt_error(
            self.path, f"{self.where}{key:.99}: expected {expected}, found {shown(self.value.get(key))}"
        )

    def entry(self, key: str) -> JsonObject:
        """An object in it."""
        return JsonObject(self.path, f"{self.where}{key:.99}.", self.value.get(key))

    def entries(self, key: str) -> Iterator[JsonObject]:
        """The objects of a list in it."""
        found = self.value.get(key)
        if not isinstance(found, list):
            raise self.unexpected(key, "a list")
        return (JsonObject(self.path, f"{self.where}{key}[{i}].", value) for i, value in enumerate(found))

    def integer(self, key: str, minimum: int, maximum: int = MAX_ARRAY_BYTES) -> int:
        """A number in it."""
        found = self.value.get(key)
        if type(found) is not int or not minimum <= found <= maximum:
            raise self.unexpected(key, f"an integer from {minimum} to {maximum}")
        return found

    def text(self, key: str) -> str:
        """A text in it."""
        found = self.value.get(key)
        if not isinstance(found, str):
            raise self.unexpected(key, "a text")
        return found

    def choice(self, key: str, accepted: Sequence[_C]) -> _C:
        """A text in it that is one of few."""
        found = self.text(key)
        for choice in accepted:
            if choice == found:
                return choice
        raise self.unexpected(key, " or ".join(accepted))

    def checksum(self, key: str) -> int:
        """A checksum in it."""
        found = self.text(key)
        if not re.fullmatch("[0-9a-f]{8}", found, re.ASCII):
            raise self.unexpected(key, "eight digits of 0-9a-f")
        return int(found, 16)

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of an array in it."""
        found = self.value.get(key)
        if not isinstance(found, list) or not 1 <= len(found) <= 16 or not all(_is_count(size) for size in found):
            raise self.unexpected(key, "a list of 1 to 16 sizes")
        return tuple(found)


def shown(value: object) -> str:
    """A value of JSON, but not what is in it: that may be deep."""
    return {list: "a list", dict: "an object", type(None): "none"}.get(type(value)) or f"{value!r:.99}"


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_ARRAY_BYTES
