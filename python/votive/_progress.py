"""Progress bars, which cost nothing until one is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

# Work that is done sooner gets no bar unless one was asked for.
BAR_DELAY_SECONDS = 2.0

_watcher: ContextVar[Callable[[int], object] | None] = ContextVar("watcher", default=None)


@contextmanager
def watched_by(watcher: Callable[[int], object]) -> Iterator[None]:
    """Has calls that begin in this block tell `watcher` now and then how many of their texts are done.

    So work that is made of many calls has one bar, which moves within each of them.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


class Progress:
    """Counts texts; shows them in a tqdm bar, where asked for or where standard error is a screen.

    Args:
        show: None for a bar after `BAR_DELAY_SECONDS` on a terminal or in a notebook. True for one at once, but for
            programs without standard error, such as those of `pythonw`: there is nothing to show it on.
        total: texts in all, None if unknown.
    """

    def __init__(self, show: bool | None, total: int | None) -> None:
        self._allowed = _has_screen() and (show or (show is None and _is_watched()))
        self._due = time.monotonic() + (0.0 if show else BAR_DELAY_SECONDS)
        self._total = total
        self._before = 0
        self._bar: tqdm[Any] | None = None
        self._watcher = _watcher.get()

    def __call__(self, done: int) -> None:
        """Says that `done` texts of the present call are done."""
        if self._watcher is not None:
            self._watcher(self._before + done)
        if not self._allowed or (self._bar is None and time.monotonic() < self._due):
            return
        if self._bar is None:
            self._bar = bar_class()(total=self._total, desc="Texts", unit=" texts", leave=None)
        self._bar.update(self._before + done - self._bar.n)

    def next_call(self, done: int) -> None:
        """Says that the call with `done` texts is over and the next one starts."""
        self._before += done

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


class DownloadBar:
    """A tqdm bar for each file of a download, where standard error is a screen."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def start(self, file: str, size: int, resumed_at: int) -> None:
        """`file` of `size` bytes begins, `resumed_at` of which were there before."""
        if _is_watched():
            self._bar = bar_class()(
                total=size, initial=resumed_at, desc=file, unit="B", unit_scale=True, unit_divisor=1024, leave=False
            )

    def advance(self, size: int) -> None:
        """So many more bytes are there."""
        if self._bar is not None:
            self._bar.update(size)

    def finish(self) -> None:
        """The file that was started last is done, or given up."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def bar_class() -> type[tqdm[Any]]:
    """The bar of tqdm for where the program runs."""
    import warnings

    with warnings.catch_warnings():
        # In a notebook without ipywidgets it warns that its bar will be text, also whoever catches warnings of a call.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    return tqdm


def _has_screen() -> bool:
    return sys.stderr is not None and not getattr(sys.stderr, "closed", False)


def _is_watched() -> bool:
    # What programs put in its place may know less than a file does.
    return _has_screen() and ("ipykernel" in sys.modules or getattr(sys.stderr, "isatty", bool)())
