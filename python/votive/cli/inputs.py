"""Texts from files of several formats, one record at a time."""

from __future__ import annotations

import csv
import json
import math
import os
import stat
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any, BinaryIO, NamedTuple

from votive.cli.cell_types import CellTypes
from votive.cli.failure import CommandFailed, UsageError
from votive.cli.terminal import is_terminal

STANDARD_INPUT = "-"
# A line beyond this is no line of text; without a limit a binary file would be read whole.
MAX_LINE_BYTES = 64 << 20

# The number of a line, from 1, and what it holds.
Numbered = tuple[int, str]

# Where a record starts, its text, and what stands beside that.
Record = tuple[int, str, dict[str, Any]]


class Text(NamedTuple):
    """A text and the place it came from.

    Attributes:
        text: the text.
        path: of its file.
        line: where its record starts, from 1.
        fields: what else the record holds, where that was asked for.
    """

    text: str
    path: str
    line: int
    fields: dict[str, Any]

    @property
    def place(self) -> str:
        """File and line, for people."""
        return f"{name_of(self.path)}:{self.line}"


class TextInputs:
    """The texts of `paths` in order, read as they are asked for.

    A path's suffix decides its format: `.jsonl`, `.csv`, `.tsv`, anything else one text per line; standard input
    is JSON lines if `field` is given and CSV if `column` is. Iterating raises `CommandFailed`, naming file and line,
    for what cannot be read; what can be known before reading (a missing file, an option without use) is raised here.

    `cell_types` asks for the fields beside the text. Files with rows are read once before, to tell their types; what
    comes from standard input stays text.
    """

    def __init__(
        self,
        paths: Sequence[str],
        field: str | None = None,
        column: str | None = None,
        cell_types: CellTypes | None = None,
    ) -> None:
        if paths.count(STANDARD_INPUT) > 1:
            raise UsageError("standard input (-) can be read only once")
        if field is not None and column is not None and STANDARD_INPUT in paths:
            raise UsageError("standard input (-) is JSON lines with --field or CSV with --column, not both")
        self._paths = list(paths)
        self._field = field
        self._column = column
        readers = {self._reader(path) for path in paths}
        if field is not None and self._json_lines not in readers:
            raise UsageError("--field is for .jsonl files and standard input, and none is given")
        if column is not None and not readers & {self._comma_separated, self._tab_separated}:
            raise UsageError("--column is for .csv and .tsv files and standard input, and none is given")
        self._total_bytes = sum(_size(path) for path in paths)
        self._bytes_read = 0
        self._cell_types: CellTypes | None = None
        self._has_fields = cell_types is not None
        if cell_types is not None:
            self._count_cells(cell_types)
            self._cell_types = cell_types

    def __iter__(self) -> Iterator[Text]:
        for path in self._paths:
            with closing(self._lines(path)) as lines:
                for number, text, fields in self._reader(path)(name_of(path), lines):
                    yield Text(text, path, number, fields)

    def __str__(self) -> str:
        return ", ".join(map(name_of, self._paths))

    def fraction_read(self) -> float | None:
        """The part of all bytes that is read, or None where the end is unknown (a pipe)."""
        if self._total_bytes == float("inf") or self._bytes_read == 0:
            return None
        # A file may grow while it is read.
        return min(1.0, self._bytes_read / self._total_bytes) if self._total_bytes else None

    def expected(self, read: int) -> int | None:
        """How many texts there are, if the rest are as long as the first `read`; None where that is not known."""
        fraction = self.fraction_read()
        return None if fraction is None else round(read / fraction)

    def _count_cells(self, cell_types: CellTypes) -> None:
        tables = (self._comma_separated, self._tab_separated)
        for path in self._paths:
            if self._reader(path) in tables and math.isfinite(_size(path)):
                with closing(self._lines(path)) as lines:
                    for _, _, fields in self._reader(path)(name_of(path), lines):
                        cell_types.count(fields)
        self._bytes_read = 0

    def _reader(self, path: str) -> Callable[[str, Iterator[Numbered]], Iterator[Record]]:
        if path == STANDARD_INPUT:
            if self._field is not None:
                return self._json_lines
            return self._plain_lines if self._column is None else self._comma_separated
        suffix = os.path.splitext(path)[1].lower()
        by_suffix = {".jsonl": self._json_lines, ".csv": self._comma_separated, ".tsv": self._tab_separated}
        return by_suffix.get(suffix, self._plain_lines)

    def _lines(self, path: str) -> Generator[Numbered, None, None]:
        """Number and text of each line, its end included; a byte-order mark is left out."""
        label = name_of(path)
        number = 0
        try:
            with _open(path) as file:
                while raw := file.readline(MAX_LINE_BYTES + 1):
                    number += 1
                    if len(raw) > MAX_LINE_BYTES:
                        raise CommandFailed(f"{label}:{number}: line is longer than {MAX_LINE_BYTES >> 20} MiB")
                    self._bytes_read += len(raw)
                    if number == 1:
                        raw = raw.removeprefix(b"\xef\xbb\xbf")
                    try:
                        yield number, raw.decode("utf-8")
                    except UnicodeDecodeError as error:
                        found = f"byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line"
                        raise CommandFailed(f"{label}:{number}: not UTF-8 ({found})") from error
        except OSError as error:
            raise CommandFailed(f"{label}:{number + 1}: {error.strerror}") from error

    def _plain_lines(self, _label: str, lines: Iterator[Numbered]) -> Iterator[Record]:
        # An empty line is a text too: row i stays line i + 1.
        for number, line in lines:
            yield number, line.removesuffix("\n").removesuffix("\r"), {}

    def _json_lines(self, label: str, lines: Iterator[Numbered]) -> Iterator[Record]:
        name = self._field or "text"
        for number, line in lines:
            if line.strip():
                record = _json_record(line, name, f"{label}:{number}")
                text = record.pop(name)
                yield number, text, record if self._has_fields else {}

    def _comma_separated(self, label: str, lines: Iterator[Numbered]) -> Iterator[Record]:
        return self._table(label, lines, "excel")

    def _tab_separated(self, label: str, lines: Iterator[Numbered]) -> Iterator[Record]:
        return self._table(label, lines, "excel-tab")

    def _table(self, label: str, lines: Iterator[Numbered], dialect: str) -> Iterator[Record]:
        column = self._column or "text"
        csv.field_size_limit(MAX_LINE_BYTES)
        # Strict: a stray quote would otherwise swallow the lines up to the next one.
        rows = csv.reader((line for _, line in lines), dialect, strict=True)
        start = 1
        try:
            header = next(rows, None)
            if header is None:
                raise CommandFailed(f"{label}: empty, want a header line with a column {column!r}")
            if column not in header:
                raise CommandFailed(f"{label}:1: no column {column!r}; it has {_listed(header)} (choose with --column)")
            position = header.index(column)
            if self._has_fields and len(set(header)) < len(header):
                twice = next(name for name in header if header.count(name) > 1)
                raise CommandFailed(f"{label}:1: the column {twice!r} is there twice")
            start = rows.line_num + 1
            for row in rows:
                if row and len(row) != len(header):
                    raise CommandFailed(f"{label}:{start}: row of {len(row)}, but the header has {len(header)} columns")
                if row:  # an empty line gives an empty row
                    yield start, row[position], self._fields(header, row, position) if self._has_fields else {}
                start = rows.line_num + 1
        except csv.Error as error:
            raise CommandFailed(f"{label}:{start}: not a valid row ({error})") from error

    def _fields(self, header: list[str], row: list[str], position: int) -> dict[str, Any]:
        cells = dict(zip(header, row, strict=True))
        del cells[header[position]]
        return cells if self._cell_types is None else self._cell_types.values(cells)


def _json_record(line: str, field: str, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise CommandFailed(f"{place}: not JSON ({error.msg} at column {error.colno})") from error
    except (RecursionError, ValueError) as error:  # nested too deeply; a number of too many digits
        raise CommandFailed(f"{place}: not usable JSON ({error})") from error
    if not isinstance(record, dict):
        raise CommandFailed(f"{place}: want a JSON object, got {_json_kind(record)}")
    if field not in record:
        raise CommandFailed(f"{place}: no field {field!r}; it has {_listed(record)} (choose with --field)")
    text = record[field]
    if not isinstance(text, str):
        raise CommandFailed(f"{place}: field {field!r} is {_json_kind(text)}, want a string")
    if not _encodable(text):
        raise CommandFailed(f"{place}: field {field!r} holds half of a surrogate pair, which is no text")
    return record


def _size(path: str) -> float:
    """Bytes in a file, or infinity where only reading tells."""
    if path == STANDARD_INPUT:
        return float("inf")
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise CommandFailed(f"{path}: is a folder, want a file")
    return status.st_size if stat.S_ISREG(status.st_mode) else float("inf")


def _open(path: str) -> AbstractContextManager[BinaryIO]:
    if path != STANDARD_INPUT:
        return open(path, "rb")
    if sys.stdin is None:
        raise CommandFailed("standard input is closed")
    if is_terminal(sys.stdin):
        end = "Ctrl-Z and Enter" if os.name == "nt" else "Ctrl-D"
        print(f"reading texts from the terminal, one a line; end with {end}", file=sys.stderr)
    standard_input: BinaryIO = sys.stdin.buffer
    return nullcontext(standard_input)


def name_of(path: str) -> str:
    """What `path` is called in messages."""
    return "standard input" if path == STANDARD_INPUT else path


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _json_kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _listed(names: Iterable[str]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "") if shown else "none"
