"""A directory that is open, and what is done to the files in it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from votive._core import StoreError
from votive._store.files.descriptor import Descriptor

_T = TypeVar("_T")

# Absent on Windows, but for the first, which is absent elsewhere.
_BINARY = getattr(os, "O_BINARY", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
# A pipe would have the opener wait for its other end.
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)

# Windows refuses what touches a file that another process is just about to open or close.
_MAX_RETRY_SECONDS = 2.0


class Directory:
    """A folder that is open: what is done in it is done in this one, also when its path is another's by now.

    Windows opens no folders, but does not let go of the path of one in which a file is open, as a writer's lock is.

    Attributes:
        path: where it was when it was opened.
        descriptor: descriptor of the folder; None on Windows.
    """

    def __init__(self, path: Path) -> None:
        """Opens a folder.

        Raises:
            FileNotFoundError: there is none.
            NotADirectoryError: it is none.
        """
        self.path = path
        self.descriptor: Descriptor | None = None
        if sys.platform == "win32":
            if not stat.S_ISDIR(path.stat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        else:
            self.descriptor = Descriptor(lambda: os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def __enter__(self) -> Directory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes it; arrays that were mapped stay."""
        if self.descriptor is not None:
            self.descriptor.close()

    def is_at(self, path: Path) -> bool:
        """Whether a path leads to this folder.

        Raises:
            OSError: it cannot be told, as there is nothing.
        """
        if self.descriptor is None:
            return os.path.samefile(path, self.path)
        return os.path.samestat(os.stat(path), os.fstat(self.descriptor.number))

    def names(self) -> list[str]:
        """Names of all that is in it."""
        with self._errors_with_path():
            return os.listdir(self.path) if self.descriptor is None else self.descriptor.names()

    def status(self, name: str) -> os.stat_result:
        """What the file system says of a name, which may be a link.

        Raises:
            FileNotFoundError: there is no such name.
        """
        with self._errors_with_path(name):
            return os.stat(self._at(name), dir_fd=self._number, follow_symlinks=False)

    def has(self, name: str) -> bool:
        """Whether there is something of a name."""
        try:
            self.status(name)
        except FileNotFoundError:
            return False
        return True

    def open(self, name: str, flags: int) -> int:
        """A descriptor of a file, which is made if the flags say so; never of what a link points to."""
        with self._errors_with_path(name):
            return os.open(self._at(name), flags | _NO_FOLLOW | _BINARY, 0o666, dir_fd=self._number)

    def open_regular(self, name: str) -> int:
        """A file for reading.

        Raises:
            FileNotFoundError: there is none.
            StoreError: it is a link, a pipe, a folder or a device, which no store makes.
        """
        mode = self.status(name).st_mode  # asked once: a writer may remove the file
        path = self.path / name
        if stat.S_ISLNK(mode):
            raise StoreError(
                f"{path}: a symbolic link, which a store never has; copy the folder with its links followed"
            )
        if not stat.S_ISREG(mode):
            raise StoreError(f"{path}: not a regular file but one of mode {mode:o}")
        return retry_while_in_use(lambda: self.open(name, os.O_RDONLY | _NONBLOCK))

    def rename(self, source: str, target: str) -> None:
        """Gives `source` the name `target`, in one step: a reader finds the old file or the new one."""
        with self._errors_with_path(target):
            os.replace(self._at(source), self._at(target), src_dir_fd=self._number, dst_dir_fd=self._number)

    def unlink(self, name: str) -> None:
        """Removes a name."""
        with self._errors_with_path(name):
            os.unlink(self._at(name), dir_fd=self._number)

    @property
    def _number(self) -> int | None:
        return None if self.descriptor is None else self.descriptor.number

    def _at(self, name: str) -> str | Path:
        return self.path / name if self.descriptor is None else name

    @contextlib.contextmanager
    def _errors_with_path(self, name: str = "") -> Iterator[None]:
        """Has errors name the whole path."""
        try:
            yield
        except OSError as error:
            raise with_path(error, self.path / name) from None


def with_path(error: OSError, path: Path) -> OSError:
    """The error, with the file that it is about."""
    return OSError(error.errno, error.strerror, str(path))


def retry_while_in_use(action: Callable[[], _T]) -> _T:
    """What `action` gives; on Windows it is tried again for a while where a file is in use."""
    end = time.monotonic() + _MAX_RETRY_SECONDS
    while True:
        try:
            return action()
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() > end:
                raise
            time.sleep(0.01)
