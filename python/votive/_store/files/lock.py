"""The lock of a store's folder, and what tells whether the folder is still the one that is locked."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from votive._core import StoreError
from votive._store.files.descriptor import Descriptor
from votive._store.files.directory import Directory

LOCK = "LOCK"

_HELD_ERRNOS = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)

# Another program may remove the file after it is opened and before it is locked.
_MAX_ATTEMPTS = 10


class Lock:
    """Held by the one writer of a folder; the operating system releases it when the process ends, however it ends.

    Locked are the file LOCK and, where the operating system can, the folder itself: so there is no second writer when
    LOCK is removed, and made anew. Children of a fork have no part in it.
    """

    def __init__(self, folder: Directory) -> None:
        """Takes the lock at once, or not at all, and makes LOCK where there is none.

        Args:
            folder: what is to be locked; closed with this.

        Raises:
            StoreError: another process, or another store of this one, holds it; or the folder was moved away.
            OSError: the folder cannot be written to.
        """
        self._folder = folder
        if folder.descriptor is not None:
            try:
                folder.descriptor.lock()
            except BlockingIOError:
                raise _held_error(folder.path) from None
            except OSError:
                pass  # file systems over a network lock no folders
        for attempt in range(_MAX_ATTEMPTS):
            # Never removed by a store: a writer that waits for the lock of a removed file locks nothing.
            self._file = Descriptor(lambda: folder.open(LOCK, os.O_RDWR | os.O_CREAT))
            try:
                self._file.lock()
            except OSError as error:
                self._file.close()
                if error.errno in _HELD_ERRNOS:
                    raise _held_error(folder.path) from None
                raise OSError(error.errno, error.strerror, str(folder.path / LOCK)) from None
            if attempt + 1 == _MAX_ATTEMPTS or self._file_is_there():
                break
            self._file.close()
        try:
            self.check()
        except BaseException:
            self._file.close()
            raise

    @property
    def is_held(self) -> bool:
        """Whether this process holds it."""
        return self._file.is_owned

    def release(self) -> None:
        """Lets others write; at the latest this object goes with it. Twice is once."""
        self._file.close()
        self._folder.close()

    def check(self) -> None:
        """Accepts a folder whose path still leads to what is locked.

        Raises:
            StoreError: this is released, or of another process; or the folder, or LOCK in it, was moved, removed or
                replaced.
        """
        path = self._folder.path
        if self._file.is_inherited:
            raise StoreError(
                f"{path}: opened for writing by the process that this one is a fork of, which alone may commit; open "
                'it here with mode="a" once that one has closed it'
            )
        if not self.is_held:
            raise StoreError(f'{path}: not open for writing any more; EmbeddingStore.open(folder, mode="a") opens it')
        if sys.platform == "win32":
            return  # where a file that is open is neither removed nor renamed, nor the folder that it is in
        try:
            found = self._folder.is_at(path)
        except (FileNotFoundError, NotADirectoryError):
            raise changed_error(path, "the folder is not there any more: it was moved or removed") from None
        if not found:
            raise changed_error(
                path, "the folder is another one: that one was moved or removed, and another put in its place"
            )
        if not self._file_is_there():
            raise changed_error(path, f"{LOCK} is not the file any more that is locked: it was removed or replaced")

    def _file_is_there(self) -> bool:
        if sys.platform == "win32":
            return True
        try:
            return os.path.samestat(self._folder.status(LOCK), os.fstat(self._file.number))
        except FileNotFoundError:
            return False


def changed_error(path: Path, what: str) -> StoreError:
    """An error about a folder that is not what a writer opened, with what to do."""
    return StoreError(
        f"{path}: {what}, while a store had it open for writing; nothing was written. What that store holds is still "
        'in memory: save_to_disk(another folder) keeps it; or close it and open(folder, mode="a") the one that is right'
    )


def _held_error(path: Path) -> StoreError:
    return StoreError(f"{path}: another writer holds this store: close that one first (readers may stay)")
