"""The folder of a store that is made, or looked at."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from votive._store.array_file import MANIFEST
from votive._store.files.directory import Directory
from votive._store.files.folder import read_manifest
from votive._store.files.manifest import Manifest
from votive.cli.failure import CommandFailed
from votive.cli.outputs import sync_folder, temporary_path

if TYPE_CHECKING:
    from typing_extensions import Self


class NewFolder:
    """Write a store beside its target, then rename it: there is the whole store, or none.

    A context manager. Leaving it normally publishes what is at `store`; leaving it by an exception removes it.

    Attributes:
        work: a folder for temporary files.
        store: where the store is to be written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._target = os.path.realpath(path)
        self.work = temporary_path(self._target)
        self.store = os.path.join(self.work, "store")

    def __enter__(self) -> Self:
        if holds_store(self.path):
            raise CommandFailed(f"{self.path}: is a store already; `votive store add` adds to it")
        if not is_free(self.path):
            raise CommandFailed(f"{self.path}: is there already, and is no empty folder")
        try:
            os.mkdir(self.work)
        except OSError as error:
            raise CommandFailed(f"{self.path}: {error.strerror}") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(self._target)
                os.rename(self.store, self._target)
                sync_folder(os.path.dirname(self._target))
        except OSError as failure:
            raise CommandFailed(f"{self.path}: {failure.strerror}") from failure
        finally:
            shutil.rmtree(self.work, ignore_errors=True)


def is_free(path: str) -> bool:
    """Whether there is nothing yet, or an empty folder."""
    return not os.path.lexists(path) or (os.path.isdir(path) and not os.listdir(path))


def holds_store(path: str) -> bool:
    """Whether a folder has the manifest of a store."""
    return os.path.isfile(os.path.join(path, MANIFEST))


def manifest_of(path: str) -> Manifest:
    """What a folder says that it holds.

    Raises:
        CommandFailed: it is no folder, or has no store.
    """
    if not os.path.exists(path):
        raise CommandFailed(f"{path}: No such file or directory")
    if not holds_store(path):
        raise CommandFailed(f"{path}: no store here; `votive store create` makes one")
    with Directory(Path(path).absolute()) as folder:
        return read_manifest(folder)


def size_of(manifest: Manifest) -> int:
    """Bytes of the files that a manifest names."""
    return sum(file.bytes for file in manifest.files.values())


def shown_size(count: int) -> str:
    """A number of bytes, for people."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
