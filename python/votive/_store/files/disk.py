"""What a store asks of the disk: few operations, so that tests can stand in for a disk that fails or loses power."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

from votive._store.files.directory import Directory, retry_while_in_use, with_path
from votive._store.files.lock import Lock

if sys.platform == "darwin":
    import fcntl


class Disk:
    """Changes of files, each of which may fail; nothing is durable before it is synced."""

    def make_folder(self, path: Path) -> None:
        """Makes a folder, in one that exists."""
        path.mkdir()

    def create(self, folder: Directory, name: str) -> int:
        """A new file for writing; never one that exists, nor what a link planted there points to."""
        return folder.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def write(self, file: int, data: memoryview) -> None:
        """Appends all of `data`."""
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

    def sync_folder(self, folder: Directory) -> None:
        """Has the names in a folder outlast a power failure."""
        # Windows cannot, and need not: NTFS keeps a journal of names in order.
        if folder.descriptor is None:
            return
        try:
            os.fsync(folder.descriptor.number)
        except OSError as error:
            # File systems that have no such thing.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise with_path(error, folder.path) from None

    def replace(self, folder: Directory, source: str, target: str) -> None:
        """Gives `source` the name `target`, in one step: a reader finds the old file or the new one."""
        retry_while_in_use(lambda: folder.rename(source, target))

    def remove(self, folder: Directory, name: str) -> None:
        """Removes a file; that one is gone is no error. Windows refuses to remove one that is mapped."""
        with contextlib.suppress(FileNotFoundError):
            folder.unlink(name)

    def lock(self, folder: Directory) -> Lock:
        """Takes the lock of a folder, and makes its file where there is none."""
        return Lock(folder)
