"""The folder of a store: opening it, saving and committing to it, and what is lost when it is closed.

What is in the folder is described in `votive.persistence`.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from votive._arguments import check_choice, check_flag
from votive._core import StoreError
from votive._store import compaction as _compaction
from votive._store.budget import GB
from votive._store.files import generations as _generations
from votive._store.files import segments as _segments
from votive._store.files.directory import Directory
from votive._store.files.folder import FolderArrays, read_consistently
from votive._store.files.lock import changed_error
from votive._store.files.manifest import Manifest
from votive._store.files.writer import Writer
from votive._store.folder_binding import FolderBinding
from votive._store.options import OPEN_MODES, STAND_IN_DIMENSION
from votive._store.state import StoreState
from votive._warnings import caller_stacklevel

if TYPE_CHECKING:
    from votive.store import EmbeddingStore

_S = TypeVar("_S", bound="EmbeddingStore")


def save(state: StoreState, folder: str | PathLike[str]) -> None:
    """See `EmbeddingStore.save_to_disk`."""
    path = _absolute(folder)
    with state.commit_lock:
        binding = state.binding
        if binding is not None and binding.writer is not None and binding.writer.is_at(path):
            commit(state)
            return
        contents = state.contents
        manifest = _generations.save(contents, path)
        if binding is None or binding.writer is None:
            state.binding = FolderBinding.of(path, manifest, contents)


def open_store(
    kind: type[_S],
    folder: str | PathLike[str],
    mode: str,
    mmap: bool,
    compact_at: float | None,
    options: dict[str, Any],
) -> _S:
    """See `EmbeddingStore.open`; `options` are those that a folder does not decide."""
    if mode == "w":
        raise ValueError("mode: expected 'r' or 'a', found 'w'; save_to_disk(folder) of a store makes a new one")
    check_choice("mode", mode, OPEN_MODES)
    check_flag("mmap", mmap)
    _check_share(compact_at, mode)
    path = _existing(folder)
    if mode == "r":
        store = load(kind, path, mmap, options)
        binding = store._state.binding
        assert binding is not None, "a store that is read from a folder is bound to it"
        binding.warns_of_adding = True
        return store
    writer = Writer(path)
    try:
        store = read_consistently(path, partial(_read, kind, mmap=mmap, options=options, writer=writer))
        store._state.compact_at = compact_at
        return store
    except BaseException:
        writer.close()
        raise


def load_from_disk(
    target: EmbeddingStore | type[EmbeddingStore], folder: str | PathLike[str], mmap: bool
) -> EmbeddingStore | None:
    """See `EmbeddingStore.load_from_disk`."""
    if isinstance(target, type):
        return load(target, folder, mmap, {})
    state = target._state
    other = load(type(target), folder, mmap, state.options.machine_arguments())
    with state.changing():
        close(state)
        state.replace(other._state)
    return None


def load(kind: type[_S], folder: str | PathLike[str], mmap: bool, options: dict[str, Any]) -> _S:
    """A new store with the rows of a folder, which may be changed in memory."""
    check_flag("mmap", mmap)
    return read_consistently(_existing(folder), partial(_read, kind, mmap=mmap, options=options, writer=None))


def _read(
    kind: type[_S], folder: Directory, manifest: Manifest, mmap: bool, options: dict[str, Any], writer: Writer | None
) -> _S:
    if writer is not None and manifest != writer.manifest:
        raise changed_error(folder.path, "the folder is another one by now")
    store = kind(**options, metric=manifest.metric, dtype=manifest.dtype)
    state = store._state
    size = sum(file.bytes for file in manifest.files.values())
    if not mmap and size > state.budget.max_bytes:
        raise StoreError(
            f"max_memory_gb: {folder.path} holds {size / GB:.3g} GB, more than the limit of "
            f"{state.budget.max_bytes / GB:.3g} GB; mmap=True leaves them on disk"
        )
    core = state.budget.new_core(manifest.dimension or STAND_IN_DIMENSION)
    state.contents = _segments.read(FolderArrays(folder, manifest, mmap=mmap), core)
    state.binding = FolderBinding.of(folder.path, manifest, state.contents, writer)
    return store


def commit(state: StoreState) -> None:
    """See `EmbeddingStore.commit`."""
    with state.commit_lock:
        binding = state.binding
        if binding is None or binding.writer is None:
            raise StoreError('commit: not open for writing; EmbeddingStore.open(folder, mode="a") opens a store so')
        binding.writer.begin()
        contents = state.contents
        is_known = contents.numbering is binding.numbering and binding.writer.manifest == binding.manifest
        manifest = _generations.commit(contents, binding.writer, committed=binding.edits if is_known else None)
        state.binding = FolderBinding.of(binding.folder, manifest, contents, binding.writer)
    _compaction.start_where_due(state, contents, manifest)


def verify(state: StoreState) -> None:
    """See `EmbeddingStore.verify`."""
    if state.binding is None:
        raise StoreError("verify: the store is not on disk; save_to_disk(folder) writes it there")
    _generations.verify(state.binding.folder)


def close(state: StoreState) -> None:
    """Lets other writers have the folder, and warns of rows that it has not got."""
    with state.commit_lock:
        lost = _describe_lost(state)
        binding = _release(state)
    if binding is not None and lost:
        _warn_of_lost(binding, lost)


def exit_block(state: StoreState, failed: bool) -> None:
    """Ends a `with` block: commits what was changed unless the block `failed`, and closes the store."""
    if not failed and state.binding is not None and state.binding.writer is not None:
        try:
            commit(state)
        except BaseException:
            _release(state)
            raise
        close(state)
    else:
        # The error says already that nothing was committed.
        _release(state)


def warn_of_collected(state: StoreState) -> None:
    """Warns of rows that are lost with a store that is collected."""
    # Not at exit: a program that ends says what it has to say before.
    if not sys.is_finalizing() and (lost := _describe_lost(state)) and state.binding is not None:
        _warn_of_lost(state.binding, lost)


def warn_of_reader(state: StoreState) -> None:
    """Says once that what is added to a store that was opened to read, or changed in it, is in memory alone."""
    if state.binding is None or not state.binding.warns_of_adding:
        return
    state.binding.warns_of_adding = False
    warnings.warn(
        f"{state.binding.folder} was opened with mode='r': rows that are added or changed are in memory alone, and "
        "cannot be committed. open(folder, mode='a') opens it for writing; EmbeddingStore.load_from_disk(folder) gives "
        "a store in memory, without this warning",
        UserWarning,
        stacklevel=caller_stacklevel(),
    )


def _describe_lost(state: StoreState) -> str:
    """Which rows only this process's store that is open for writing has; empty where the folder has all."""
    binding = state.binding
    if binding is None or binding.writer is None or not binding.writer.is_held:
        return ""
    counts = {
        "added to": binding.count_uncommitted(state.contents),
        "changed in": binding.count_changed(state.contents),
    }
    return " and ".join(
        f"{count} {'row that was' if count == 1 else 'rows that were'} {what} the store"
        for what, count in counts.items()
        if count
    )


def _release(state: StoreState) -> FolderBinding | None:
    """Closes the writer, if there is one, and gives the binding that had it."""
    with state.commit_lock:
        binding = state.binding
        if binding is None or binding.writer is None:
            return None
        writer, binding.writer = binding.writer, None
        writer.close()
        return binding


def _warn_of_lost(binding: FolderBinding, lost: str) -> None:
    warnings.warn(
        f"{binding.folder}: {lost} and not committed will not be there when it is opened again; "
        "call commit() before close(), or use a `with` block, which commits at its end",
        ResourceWarning,
        stacklevel=caller_stacklevel(),
    )


def _check_share(compact_at: Any, mode: str) -> None:
    if compact_at is None:
        return
    if isinstance(compact_at, bool) or not isinstance(compact_at, int | float):
        raise TypeError(f"compact_at: expected a float or None, found {type(compact_at).__name__}")
    if not 0 < compact_at <= 1:
        raise ValueError(f"compact_at: expected a share above 0 and up to 1, or None, found {compact_at}")
    if mode != "a":
        raise ValueError(f"compact_at: expected None with mode {mode!r}, which commits nothing, found {compact_at}")


def _existing(folder: str | PathLike[str]) -> Path:
    """`_absolute`, of one that is there."""
    path = _absolute(folder)
    if not path.exists():
        message = "no store here, and no folder; save_to_disk(folder) of a store makes one"
        raise FileNotFoundError(errno.ENOENT, message, str(path))
    return path


def _absolute(folder: str | PathLike[str]) -> Path:
    """The folder, wherever the process goes."""
    path = os.fspath(folder)
    if not path:
        raise ValueError(f"folder: expected a path, found {path!r}; '.' is the working folder")
    return Path(os.path.abspath(path))
