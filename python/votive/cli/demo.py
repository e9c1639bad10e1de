"""`votive demo`: Python's own documentation, embedded and asked questions."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice

import votive
from votive.cli.model import Totals, describe_truncation, load_model, write_vectors
from votive.cli.outputs import NpyFile, OutputFile
from votive.cli.search import nearest, open_vectors
from votive.demo_corpus import Document, passages

QUESTIONS = (
    "What does the with statement do?",
    "How do I split a string into words?",
    "What happens when an exception is raised inside a try block?",
)
BEST, SHOWN_LINES = 3, 3


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive demo` say."""
    with _folder(arguments.output) as folder:
        model = load_model(votive.Embedder, arguments)
        print(f"reading the documentation of Python {sys.version.split()[0]}", file=sys.stderr)
        corpus = list(islice(passages(), arguments.limit))
        vectors_path, texts_path = os.path.join(folder, "vectors.npy"), os.path.join(folder, "texts.jsonl")
        with OutputFile(texts_path) as texts, NpyFile(vectors_path) as vectors:
            for passage in corpus:
                texts.write(json.dumps(passage._asdict()).encode() + b"\n")
            totals = write_vectors(model, (passage.text for passage in corpus), vectors, lambda _encoded: len(corpus))
    _print_figures(totals, model, folder)
    saved = open_vectors(vectors_path)
    for question in arguments.ask or _questions():
        print(f"\n{question}")
        for score, row in zip(*nearest(saved, model.encode_query(question), BEST), strict=True):
            _print_passage(float(score), corpus[row])
    print(f'\nmore: votive search {vectors_path} {texts_path} "your question"')


@contextlib.contextmanager
def _folder(chosen: str | None) -> Iterator[str]:
    """The folder to save in; a temporary one goes away if nothing was saved."""
    if chosen is not None:
        os.makedirs(chosen, exist_ok=True)
        yield chosen
        return
    folder = tempfile.mkdtemp(prefix="votive-demo-")
    try:
        yield folder
    except BaseException:
        with contextlib.suppress(OSError):  # not empty: one of the files is complete
            os.rmdir(folder)
        raise


def _print_figures(totals: Totals, model, folder: str) -> None:
    print(model)
    print(f"{totals.texts:,} texts, {totals.tokens:,} tokens in {totals.seconds:.1f} s")
    print(f"{totals.per_second(totals.texts):,.0f} texts/s, {totals.per_second(totals.tokens):,.0f} tokens/s")
    print(describe_truncation(totals, model.max_seq_length))
    print(f"peak memory {_peak_memory_bytes() / 2**20:,.0f} MiB")
    print(f"vectors.npy and texts.jsonl are in {folder}")


def _questions() -> Iterable[str]:
    """Questions typed by the user, or the built-in ones where there is no keyboard to type on."""
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stdout.isatty():
        yield from QUESTIONS
        return
    print(f"\nAsk something, for example: {QUESTIONS[0]}  (an empty line ends)")
    while True:
        try:
            question = input("? ").strip()
        except EOFError:
            return
        if not question:
            return
        yield question


def _print_passage(score: float, passage: Document) -> None:
    lines = [line for line in passage.text.removeprefix(f"{passage.source}: ").splitlines() if line.strip()]
    print(f"  {score:.3f}  {passage.source}")
    for line in lines[:SHOWN_LINES]:
        print(f"         {line}")


if sys.platform == "win32":

    def _peak_memory_bytes() -> int:
        """The most memory this process has held (working set), from its PROCESS_MEMORY_COUNTERS."""
        import ctypes
        from ctypes import wintypes

        class Counters(ctypes.Structure):
            _fields_ = (
                ("cb", wintypes.DWORD),
                ("page_fault_count", wintypes.DWORD),
                ("peak_working_set", ctypes.c_size_t),
                ("working_set_quotas_and_pagefile", ctypes.c_size_t * 7),
            )

        counters = Counters(cb=ctypes.sizeof(Counters))
        kernel = ctypes.WinDLL("kernel32")
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        kernel.K32GetProcessMemoryInfo.argtypes = (wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD)
        if not kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb):
            raise ctypes.WinError()
        return counters.peak_working_set

else:

    def _peak_memory_bytes() -> int:
        """The most memory this process has held (resident set)."""
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, the others KiB
