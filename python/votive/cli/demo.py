"""`votive demo`: Python's own documentation, embedded and asked questions."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TextIO

import votive
from votive._cells import clipped, width
from votive._inputs import CHUNK_TEXTS
from votive.cli.failure import CommandFailed
from votive.cli.hits import FoundText, print_hits
from votive.cli.model import Totals, computed, describe_speed, describe_truncation, growing_chunks, load_model
from votive.cli.search import of_store
from votive.cli.store.folder import holds_store, is_free
from votive.cli.terminal import BOLD, CYAN, columns, is_terminal, painted
from votive.demo_corpus import Document, passages

QUESTIONS = (
    "What does the with statement do?",
    "How do I split a string into words?",
    "What happens when an exception is raised inside a try block?",
)
SHOWN_LINES = 3


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments of `votive demo` say."""
    with _folder(arguments.output) as folder:
        model = load_model(votive.Embedder, arguments)
        print(f"reading the documentation of Python {sys.version.split()[0]}", file=sys.stderr)
        store = votive.EmbeddingStore(num_threads=arguments.num_threads, device=arguments.device)
        corpus = list(islice(passages(), arguments.limit + 1))
        if len(corpus) > arguments.limit:
            corpus.pop()
            print(f"embedding its first {len(corpus):,} passages; --limit takes more", file=sys.stderr)
        totals = _add(store, model, corpus)
        store.save_to_disk(folder)
    _print_figures(totals, model, folder, sys.stderr if arguments.json else sys.stdout)
    for question in arguments.ask or _questions():
        hits = map(of_store, store.query(question, model, arguments.top_k))
        if arguments.json:
            print_hits((hit._replace(fields={"query": question} | dict(hit.fields)) for hit in hits), as_json=True)
        else:
            print(f"\n{painted(question, BOLD)}")
            for hit in hits:
                _print_passage(hit)
    if not arguments.json:
        print(f"\nmore: {shlex.join(['votive', 'search', 'your question', folder])}")


def _add(store: votive.EmbeddingStore, model: Any, corpus: list[Document]) -> Totals:
    totals = Totals()

    def add(chunk: list[Document]) -> None:
        texts, sources = [passage.text for passage in chunk], [passage.source for passage in chunk]
        store.add_texts(texts, model, metadata={"source": sources}, show_progress_bar=False)

    chunks = growing_chunks(corpus, lambda passage: len(passage.text), CHUNK_TEXTS)
    for _ in computed(model, add, chunks, totals, lambda _read: len(corpus)):
        pass
    return totals


@contextlib.contextmanager
def _folder(chosen: str | None) -> Iterator[str]:
    """The folder to save in; a temporary one goes away if nothing was saved."""
    if chosen is not None:
        if not holds_store(chosen) and not is_free(chosen):
            raise CommandFailed(f"{chosen}: is there already, and is neither a store nor an empty folder")
        yield chosen
        return
    folder = tempfile.mkdtemp(prefix="votive-demo-")
    try:
        yield folder
    except BaseException:
        with contextlib.suppress(OSError):  # not empty: the store is complete
            os.rmdir(folder)
        raise


def _print_figures(totals: Totals, model: Any, folder: str, out: TextIO) -> None:
    print(model, file=out)
    print(f"{totals.texts:,} texts, {totals.tokens:,} tokens in {totals.seconds:.1f} s", file=out)
    print(describe_speed(totals), file=out)
    print(describe_truncation(totals, model.max_seq_length), file=out)
    print(f"peak memory {_peak_memory_bytes() / 2**20:,.0f} MiB", file=out)
    print(f"the store is in {folder}", file=out)


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


def _print_passage(hit: FoundText) -> None:
    source = (hit.metadata or {})["source"]
    lines = [line for line in (hit.text or "").removeprefix(f"{source}: ").splitlines() if line.strip()]
    print(f"  {hit.score:.3f}  {painted(source, CYAN)}")
    for line in lines[:SHOWN_LINES]:
        print(f"{' ' * 9}{_fitted(line.expandtabs())}")


def _fitted(line: str) -> str:
    """As much of a line as fits the terminal; elsewhere all of it. Unlike with `clipped`, its indentation stays."""
    room = columns() - 9
    if not is_terminal(sys.stdout) or width(line) <= room:
        return line
    indent = len(line) - len(line.lstrip())
    return line[:indent] + clipped(line, room - indent)


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
