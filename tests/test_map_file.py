"""Maps of files, by which stores are read in place."""

import gc
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from votive._core import map_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    return path


@pytest.fixture
def descriptor(path: Path) -> Iterator[int]:
    with open(path, "rb") as file:
        yield file.fileno()


def test_an_array_shows_the_file(path: Path) -> None:
    with open(path, "rb") as file:
        mapped = map_file(file.fileno(), 70)
        assert file.read() == path.read_bytes()
    assert (mapped.dtype, mapped.shape) == (np.uint8, (70,))
    assert mapped.tobytes() == bytes(range(70))
    with open(path, "r+b") as file:
        file.write(b"new")
    assert mapped[:4].tobytes() == b"new\x03"


def test_no_array_of_a_file_can_be_written_to(descriptor: int) -> None:
    mapped = map_file(descriptor, 100)
    for array in (mapped, mapped[1:], mapped.view(np.int32)):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


def test_a_map_lasts_as_long_as_what_shows_it(descriptor: int) -> None:
    mapped = map_file(descriptor, 100)
    kept = weakref.ref(mapped)
    view = np.ndarray((10,), np.uint8, mapped, 5)
    del mapped
    gc.collect()
    assert kept() is not None
    assert view.tobytes() == bytes(range(5, 15))
    del view
    gc.collect()
    assert kept() is None


def test_what_cannot_be_mapped_is_refused(tmp_path: Path, path: Path, descriptor: int) -> None:
    for length in (-(2**70), -1, 0, 101, 2**63, 2**70):
        with pytest.raises(ValueError, match=f"^length: expected 1 to 100, the bytes of the file, found {length}$"):
            map_file(descriptor, length)
    for wrong in (None, "1", 1.0):
        with pytest.raises(TypeError, match="length"):
            map_file(descriptor, wrong)
    with pytest.raises(ValueError, match="descriptor: expected that of an open file, found -1"):
        map_file(-1, 1)
    with open(path, "rb") as file:
        closed = os.dup(file.fileno())
    os.close(closed)
    with pytest.raises(OSError, match="Bad file descriptor"):
        map_file(closed, 1)
    (tmp_path / "empty").touch()
    with open(tmp_path / "empty", "rb") as file, pytest.raises(ValueError, match="descriptor: the file is empty"):
        map_file(file.fileno(), 1)
    write_only = os.open(path, os.O_WRONLY)
    with pytest.raises(PermissionError):
        map_file(write_only, 1)
    os.close(write_only)
