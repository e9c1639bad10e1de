"""MANIFEST.json, the one file of a store's folder that says what the others are: see `votive.persistence`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, get_args

from votive._core import StoreError, __version__, crc32c
from votive._store.array_file import StoredArray, StoreFile, corrupt_error, split_location
from votive._store.files.json_object import MAX_ARRAY_BYTES, JsonObject, shown
from votive._store.options import METRICS, Metric, StoreDtype
from votive._store.table.column_type import ColumnType
from votive._store.table.columns import TEXT
from votive.embedder_info import EmbedderInfo

FORMAT_VERSION = 3

# A longer one would have some hundred thousand segments.
MAX_MANIFEST_BYTES = 1 << 26

MAX_DIMENSION = 1 << 16

ID_KINDS = ("int64", "str")

# Arrays of a segment besides its columns.
PARTS = ("vectors", "codes", "bounds", "coarse", "ids", "ids_offsets", "ids_bytes")

# Arrays of a column, and of one of which some rows were changed.
COLUMN_PARTS = ("values", "offsets", "bytes", "valid")
CHANGE_PARTS = ("rows", *COLUMN_PARTS)

_TEXT_FILES = ("texts_offsets", "texts_bytes", "texts_valid")
_COLUMN_FILES = ("column", "column_offsets", "column_bytes", "column_valid")
_ARRAY_FILES = (*PARTS, *_TEXT_FILES, *_COLUMN_FILES, "rows", "deleted")

_FILE = re.compile(
    rf"(({'|'.join(_ARRAY_FILES)})-[1-9][0-9]{{0,18}}-[0-9]{{1,18}}\.npy"
    r"|(segment|changes)-[1-9][0-9]{0,18}-[0-9]{1,18}\.npz)",
    re.ASCII,
)
_MEMBER = re.compile(r"[a-z_]{1,20}(-[0-9]{1,9})?", re.ASCII)
_TEMPORARY = re.compile(r"MANIFEST-[0-9a-f]{32}\.tmp", re.ASCII)
_DTYPE = re.compile(
    r"\|b1|\|[iu]1|<[iu][248]|<f[248]|(\|S|<U)[1-9][0-9]{0,8}"
    r"|<M8(\[([1-9][0-9]{0,8})?(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?",
    re.ASCII,
)


def is_store_file(name: str) -> bool:
    """Whether a writer may have made a file of this name: a later one removes it if nothing needs it."""
    return bool(_FILE.fullmatch(name) or _TEMPORARY.fullmatch(name))


@dataclass(frozen=True)
class Segment:
    """Rows that were written together.

    Attributes:
        first_row: number of the first of them.
        rows: how many there are.
        parts: locations of arrays by the `PARTS` that they are.
        columns: locations of arrays by the `COLUMN_PARTS` that they are, by the names of the columns. Rows are null in
            columns that are not there.
    """

    first_row: int
    rows: int
    parts: Mapping[str, str]
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def locations(self) -> list[str]:
        """Locations of its arrays."""
        return [*self.parts.values(), *(place for column in self.columns.values() for place in column.values())]


@dataclass(frozen=True)
class ChangeSet:
    """Values that rows of segments before were changed to.

    Attributes:
        rows: how many values there are, in all columns.
        columns: locations of arrays by the `CHANGE_PARTS` that they are, by the names of the columns.
    """

    rows: int
    columns: Mapping[str, Mapping[str, str]]

    @property
    def locations(self) -> list[str]:
        """Locations of its arrays."""
        return [place for column in self.columns.values() for place in column.values()]


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
        columns: types of the columns by their names; texts are the column "text".
        segments: the rows, in order.
        changes: what was changed in them, the newest last.
        deleted: location of the array that says which rows are deleted; None where none is.
        deleted_rows: how many are.
        files: all files by their names.
        embedder: the model that made the vectors; None where it is not known.
    """

    generation: int
    dimension: int | None
    dtype: StoreDtype
    metric: Metric
    id_kind: str | None
    rows: int
    largest_id: int | None
    columns: Mapping[str, ColumnType]
    segments: tuple[Segment, ...]
    changes: tuple[ChangeSet, ...]
    deleted: str | None
    deleted_rows: int
    files: Mapping[str, StoreFile]
    embedder: EmbedderInfo | None = None

    @property
    def locations(self) -> list[str]:
        """Locations of all arrays."""
        parts: list[Segment | ChangeSet] = [*self.segments, *self.changes]
        sets = [place for part in parts for place in part.locations]
        return sets if self.deleted is None else [*sets, self.deleted]

    def array(self, location: str) -> StoredArray:
        """What is at a location."""
        name, member = split_location(location)
        return self.files[name].arrays[member]

    def size(self, part: Segment | ChangeSet) -> int:
        """Bytes of the arrays of a part."""
        return sum(self.array(location).bytes for location in part.locations)

    def dump(self) -> bytes:
        """Text of it, a line for each thing; its own checksum is that of the rest without spaces, names in order."""
        document = {"format_version": FORMAT_VERSION, "created_by": f"votive {__version__}", **self._document()}
        document["crc32c"] = _checksum(document)
        return ("{\n" + ",\n".join(f'"{key}": {_lines(value)}' for key, value in document.items()) + "\n}\n").encode()

    @property
    def identity(self) -> str:
        """A checksum of all that it says, whichever version wrote it."""
        return _checksum(self._document())

    def _document(self) -> dict[str, Any]:
        # Without the key where there is no model: then the manifest is as earlier versions wrote it.
        embedder = {} if self.embedder is None else {"embedder": asdict(self.embedder)}
        return {
            "generation": self.generation,
            "dimension": self.dimension,
            "dtype": self.dtype,
            "metric": self.metric,
            **embedder,
            "id_kind": self.id_kind,
            "rows": self.rows,
            "largest_id": self.largest_id,
            "columns": {name: type.name for name, type in self.columns.items()},
            "segments": [
                {
                    "first_row": segment.first_row,
                    "rows": segment.rows,
                    **segment.parts,
                    "columns": {name: dict(parts) for name, parts in segment.columns.items()},
                }
                for segment in self.segments
            ],
            "changes": [
                {"rows": change.rows, "columns": {name: dict(parts) for name, parts in change.columns.items()}}
                for change in self.changes
            ],
            "deleted": self.deleted,
            "deleted_rows": self.deleted_rows,
            "files": {name: _dump_file(file) for name, file in self.files.items()},
        }

    @classmethod
    def parse(cls, path: Path, text: bytes) -> Manifest:
        """What `dump` wrote, and what it wrote in earlier versions; whether it is true is for `manifest_checks`.

        Raises:
            CorruptStoreError: It is damaged.
            StoreError: A newer votive wrote it.
        """
        try:
            document = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise corrupt_error(path, f"no JSON ({error})") from None
        top = JsonObject(path, "", document)
        version = top.integer("format_version", 1)
        if version > FORMAT_VERSION:
            raise StoreError(
                f"{path}: format_version {version}, written by {shown(document.get('created_by'))}; "
                f"votive {__version__} reads up to {FORMAT_VERSION}: use a newer votive"
            )
        try:
            checksum = _checksum({key: value for key, value in document.items() if key != "crc32c"})
        except (ValueError, RecursionError) as error:
            raise corrupt_error(path, f"no manifest ({error})") from None
        if document.get("crc32c") != checksum:
            raise corrupt_error(path, f"its checksum is {checksum}, but it says {shown(document.get('crc32c'))}")
        entries = top.entry("files")
        files = {name: _parse_file(entries, name) for name in entries.value}
        if version == 1:
            top = _from_version_1(top, files)
        types = top.entry("columns")
        return cls(
            generation=top.integer("generation", 1),
            dimension=None if top.value.get("dimension") is None else top.integer("dimension", 1, MAX_DIMENSION),
            dtype=top.choice("dtype", get_args(StoreDtype)),
            metric=top.choice("metric", METRICS),
            id_kind=None if top.value.get("id_kind") is None else top.choice("id_kind", ID_KINDS),
            rows=top.integer("rows", 0),
            largest_id=None if top.value.get("largest_id") is None else top.integer("largest_id", 0, 2**63 - 1),
            columns={name: _parse_type(types, name) for name in types.value},
            segments=tuple(_parse_segment(entry) for entry in top.entries("segments")),
            changes=tuple(
                ChangeSet(entry.integer("rows", 1), _parse_columns(entry, CHANGE_PARTS))
                for entry in top.entries("changes")
            ),
            deleted=None if top.value.get("deleted") is None else top.text("deleted"),
            deleted_rows=top.integer("deleted_rows", 0),
            files=files,
            embedder=None if top.value.get("embedder") is None else _parse_embedder(top.entry("embedder")),
        )


def code_stride(dimension: int) -> int:
    """Bytes of codes a row: whole lines of 64."""
    return -(-dimension // 64) * 64


def coarse_stride(dimension: int) -> int:
    """Bytes of coarse codes a row: four float32 numbers, and half a byte for each byte of codes."""
    return 16 + code_stride(dimension) // 2


def _checksum(document: dict[str, Any]) -> str:
    return f"{crc32c(json.dumps(document, sort_keys=True, separators=(',', ':')).encode()):08x}"


def _lines(value: Any) -> str:
    """JSON of a value, with a line for each thing in it."""
    if isinstance(value, list) and value:
        return "[\n " + ",\n ".join(map(json.dumps, value)) + "\n]"
    if isinstance(value, dict) and value:
        return "{\n " + ",\n ".join(f"{json.dumps(key)}: {json.dumps(item)}" for key, item in value.items()) + "\n}"
    return json.dumps(value)


def _dump_file(file: StoreFile) -> dict[str, Any]:
    entry: dict[str, Any] = {"bytes": file.bytes, "crc32c": f"{file.crc32c:08x}"}
    if "" in file.arrays:
        return {**entry, "dtype": file.arrays[""].dtype, "shape": list(file.arrays[""].shape)}
    entry["arrays"] = {
        member: {"offset": file.offsets[member], "dtype": array.dtype, "shape": list(array.shape)}
        for member, array in file.arrays.items()
    }
    return entry


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it has {constant}")


def _parse_file(files: JsonObject, name: str) -> StoreFile:
    entry = files.entry(name)
    # Plain names of our own: none leads out of the folder.
    if not _FILE.fullmatch(name):
        raise corrupt_error(entry.path, f"files: expected names such as 'vectors-1-0.npy', found {name!r:.99}")
    checksum, size = entry.checksum("crc32c"), entry.integer("bytes", 0)
    if name.endswith(".npy"):
        file = StoreFile.of(_parse_array(entry), checksum)
        if file.bytes > MAX_ARRAY_BYTES or size != file.bytes:
            raise entry.unexpected("bytes", f"{file.bytes}, as dtype and shape have it,")
        return file
    arrays, offsets = {}, {}
    members = entry.entry("arrays")
    for member in members.value:
        if not _MEMBER.fullmatch(member):
            raise members.unexpected(member, "a name such as 'ids'")
        array = _parse_array(members.entry(member))
        arrays[member], offsets[member] = array, members.entry(member).integer("offset", 0)
        if offsets[member] + array.bytes > size:
            raise members.entry(member).unexpected("offset", f"an array of {array.bytes} of the file's {size} bytes")
    return StoreFile(size, checksum, arrays, offsets)


def _parse_array(entry: JsonObject) -> StoredArray:
    dtype = entry.text("dtype")
    if not _DTYPE.fullmatch(dtype):
        raise entry.unexpected("dtype", "a type of numbers or texts such as '<f4'")
    return StoredArray(dtype, entry.shape("shape"))


def _parse_embedder(entry: JsonObject) -> EmbedderInfo:
    try:
        return EmbedderInfo(**{attribute.name: entry.value.get(attribute.name) for attribute in fields(EmbedderInfo)})
    except (TypeError, ValueError) as error:
        raise corrupt_error(entry.path, f"{entry.where}{error}") from None


def _parse_type(types: JsonObject, name: str) -> ColumnType:
    found = ColumnType.named(types.text(name))
    if found is None:
        raise types.unexpected(name, "a type of columns such as 'int64'")
    return found


def _parse_segment(entry: JsonObject) -> Segment:
    return Segment(
        first_row=entry.integer("first_row", 0),
        rows=entry.integer("rows", 1),
        parts={part: entry.text(part) for part in PARTS if part in entry.value},
        columns=_parse_columns(entry, COLUMN_PARTS),
    )


def _parse_columns(entry: JsonObject, parts: tuple[str, ...]) -> dict[str, dict[str, str]]:
    columns = entry.entry("columns")
    found = {}
    for name in columns.value:
        column = columns.entry(name)
        found[name] = {part: column.text(part) for part in parts if part in column.value}
    return found


def _from_version_1(top: JsonObject, files: Mapping[str, StoreFile]) -> JsonObject:
    """What version 2 says of such a folder: there texts were parts of segments, and each column one array."""
    types: dict[str, str] = {}
    segments: list[dict[str, Any]] = []
    for entry in top.entries("segments"):
        columns = entry.entry("columns")
        found = {name: {"values": columns.text(name)} for name in columns.value}
        types |= {name: _type_of_version_1(files.get(column["values"])) for name, column in found.items()}
        if "texts_bytes" in entry.value or "texts_offsets" in entry.value:
            found[TEXT] = {"offsets": entry.text("texts_offsets"), "bytes": entry.text("texts_bytes")}
            types[TEXT] = "str"
        segments.append({**entry.value, "columns": found})
    deleted = top.value.get("deleted")
    file = files.get(deleted) if isinstance(deleted, str) else None
    return JsonObject(
        top.path,
        "",
        {
            **top.value,
            "segments": segments,
            "columns": types,
            "changes": [],
            "deleted_rows": 0 if file is None else file.arrays[""].shape[0],
        },
    )


def _type_of_version_1(file: StoreFile | None) -> str:
    if file is None or "" not in file.arrays:
        return "null"
    dtype = file.arrays[""].dtype
    names = {"U": "str", "S": "bytes"}
    return names.get(dtype[1]) or ColumnType.of_npy(dtype).name
