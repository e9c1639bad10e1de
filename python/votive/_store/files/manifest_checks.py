"""Whether a manifest agrees with itself: rows in order, each array named once, of the shape that its place asks for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from votive._store.array_file import corrupt_error
from votive._store.files.manifest import ChangeSet, Manifest, Segment, coarse_stride, code_stride
from votive._store.options import DTYPES
from votive._store.table.column_type import ColumnType, promote

_Sizes = tuple[int | None, ...]


def check_manifest(path: Path, manifest: Manifest) -> Manifest:
    """Accepts a manifest whose parts agree.

    Raises:
        CorruptStoreError: two contradict each other; the message says which.
    """
    _check_locations(path, manifest)
    rows = 0
    for i, segment in enumerate(manifest.segments):
        if segment.first_row != rows:
            raise corrupt_error(path, f"segments[{i}].first_row: expected {rows}, found {segment.first_row}")
        rows += segment.rows
        _check_segment(path, manifest, f"segments[{i}]", segment)
    for i, change in enumerate(manifest.changes):
        _check_change(path, manifest, f"changes[{i}]", change)
    if rows != manifest.rows:
        raise corrupt_error(path, f"rows: expected {rows}, the rows of its segments, found {manifest.rows}")
    if rows and (manifest.dimension is None or manifest.id_kind is None):
        raise corrupt_error(path, "dimension and id_kind: expected some where there are rows, found null")
    if (manifest.metric == "hamming") != (manifest.dtype == "ubinary") or (
        manifest.metric == "hamming" and (manifest.dimension or 0) % 8
    ):
        raise corrupt_error(
            path,
            "metric: expected hamming and ubinary together, and whole bytes of bits, found "
            f"{manifest.metric}, {manifest.dtype} and a dimension of {manifest.dimension}",
        )
    if manifest.deleted is None:
        if manifest.deleted_rows:
            raise corrupt_error(path, f"deleted_rows: expected 0 without a file, found {manifest.deleted_rows}")
    elif manifest.array(manifest.deleted).dtype == "<i8":  # of version 1
        _check_array(path, manifest, "deleted", manifest.deleted, "<i8", (None,))
    else:
        _check_array(path, manifest, "deleted", manifest.deleted, "|u1", (-(-rows // 8),))
    return manifest


def _check_locations(path: Path, manifest: Manifest) -> None:
    """Accepts arrays that are there, and each named once."""
    named = Counter(manifest.locations)
    there = Counter(
        name if not member else f"{name}/{member}" for name, file in manifest.files.items() for member in file.arrays
    )
    if named != there:
        odd = next(iter((named - there) + (there - named)))
        raise corrupt_error(path, f"files: expected each array that a segment names once, found {odd!r:.99} otherwise")


def _check_segment(path: Path, manifest: Manifest, where: str, segment: Segment) -> None:
    dimension, rows = manifest.dimension or 0, segment.rows
    layout = DTYPES[manifest.dtype]
    coded: dict[str, tuple[str, _Sizes]] = {}
    if layout.has_codes:
        coded = {"codes": ("|i1", (rows, code_stride(dimension))), "bounds": ("<f4", (rows, 6))}
    ids: dict[str, tuple[str, _Sizes]] = {"ids": ("<i8", (rows,))}
    if manifest.id_kind == "str":
        ids = {"ids_offsets": ("<i8", (rows + 1,)), "ids_bytes": ("|u1", (None,))}
    vectors: dict[str, tuple[str, _Sizes]] = {}
    if layout.npy_dtype is not None:
        vectors = {"vectors": (layout.npy_dtype, (rows, layout.row_elements(dimension)))}
    needed = {**vectors, **ids, **({} if vectors else coded)}
    if not any(part in segment.parts for part in {**vectors, **coded}):
        needed = {**ids}
    # Codes and bounds come as a pair or not at all; before version 3 there were no coarse codes beside them.
    if any(part in segment.parts for part in coded):
        needed |= coded
        if vectors and "coarse" in segment.parts:
            needed["coarse"] = ("|u1", (rows, coarse_stride(dimension)))
    if set(segment.parts) != set(needed):
        raise corrupt_error(path, f"{where}: expected {', '.join(needed)}, found {', '.join(segment.parts)}")
    for part, (dtype, shape) in needed.items():
        _check_array(path, manifest, f"{where}.{part}", segment.parts[part], dtype, shape)
    for name, parts in segment.columns.items():
        _check_column(path, manifest, f"{where}.columns[{name!r:.99}]", name, dict(parts), rows)


def _check_change(path: Path, manifest: Manifest, where: str, change: ChangeSet) -> None:
    found = 0
    for name, locations in change.columns.items():
        parts, place = dict(locations), f"{where}.columns[{name!r:.99}]"
        if "rows" not in parts:
            raise corrupt_error(path, f"{place}: expected rows, found {', '.join(parts)}")
        location = parts.pop("rows")
        array = manifest.array(location)
        if len(array.shape) != 1 or not 0 < array.shape[0] <= manifest.rows:
            raise corrupt_error(path, f"{place}.rows: expected 1 to {manifest.rows} numbers, found {list(array.shape)}")
        _check_array(path, manifest, f"{place}.rows", location, "<i8", array.shape)
        _check_column(path, manifest, place, name, parts, array.shape[0])
        found += array.shape[0]
    if found != change.rows:
        raise corrupt_error(path, f"{where}.rows: expected {found}, the rows of its columns, found {change.rows}")


def _check_column(path: Path, manifest: Manifest, where: str, name: str, parts: dict[str, str], rows: int) -> None:
    type = manifest.columns.get(name)
    if type is None:
        raise corrupt_error(path, f"{where}: expected one of the columns {list(manifest.columns)!r:.99}")
    if "valid" in parts:
        _check_array(path, manifest, f"{where}.valid", parts.pop("valid"), "|b1", (rows,))
    if set(parts) == {"offsets", "bytes"} and type.is_variable:
        _check_array(path, manifest, f"{where}.offsets", parts["offsets"], "<i8", (rows + 1,))
        _check_array(path, manifest, f"{where}.bytes", parts["bytes"], "|u1", (None,))
    elif set(parts) == {"values"}:
        dtype = manifest.array(parts["values"]).dtype
        if not _fits(dtype, type):
            raise corrupt_error(path, f"{where}: expected {type.name}, found {dtype}")
        _check_array(path, manifest, f"{where}.values", parts["values"], dtype, (rows,))
    else:
        expected = "offsets, bytes" if type.is_variable else "values"
        raise corrupt_error(path, f"{where}: expected {expected}, found {', '.join(parts) or 'nothing'}")


def _fits(dtype: str, type: ColumnType) -> bool:
    """Whether a column holds what is in an array."""
    if dtype[1] in "US":  # of version 1
        return type.name == {"U": "str", "S": "bytes"}[dtype[1]]
    return type in promote(type, ColumnType.of_npy(dtype))


def _check_array(path: Path, manifest: Manifest, where: str, location: str, dtype: str, shape: _Sizes) -> None:
    found = manifest.array(location)
    fits = len(found.shape) == len(shape) and all(
        size is None or size == other for size, other in zip(shape, found.shape, strict=True)
    )
    if found.dtype != dtype or not fits:
        sizes = ", ".join("any" if size is None else str(size) for size in shape)
        raise corrupt_error(
            path, f"{where}: expected {dtype} [{sizes}], found {location!r:.99} {found.dtype} {list(found.shape)}"
        )
