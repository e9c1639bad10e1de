"""MANIFEST.json, the one file of a store's folder that says what the others are: see `votive.persistence`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

from votive._core import CorruptStoreError, StoreError, __version__, crc32c
from votive._store.npy import header_of, itemsize_of
from votive._store.options import DTYPES, METRICS, Metric, StoreDtype

_C = TypeVar("_C", bound=str)

MANIFEST = "MANIFEST.json"
FORMAT_VERSION = 1

# A longer one would have some hundred thousand segments.
MAX_MANIFEST_BYTES = 1 << 26

# No array has more bytes, nor anything else a larger number: sums of sizes stay within 64 bits.
MAX_ARRAY_BYTES = 1 << 60
MAX_DIMENSION = 1 << 16

ID_KINDS = ("int64", "str")

# Arrays of a segment besides its columns.
PARTS = ("vectors", "codes", "bounds", "ids", "ids_offsets", "ids_bytes", "texts_offsets", "texts_bytes")

_FILE = re.compile(rf"({'|'.join((*PARTS, 'column', 'deleted'))})-[1-9][0-9]{{0,18}}-[0-9]{{1,18}}\.npy", re.ASCII)
_TEMPORARY = re.compile(r"MANIFEST-[0-9a-f]{32}\.tmp", re.ASCII)
_DTYPE = re.compile(
    r"\|b1|\|[iu]1|<[iu][248]|<f[248]|(\|S|<U)[1-9][0-9]{0,8}"
    r"|<M8(\[([1-9][0-9]{0,8})?(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?",
    re.ASCII,
)


def is_store_file(name: str) -> bool:
    """Whether a writer may have made a file of this name: a later one removes it if nothing needs it."""
    return bool(_FILE.fullmatch(name) or _TEMPORARY.fullmatch(name))


def corrupt_error(path: Path, what: str) -> CorruptStoreError:
    """An error about a file, with what to do."""
    return CorruptStoreError(f"{path}: {what}; restore the folder from a copy, or remove it and save the store anew")


@dataclass(frozen=True)
class ArrayFile:
    """A file with one array: as `numpy.save` writes it, in the order of C.

    Attributes:
        dtype: type of its elements, as NumPy writes it.
        shape: shape of the array.
        crc32c: checksum of the whole file.
    """

    dtype: str
    shape: tuple[int, ...]
    crc32c: int

    @property
    def bytes(self) -> int:
        """Length of the file."""
        return len(header_of(self.dtype, self.shape)) + math.prod(self.shape) * itemsize_of(self.dtype)

    def check(self, path: Path, checksum: int) -> None:
        """Accepts the checksum that the file was written with.

        Raises:
            CorruptStoreError: It is another.
        """
        if checksum != self.crc32c:
            raise corrupt_error(path, f"its checksum is {checksum:08x}, but {MANIFEST} says {self.crc32c:08x}")


@dataclass(frozen=True)
class Segment:
    """Rows that were written together.

    Attributes:
        first_row: number of the first of them.
        rows: how many there are.
        parts: names of the files by the `PARTS` that are in them.
        columns: names of the files with columns of metadata, by the names of those.
    """

    first_row: int
    rows: int
    parts: Mapping[str, str]
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of its files."""
        return [*self.parts.values(), *self.columns.values()]


@dataclass(frozen=True)
class Manifest:
    """A state of a store on disk: see `votive.persistence`.

    Attributes:
        generation: one more with each commit.
        dimension: numbers in a vector; None while there was no row.
        dtype: how vectors are stored.
        metric: how they are compared.
        id_kind: "int64" or "str"; None while there was no row.
        rows: how many rows have a number, deleted ones too.
        largest_id: the largest number that was ever an id; None while there was none.
        segments: the rows, in order.
        deleted: name of the file with the numbers of deleted rows; None where there are none.
        files: all files by their names.
    """

    generation: int
    dimension: int | None
    dtype: StoreDtype
    metric: Metric
    id_kind: str | None
    rows: int
    largest_id: int | None
    segments: tuple[Segment, ...]
    deleted: str | None
    files: Mapping[str, ArrayFile]

    def dump(self) -> bytes:
        """Text of it; its own checksum is that of the rest without spaces, names in order."""
        document = {"format_version": FORMAT_VERSION, "created_by": f"votive {__version__}", **self._document()}
        document["crc32c"] = _checksum(document)
        return json.dumps(document, indent=1).encode() + b"\n"

    @property
    def identity(self) -> str:
        """A checksum of all that it says, whichever version wrote it."""
        return _checksum(self._document())

    def _document(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "dimension": self.dimension,
            "dtype": self.dtype,
            "metric": self.metric,
            "id_kind": self.id_kind,
            "rows": self.rows,
            "largest_id": self.largest_id,
            "segments": [
                {
                    "first_row": segment.first_row,
                    "rows": segment.rows,
                    **segment.parts,
                    "columns": dict(segment.columns),
                }
                for segment in self.segments
            ],
            "deleted": self.deleted,
            "files": {
                name: {
                    "bytes": file.bytes,
                    "crc32c": f"{file.crc32c:08x}",
                    "dtype": file.dtype,
                    "shape": list(file.shape),
                }
                for name, file in self.files.items()
            },
        }

    @classmethod
    def parse(cls, path: Path, text: bytes) -> Manifest:
        """What `dump` wrote, each thing that it says checked against the others.

        Raises:
            CorruptStoreError: It is damaged, or contradicts itself.
            StoreError: A newer votive wrote it.
        """
        try:
            document = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise corrupt_error(path, f"no JSON ({error})") from None
        top = _JsonObject(path, "", document)
        version = top.integer("format_version", 1)
        if version > FORMAT_VERSION:
            raise StoreError(
                f"{path}: format_version {version}, written by {_shown(document.get('created_by'))}; "
                f"votive {__version__} reads up to {FORMAT_VERSION}: use a newer votive"
            )
        try:
            checksum = _checksum({key: value for key, value in document.items() if key != "crc32c"})
        except (ValueError, RecursionError) as error:
            raise corrupt_error(path, f"no manifest ({error})") from None
        if document.get("crc32c") != checksum:
            raise corrupt_error(path, f"its checksum is {checksum}, but it says {_shown(document.get('crc32c'))}")
        entries = top.entry("files")
        files = {name: _parse_file(entries, name) for name in entries.value}
        segments = tuple(_parse_segment(entry) for entry in top.entries("segments"))
        dimension = None if document.get("dimension") is None else top.integer("dimension", 1, MAX_DIMENSION)
        manifest = cls(
            generation=top.integer("generation", 1),
            dimension=dimension,
            dtype=top.choice("dtype", get_args(StoreDtype)),
            metric=top.choice("metric", METRICS),
            id_kind=None if document.get("id_kind") is None else top.choice("id_kind", ID_KINDS),
            rows=top.integer("rows", 0),
            largest_id=None if document.get("largest_id") is None else top.integer("largest_id", 0, 2**63 - 1),
            segments=segments,
            deleted=None if document.get("deleted") is None else top.text("deleted"),
            files=files,
        )
        manifest._check(path)
        return manifest

    def _check(self, path: Path) -> None:
        """Accepts rows in order, every file used once, and each array of the shape that its place asks for."""
        named = [name for segment in self.segments for name in segment.names]
        if self.deleted is not None:
            named.append(self.deleted)
        if sorted(named) != sorted(self.files):
            odd = next(iter(set(named) ^ set(self.files)), "one")
            raise corrupt_error(
                path, f"files: expected each file that a segment names once, found {odd!r:.99} otherwise"
            )
        rows = 0
        for i, segment in enumerate(self.segments):
            if segment.first_row != rows:
                raise corrupt_error(path, f"segments[{i}].first_row: expected {rows}, found {segment.first_row}")
            rows += segment.rows
            self._check_segment(path, i, segment)
        if rows != self.rows:
            raise corrupt_error(path, f"rows: expected {rows}, the rows of its segments, found {self.rows}")
        if rows and (self.dimension is None or self.id_kind is None):
            raise corrupt_error(path, "dimension and id_kind: expected some where there are rows, found null")
        if self.deleted is not None:
            self._check_array(path, "deleted", self.deleted, "<i8", (None,))

    def _check_segment(self, path: Path, i: int, segment: Segment) -> None:
        dimension, rows = self.dimension or 0, segment.rows
        stored = DTYPES[self.dtype].npy_dtype
        coded = {"codes": ("|i1", (rows, code_stride(dimension))), "bounds": ("<f4", (rows, 6))}
        ids: dict[str, tuple[str, tuple[int | None, ...]]] = {"ids": ("<i8", (rows,))}
        if self.id_kind == "str":
            ids = {"ids_offsets": ("<i8", (rows + 1,)), "ids_bytes": ("|u1", (None,))}
        texts = {"texts_offsets": ("<i8", (rows + 1,)), "texts_bytes": ("|u1", (None,))}
        vectors = {} if stored is None else {"vectors": (stored, (rows, dimension))}
        needed = {**vectors, **ids, **({} if vectors else coded)}
        if not any(part in segment.parts for part in {**vectors, **coded}):
            needed = {**ids}
        # What comes as a pair or not at all.
        for pair in (coded, texts):
            if any(part in segment.parts for part in pair):
                needed |= pair
        if set(segment.parts) != set(needed):
            raise corrupt_error(path, f"segments[{i}]: expected {', '.join(needed)}, found {', '.join(segment.parts)}")
        for part, (dtype, shape) in needed.items():
            self._check_array(path, f"segments[{i}].{part}", segment.parts[part], dtype, shape)
        first = self.segments[0]
        if ("texts_bytes" in segment.parts, segment.columns.keys()) != (
            "texts_bytes" in first.parts,
            first.columns.keys(),
        ):
            raise corrupt_error(path, f"segments[{i}]: expected texts and columns as of segments[0], found others")
        for column, name in segment.columns.items():
            file = self.files[name]
            like = self.files[first.columns[column]].dtype
            if file.dtype != like and (file.dtype[1] != like[1] or like[1] not in "US"):
                raise corrupt_error(path, f"segments[{i}].columns[{column!r:.99}]: expected {like}, found {file.dtype}")
            if file.shape != (rows,) or not name.startswith("column-"):
                raise corrupt_error(
                    path, f"segments[{i}].columns[{column!r:.99}]: expected {rows} rows, found {file.shape}"
                )

    def _check_array(self, path: Path, where: str, name: str, dtype: str, shape: tuple[int | None, ...]) -> None:
        file = self.files[name]
        fits = len(file.shape) == len(shape) and all(
            size is None or size == found for size, found in zip(shape, file.shape, strict=True)
        )
        if file.dtype != dtype or not fits or not name.startswith(f"{where.rpartition('.')[2]}-"):
            sizes = ", ".join("any" if size is None else str(size) for size in shape)
            raise corrupt_error(
                path, f"{where}: expected {dtype} [{sizes}], found {name!r:.99} {file.dtype} {list(file.shape)}"
            )


def code_stride(dimension: int) -> int:
    """Bytes of codes a row: whole lines of 64."""
    return -(-dimension // 64) * 64


def _checksum(document: dict[str, Any]) -> str:
    return f"{crc32c(json.dumps(document, sort_keys=True, separators=(',', ':')).encode()):08x}"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it has {constant}")


def _parse_file(files: _JsonObject, name: str) -> ArrayFile:
    entry = files.entry(name)
    # Plain names of our own: none leads out of the folder.
    if not _FILE.fullmatch(name):
        raise corrupt_error(entry.path, f"files: expected names such as 'vectors-1-0.npy', found {name!r:.99}")
    dtype = entry.text("dtype")
    if not _DTYPE.fullmatch(dtype):
        raise entry.unexpected("dtype", "a type of numbers or texts such as '<f4'")
    shape = entry.value.get("shape")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 16 or not all(_is_count(size) for size in shape):
        raise entry.unexpected("shape", "a list of 1 to 16 sizes")
    checksum = entry.text("crc32c")
    if not re.fullmatch("[0-9a-f]{8}", checksum, re.ASCII):
        raise entry.unexpected("crc32c", "eight digits of 0-9a-f")
    file = ArrayFile(dtype, tuple(shape), int(checksum, 16))
    if file.bytes > MAX_ARRAY_BYTES or entry.integer("bytes", 0) != file.bytes:
        raise entry.unexpected("bytes", f"{file.bytes}, as dtype and shape have it,")
    return file


def _parse_segment(entry: _JsonObject) -> Segment:
    columns = entry.entry("columns")
    return Segment(
        first_row=entry.integer("first_row", 0),
        rows=entry.integer("rows", 1),
        parts={part: entry.text(part) for part in PARTS if part in entry.value},
        columns={name: columns.text(name) for name in columns.value},
    )


def _shown(value: object) -> str:
    """A value of JSON, but not what is in it: that may be deep."""
    return {list: "a list", dict: "an object", type(None): "none"}.get(type(value)) or f"{value!r:.99}"


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_ARRAY_BYTES


@dataclass(frozen=True)
class _JsonObject:
    """An object of JSON, and where it stands."""

    path: Path
    where: str
    value: Any

    def __post_init__(self) -> None:
        if not isinstance(self.value, dict):
            raise corrupt_error(
                self.path, f"{self.where.rstrip('.') or 'all of it'}: expected an object, found {_shown(self.value)}"
            )

    def unexpected(self, key: str, expected: str) -> CorruptStoreError:
        return corrupt_error(
            self.path, f"{self.where}{key:.99}: expected {expected}, found {_shown(self.value.get(key))}"
        )

    def entry(self, key: str) -> _JsonObject:
        return _JsonObject(self.path, f"{self.where}{key:.99}.", self.value.get(key))

    def entries(self, key: str) -> Iterator[_JsonObject]:
        found = self.value.get(key)
        if not isinstance(found, list):
            raise self.unexpected(key, "a list")
        return (_JsonObject(self.path, f"{self.where}{key}[{i}].", value) for i, value in enumerate(found))

    def integer(self, key: str, minimum: int, maximum: int = MAX_ARRAY_BYTES) -> int:
        found = self.value.get(key)
        if type(found) is not int or not minimum <= found <= maximum:
            raise self.unexpected(key, f"an integer from {minimum} to {maximum}")
        return found

    def text(self, key: str) -> str:
        found = self.value.get(key)
        if not isinstance(found, str):
            raise self.unexpected(key, "a text")
        return found

    def choice(self, key: str, accepted: Sequence[_C]) -> _C:
        found = self.text(key)
        for choice in accepted:
            if choice == found:
                return choice
        raise self.unexpected(key, " or ".join(accepted))
