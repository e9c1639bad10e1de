"""Disks for tests: one that keeps a log, from which what a power failure may leave is made up; and one that fails."""

import errno
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from votive._store.files.directory import Directory
from votive._store.files.disk import Disk
from votive._store.files.lock import LOCK, Lock

# Unsynced data is lost, or kept, in pieces of so many bytes: less than any real disk, as the files of tests are small.
SECTOR = 16


class QuickDisk(Disk):
    """A disk that is not waited for: nothing but a power failure tells the difference."""

    def sync(self, file: int) -> None:
        """Nothing."""

    def sync_folder(self, folder: Directory) -> None:
        """Nothing."""


class RecordingDisk(QuickDisk):
    """Does what it is asked for, and keeps a log of it."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self._serial: dict[int, int] = {}

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self.log.append(("make_folder", path))

    def create(self, folder: Directory, name: str) -> int:
        file = super().create(folder, name)
        self._serial[file] = len(self.log)
        self.log.append(("create", folder.path / name))
        return file

    def write(self, file: int, data: memoryview) -> None:
        super().write(file, data)
        self.log.append(("write", self._serial[file], bytes(data)))

    def sync(self, file: int) -> None:
        self.log.append(("sync", self._serial[file]))

    def sync_folder(self, folder: Directory) -> None:
        self.log.append(("sync_folder", folder.path))

    def replace(self, folder: Directory, source: str, target: str) -> None:
        super().replace(folder, source, target)
        self.log.append(("replace", folder.path / source, folder.path / target))

    def remove(self, folder: Directory, name: str) -> None:
        super().remove(folder, name)
        self.log.append(("remove", folder.path / name))

    def lock(self, folder: Directory) -> Lock:
        there = folder.has(LOCK)
        lock = super().lock(folder)
        if not there:
            self.log.append(("create", folder.path / LOCK))
        return lock


@dataclass
class File:
    """What was written to a file, and how much of it is durable."""

    data: bytes = b""
    durable: int = 0

    def after(self, rng: random.Random) -> bytes:
        """What a power failure may leave: of unsynced data any pieces, the others zeros, up to any length."""
        end = rng.choice((self.durable, len(self.data), rng.randint(self.durable, len(self.data))))
        data = bytearray(self.data[:end])
        if rng.random() < 0.5:
            for start in range(self.durable, end, SECTOR):
                if rng.random() < 0.5:
                    data[start : min(start + SECTOR, end)] = bytes(min(start + SECTOR, end) - start)
        return bytes(data)


@dataclass
class Power:
    """A folder as a log of changes goes through it; None stands for a folder in it."""

    root: Path
    # What names stood for when names were last synced, and their changes since.
    names: dict[Path, File | None] = field(default_factory=dict)
    pending: list[tuple[Path | None, Path | None, File | None]] = field(default_factory=list)
    _now: dict[Path, File | None] = field(default_factory=dict)
    _opened: dict[int, File] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> "Power":
        """A folder with all that is in it durable."""
        names: dict[Path, File | None] = {}
        for path in root.rglob("*"):
            data = None if path.is_dir() else path.read_bytes()
            names[path] = None if data is None else File(data, len(data))
        return cls(root, names, [], dict(names))

    def apply(self, serial: int, operation: tuple[Any, ...]) -> None:
        """One entry of the log, by its place there."""
        kind, *what = operation
        if kind == "make_folder":
            self._change(None, what[0], None)
        elif kind == "create":
            self._opened[serial] = File()
            self._change(None, what[0], self._opened[serial])
        elif kind == "write":
            self._opened[what[0]].data += what[1]
        elif kind == "sync":
            file = self._opened[what[0]]
            file.durable = len(file.data)
        elif kind == "sync_folder":
            pending, self.pending = self.pending, []
            for change in pending:
                if {path.parent for path in change[:2] if path} == {what[0]}:
                    self._keep(self.names, change)
                else:
                    self.pending.append(change)
        elif kind == "replace":
            self._change(what[0], what[1], self._now[what[0]])
        elif kind == "remove":
            if what[0] in self._now:
                self._change(what[0], None, None)
        else:
            raise AssertionError(kind)

    def _change(self, source: Path | None, target: Path | None, file: File | None) -> None:
        self.pending.append((source, target, file))
        self._keep(self._now, self.pending[-1])

    @staticmethod
    def _keep(names: dict[Path, File | None], change: tuple[Path | None, Path | None, File | None]) -> None:
        source, target, file = change
        if source is not None:
            names.pop(source, None)
        if target is not None:
            names[target] = file

    def failures(self, rng: random.Random, count: int) -> Iterator[dict[Path, bytes | None]]:
        """What a failure now may leave: nothing unsynced, all of it, and `count` times some of it."""
        yield {path: file and file.data[: file.durable] for path, file in self.names.items()}
        yield {path: file and file.data for path, file in self._now.items()}
        for _ in range(count):
            names = dict(self.names)
            for change in self.pending:
                if rng.random() < 0.5:
                    self._keep(names, change)
            yield {path: file and file.after(rng) for path, file in names.items()}

    def materialise(self, state: dict[Path, bytes | None]) -> None:
        """Makes the folder so."""
        shutil.rmtree(self.root)
        self.root.mkdir()
        for path in sorted(state):
            # What is in a folder whose name was lost is lost.
            if path.parent.is_dir():
                data = state[path]
                if data is None:
                    path.mkdir()
                else:
                    path.write_bytes(data)


class FailingDisk(QuickDisk):
    """Fails at one operation, and with `on` at all that follow; of a write half is done."""

    def __init__(self, at: int, number: int = errno.ENOSPC, *, on: bool = False) -> None:
        self.left = at
        self._number = number
        self._on = on

    def _step(self, path: Path | None = None) -> None:
        self.left -= 1
        if self.left == -1 or (self.left < 0 and self._on):
            # What is given a path names it in its error.
            raise OSError(self._number, os.strerror(self._number), path and str(path))

    def make_folder(self, path: Path) -> None:
        self._step(path)
        super().make_folder(path)

    def create(self, folder: Directory, name: str) -> int:
        self._step(folder.path / name)
        return super().create(folder, name)

    def write(self, file: int, data: memoryview) -> None:
        if self.left == 0:
            super().write(file, data[: len(data) // 2])
        self._step()
        super().write(file, data)

    def sync(self, file: int) -> None:
        self._step()

    def sync_folder(self, folder: Directory) -> None:
        self._step(folder.path)

    def replace(self, folder: Directory, source: str, target: str) -> None:
        self._step(folder.path / target)
        super().replace(folder, source, target)

    def remove(self, folder: Directory, name: str) -> None:
        self._step(folder.path / name)
        super().remove(folder, name)
