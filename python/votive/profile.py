"""Where the time of a call goes."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from votive import _core
from votive._display import html_table, text_table

# Seconds of each trial of each figure: the best of several counts, and all together should not be felt.
TRIAL_SECONDS = 0.005

# Said where a share is above 1.
ABOVE_PEAK = (
    "above 100%: what the stage reads came from a cache, or the peaks were measured while the machine was busier, or "
    "its clock slower, than during the call"
)

HEADINGS = ("stage", "seconds", "of time", "Gop/s", "GB/s", "of peak")


@dataclass(frozen=True)
class Stage:
    """What one stage took, all calls and layers together.

    Attributes:
        name: "tokenize", "embed", "qkv", "attention", "out", "mlp up", "mlp down", "norms", "pool" (all that follows
            the network), "other" (products of other kinds), or "idle" (threads that waited, and what lies between the
            stages).
        seconds: summed over the threads.
        operations: additions and multiplications of its products and of attention.
        bytes: what it read and wrote, in memory or in a cache; of "tokenize" those of the texts.
        share: of the peak of this machine, that of arithmetic in the type in use or that of memory, whichever it is
            nearer to. More than 1 where what it reads comes from a cache, or where the peaks were measured while the
            machine was busier, or its clock slower. None where neither limits it, and on a GPU.
    """

    name: str
    seconds: float
    operations: int
    bytes: int
    share: float | None


@dataclass(frozen=True, repr=False)
class Profile:
    """Where the time of some calls went. Its `repr` is a table; `profile["qkv"]` is one `Stage`.

    Attributes:
        texts: how many there were.
        tokens: how many they had together, special ones included, after cutting.
        seconds: from the start to the end of the compiled part of each call.
        threads: how many the model has.
        device: the model's `device`. On a GPU each stage waits until it is computed, so that the call takes longer.
        dtype: the model's `dtype`.
        kernels: the instruction set in use; "wgsl" or "portable" on a GPU.
        stages: in the order of a pass, "idle" last; their seconds add up to `threads * seconds`.
        peaks: what the threads can do together, measured; None on a GPU.
    """

    texts: int
    tokens: int
    seconds: float
    threads: int
    device: str
    dtype: str
    kernels: str
    stages: tuple[Stage, ...]
    peaks: _core.Peaks | None

    def __getitem__(self, name: str) -> Stage:
        """The stage of that name."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def __repr__(self) -> str:
        return "\n".join([self._title(), text_table(HEADINGS, self._rows()), *self._notes()])

    def _repr_html_(self) -> str:
        """The table for notebooks."""
        return html_table(HEADINGS, self._rows(), "\n".join([self._title(), *self._notes()]))

    def _title(self) -> str:
        return (
            f"{self.texts:,} texts, {self.tokens:,} tokens in {self.seconds:.3f} s; "
            f"{self.threads} threads, {self.device} in {self.dtype}, {self.kernels}"
        )

    def _notes(self) -> list[str]:
        """What stands below the table."""
        if self.peaks is None:
            return [f"{self.device}: each stage waits until it is computed; its peaks are not known"]
        notes = [f"peaks: {describe_peaks(self.peaks)}"]
        if any(stage.share is not None and stage.share >= 1.005 for stage in self.stages):
            notes.append(ABOVE_PEAK)
        return notes

    def _rows(self) -> Iterator[tuple[str, ...]]:
        total = self.threads * self.seconds
        for stage in self.stages:
            # Rates are those of all threads, as the peaks are; on a GPU one thread waits for each stage.
            threads = 1 if self.peaks is None else self.threads
            rate = threads / stage.seconds / 1e9 if stage.seconds else 0.0
            yield (
                stage.name,
                f"{stage.seconds:.4f}",
                f"{stage.seconds / total if total else 0.0:.1%}",
                f"{stage.operations * rate:.1f}" if stage.operations else "-",
                f"{stage.bytes * rate:.3g}" if stage.bytes else "-",
                "-" if stage.share is None else f"{stage.share:.0%}",
            )


def describe_peaks(peaks: _core.Peaks) -> str:
    """One line with all of them."""
    arithmetic = (("float32", peaks.float32), ("bfloat16", peaks.bfloat16), ("int8", peaks.int8))
    known = [f"{peak / 1e9:.0f} Gop/s {name}" for name, peak in arithmetic if peak is not None]
    return ", ".join([*known, f"{peaks.memory / 1e9:.1f} GB/s from memory"])


def finish(recorder: _core.Profile, threads: int, device: str, dtype: str, kernels: str) -> Profile:
    """What `recorder` holds, beside the CPU's peaks, which are measured once for each number of threads."""
    peaks = _peaks(threads) if device == "cpu" else None
    # What no family of models has is left out.
    stages = [Stage(*row) for row in recorder.stages(peaks) if row[0] != "other" or row[1] > 0]
    stages.append(Stage("idle", recorder.idle_seconds, 0, 0, None))
    return Profile(
        recorder.texts,
        recorder.tokens,
        recorder.seconds,
        threads,
        device,
        dtype,
        kernels,
        tuple(stages),
        peaks,
    )


def report_at_exit(model_name: str, threads: int, device: str, dtype: str, kernels: str) -> _core.Profile:
    """A recorder for all calls of a model, whose table goes to standard error when the interpreter ends."""
    recorder = _core.Profile()

    def report() -> None:
        # Without standard error, print would take standard output.
        if recorder.texts and sys.stderr is not None:
            print(f"{model_name}: {finish(recorder, threads, device, dtype, kernels)}", file=sys.stderr)

    atexit.register(report)
    return recorder


@cache
def _peaks(threads: int) -> _core.Peaks:
    return _core.Peaks(threads, trial=TRIAL_SECONDS)
