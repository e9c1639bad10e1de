"""Files that are open in one process, and that its children do not keep."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# Held while a descriptor is opened and listed, duplicated, or closed and forgotten: a fork waits, so as to see no half
# of that.
_fork_lock = threading.RLock()
_handles: set[_Handle] = set()


@dataclass(eq=False)
class _Handle:
    """What closing a descriptor needs.

    Attributes:
        number: that of the descriptor; -1 once it is closed, or in a child.
        process: that opened it.
        locked: whether it holds a lock.
    """

    number: int
    process: int
    locked: bool = False

    def close(self) -> None:
        with _fork_lock:
            number, self.number = self.number, -1
            if number < 0:
                return
            _handles.discard(self)
            # A program that is just being started has the descriptor too, until it closes it, and with it the lock.
            # A child of a fork that Python knows nothing of may close its own, but the lock is the parent's.
            if self.locked and self.process == os.getpid() and sys.platform != "win32":
                with contextlib.suppress(OSError):
                    fcntl.flock(number, fcntl.LOCK_UN)
            os.close(number)


class Descriptor:
    """An open file, closed with this object.

    After a fork the child closes it at once, also where another thread of the parent has it: a lock of the operating
    system is released when the last descriptor is closed that was inherited, and a child may live for long.
    """

    def __init__(self, opening: Callable[[], int]) -> None:
        with _fork_lock:
            self._handle = _Handle(opening(), os.getpid())
            _handles.add(self._handle)
        self.close = weakref.finalize(self, self._handle.close)

    @property
    def number(self) -> int:
        """Number of the descriptor; -1, which the operating system refuses, once it is closed."""
        return self._handle.number

    @property
    def is_owned(self) -> bool:
        """Whether it is open, and this is the process that opened it."""
        return self._handle.number >= 0 and self._handle.process == os.getpid()

    @property
    def is_inherited(self) -> bool:
        """Whether it was opened by a process that this one is a child of."""
        return self._handle.process != os.getpid()

    def names(self) -> list[str]:
        """Names of all that is in a folder."""
        # The operating system reads by a duplicate of the descriptor, which would hold the lock in a child.
        with _fork_lock:
            return os.listdir(self.number)

    def lock(self) -> None:
        """Locks the file for this descriptor alone, at once or not at all.

        Raises:
            OSError: another one has the lock, or the file system has no locks.
        """
        if sys.platform == "win32":
            msvcrt.locking(self.number, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(self.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._handle.locked = True


def _in_child() -> None:
    global _fork_lock
    _fork_lock = threading.RLock()  # the other one may be held by a thread that is not in this process
    for handle in list(_handles):  # the garbage collector may close some of them meanwhile
        with contextlib.suppress(OSError):
            os.close(handle.number)
        handle.number = -1
    _handles.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _fork_lock.acquire(), after_in_parent=lambda: _fork_lock.release(), after_in_child=_in_child
    )
