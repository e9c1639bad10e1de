"""The folder that a store is bound to."""

from __future__ import annotations

import contextlib
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from votive._core import StoreError
from votive._store.contents import Contents
from votive._store.files.directory import Directory
from votive._store.files.folder import read_manifest
from votive._store.files.manifest import Manifest
from votive._store.files.writer import Writer


@dataclass
class FolderBinding:
    """The folder that a store was opened from, or last saved to.

    Attributes:
        folder: path of it.
        manifest: what it held when it was opened, saved or committed.
        contents: the same in memory; gone when the store has let go of it, so that no memory is kept here.
        numbering: of the rows that it holds.
        rows: rows of this numbering whose numbers are lower are in it.
        edits: number of the last edit that is in it.
        writer: of a store that is open for writing.
        warns_of_adding: whether the store was opened to read, and was not added to or changed yet.
    """

    folder: Path
    manifest: Manifest
    contents: weakref.ref[Contents]
    numbering: object
    rows: int
    edits: int
    writer: Writer | None = None
    warns_of_adding: bool = False

    @classmethod
    def of(cls, folder: Path, manifest: Manifest, contents: Contents, writer: Writer | None = None) -> FolderBinding:
        """The binding to a folder that holds these contents."""
        rows, edits = contents.core.rows, contents.edits
        return cls(folder, manifest, weakref.ref(contents), contents.numbering, rows, edits, writer)

    @property
    def is_current(self) -> bool:
        """Whether the folder is still there, and nothing was written to it."""
        with contextlib.suppress(OSError, StoreError), Directory(self.folder) as folder:
            return read_manifest(folder) == self.manifest
        return False

    @property
    def is_in_pieces(self) -> bool:
        """Whether the store is open for writing, and the folder has rows of several commits, or changes of rows."""
        return self.writer is not None and (len(self.manifest.segments) > 1 or bool(self.manifest.changes))

    def count_uncommitted(self, contents: Contents) -> int:
        """How many live rows of the store's contents the folder has not got."""
        first = self._first_uncommitted(contents)
        if first == contents.core.rows:
            return 0
        live = contents.live()
        return contents.core.rows - first if live is None else len(live) - int(np.searchsorted(live, first))

    def count_changed(self, contents: Contents) -> int:
        """How many rows that the folder has were changed since."""
        edits = [rows for edit in contents.edits_after(self.edits) for rows in edit.rows.values()]
        if not edits:
            return 0
        rows = np.unique(np.concatenate(edits))
        return int(np.searchsorted(rows, self._first_uncommitted(contents)))

    def _first_uncommitted(self, contents: Contents) -> int:
        return self.rows if contents.numbering is self.numbering else contents.first_uncommitted
