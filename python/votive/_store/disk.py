"""What a store asks of the disk: few operations, so that tests can stand in for a disk that fails or loses power."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from votive._core import StoreError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_T = TypeVar("_T")

LOCK = "LOCK"

# Absent on Windows, but for the first, which is absent elsewhere.
_BINARY = getattr(os, "O_BINARY", 0)
_ITSELF = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
# A pipe would have the opener wait for its other end.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)

# Windows refuses what touches a file that another process is just about to open or close.
_PATIENCE = 2.0


class Disk:
    """Changes of files, each of which may fail; nothing is durable before it is synced."""

    def make_folder(self, folder: Path) -> None:
        """Makes one, in a folder that exists."""
        folder.mkdir()

    def create(self, path: Path) -> int:
        """A new file for writing; never one that exists, nor what a link planted there points to."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _ITSELF | _BINARY, 0o666)

    def write(self, file: int, data: memoryview) -> None:
        """Appends all of it."""
        while data:
            data = data[os.write(file, data) :]

    def sync(self, file: int) -> None:
        """Has what was written to a file outlast a power failure."""
        # On macOS fsync leaves it in the cache of the drive; some file systems there know nothing better.
        if sys.platform == "darwin":
            with contextlib.suppress(OSError):
                fcntl.fcntl(file, fcntl.F_FULLFSYNC)
                return
        os.fsync(file)

    def sync_folder(self, folder: Path) -> None:
        """Has the names in a folder outlast a power failure."""
        # Windows cannot, and need not: NTFS keeps a journal of names in order.
        if sys.platform == "win32":
            return
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        except OSError as error:
            # File systems that have no such thing.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise named(error, folder) from None
        finally:
            os.close(file)

    def replace(self, source: Path, target: Path) -> None:
        """Gives `source` the name `target`, in one step: whoever looks finds the old file or the new one."""
        patiently(lambda: os.replace(source, target))

    def remove(self, path: Path) -> None:
        """Removes a file; that one is gone is no error. Windows refuses to remove one that is mapped."""
        with contextlib.suppress(FileNotFoundError):
            path.unlink()

    def lock(self, folder: Path) -> Lock:
        """Takes the lock of a folder, and makes its file where there is none."""
        return Lock(folder)


def named(error: OSError, path: Path) -> OSError:
    """The error, with the file that it is about."""
    return OSError(error.errno, error.strerror, str(path))


def patiently(action: Callable[[], _T]) -> _T:
    """What `action` gives; on Windows it is tried again for a while where a file is in use."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return action()
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() > end:
                raise
            time.sleep(0.01)


def open_regular(path: Path) -> int:
    """A file for reading.

    Raises:
        FileNotFoundError: There is none.
        StoreError: It is a link, a pipe, a folder or a device: whoever wrote it, it was no store.
    """
    mode = path.lstat().st_mode  # asked once: a writer may remove the file
    if stat.S_ISLNK(mode):
        raise StoreError(f"{path}: a symbolic link, which a store never has; copy the folder with its links followed")
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path}: not a regular file but one of mode {mode:o}")
    return patiently(lambda: os.open(path, os.O_RDONLY | _ITSELF | _AT_ONCE | _BINARY))


class Lock:
    """Held by the one writer of a folder; the operating system releases it when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Takes the lock at once, or not at all.

        Raises:
            StoreError: Another process, or another store of this one, holds it.
            OSError: The folder cannot be written to.
        """
        # Never removed: whoever waits to lock a removed file locks nothing.
        path = folder / LOCK
        file = os.open(path, os.O_RDWR | os.O_CREAT | _ITSELF | _BINARY, 0o666)
        # Lets others write; at the latest when nobody has this object any more.
        self.release = weakref.finalize(self, os.close, file)
        # A child after fork shares the lock, but is another writer.
        self._process = os.getpid()
        try:
            if sys.platform == "win32":
                msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise StoreError(
                    f"{folder}: another writer holds this store: close that one first (readers may stay)"
                ) from None
            raise named(error, path) from None

    @property
    def held(self) -> bool:
        """Whether this process holds it."""
        return self.release.alive and self._process == os.getpid()
