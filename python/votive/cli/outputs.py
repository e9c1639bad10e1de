"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import struct
import sys
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from votive.cli.failure import CommandFailed, UsageError
from votive.cli.terminal import is_terminal

if TYPE_CHECKING:
    from typing_extensions import Self

# Of a file, in memory at a time.
COPY_BYTES = 1 << 20


def temporary_path(target: str) -> str:
    """A new name beside `target`, from which it can be renamed."""
    return os.path.join(os.path.dirname(target), f".votive-{secrets.token_hex(8)}.tmp")


def sync_folder(path: str) -> None:
    """Have the names in a folder survive a power failure."""
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class OutputFile:
    """Write beside the target, then rename: readers see the old file or the whole new one.

    A context manager. Leaving it normally publishes the file; leaving it by an exception removes what was written.
    Errors of the file system are `CommandFailed` naming `path`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # A link stays a link: the file it points to is replaced.
        self._target = os.path.realpath(path)
        self._temporary = temporary_path(self._target)
        self._file: BinaryIO

    def __enter__(self) -> Self:
        with self._named():
            self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                with self._named():
                    self._publish()
        finally:
            # Closing flushes, and fails again on a full disk; the file descriptor is released all the same.
            with contextlib.suppress(OSError):
                self._file.close()
            self._discard()

    def write(self, data: Any) -> None:
        """Append bytes, or any C-contiguous buffer."""
        with self._named():
            self._file.write(data)

    def _open(self) -> None:
        # Renaming over a device (/dev/null) or a folder would destroy or fail late.
        if os.path.exists(self._target) and not stat.S_ISREG(os.stat(self._target).st_mode):
            raise CommandFailed(f"{self.path}: exists and is not a regular file")
        self._file = open(self._temporary, "xb")  # noqa: SIM115

    def _publish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temporary, self._target)
        sync_folder(os.path.dirname(self._target))

    def _discard(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._temporary)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandFailed(f"{self.path}: {error.strerror}") from error


class NpyFile(OutputFile):
    """A .npy file of float32 rows whose number is known only at the end.

    The place of the header is left empty and filled in last.
    """

    # Room for two 20-digit numbers; a multiple of 64, as the format asks, so that a memory map is aligned.
    _HEADER_BYTES = 128

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.rows = 0
        self.columns = 0

    def __enter__(self) -> Self:
        super().__enter__()
        self._file.write(bytes(self._HEADER_BYTES))  # into the buffer of an empty file: cannot fail
        return self

    def write_rows(self, rows: np.ndarray) -> None:
        """Append `rows`, `[n, columns]`; n may be 0, columns are the same in every call."""
        self.write(np.ascontiguousarray(rows, dtype="<f4"))
        self.rows += rows.shape[0]
        self.columns = rows.shape[1]

    def _publish(self) -> None:
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(self.rows, self.columns)}, }}".encode()
        magic = np.lib.format.magic(1, 0)
        room = self._HEADER_BYTES - len(magic) - 2
        self._file.seek(0)
        self._file.write(magic + struct.pack("<H", room) + text.ljust(room - 1) + b"\n")
        self._deliver()

    def _deliver(self) -> None:
        super()._publish()


class StandardNpyOutput(NpyFile):
    """The same on standard output, when it is complete: the header comes first and has the number of rows.

    Until then rows are in a temporary file.
    """

    def __init__(self) -> None:
        if sys.stdout is None or is_terminal(sys.stdout):
            raise UsageError("-o -: standard output is a terminal, and a .npy file is no text; use a pipe or a file")
        super().__init__("standard output")

    def _open(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115

    def _deliver(self) -> None:
        self._file.seek(0)
        sys.stdout.flush()
        shutil.copyfileobj(self._file, sys.stdout.buffer, COPY_BYTES)
        sys.stdout.flush()

    def _discard(self) -> None:
        pass
